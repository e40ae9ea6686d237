"""Why a load_date was published again with other rows: what differs between two publishes and all that they come from.

Belongs here: the comparison of two publishes by the ledger. Not here: which publishes are restatements (kpis.py), and
the whole lineage of one publish (lineage.py).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from kpi_assets.model.manifest import NO_OBJECT
from kpi_assets.model.names import DECISIONS, InputName, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.titles import asset_title, day

Gap = Literal["removed", "dropped"] | None  # why readers saw nothing of a load_date between two publishes of it
Pair = tuple[int, int]  # the publish_ids before and after
_NAMED = 3  # reasons


class _Publish(NamedTuple):
    publish_id: int
    asset: str
    load_date: date
    manifest_hash: str
    code_version: str
    checksum: str
    inputs: Mapping[str, int]


@dataclass(frozen=True)
class _Cause:
    """What differs, in a table or its object. The lowest `rank` is said first."""

    rank: int
    text: str  # with {} for the table


_OBJECT = _Cause(0, "the source object of {} was replaced")
_OBJECTS = _Cause(0, "the source objects of {} were replaced or added")
_CAME = _Cause(0, "the source object of {} came")
_GONE = _Cause(0, "the source object of {} was taken away")
_DECIDED = _Cause(1, "it was decided on rows of {} that were set aside")
_SQL = _Cause(2, "the SQL of {} was changed")
_OWN_SQL = _Cause(2, "its SQL was changed")
_COLUMNS = _Cause(2, "the columns of {} were declared otherwise")
_ADDED = _Cause(3, "{} was published later")
_TAKEN = _Cause(3, "{} was taken out")
_HISTORY = _Cause(3, "the history {} was corrected")


def find_reasons(connection: Connection[Any], pipeline: Pipeline, pairs: Mapping[Pair, Gap]) -> dict[Pair, str]:
    """Return why the second publish of each pair has other rows than the first, as a clause for readers.

    The ledger is walked down level by level, for all pairs together, and only where the inputs differ.
    """
    known: dict[int, _Publish] = {}
    causes: dict[Pair, dict[tuple[_Cause, str, date], None]] = {pair: {} for pair in pairs}
    seen: set[tuple[Pair, Pair]] = set()
    level = [(pair, pair) for pair in pairs]
    while level:
        _read(connection, {each for _, compared in level for each in compared}, known)
        below = []
        for pair, (before_id, after_id) in level:
            before, after = known.get(before_id), known.get(after_id)
            is_same = pair != (before_id, after_id) and before and after and before.checksum == after.checksum
            if before is None or after is None or is_same or (pair, (before_id, after_id)) in seen:
                continue
            seen.add((pair, (before_id, after_id)))
            for cause, asset, load_date in _differences(pipeline, before, after, is_own=pair == (before_id, after_id)):
                causes[pair][cause, asset, load_date] = None
            below += [(pair, both) for both in _changed_inputs(before, after)]
        level = below
    order = {str(relation): number for number, relation in enumerate(pipeline.tables)}
    return {
        pair: _sentence(pipeline, order, known[pair[1]], causes[pair], gap) if pair[1] in known else ""
        for pair, gap in pairs.items()
    }


def _read(connection: Connection[Any], wanted: Iterable[int], known: dict[int, _Publish]) -> None:
    """Add the publishes that are not known yet."""
    if lacking := sorted({*wanted} - {*known}):
        for row in connection.execute(
            "select publish_id, asset, load_date, manifest_hash, code_version, checksum, inputs from ops.publishes "
            "where publish_id = any(%s)",
            [lacking],
        ).fetchall():
            known[row[0]] = _Publish(*row)


def _differences(
    pipeline: Pipeline, before: _Publish, after: _Publish, *, is_own: bool
) -> Iterator[tuple[_Cause, str, date]]:
    """Yield what differs between two publishes themselves, apart from the publishes that both have read."""
    relation = Relation.parse(after.asset)
    table = pipeline.tables.get(relation)
    if relation.schema == DECISIONS:
        yield _DECIDED, relation.table.replace("__", ".", 1), after.load_date
        return
    has_object = not before.inputs and not after.inputs
    if before.code_version != after.code_version:
        yield _OWN_SQL if is_own else _COLUMNS if has_object else _SQL, after.asset, after.load_date
    if (has_object or (table and table.has_object)) and before.manifest_hash != after.manifest_hash:
        if NO_OBJECT in (before.manifest_hash, after.manifest_hash):
            yield _CAME if before.manifest_hash == NO_OBJECT else _GONE, after.asset, after.load_date
        else:
            several = table and table.has_object and table.source.key.is_pattern
            yield _OBJECTS if several else _OBJECT, after.asset, after.load_date
    for name in before.inputs.keys() ^ after.inputs.keys():
        read = InputName.parse(name)
        if read.relation.schema == DECISIONS:
            yield _DECIDED, read.relation.table.replace("__", ".", 1), read.load_date or after.load_date
        elif read.load_date and not read.is_up_to:
            yield _ADDED if name in after.inputs else _TAKEN, str(read.relation), read.load_date
    for name in before.inputs.keys() & after.inputs.keys():
        read = InputName.parse(name)
        if read.is_up_to and before.inputs[name] != after.inputs[name]:
            yield _HISTORY, str(read.relation), after.load_date


def _changed_inputs(before: _Publish, after: _Publish) -> Iterator[Pair]:
    """Yield the publishes of the same input that differ."""
    for name in before.inputs.keys() & after.inputs.keys():
        pair = before.inputs[name], after.inputs[name]
        if pair[0] != pair[1] and not InputName.parse(name).is_up_to:
            yield pair


def _sentence(
    pipeline: Pipeline,
    order: Mapping[str, int],
    after: _Publish,
    causes: Iterable[tuple[_Cause, str, date]],
    gap: Gap,
) -> str:
    """Return the causes as one clause: the first few, and how many more there are."""
    found = [
        cause.text.format(_of_day(asset_title(pipeline, asset), load_date, after.load_date))
        for cause, asset, load_date in sorted(
            causes,
            key=lambda each: (each[0].rank, each[2] != after.load_date, order.get(each[1], len(order)), each[1:]),
        )
    ]
    found = list(dict.fromkeys(found))
    if gap == "removed":
        found.insert(0, "it was taken out and published again")
    elif gap == "dropped" and not found:
        found = ["its rows were dropped and built again"]
    if not found:
        return "it was built again with other rows"
    more = len(found) - _NAMED
    texts = found[:_NAMED] + ([f"{more} more cause{'s' * (more > 1)}"] if more > 0 else [])
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)


def _of_day(title: str, load_date: date, own: date) -> str:
    return title if load_date == own else f"{title} of {day(load_date)}"
