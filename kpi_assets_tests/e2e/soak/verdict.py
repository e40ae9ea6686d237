"""The verdict on a database after a soak: one sentence for each thing that is not as it must be."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from kpi_assets.ledger import publishes
from kpi_assets.materialize.recheck import check_as_published
from kpi_assets.model.pipeline import Pipeline
from kpi_assets_tests.machine import is_alive

# A table that reads others is not built again where these were published again with the same rows, of other objects.
PUBLISHED = (
    "select asset, load_date, rows, checksum, code_version, case when inputs = '{}' then manifest_hash end "
    "from ops.published order by 1, 2"
)
CURRENT = "select asset, load_date, count(*) from ops.publishes where superseded_at is null group by 1, 2"
RUNNING = "select job, load_date from ops.pipeline_runs where status = 'running'"
# Tables of builds that are no part of a published one
LEFT = (
    "select relname from pg_class where relnamespace = 'builds'::regnamespace and relkind in ('r', 'p') "
    "and not relispartition order by 1"
)
ACCOUNTS = (
    "select p.asset, p.load_date, r.rows_extracted, r.rows_loaded_raw, r.rows_quarantined, p.rows "
    "from ops.published as p inner join ops.pipeline_runs as r on r.id = p.build_id where p.asset = any(%s)"
)
LOCKS = (
    "select l.classid, l.objid, l.mode from pg_locks as l inner join pg_database as d on l.database = d.oid "
    "where d.datname = current_database() and l.locktype = 'advisory'"
)


def wrong(
    url: str, pipeline: Pipeline, days: Sequence[date], records: Mapping[tuple[str, str, date], int]
) -> list[str]:
    """Return what is wrong in the database of a pipeline whose load_dates are all to be published.

    `records` has the number of records of each object by pipeline, file name and load_date, as far as it is known.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        found = [
            *_publishes(connection, pipeline, days),
            *_accounts(connection, pipeline, records),
            *_checksums(connection, pipeline, days),
            *(f"{job} of {day} is recorded as running" for job, day in connection.execute(RUNNING).fetchall()),
            *(f"builds.{name} was left behind" for (name,) in connection.execute(LEFT).fetchall()),
        ]
    return [f"{pipeline.name}: {each}" for each in found]


def _publishes(connection: psycopg.Connection, pipeline: Pipeline, days: Sequence[date]) -> Iterator[str]:
    """Each table has exactly one current publish of each load_date, and no other load_date has one."""
    counts = {(asset, day): count for asset, day, count in connection.execute(CURRENT).fetchall()}
    wanted = {(str(relation), day) for relation in pipeline.tables for day in days}
    for asset, day in sorted(wanted | counts.keys()):
        there, due = counts.get((asset, day), 0), int((asset, day) in wanted)
        if there != due:
            yield f"{asset} of {day} has {there} current publishes, and {due} are due"


def _accounts(
    connection: psycopg.Connection, pipeline: Pipeline, records: Mapping[tuple[str, str, date], int]
) -> Iterator[str]:
    """Records in the object = rows published + records set aside."""
    files = {str(table.relation): Path(table.source.object).name for table in pipeline.object_tables}
    for asset, day, read, loaded, aside, rows in connection.execute(ACCOUNTS, [list(files)]).fetchall():
        delivered = records.get((pipeline.name, files[asset], day), read)
        if not delivered == read == loaded + aside or loaded != rows:
            yield (
                f"{asset} of {day}: {delivered} records were delivered, {read} read, {loaded} loaded, {aside} set "
                f"aside, {rows} published"
            )


def _checksums(connection: psycopg.Connection, pipeline: Pipeline, days: Sequence[date]) -> Iterator[str]:
    """The rows have the count and the checksum of the ledger."""
    for day in days:
        current = publishes.current(connection, pipeline.tables, day)
        for relation, publish in current.items():
            result = check_as_published(connection, pipeline.tables[relation], publish)
            if not result.passed:
                yield f"{relation} of {day}: {result.message}"


def locks(url: str) -> list[tuple[Any, ...]] | None:
    """Return the advisory locks that are held in a database; None while the server is away."""
    with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(LOCKS).fetchall()
    return None


def published(url: str) -> list[tuple[Any, ...]]:
    """Return what is published: rows, checksum and code of each table and load_date, and which objects it has read."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(PUBLISHED).fetchall()


def drop_database(url: str, name: str) -> None:
    """Drop the database of a pipeline with everything in it."""
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def left_running(folder: Path) -> list[str]:
    """Return the processes whose command line or home lies in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = [*process.cmdline(), process.environ().get("KPI_HOME", "")]
            mine = process.pid != os.getpid() and any(str(folder) in word for word in words)
            if mine and is_alive(process):
                found.append(f"still running: {' '.join(process.cmdline())}")
    return found
