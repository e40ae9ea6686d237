"""The Dagster instance: its database, the version of its tables, and whether its daemon lives."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kpi_assets.doctor.finding import Finding, advice, broken, guarded, ok
from kpi_assets.instance import folder
from kpi_assets.settings import Settings
from kpi_assets.warehouse.connection import connect, own_database

if TYPE_CHECKING:
    import dagster as dg

SUBJECT = "dagster"
SILENCE = 120  # seconds without a heartbeat, of which there is one each 30 seconds, until a daemon counts as dead


def instance(settings: Settings) -> Iterator[Finding]:
    """The instance of this KPI_HOME."""
    yield from guarded(SUBJECT, lambda: _look(settings))


def _look(settings: Settings) -> Iterator[Finding]:
    named = settings.dagster_postgres_url
    server, database = (named, own_database(named)) if named else (settings.postgres_url, folder.DATABASE)
    assert server is not None
    if not named:
        with connect(server, own_database(server), "doctor", reads=True) as connection:
            query = "select 1 from pg_database where datname = %s"
            if not connection.execute(query, [database]).fetchone():
                yield ok(SUBJECT, f"its database {database} is not made yet: `kpi up` or the first run makes it")
                return
    with connect(server, database, "doctor", reads=True):
        pass  # else Dagster would try for long, and say less
    folder.prepare(settings)
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from kpi_assets.instance.storage import open_instance  # noqa: PLC0415

    try:
        with open_instance() as opened:
            yield from _tables(opened)
            yield from _daemon(opened)
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        yield broken(SUBJECT, f"its database cannot be used ({reason}): have an administrator run `kpi bootstrap`")


def _tables(opened: "dg.DagsterInstance") -> Iterator[Finding]:
    version = opened.run_storage.alembic_version()  # its three storages share one database and one version
    if version and version[0] != version[1]:
        yield broken(
            SUBJECT,
            f"its tables are of another Dagster (at {version[0]}, wanted {version[1]}): stop the web UI and the "
            f"daemon, and run DAGSTER_HOME={opened.root_directory} dagster instance migrate",
        )
    else:
        yield ok(SUBJECT, f"its tables are of this Dagster and hold {opened.get_runs_count():,} runs")


def _daemon(opened: "dg.DagsterInstance") -> Iterator[Finding]:
    needed, heartbeats = opened.get_required_daemon_types(), opened.get_daemon_heartbeats()
    alive = [kind for kind in needed if kind in heartbeats and time.time() - heartbeats[kind].timestamp < SILENCE]
    if len(alive) == len(needed):
        yield ok(SUBJECT, "its daemon lives")
    elif not alive:
        yield advice(SUBJECT, "no daemon runs, so nothing that is scheduled or launched in the UI starts: `kpi up`")
    else:
        silent = ", ".join(sorted(set(needed) - set(alive)))
        yield broken(SUBJECT, f"of its daemon, {silent} failed or hang: see its log, and start it again")
