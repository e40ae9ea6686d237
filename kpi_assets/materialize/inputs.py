"""The inputs of a build: resolved from the publish ledger before the build, and compared with it before the publish.

Belongs here: finding the publishes that a build reads, of its own load_date, of its window and of histories, and making
sure that they do not change during the build. Not here: the rows of the ledger (ledger/publishes.py), the rule which
rows of a window count (model/lookback.py), and when a build read other rows of a history (ledger/marks.py).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import batches, decisions, marks, publishes, runs
from kpi_assets.ledger.batches import Batch
from kpi_assets.ledger.marks import Known
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize import carry_on
from kpi_assets.materialize.context import BuildContext, UpstreamError
from kpi_assets.materialize.decisions import look
from kpi_assets.materialize.dropped import explain_replay
from kpi_assets.materialize.retry import block_publishes
from kpi_assets.model.decision import NO_DECISIONS, Decision
from kpi_assets.model.growing import as_one_batch
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import InputName, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.query import digest
from kpi_assets.model.ruling import Ruling
from kpi_assets.model.table import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.content import find_lost


@dataclass(frozen=True)
class Inputs:
    """The publishes that a build of a table and load_date reads.

    `earlier` is empty unless the table has `lookback`; `lacks` are those that are due in its window and not there.
    `previous` is the publish of the table itself from which it carries on. `histories` are those that it reads, each
    with what is known of it up to the load_date. `decisions` are those on its rows that were set aside, in the order in
    which they were made, `rulings` those on its builds, and `decided` is the publish of both, None if there never was
    one; `hash_of_decisions` stands for those on rows. `growing` is the last batch that a table which grows reads of
    another one; with `as_one` it reads all of them up to that one, as its first batch.
    """

    table: Table
    load_date: date
    of_load_date: Mapping[Relation, Publish]
    earlier: tuple[Publish, ...] = ()
    window: Window | None = None
    lacks: tuple[InputName, ...] = ()
    previous: Publish | None = None
    histories: Mapping[Relation, Known] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    decided: Publish | None = None
    rulings: tuple[Ruling, ...] = ()
    hash_of_decisions: str = NO_DECISIONS
    growing: Mapping[Relation, Batch] = field(default_factory=dict)
    as_one: bool = False

    @property
    def all(self) -> list[Publish]:
        """All publishes that the build reads, those of its own load_date first; of a history, that one alone."""
        return [*self.of_load_date.values(), *self._of_earlier]

    @property
    def _of_earlier(self) -> list[Publish]:
        return [*self.earlier, *([self.previous] if self.previous else [])]

    @property
    def unread(self) -> set[Relation]:
        """The tables of which the build reads no load_date: none is due in the window, or none was before."""
        read = {each.asset for each in self.all}
        return {relation for relation in (*self.table.reads, *self.table.query_reads) if str(relation) not in read}

    @property
    def publish_ids(self) -> dict[str, int]:
        """The publish_id of each input by the name under which the ledger records it."""
        names = ((each, InputName(Relation.parse(each.asset), each.load_date)) for each in self._of_earlier)
        earlier = {str(name): each.publish_id for each, name in names}
        decided = {self.decided.asset: self.decided.publish_id} if self.decided else {}
        own = {str(relation): each.publish_id for relation, each in self.of_load_date.items()}
        up_to = {
            str(InputName(each, self.load_date, is_up_to=True)): known.mark for each, known in self.histories.items()
        }
        return {**own, **earlier, **decided, **up_to}

    @property
    def manifest_hash(self) -> str:
        """The hash of all manifests from which the inputs were built, and of the decisions on rows if there are some.

        All published load_dates of a history up to this one count. Rulings do not: what is ruled on stays the same.
        """
        decided = [self.hash_of_decisions] if self.decisions else []
        known = (each.manifest_hash for each in self.histories.values())
        return digest(*sorted([*(publish.manifest_hash for publish in self.all), *known, *decided]))

    def substitutes(
        self, pipeline: Pipeline, connection: Connection[Any], reads: Iterable[Relation]
    ) -> dict[Relation, str]:
        """Return the subqueries that are read in the place of some tables: cast, without rows, or as one batch."""
        tables = [pipeline.tables[relation] for relation in reads]
        found = candidates.cast_to_declared(connection, tables, self.unread)
        for relation, batch in self.growing.items() if self.as_one else ():
            rows = candidates.read_batches(relation, self.load_date, batch.batch, found.get(relation))
            found[relation] = as_one_batch(relation, pipeline.tables[relation].columns, rows)
        return found

    def warnings(self, connection: Connection[Any]) -> list[str]:
        """Return a sentence for each input whose latest build was not published."""
        return [
            f"{each.asset} of {each.load_date} is read as published on {each.published_at:%Y-%m-%d %H:%M:%S} UTC; "
            f"its latest build is {status}"
            for each in self.all
            if (status := runs.latest_status(connection, Relation.parse(each.asset), each.load_date)) != "success"
        ]

    def check_unchanged(self, connection: Connection[Any]) -> None:
        """Raise UpstreamError if an input of this load_date was published again, or somebody decided on rows of it.

        Those of a window or history cannot have changed: resolve_inputs blocks publishes into their tables.
        """
        now = publishes.current(connection, self.of_load_date, self.load_date)
        changed = [
            str(relation)
            for relation in self.of_load_date
            if relation not in self.growing and now.get(relation) != self.of_load_date[relation]
        ]
        # A batch that was added meanwhile is the next one to read; another first batch means that all rows are others.
        for relation, read in self.growing.items():
            last = batches.last(connection, relation, self.load_date)
            changed += [] if last and last.base_build_id == read.base_build_id else [str(relation)]
        if changed:
            raise UpstreamError(
                f"{self.table.relation} of {self.load_date} was not published: {', '.join(changed)} was published "
                "again while it was being built; build it again."
            )
        if decisions.current(connection, self.table.relation, self.load_date) != self.decided:
            raise UpstreamError(
                f"{self.table.relation} of {self.load_date} was not published: somebody decided on it while it was "
                "being built; build it again."
            )

    def check_previous(self, connection: Connection[Any], *, latest: bool = False) -> None:
        """Raise UpstreamError if the rows from which the table carries on were published again or dropped.

        With `latest`, also if a later load_date was published from which it would carry on now.
        """
        if self.table.carries_on:
            check = carry_on.check_latest if latest else carry_on.check_read
            check(connection, self.table.relation, self.load_date, self.previous)


def resolve_inputs(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> Inputs:
    """Find the publish of every table that `table` reads, also through views. Raises UpstreamError if one is missing.

    What is not due on the load_date is missing from it rightly; only tables that are read over a window can be. With
    `lookback`, also find the publishes of the earlier load_dates of the window, but only of load_dates that are
    published in every table of the window that was due on them. Publishes into these tables are blocked until the
    session ends, so the build reads exactly the publishes that the ledger records as its inputs. So are those into a
    history, of load_dates up to this one; later ones change nothing of what is read. Who publishes does not wait while
    it blocks others, but tries again, so no two builds wait for each other. For a table that carries on, find its own
    load_date before, too.
    """
    window_inputs, read_up_to = context.pipeline.window_inputs_of(table), context.pipeline.histories_of(table)
    for relation in window_inputs:
        block_publishes(connection, relation, context.on_progress)
    for relation in read_up_to:
        block_publishes(connection, relation, context.on_progress, load_date)
    histories = {relation: marks.known(connection, relation, load_date) for relation in read_up_to}
    of_load_date = _resolve_own(context, connection, table, load_date)
    decided = look(context, connection, table, load_date)
    _check_columns(context.pipeline, table, load_date, of_load_date)
    for relation, known in histories.items():
        _check_history_columns(context.pipeline, connection, table, load_date, relation)
        _check_there(context.pipeline, connection, table, load_date, {relation: known.stored})
    _check_stored(context.pipeline, connection, table, load_date, [of_load_date])
    previous = carry_on.resolve_previous(context.pipeline, connection, table, load_date)
    if previous:
        _check_stored(context.pipeline, connection, table, load_date, [{table.relation: previous}])
    inputs = Inputs(
        table,
        load_date,
        of_load_date,
        previous=previous,
        histories=histories,
        decisions=decided.decisions,
        decided=decided.publish,
        rulings=decided.rulings,
        hash_of_decisions=decided.hash_of_decisions,
    )
    if table.growing_reads:
        return of_batches(connection, inputs)
    if not window_inputs:
        return inputs
    there = earlier_of_window(context.pipeline, connection, table, load_date)
    for of in there.values():
        _check_columns(context.pipeline, table, load_date, of)
    _check_stored(context.pipeline, connection, table, load_date, there.values())
    earlier = tuple(publish for of in there.values() for publish in of.values())
    own = [load_date] if any(read in of_load_date for read in window_inputs) else []
    window = window_of(context.pipeline, table, load_date, (*there, *own))
    return replace(inputs, earlier=earlier, window=window, lacks=_lacking(context.pipeline, window_inputs, window))


def earlier_of_window(
    pipeline: Pipeline, connection: Connection[Any], table: Table, load_date: date
) -> dict[date, Mapping[Relation, Publish]]:
    """Return the publishes of the earlier load_dates of a window that count: those whole in every table of it."""
    window_inputs = pipeline.window_inputs_of(table)
    first = pipeline.window_start(table, load_date)
    found = publishes.current_between(connection, window_inputs, first, load_date - timedelta(days=1))
    due = {read: pipeline.calendars[read] for read in window_inputs}
    return {
        day: found[day]
        for day in sorted(found)
        if all(read in found[day] or not calendar.is_due(day) for read, calendar in due.items())
    }


def _lacking(pipeline: Pipeline, window_inputs: Iterable[Relation], window: Window) -> tuple[InputName, ...]:
    """Return what was due in a window and is not read: a load_date that one of its tables lacks is read of none."""
    days = [day for day in window.load_dates if day not in window.there]
    due = {read: pipeline.calendars[read] for read in window_inputs}
    return tuple(InputName(read, day) for day in days for read, calendar in due.items() if calendar.is_due(day))


def of_batches(connection: Connection[Any], inputs: Inputs) -> Inputs:
    """Return the inputs of a build that reads all batches of a growing table as one. Raises UpstreamError."""
    growing: dict[Relation, Batch] = {}
    for relation in inputs.table.growing_reads:
        last = batches.last(connection, relation, inputs.load_date)
        if last is None:
            raise UpstreamError(
                f"{inputs.table.relation} of {inputs.load_date} cannot be built: {relation} has no batch of that "
                "load_date; build that first."
            )
        growing[relation] = last
    read = {
        relation: as_of(inputs.of_load_date[relation], batch, batch.total_rows) for relation, batch in growing.items()
    }
    return replace(inputs, of_load_date={**inputs.of_load_date, **read}, growing=growing, as_one=True)


def as_of(publish: Publish, batch: Batch, rows: int) -> Publish:
    """Return the publish with which a batch became visible, of which so many rows are read."""
    return replace(
        publish, publish_id=batch.publish_id, build_id=batch.build_id, manifest_hash=batch.manifest_hash, rows=rows
    )


def window_of(pipeline: Pipeline, table: Table, load_date: date, there: Iterable[date]) -> Window:
    """Return the window of a build that reads the load_dates `there`."""
    first, read = pipeline.window_start(table, load_date), tuple(there)
    calendars = {pipeline.calendars[relation] for relation in pipeline.window_inputs_of(table)}
    days = (first + timedelta(days=n) for n in range((load_date - first).days + 1))
    undue = frozenset(day for day in days if not any(calendar.is_due(day) for calendar in calendars))
    return Window(first, load_date, read, undue - {*read})


def _check_columns(pipeline: Pipeline, table: Table, load_date: date, published: Mapping[Relation, Publish]) -> None:
    """Raise UpstreamError if a publish lacks a column that is read, or has it with another type than declared.

    A column that was added after the publish would silently be NULL in its rows.
    """
    for relation in (each for each in table.reads if each in published):
        there, columns = pipeline.tables[relation].origin
        publish, declared = published.get(there), pipeline.tables[there].types
        if publish is None or publish.types is None:
            continue
        for name, column in columns.items():
            if name in table.names_read and publish.types.get(column) != declared[column]:
                raise UpstreamError(
                    f"{table.relation} of {load_date} cannot be built: {there} of {publish.load_date} was published "
                    f"before its column {column!r} became what its file declares now; build that again first."
                )


def _check_history_columns(
    pipeline: Pipeline, connection: Connection[Any], table: Table, load_date: date, history: Relation
) -> None:
    """Raise UpstreamError if a load_date of a history, up to this one, was published with other columns than are read.

    A column that was added later would be NULL in the versions of such a load_date.
    """
    declared = {name: type_ for name, type_ in pipeline.tables[history].types.items() if name in table.names_read}
    for types, first, last, _ in publishes.by_columns(connection, history, up_to=load_date):
        for name, type_ in declared.items():
            if types is not None and types.get(name) != type_:
                raise UpstreamError(
                    f"{table.relation} of {load_date} cannot be built: it reads {history} of all load_dates up to its "
                    f"own, of which some from {first} to {last} were published before the column {name!r} became what "
                    f"its file declares now; `kpi backfill {pipeline.name} --from {first} --to {last} --select "
                    f"{history}` builds these again."
                )


def _check_stored(
    pipeline: Pipeline,
    connection: Connection[Any],
    table: Table,
    load_date: date,
    published: Iterable[Mapping[Relation, Publish]],
) -> None:
    """Raise UpstreamError if the rows of a publish are gone from the database: the build would silently read none."""
    wanted: dict[Relation, list[date]] = {}
    for of in published:
        for relation, publish in of.items():
            if publish.rows:
                wanted.setdefault(relation, []).append(publish.load_date)
    _check_there(pipeline, connection, table, load_date, wanted)


def _check_there(
    pipeline: Pipeline,
    connection: Connection[Any],
    table: Table,
    load_date: date,
    wanted: Mapping[Relation, Collection[date]],
) -> None:
    """Raise UpstreamError if a table has no rows of a load_date that was published with some."""
    for relation, days in wanted.items():
        for gone in sorted(find_lost(connection, pipeline.tables[relation], days)):
            raise UpstreamError(
                f"{table.relation} of {load_date} cannot be built: the rows of {relation} of {gone} are gone from the "
                f"database; `kpi run {pipeline.name} --load-date {gone}` makes them again."
            )


def _resolve_own(
    context: BuildContext, connection: Connection[Any], table: Table, load_date: date
) -> dict[Relation, Publish]:
    """Return the publish of the load_date itself for every input table. Raises UpstreamError if one is missing."""
    everything = context.pipeline.inputs_of(table)
    inputs = publishes.current(connection, everything, load_date)
    wanted = [each for each in everything if context.pipeline.calendars[each].is_due(load_date)]
    missing = [str(each) for each in table.reads if each in wanted and each not in inputs] or [
        str(each) for each in wanted if each not in inputs
    ]
    if missing and (gone := publishes.dropped(connection, wanted, load_date)):
        raise UpstreamError(
            f"{table.relation} of {load_date} cannot be built: {explain_replay(context.pipeline, gone, load_date)}."
        )
    if missing:
        raise UpstreamError(
            f"{table.relation} of {load_date} cannot be built: {', '.join(missing)} of that load_date must be "
            "published first; build that."
        )
    return inputs
