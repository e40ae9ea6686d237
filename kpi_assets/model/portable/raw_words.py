"""Raw words: what of a raw table's source and columns an engine cannot read as Postgres' loader does.

Belongs here: the words. Not here: the statements for all others (lake/raw_text.py), and types (problems.py).
"""

from collections.abc import Iterator

from kpi_assets.model.format_kinds import CSV, PARQUET
from kpi_assets.model.table import Table


def refused_words(table: Table) -> Iterator[tuple[str, str, str]]:
    """Yield (key of the refusal, the column whose word it is or nothing, what is refused) of a raw table."""
    if not table.has_object or table.stream:
        return
    source = table.source
    if source.format not in (CSV.name, PARQUET.name):
        yield "format", "", f"format: {source.format}"
        return
    for word, is_refused in (
        ("encoding", source.encoding != "utf-8"),
        ("compression", source.compression is not None),
        ("extra", source.unknown_fields == "keep"),
        ("comment", bool(source.comment and source.position)),
    ):
        if is_refused:
            yield word, "", f"source.{word}"
    for name, column in table.header.columns.items():
        for word in ("format", "allow", "round"):
            if getattr(column, word):
                yield f"column_{word}", name, f"{word} of the column {name}"
