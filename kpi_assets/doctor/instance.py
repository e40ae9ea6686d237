"""The Dagster instance: its database, the version of its tables, its daemon, and its sensors and schedules.

Four imports are inside functions, because they import Dagster or SQLAlchemy. `kpi bootstrap` imports this module and
needs neither, and `kpi doctor` prints its first lines before it needs them.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from kpi_assets.alerts.channels import channels
from kpi_assets.doctor.finding import Finding, advice, broken, errors_as_findings, ok
from kpi_assets.errors import UserError
from kpi_assets.instance import folder
from kpi_assets.ledger import deliveries, schema
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings
from kpi_assets.warehouse.connection import connect, own_database

if TYPE_CHECKING:
    import dagster as dg

SUBJECT = "dagster"
SILENCE = 120  # seconds without a heartbeat after which a daemon counts as dead; it sends one every 30 seconds


def instance(settings: Settings, pipelines: Sequence[Pipeline]) -> Iterator[Finding]:
    """Examine the instance of this KPI_HOME, and the alerts that wait for its daemon."""
    yield from errors_as_findings(SUBJECT, lambda: _examine(settings, pipelines))


def _examine(settings: Settings, pipelines: Sequence[Pipeline]) -> Iterator[Finding]:
    named = settings.dagster_postgres_url
    server, database = (named, own_database(named)) if named else (settings.postgres_url, folder.DATABASE)
    assert server is not None
    if not named:
        with connect(server, own_database(server), "doctor", read_only=True) as connection:
            query = "select 1 from pg_database where datname = %s"
            if not connection.execute(query, [database]).fetchone():
                yield ok(SUBJECT, f"its database {database} does not exist yet: `kpi up` or the first run creates it")
                return
    with connect(server, database, "doctor", read_only=True):
        pass  # Dagster itself would retry for a long time and report less
    folder.prepare(settings)
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from kpi_assets.instance.storage import open_instance  # noqa: PLC0415

    try:
        with open_instance() as opened:
            yield from _tables(opened)
            yield from _daemon(opened, settings, pipelines)
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


def _daemon(opened: "dg.DagsterInstance", settings: Settings, pipelines: Sequence[Pipeline]) -> Iterator[Finding]:
    needed, heartbeats = opened.get_required_daemon_types(), opened.get_daemon_heartbeats()
    alive = [kind for kind in needed if kind in heartbeats and time.time() - heartbeats[kind].timestamp < SILENCE]
    if len(alive) == len(needed):
        yield ok(SUBJECT, "its daemon runs")
        yield from _sensors(opened, pipelines)
    elif alive:
        silent = ", ".join(sorted(set(needed) - set(alive)))
        yield broken(SUBJECT, f"these parts of its daemon failed or hang: {silent}. See its log, and start it again")
    elif waiting := sum(_undelivered(settings, pipeline) for pipeline in pipelines):
        yield broken(
            SUBJECT,
            f"no daemon runs, and {waiting} alerts are not delivered: run `kpi up`, or see why the daemon ended",
        )
    else:
        yield advice(SUBJECT, "no daemon runs, so no run starts that is scheduled or launched in the UI: run `kpi up`")


def _undelivered(settings: Settings, pipeline: Pipeline) -> int:
    """Return how many alerts of a pipeline wait; 0 if its database cannot be used, which is a finding of its own."""
    assert settings.postgres_url is not None
    with suppress(UserError), connect(settings.postgres_url, pipeline.name, "doctor") as connection:
        if not schema.pending(connection):
            return deliveries.count_undelivered(connection, [channel.name for channel in channels(settings)])
    return 0


def _sensors(opened: "dg.DagsterInstance", pipelines: Sequence[Pipeline]) -> Iterator[Finding]:
    """Find the sensors and schedules that are on and do not work."""
    from kpi_assets.instance import ticks  # noqa: PLC0415
    from kpi_assets.instance.starters import starters  # noqa: PLC0415

    every = starters(pipelines)
    stalled = ticks.find_stalled(opened, every)
    for each in stalled:
        yield broken(
            SUBJECT, f"{each.starter.name} is stalled: {each.sentence}; its page in the UI has the whole error"
        )
    known = {each.starter for each in stalled}
    for starter in every:
        if starter not in known and (since := ticks.silent_since(opened, starter, time.time())):
            yield broken(
                SUBJECT,
                f"{starter.name} is on and has not run since {since:%Y-%m-%d %H:%M} UTC: see in the UI whether the "
                f"code location {folder.LOCATION} is loaded, and the daemon's log",
            )
    works = [starter for starter in every if ticks.is_working(opened, starter)]
    yield ok(SUBJECT, f"sensors and schedules that are on and worked the last time: {len(works)}")
