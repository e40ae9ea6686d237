"""One tick of a load_date that grows: a batch for each table that has something new, then the KPIs that read them.

The growing tables go first, in build order, so that a batch goes from the objects of a stream to the last rollup within
one tick. Then the other tables that come from them are built as always, each whole, if what they read was published
again. A table that fails or is held stops what follows from it and nothing else: readers keep what they had, and the
next tick tries again what may succeed.

Belongs here: which tables a tick touches, and in which order. Not here: a batch (grow.py), a build (build.py), and how
often there is a tick (automation/live_run.py).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.ledger import batches, growth, publishes, streams
from kpi_assets.ledger.holds import LastBuild, last_builds
from kpi_assets.materialize.build import build
from kpi_assets.materialize.changed import AFTER_FAILURE, Need, need
from kpi_assets.materialize.close import close
from kpi_assets.materialize.context import BuildContext, BuildOutcome, run_log_message
from kpi_assets.materialize.grow import Grown, forget_listing, grow
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.observed import Work, observed

LOOK_AGAIN = timedelta(seconds=60)  # at a table of which nothing is new: rows may have been dropped, which is no build
Outcome = TypeVar("Outcome")


@dataclass
class Tick:
    """What one tick did: the batches of growing tables, the builds of others, and why some failed.

    `waiting` are the tables that are to be built and rest: after a failure, or until their `refresh` is over. `held`
    are the growing tables whose latest batch is held, now or since an earlier tick. All events that brokers took before
    `through` are built, unless they are held; None if that is not known.
    """

    load_date: date
    grown: list[Grown] = field(default_factory=list)
    built: list[BuildOutcome] = field(default_factory=list)
    failed: dict[Relation, str] = field(default_factory=dict)
    waiting: list[Relation] = field(default_factory=list)
    held: list[Relation] = field(default_factory=list)
    through: datetime | None = None

    @property
    def outcomes(self) -> "list[Grown | BuildOutcome]":
        """What was built or held, in build order."""
        return [*self.grown, *self.built]

    @property
    def is_idle(self) -> bool:
        """Whether nothing was to be done, and nothing waits to be done."""
        return not (self.grown or self.built or self.failed or self.waiting)


@dataclass(frozen=True)
class _Look:
    """What was found about a table, and for how long that need not be looked at again."""

    need: Need
    about: object  # what it depends on
    until: datetime


@dataclass
class Seen:
    """What the ticks of one run have found out, so that they do not look at a table again of which nothing can be new.

    `published` has for growing tables with a SELECT what was published of them and of their input when they were last
    looked at, and `looks` what was found about the other tables.
    """

    published: dict[Relation, object] = field(default_factory=dict)
    looks: dict[Relation, _Look] = field(default_factory=dict)


def tick(context: BuildContext, load_date: date, *, is_last: bool = False, seen: Seen | None = None) -> Tick:
    """Grow each growing table of a load_date that has something new, then build what reads other rows now.

    `is_last` says that nothing will be added to the load_date, so that no table rests until its `refresh` is over. An
    error of one table is in the result, and the others are built. `seen` is what the ticks of one run share. Raises
    WarehouseError if the server cannot be used.
    """
    name, done = context.pipeline.name, Tick(load_date)
    work = Work("tick", name, name, load_date, facts={"run_id": context.run_id})
    with observed(work):
        # A listing for each build would cost the tick more than the build of a small KPI.
        _tick(done, replace(context, asks_for_rulings=False), Seen() if seen is None else seen, is_last=is_last)
        work.outcome = _outcome(done)
        counts = {"batches": len(done.grown), "builds": len(done.built), "failed": len(done.failed)}
        work.facts = {**work.facts, **counts}
    return done


def _outcome(done: Tick) -> str:
    """Return what came of a tick, in one word."""
    if done.failed:
        return "failed"
    if any(each.held for each in done.outcomes):
        return "held"
    return "built" if done.outcomes else "idle"


def _tick(done: Tick, context: BuildContext, known: Seen, *, is_last: bool) -> None:
    pipeline, load_date = context.pipeline, done.load_date
    with context.ledger_session(f"{context.run_id[:8]} tick {load_date}") as connection:
        landed = _landed_through(connection, pipeline)  # before the objects are listed
        growing = growing_tables(pipeline, load_date)
        last = last_builds(connection, [table.relation for table in growing], load_date)
        published = _published(connection, growing, load_date)
        for table in growing:
            if _grow(done, context, table, last.get(table.relation), published, known, is_last=is_last):
                published = _published(connection, growing, load_date)
                known.published[table.relation] = _of_table(published, table)
        newest = publishes.newest(connection)
        for table in tables_after(pipeline, load_date):
            if _build(done, context, connection, table, timedelta() if is_last else _rest(table), known, newest):
                newest = publishes.newest(connection)
        done.through = None if done.failed else _built_through(connection, pipeline, done, landed)
        growth.record_tick(connection, load_date, run_id=context.run_id, through=done.through)


def _grow(
    done: Tick,
    context: BuildContext,
    table: Table,
    last: LastBuild | None,
    published: Mapping[Relation, int],
    seen: Seen,
    *,
    is_last: bool,
) -> bool:
    """Add the batches that a growing table lacks, unless it failed just now; return whether something was built.

    Most objects are asked for by name, and a listing now and then finds the others. After the last ones have landed,
    what is asked for by name is not enough to say that there are no more. `last` is the latest build of the table.
    """
    if last and last.status == "failed" and datetime.now(timezone.utc) - last.at < AFTER_FAILURE:
        done.waiting.append(table.relation)
        return False
    grown: list[Grown] = []
    make = partial(grow, context, table, done.load_date)
    if table.stream or seen.published.get(table.relation) != _of_table(published, table):
        grown = _attempt(done, table, make) or []
    if is_last and table.stream and not grown and table.relation not in done.failed:
        forget_listing(context, table, done.load_date)
        grown = _attempt(done, table, make) or []
    has_failed = table.relation in done.failed
    if not has_failed:
        seen.published[table.relation] = _of_table(published, table)
    done.grown += grown
    if grown[-1].held if grown else last and last.status == "held":
        done.held.append(table.relation)
    return bool(grown) and not has_failed


def _published(connection: Connection[Any], tables: Iterable[Table], load_date: date) -> dict[Relation, int]:
    """Return the publish of each of the growing tables."""
    found = publishes.current(connection, [table.relation for table in tables], load_date)
    return {relation: publish.publish_id for relation, publish in found.items()}


def _of_table(published: Mapping[Relation, int], table: Table) -> object:
    """Return what identifies the rows of a growing table and of its input."""
    return [published.get(relation) for relation in (table.relation, *table.growing_reads)]


def _build(
    done: Tick,
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    rest: timedelta,
    seen: Seen,
    newest: object,
) -> bool:
    """Build a table whole that reads other rows now than when it was built; not from what failed in this tick.

    Return whether that was tried. `newest` identifies the state of the ledger.
    """
    if any(relation in done.failed for relation in table.reads):
        return False
    found = _need(context, connection, table, done.load_date, rest, seen, newest)
    if found in {"later", "rests"}:
        done.waiting.append(table.relation)
    elif found == "now":
        outcome = _attempt(done, table, partial(build, context, table, done.load_date))
        done.built += [outcome] if outcome else []
    return found == "now"


def _need(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    load_date: date,
    rest: timedelta,
    seen: Seen,
    newest: object,
) -> Need:
    """Say whether a table should be built. The answer is kept while nothing is built, or while the table rests."""
    now, versions = datetime.now(timezone.utc), (table.code_version, table.checks_version)
    look = seen.looks.get(table.relation)
    if look and now < look.until and look.about == (versions, rest if look.need == "rests" else newest):
        return look.need
    found = need(context.pipeline, connection, table, load_date, rest=rest, now=now)
    if found == "none":
        seen.looks[table.relation] = _Look(found, (versions, newest), now + LOOK_AGAIN)
    elif found == "rests":
        own = publishes.current(connection, [table.relation], load_date)[table.relation]
        seen.looks[table.relation] = _Look(found, (versions, rest), own.published_at + rest)
    return found


def finish(context: BuildContext, load_date: date) -> list[str]:
    """End the growing of a load_date that is closed and of which everything is built. Safe to repeat.

    Return a sentence for each table that cannot be closed, because something of it is held or has not landed. The
    ledger keeps the sentences until the load_date is built again.
    """
    problems = close(context, load_date)
    with context.ledger_session(f"{context.run_id[:8]} finish {load_date}") as connection:
        growth.finish(connection, load_date, problems)
    return problems


def _landed_through(connection: Connection[Any], pipeline: Pipeline) -> dict[Relation, datetime | None]:
    """Return before which instant all events of each stream are landed, by raw table."""
    found = pipeline.stream_tables
    return {table.relation: streams.through(connection, table.stream) if table.stream else None for table in found}


def _built_through(
    connection: Connection[Any], pipeline: Pipeline, done: Tick, landed: Mapping[Relation, datetime | None]
) -> datetime | None:
    """Return before which instant all events are built: where nothing new was found, all that had landed."""
    found = []
    for table in pipeline.stream_tables:
        if table.relation in {each.relation for each in done.grown} or table.relation in done.held:
            last = batches.last(connection, table.relation, done.load_date)
            found.append(last.through if last else None)
        else:
            found.append(landed[table.relation])
    known = [each for each in found if each is not None]
    return min(known) if known and len(known) == len(found) else None


def growing_tables(pipeline: Pipeline, load_date: date) -> list[Table]:
    """Return the tables that grow and are due on a load_date, in build order."""
    return [table for table in pipeline.due_tables(load_date) if table.grows]


def tables_after(pipeline: Pipeline, load_date: date) -> list[Table]:
    """Return the other tables of a load_date that come from tables that grow, in build order."""
    growing = {str(table.relation) for table in pipeline.tables.values() if table.grows}
    return [
        table
        for table in pipeline.due_tables(load_date)
        if not table.grows and growing.intersection(pipeline.made_of[table.relation])
    ]


def _rest(table: Table) -> timedelta:
    refresh = table.header.refresh
    return timedelta(minutes=refresh.minutes) if refresh else timedelta()


def _attempt(done: Tick, table: Table, make: Callable[[], Outcome]) -> Outcome | None:
    """Return what `make` returns; record its error if it fails by what a person or time can mend."""
    try:
        return make()
    except (UserError, psycopg.Error) as error:
        done.failed[table.relation] = run_log_message(error)
        return None
