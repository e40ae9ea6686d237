"""Indexes that a header declares for readers of the published table: the word `indexes`.

Belongs here: which indexes a table may have. Not here: creating them (warehouse/indexes.py), and the index of the
table's own key, which every stored table has.
"""

from collections.abc import Iterator, Mapping, Sequence

from kpi_assets.model.column import Column
from kpi_assets.model.history import EFFECTIVE, HistorySpec
from kpi_assets.model.kinds import StorageKind
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.sentences import Loc


def index_problems(
    indexes: Mapping[str, Sequence[str]],
    kind: StorageKind,
    columns: Mapping[str, Column],
    grain: Sequence[str],
    history: HistorySpec | None,
) -> Iterator[tuple[Loc, str]]:
    """Yield what the word says that a table cannot have or need not have, each with its place in the header.

    `columns` are those of the published table without load_date.
    """
    if indexes and not kind.stores_rows:
        yield ("indexes",), f"a {kind.name} has no rows that could be found faster: put it at the table that it shows"
        return
    known = [*([] if history else [LOAD_DATE]), *columns]
    earlier: dict[tuple[str, ...], str] = {}
    for name, of_index in indexes.items():
        place = ("indexes", name)
        for number, column in enumerate(of_index):
            if column not in known:
                yield (*place, number), f"{column!r} is not one of the columns ({', '.join(known)})"
            elif column in columns and columns[column].type == "json":
                reason = "of which PostgreSQL compares no values"
                yield (*place, number), f"{column!r} is json, {reason}: declare jsonb, or take it out"
        if len({*of_index}) < len(of_index):
            yield place, "a column is named twice: take it out once"
        key = tuple(of_index)
        if key in earlier:
            yield place, f"has the same columns as {earlier[key]}: take one of them out"
        earlier.setdefault(key, name)
        for own in _own_keys(kind, grain, history):
            if own[: len(key)] == key:
                yield place, f"the index of the table's key ({', '.join(own)}) finds these rows already: take it out"


def _own_keys(kind: StorageKind, grain: Sequence[str], history: HistorySpec | None) -> Iterator[tuple[str, ...]]:
    """Yield the columns of the indexes that a table of this kind has anyway."""
    if history:
        yield (history.surrogate_key,)
        yield (*grain, EFFECTIVE)
    elif kind.sliceable:
        yield tuple(grain)
    else:
        yield (LOAD_DATE, *grain)
