"""What a rollback of a load_date would change: which tables readers would see as they were, and what is at its root.

Nothing changes here, and what speaks against a rollback is said before anything does.
Belongs here: finding and refusing. Not here: the rollback itself (rollback.py).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.ledger import kept, kpi_values, past, publishes, rulings
from kpi_assets.ledger.kept import KeptRows
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.keep import Content, is_growing
from kpi_assets.model.names import DECISIONS, InputName, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table

Values = Mapping[str, Decimal | None]
_SHORTEST_RUN = 8  # characters of a run_id


@dataclass(frozen=True)
class Moment:
    """A state of a load_date in the past: just before a publish, or at an instant."""

    said: str  # in a sentence, such as "before publish 12"
    before: int | None = None
    at: datetime | None = None


def at_instant(at: datetime) -> Moment:
    """Return the state at an instant."""
    return Moment(f"at {at:%Y-%m-%d %H:%M:%S} UTC", at=at)


def before_run(connection: Connection[Any], load_date: date, run_id: str) -> Moment:
    """Return the state before a run published anything; the first letters of its id are enough. Raises UserError."""
    found = past.first_of_run(connection, run_id, load_date) if len(run_id) >= _SHORTEST_RUN else []
    if len(found) != 1:
        which = "several runs have ids that begin so" if found else "no run has an id that begins so"
        raise UserError(
            f"{run_id!r} names no run that published something of {load_date} ({which}): `kpi publishes` prints the "
            f"runs; give at least {_SHORTEST_RUN} characters of one."
        )
    [(run, first)] = found
    return Moment(f"before run {run}", before=first)


def last_with(connection: Connection[Any], load_date: date, publish_id: int) -> Moment:
    """Return the state before the run that replaced a publish. Raises UserError if there is no such publish or run."""
    found = publishes.of_id(connection, publish_id)
    if found is None or found.load_date != load_date or Relation.parse(found.asset).schema == DECISIONS:
        raise UserError(f"There is no publish {publish_id} of {load_date}: `kpi publishes` prints them.")
    following = past.replaced_by(connection, found)
    if following is None:
        raise UserError(f"Publish {publish_id} is the last one of {found.asset} of {load_date}: nothing replaced it.")
    return Moment(f"before publish {publish_id} was replaced", before=following)


@dataclass(frozen=True)
class Change:
    """One table that would show again what it showed before: `now` is its publish, `then` the one to be restored.

    A table `is_root` if its own object, SQL or decisions differ, or an input that is not rolled back.
    """

    table: Table
    now: Publish
    then: Publish
    kept: KeptRows
    is_root: bool


@dataclass(frozen=True)
class ShownValues:
    """The values of a KPI as readers see them, and as they would."""

    asset: str
    now: Values
    then: Values


@dataclass(frozen=True)
class Planned:
    """A rollback that can be made: what changes, in build order, and the tables that had no rows then."""

    load_date: date
    moment: Moment
    changes: Sequence[Change]
    later: Sequence[str]  # tables that were published for the first time since, and stay as they are
    values: Sequence[ShownValues]

    @property
    def roots(self) -> list[Change]:
        """The changes at the root of the others."""
        return [change for change in self.changes if change.is_root]


def plan(
    connection: Connection[Any],
    pipeline: Pipeline,
    load_date: date,
    moment: Moment,
    only: Collection[Relation] | None = None,
) -> Planned:
    """Return what a rollback changes, of all tables or `only` some. Raises UserError if it cannot be made."""
    if is_growing(connection, load_date):
        raise UserError(f"{load_date} still grows, so that each tick replaces it: roll it back once it is over.")
    tables = {
        relation: table
        for relation, table in pipeline.tables.items()
        if table.storage.stores_rows and (only is None or relation in only)
    }
    then = past.published(connection, load_date, before=moment.before, at=moment.at)
    now = publishes.current(connection, pipeline.tables, load_date)
    later = [str(relation) for relation in tables if relation in now and relation not in then]
    differing = {
        relation: (now.get(relation), then[relation])
        for relation in tables
        if relation in then and not (relation in now and Content.of(now[relation]) == Content.of(then[relation]))
    }
    if not differing:
        what = "was published" if not then else "differs from what readers see now"
        raise UserError(f"Nothing of {load_date} {what} {moment.said}: there is nothing to roll back.")
    found, lacking = list[tuple[Table, Publish, Publish, KeptRows]](), list[str]()
    for relation, (shown, earlier) in differing.items():
        rows = kept.find(connection, earlier)
        if shown is None or rows is None or (why := _obstacle(connection, tables[relation], earlier)):
            why = _gone(tables[relation], shown) if shown is None or rows is None else why
            lacking.append(f"{relation} ({why})")
        else:
            found.append((tables[relation], shown, earlier, rows))
    if lacking:
        raise UserError(
            f"{load_date} cannot be rolled back to what it was {moment.said}, and nothing was changed: "
            f"{'; '.join(lacking)}. Name with --select the tables that can be, or build it again by the files of that "
            "time."
        )
    relations = {table.relation for table, *_ in found}
    changes = [
        Change(table, shown, earlier, rows, _is_root(connection, pipeline, table, shown, earlier, relations))
        for table, shown, earlier, rows in found
    ]
    return Planned(load_date, moment, changes, later, _values(connection, pipeline, changes, now, then))


def _gone(table: Table, shown: Publish | None) -> str:
    """Say why the rows that a table had are not there."""
    if shown is None:
        return "its rows were dropped since"
    return (
        "it grows: a replay of its events gives its rows again" if table.grows else "those rows are not kept any more"
    )


def _obstacle(connection: Connection[Any], table: Table, earlier: Publish) -> str:
    """Say why rows that are kept cannot be shown; empty if they can."""
    if earlier.types != table.types:
        return "its file declares other columns by now"
    if ruling := rulings.keeping_out(connection, earlier):
        return f"{ruling.ruled_by} keeps that build out: `kpi revoke {table.pipeline} {ruling.ruling_id}` takes it back"
    if ruling := rulings.revoked(connection, earlier):
        waived = "it" if ruling.asset == earlier.asset else f"{ruling.asset}, which it was made from,"
        return (
            f"{waived} was published by ruling {ruling.ruling_id}, which was revoked since: roll back to a state "
            "without that"
        )
    return ""


def _is_root(
    connection: Connection[Any],
    pipeline: Pipeline,
    table: Table,
    now: Publish,
    then: Publish,
    rolled_back: Collection[Relation],
) -> bool:
    """Return whether a build of the table would still give what is rolled back once its inputs are rolled back."""
    if table.has_object and now.manifest_hash != then.manifest_hash:
        return True
    if now.code_version != then.code_version:
        return True
    explained = False
    for name in _differing_inputs(connection, now, then):
        origin = pipeline.tables[name.relation].origin.relation if name.relation in pipeline.tables else name.relation
        if origin not in rolled_back or (name.load_date is not None and not name.is_up_to):
            return True
        if name.is_up_to and past.republished_between(
            connection, name.relation, then.load_date, now.inputs.get(str(name), 0), then.inputs.get(str(name), 0)
        ):
            return True
        explained = True
    return not explained  # else nothing explains why its rows differ, and a build might give them again


def _differing_inputs(connection: Connection[Any], now: Publish, then: Publish) -> Iterator[InputName]:
    """Yield the inputs of which two publishes read other rows, or only one of them anything."""
    names = [name for name in sorted({*now.inputs, *then.inputs}) if now.inputs.get(name) != then.inputs.get(name)]
    read = publishes.of_ids(connection, [of.inputs[name] for name in names for of in (now, then) if name in of.inputs])
    for name in names:
        pair = [read.get(of.inputs[name]) if name in of.inputs else None for of in (now, then)]
        checksums = [each and each.checksum for each in pair]
        if InputName.parse(name).is_up_to or None in checksums or checksums[0] != checksums[1]:
            yield InputName.parse(name)


def _values(
    connection: Connection[Any],
    pipeline: Pipeline,
    changes: Sequence[Change],
    now: Mapping[Relation, Publish],
    then: Mapping[Relation, Publish],
) -> list[ShownValues]:
    """Return the values of all KPIs that change, also of views, in build order."""
    shown = {each for change in changes for each in (change.table.relation, *pipeline.views_of(change.table.relation))}
    kpis = [relation for relation, table in pipeline.tables.items() if relation in shown and table.header.kpi]
    found = kpi_values.of_publishes(
        connection, [of[each].publish_id for of in (now, then) for each in kpis if each in of]
    )
    nothing: Values = {}
    return [
        ShownValues(
            str(each), *(found.get(of[each].publish_id, nothing) if each in of else nothing for of in (now, then))
        )
        for each in kpis
    ]
