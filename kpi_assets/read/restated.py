"""Why a load_date was published again with other rows: what differs between two publishes and all that they come from.

A load_date that grows is published again with every batch. That it has more events is no restatement.

Belongs here: the comparison of two publishes by the ledger. Not here: which publishes are compared (points.py,
turns.py), and the whole lineage of one publish (lineage.py).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from kpi_assets.ledger import batches
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
_AGAIN = _Cause(4, "{} was built again as a whole")


@dataclass
class _Found:
    """What differs between two publishes: the causes, and whether load_dates that grow had more events."""

    causes: dict[tuple[_Cause, str, date], None] = field(default_factory=dict)
    grew: bool = False


class _Step(NamedTuple):
    """Two publishes of one table and load_date to be compared, on the way down from a pair."""

    pair: Pair
    compared: Pair
    relation: Relation | None  # None: that of the pair itself
    load_date: date | None


def find_reasons(connection: Connection[Any], pipeline: Pipeline, pairs: Mapping[Pair, Gap]) -> dict[Pair, str]:
    """Return why the second publish of each pair has other rows than the first, as a clause for readers."""
    known: dict[int, _Publish] = {}
    found = _compare(connection, pipeline, pairs, known)
    order = {str(relation): number for number, relation in enumerate(pipeline.tables)}
    return {
        pair: _sentence(pipeline, order, known[pair[1]], found[pair].causes, gap) if pair[1] in known else ""
        for pair, gap in pairs.items()
    }


def find_grown(connection: Connection[Any], pipeline: Pipeline, pairs: Iterable[Pair]) -> set[Pair]:
    """Return the pairs that differ in nothing but that load_dates that grow had more events in the second publish."""
    found = _compare(connection, pipeline, list(pairs), {})
    return {pair for pair, each in found.items() if each.grew and not each.causes}


def _compare(
    connection: Connection[Any], pipeline: Pipeline, pairs: Iterable[Pair], known: dict[int, _Publish]
) -> dict[Pair, _Found]:
    """Return what differs between the publishes of each pair; add the publishes that were read to `known`.

    The ledger is walked down level by level, for all pairs together, and only where the inputs differ.
    """
    found = {pair: _Found() for pair in pairs}
    seen: set[tuple[Pair, Pair]] = set()
    level = [_Step(pair, pair, None, None) for pair in found]
    while level:
        grown = _continued(connection, pipeline, level)
        _read(connection, {each for step in level if step not in grown for each in step.compared}, known)
        below: list[_Step] = []
        for step in level:
            pair, of_pair = step.pair, found[step.pair]
            if (pair, step.compared) in seen:
                continue
            seen.add((pair, step.compared))
            if step in grown:
                of_pair.grew = True
                continue
            before, after = (known.get(each) for each in step.compared)
            is_growing = _grows(pipeline, step.relation)
            if before is None or after is None:
                if is_growing and step.load_date:  # its superseded publishes are deleted when the load_date is closed
                    of_pair.causes[_AGAIN, str(step.relation), step.load_date] = None
                continue
            is_own = pair == step.compared
            if not is_own and before.checksum == after.checksum:
                continue
            for cause, asset, load_date in _differences(pipeline, before, after, is_own=is_own):
                of_pair.causes[cause, asset, load_date] = None
            if is_growing and not before.inputs and before.code_version == after.code_version:
                of_pair.grew = True  # a replay: by the same SQL, it has the same rows and those that came since
            below += _changed_inputs(pair, before, after)
        level = below
    return found


def _grows(pipeline: Pipeline, relation: Relation | None) -> bool:
    table = pipeline.tables.get(relation) if relation else None
    return table is not None and table.grows


def _continued(connection: Connection[Any], pipeline: Pipeline, steps: Iterable[_Step]) -> set[_Step]:
    """Return the steps whose second publish added batches to the rows of the first."""
    asked = [step for step in steps if _grows(pipeline, step.relation)]
    whole = batches.built_once(
        connection, {(step.relation, step.load_date) for step in asked if step.relation and step.load_date}
    )
    found = {step for step in asked if (step.relation, step.load_date) in whole}
    for step in asked:
        if step in found or not step.relation or not step.load_date:
            continue
        of = [batches.of_publish(connection, step.relation, step.load_date, each) for each in step.compared]
        if of[0] and of[1] and of[0].base_build_id == of[1].base_build_id:
            found.add(step)
    return found


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
    grows = table is not None and table.grows  # of which every batch has other objects
    if not grows and (has_object or (table and table.has_object)) and before.manifest_hash != after.manifest_hash:
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


def _changed_inputs(pair: Pair, before: _Publish, after: _Publish) -> Iterator[_Step]:
    """Yield the publishes of the same input that differ."""
    for name in before.inputs.keys() & after.inputs.keys():
        compared, read = (before.inputs[name], after.inputs[name]), InputName.parse(name)
        if compared[0] != compared[1] and not read.is_up_to:
            yield _Step(pair, compared, read.relation, read.load_date or after.load_date)


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
