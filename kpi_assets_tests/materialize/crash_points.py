"""Helpers of tests that interrupt builds: large objects, hooks at exact points, and queries on leftovers."""

from collections.abc import Callable

from psycopg import Connection

from kpi_assets.materialize.context import Progress
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import PipelineHarness

GOOD_ROWS = [(1, "anvil", "20.50"), (2, "feather", None)]
THINGS = "select thing_id, name, weight::text from raw.things order by thing_id"

# 20,000 records of 1,000 letters are three parts of an S3 read, so that a build can be stopped between parts.
WIDE_ROWS = 20_000
NAME = "x" * 1000
WIDE = b"thing_id,name,weight\n" + b"".join(b"%d,%s,1.25\n" % (n, NAME.encode()) for n in range(WIDE_ROWS))
WIDE_COUNTS = [(WIDE_ROWS, WIDE_ROWS * (WIDE_ROWS - 1) // 2, WIDE_ROWS * 1000, WIDE_ROWS * 1.25)]
COUNTS = "select count(*), sum(thing_id)::bigint, sum(length(name))::bigint, sum(weight)::float from raw.things"


def at(point: str, act: Callable[[], None], times: int = 1) -> Progress:
    """Return a progress callback that calls `act` when a build reports the phase `point` for the nth time."""
    left = times

    def hear(phase: str, done: int, total: int) -> None:
        nonlocal left
        if phase == point:
            left -= 1
            if not left:
                act()

    return hear


def sessions(connection: Connection, lab: PipelineHarness) -> list[tuple[int, str | None, str]]:
    """Return (process id, wait event type, statement) of each other session in the database."""
    return connection.execute(
        "select pid, wait_event_type, query from pg_stat_activity "
        "where datname = %s and pid <> pg_backend_pid() and backend_type = 'client backend'",
        [lab.name],
    ).fetchall()


def await_no_session(lab: PipelineHarness) -> None:
    """Wait until the server has noticed the end of all client sessions."""
    with lab.session() as connection:
        eventually(lambda: sessions(connection, lab) == [])


def leftover_builds(lab: PipelineHarness) -> list[str]:
    """Return the tables in the schema builds that are not part of a published table."""
    return [
        name
        for (name,) in lab.rows(
            "select relname from pg_class where relnamespace = 'builds'::regnamespace and relkind in ('r', 'p') "
            "and not relispartition order by 1"
        )
    ]


def locks(lab: PipelineHarness) -> list[tuple[str, ...]]:
    """Return the advisory locks in the database."""
    return lab.rows(
        "select l.classid, l.objid, l.mode from pg_locks as l inner join pg_database as d on l.database = d.oid "
        "where d.datname = current_database() and l.locktype = 'advisory'"
    )


def statuses(lab: PipelineHarness, table: str) -> list[tuple[str, str | None]]:
    """Return (status, error) of each build of a table."""
    return lab.rows(f"select status, error_message from ops.pipeline_runs where job = '{table}' order by id")
