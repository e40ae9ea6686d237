"""Drops a table with all its load_dates, or takes one load_date out of it.

A table is dropped, for example, when its file was removed or declares another storage, and a load_date when it should
never have been there. The ledger keeps the publishes and marks them as removed. What has a file is due again.
Not here: dropping rows because of their age (retention.py).
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from pydantic import SecretStr

from kpi_assets.errors import UserError
from kpi_assets.ledger import incidents, locks, places, publishes
from kpi_assets.ledger.locks import build_lock, lock_publish, run_lock
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize import keep
from kpi_assets.materialize.context import BuildContext, Progress
from kpi_assets.materialize.dropped import explain_replay
from kpi_assets.materialize.places import place_of
from kpi_assets.materialize.retry import LOCK_TIMEOUT, retry_on_lock, wait_for_lock, wait_for_snapshots
from kpi_assets.model.names import DECISIONS, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.sources.listing import landed
from kpi_assets.sources.store import Store
from kpi_assets.warehouse import tables
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.ddl import owner_of
from kpi_assets.warehouse.views import views_on

READER_TIMEOUT = 60.0  # seconds to wait for readers of the table, or for a run of the load_date


@dataclass(frozen=True)
class PublishedTable:
    """A published table, with the number, the first, the last and the rows of its load_dates in the ledger."""

    asset: str
    load_dates: int
    first: date
    last: date
    rows: int

    def __str__(self) -> str:
        days = f"{self.load_dates} load_dates from {self.first} to {self.last}"
        return f"{self.asset} ({days if self.load_dates > 1 else self.first}, {self.rows:,} rows)"


def published_tables(connection: Connection[Any]) -> list[PublishedTable]:
    """List every table that has a published load_date, ordered by name; decisions are no table."""
    with connection.cursor(row_factory=class_row(PublishedTable)) as cursor:
        return cursor.execute(
            "select asset, count(*) as load_dates, min(load_date) as first, max(load_date) as last, "
            "sum(rows)::bigint as rows from ops.published where split_part(asset, '.', 1) <> %s "
            "group by asset order by asset",
            [DECISIONS],
        ).fetchall()


def orphans(connection: Connection[Any], described: Collection[Relation]) -> list[PublishedTable]:
    """List the published tables that no file describes."""
    names = {str(relation) for relation in described}
    return [table for table in published_tables(connection) if table.asset not in names]


def drop_table(server: SecretStr, database: str, relation: Relation, on_progress: Progress) -> None:
    """Drop a table, its `_latest` view and its held candidates, and record that in the ledger.

    One on the lake is dropped after the ledger has recorded it; if that fails, a second call drops it. Raises
    EngineError, DefinitionError if a user's view depends on the table, WarehouseError if a reader holds the table for
    longer than READER_TIMEOUT, and UserError if a build of a table on the lake runs for so long.
    """
    with connect(server, database, "drop") as connection:
        role = owner_of(connection, relation)
        on_lake = {each.snapshot.table for each in places.named(connection, [relation])}
    with connect(server, database, f"drop {relation}", role=role) as connection:

        def change() -> None:
            with connection.transaction():
                incidents.await_turn(connection)
                connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
                lock_publish(connection, relation)
                keep.drop_all(connection, [relation], None, "kpi drop")
                tables.drop(connection, relation)
                publishes.record_removal(connection, relation)
                incidents.close_of_table(connection, relation)

        with _dropping(connection, relation, sorted(on_lake), on_progress) as drop_on_lake:
            wait_for_snapshots(connection, "dropped", on_progress, READER_TIMEOUT)
            retry_on_lock(change, "dropped", on_progress, READER_TIMEOUT)
            drop_on_lake()


def _dropping(
    connection: Connection[Any], relation: Relation, names: Sequence[str], on_progress: Progress
) -> AbstractContextManager[Callable[[], None]]:
    """Return what drops the Iceberg tables of a table; its session is open before the ledger changes."""
    if not names:
        return nullcontext(lambda: None)
    from kpi_assets.materialize.in_lake import dropping  # noqa: PLC0415  no other pipeline needs it

    return dropping(connection, relation, names, on_progress, READER_TIMEOUT)


@dataclass(frozen=True)
class PublishedLoadDate:
    """A published load_date of a stored table, and what belongs to it.

    `views` show its rows, and `readers` were built from them.
    """

    table: Table
    publish: Publish
    views: Sequence[Relation]
    readers: Sequence[PublishedTable]

    def __str__(self) -> str:
        rows = f"{self.publish.rows:,} row{'s' * (self.publish.rows != 1)}"
        return f"{self.publish.asset} of {self.publish.load_date} ({rows})"


def published_load_date(
    connection: Connection[Any], pipeline: Pipeline, table: Table, load_date: date, *, place: str
) -> PublishedLoadDate:
    """Return a published load_date of a stored table.

    Raises UserError, which names the `place` of the data, if it is not published or retention dropped its rows.
    """
    publish = publishes.current(connection, [table.relation], load_date).get(table.relation)
    if publish is None and (gone := publishes.dropped(connection, [table.relation], load_date)):
        raise UserError(f"There is nothing to drop: {explain_replay(pipeline, gone, load_date)}.")
    if publish is None:
        raise UserError(f"{table.relation} of {load_date} is not published in {place}: there is nothing to drop.")
    views = publishes.current(connection, views_on(connection, table.relation), load_date)
    return PublishedLoadDate(table, publish, [*views], _readers(connection, table.relation, load_date, [*views]))


def _readers(
    connection: Connection[Any], relation: Relation, load_date: date, views: Sequence[Relation]
) -> list[PublishedTable]:
    """List the published tables that were built from a load_date of a table or of the views that show it."""
    names = [str(each) for each in (relation, *views)]
    with connection.cursor(row_factory=class_row(PublishedTable)) as cursor:
        return cursor.execute(
            """
            select p.asset, count(*) as load_dates, min(p.load_date) as first, max(p.load_date) as last,
                sum(p.rows)::bigint as rows
            from ops.published as p
            where p.asset <> all(%(names)s) and exists (
                select 1 from unnest(%(names)s::text[]) as n (asset)
                where p.load_date = %(day)s and p.inputs ? n.asset
                or p.inputs ? (n.asset || '@' || %(day)s)
                or p.load_date >= %(day)s and p.inputs ? (n.asset || '@..' || p.load_date)
            )
            group by p.asset
            order by p.asset
            """,
            {"names": names, "day": load_date},
        ).fetchall()


def find_objects(store: Store, pipeline: Pipeline, table: Table, load_date: date) -> list[str]:
    """List the objects on S3 from which a load_date of a table would be built again. Raises LakeError."""
    names, waiting = set[Relation](), [table.relation]
    while waiting:
        relation = waiting.pop()
        if relation not in names:
            names.add(relation)
            waiting += pipeline.tables[relation].reads
    raw = [each for each in pipeline.object_tables if each.relation in names]
    dated = [each for each in raw if not each.source.key.is_reference]
    there = {*landed(store, dated, load_date, load_date).get(load_date, {})}
    for each in raw:
        if each not in dated and store.manifest(each.relation.table, date.min, each.source.object):
            there.add(each.relation.table)
    return [each.object_name for each in raw if each.relation.table in there]


def drop_load_date(context: BuildContext, found: PublishedLoadDate, timeout: float = READER_TIMEOUT) -> None:
    """Take a load_date out of a table, and its held candidates, and record that in the ledger, also for its views.

    Raises UserError if it was published again since it was `found`, or a run of it is in progress; DefinitionError if
    the file declares another storage; and WarehouseError if a reader holds the table. Each is waited for `timeout`
    seconds.
    """
    table, relation, load_date = found.table, found.table.relation, found.publish.load_date
    with context.session(table, f"drop {relation} {load_date}") as connection, place_of(context, table) as place:

        def change() -> None:
            with connection.transaction():
                incidents.await_turn(connection)
                connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
                lock_publish(connection, relation)
                if publishes.current(connection, [relation], load_date).get(relation) != found.publish:
                    raise UserError(f"{relation} of {load_date} was published again meanwhile: drop it again.")
                place.remove(connection, table, load_date)
                keep.drop_all(connection, [relation], load_date, "kpi drop")
                publishes.record_load_date_removal(connection, [relation, *views_on(connection, relation)], load_date)
                incidents.close_of_table(connection, relation, load_date)

        deadline = time.monotonic() + timeout
        for lock in (run_lock(load_date), build_lock(relation, load_date)):
            phase = "waiting for a run of its load_date"
            if not wait_for_lock(connection, lock, phase, context.on_progress, deadline - time.monotonic()):
                holder = locks.holder(connection, lock)
                raise UserError(
                    f"A run of {load_date} is in progress ({holder}), so nothing was dropped: let it end first."
                )
        if place.removal_swaps(connection, table, load_date):
            wait_for_snapshots(connection, "dropped", context.on_progress, timeout)
        retry_on_lock(change, "dropped", context.on_progress, timeout)
        place.after_removal(connection, table, load_date)
        place.drop_leftovers(connection, table, load_date)
