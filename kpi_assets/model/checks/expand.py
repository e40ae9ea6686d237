"""Makes the checks of a table from its header.

Belongs here: which checks a table has, and their order. Not here: the checks themselves (the other modules).
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.checks.custom import custom_check
from kpi_assets.model.checks.fields import DueField, FieldsKnown, FieldsThere
from kpi_assets.model.checks.keys import grain_check
from kpi_assets.model.checks.row_counts import MinRowsSpec
from kpi_assets.model.checks.source_object import NotSeenBefore, Quarantine, RowAccounting
from kpi_assets.model.checks.word import TableDeclaration
from kpi_assets.model.checks.words import WORDS
from kpi_assets.model.format_kinds import FORMAT_KINDS
from kpi_assets.model.header import Header
from kpi_assets.model.quarantine import QuarantineSpec
from kpi_assets.model.source import Source
from kpi_assets.model.strict_yaml import Lines, Problems


def expand(
    header: Header, path: Path, lines: Lines, minimum: int | None = None, default: MinRowsSpec | None = None
) -> tuple[TableCheck, ...]:
    """Return the checks of a table, in the order in which people read them. Raises ModelError.

    `lines` has the lines of the header's words. `minimum` is the minimum of rows from the environment, which replaces
    the header's; `default` is the one from pipeline.yaml, for a header without the word.
    """
    if not header.storage_kind.has_checks:
        return ()  # its rows belong to another table and were checked there
    table = TableDeclaration(
        path,
        lines,
        {name: column.type for name, column in header.columns.items()},
        tuple(header.grain),
        has_lookback=header.lookback is not None,
        must_have_rows=bool(header.is_raw or header.kpi),
        minimum_rows=minimum,
        defaults={"min_rows": default} if default else {},
    )
    checks: list[TableCheck] = [*_of_source(header, lines), grain_check(table)]
    problems = Problems()
    for made in _of_words(header, table):
        with problems.collected():
            checks.append(made())
    names: set[str] = set()
    for check in checks:
        if check.name in names:
            problems.add(path, check.line, f"two checks are called {check.name!r}: rename this one")
        names.add(check.name)
    problems.raise_any()
    return tuple(checks)


def _of_source(header: Header, lines: Lines) -> Iterator[TableCheck]:
    """Yield the checks of a raw table's object."""
    source = header.source
    if source is None or not header.has_object:
        return
    yield RowAccounting("rows_accounted", "Records in the object = rows loaded + rows in quarantine.")
    budget = header.quarantine or QuarantineSpec(rows=0)
    yield Quarantine(
        "quarantine",
        f"At most {budget.text} of the records cannot be read as their columns' types.",
        line=lines.of("quarantine") if header.quarantine else 1,
        budget=budget,
    )
    if FORMAT_KINDS[source.format].has_field_counts:
        yield from _of_fields(header, source, lines)
    # Part of the build, not of the verification: only reading all bytes proves that they are the same.
    if source.same_bytes != "ignore":
        yield NotSeenBefore(
            "not_seen_before",
            "The object's bytes were not delivered before as another object.",
            blocking=source.same_bytes == "hold",
            line=lines.of("source", "same_bytes"),
        )


def _of_fields(header: Header, source: Source, lines: Lines) -> Iterator[TableCheck]:
    """Yield the checks of the fields of an object whose records may differ in them."""
    fields = tuple(
        DueField(name, column.field or name, column.since, column.optional) for name, column in header.delivered.items()
    )
    yield FieldsThere("fields_there", "Each column is a field of at least one record.", fields=fields)
    if source.unknown_fields in ("hold", "warn"):
        yield FieldsKnown(
            "fields_known",
            "Each field of a record is a column.",
            blocking=source.unknown_fields == "hold",
            line=lines.of("source", "extra"),
            fields=fields,
        )


def _of_words(header: Header, table: TableDeclaration) -> Iterator[Callable[[], TableCheck]]:
    """Yield a function for each check below `checks` that makes the check; each may raise ModelError."""
    for word in WORDS.values():
        yield from word.expand(getattr(header.checks, word.name), table)
    for name, custom in header.checks.custom.items():
        yield partial(custom_check, name, custom, table)
