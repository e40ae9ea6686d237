"""The resources of assets: S3, and the run log with the database session of the run."""

import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from datetime import date, datetime, timezone
from threading import Lock
from typing import Any

import dagster as dg
from psycopg import Connection
from pydantic import SecretStr

from kpi_assets.assets.run_tags import PARTITION, is_automatic
from kpi_assets.dagster_internals import end_as_canceled, silence_missing_check_warnings
from kpi_assets.embedded.stack import servers_for_life
from kpi_assets.errors import UserError
from kpi_assets.instance.processes import process_tags
from kpi_assets.ledger import publishes, run_states, runs
from kpi_assets.ledger.locks import live_lock, run_lock, try_lock, unlock
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.context import BuildContext, Progress
from kpi_assets.materialize.erase import check_not_behind
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.model.calendar import parse_date
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.monitoring.alerting_checks import report_failing
from kpi_assets.monitoring.declared_kpis import record_declared
from kpi_assets.monitoring.drifted import report_drifted
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets.monitoring.restated import report_restated
from kpi_assets.monitoring.thresholds import report_breached
from kpi_assets.monitoring.waived import report_waived
from kpi_assets.plan.collect import collect
from kpi_assets.plan.growing import is_closed
from kpi_assets.sources.store import Store, bucket_of, open_store
from kpi_assets.telemetry import start
from kpi_assets.warehouse.connection import open_session

OUTCOME = "kpi/outcome"  # a run tag
KEPT_BACK = {
    "held": "A gate held {}. What follows was skipped.",
    "missing": "The object of {} has not landed. What follows was skipped.",
}
# The run log must say so: else its load_date would look as if the files of the tables that it lacks were new.
BROKEN_OFF = "The run was stopped before its end."
_NAMED = 3  # assets that the reason of an end names


silence_missing_check_warnings()


@dg.resource(description="A boto3 client, without dagster-aws, whose import takes a second and 22 MB.")
def plain_s3(_context: dg.InitResourceContext) -> Any:
    """Return a client as the S3Resource of dagster-aws does, with the settings of this process.

    None where no pipeline has its objects on S3.
    """
    config = servers_for_life().settings
    if not config.may_use_s3:
        return None
    from kpi_assets.sources.s3_objects import client  # noqa: PLC0415  imports boto3

    return client(config)


class Run:
    """One Dagster run in the run log: opened with its first build in a pipeline, closed when the run ends.

    Its session stays open for that time, because the run counts as running while its session exists. `automatic` says
    that the sensor or the schedule requested the run. Such a run checks again whether there is anything to do. If it
    `is_prepared`, this process has prepared the database before.
    """

    def __init__(
        self, run_id: str, job: str, load_date: date | None, *, automatic: bool = False, is_prepared: bool = False
    ) -> None:
        self.run_id, self.job, self.load_date, self.automatic = run_id, job, load_date, automatic
        self._is_prepared = is_prepared
        self._sessions: dict[str, tuple[Pipeline, Connection[Any]]] = {}
        self._rows: dict[str, int] = {}
        self._turns: set[tuple[str, date]] = set()
        self._unneeded: dict[str, str | None] = {}
        self._lock = Lock()
        self.is_live = False
        start.start("kpi-run")

    def unneeded(self, pipeline: Pipeline, s3: Any, on_progress: Progress, load_date: date) -> str | None:
        """Return why an automatic run has nothing left to do; None if it has, and for any other run.

        A backfill or a person may have built the load_date after the request. This is checked once, as soon as no other
        run builds the load_date, and before the run log has a row of this run. Raises UserError.
        """
        if self.automatic and pipeline.name not in self._unneeded:
            pipeline.check_load_date(load_date)
            servers = servers_for_life()
            session = self._session(pipeline, servers.postgres)
            self._await_turn(pipeline, session, load_date, on_progress)
            runs.close_dead_rows(session)
            store = open_store(pipeline, servers.settings, s3)
            found = [each for of_year in collect(pipeline, store, session, load_date, load_date) for each in of_year]
            due = [s.is_due(rebuild_on_sql_change=pipeline.config.automation.rebuild_on_sql_change) for s in found]
            why = found[0].reason if found else "No table is due."
            self._unneeded[pipeline.name] = None if any(due) else f"There is nothing left to do for {load_date}: {why}"
        return self._unneeded.get(pipeline.name)

    def context(
        self, pipeline: Pipeline, s3: Any | None, on_progress: Progress, load_date: date | None = None
    ) -> BuildContext:
        """Return what a build of this run in a pipeline needs; `s3` is a boto3 client, by default one made when used.

        With a load_date, wait until no other run builds that load_date, because each of two runs would replace the
        inputs of the other. Raises UserError if the warehouse cannot be used, and for a load_date that may not be
        built, before anything is written.
        """
        if load_date:
            pipeline.check_load_date(load_date)
        servers = servers_for_life()
        session = self._begun(pipeline, servers.postgres)
        if load_date:
            self._await_turn(pipeline, session, load_date, on_progress)
        config = servers.settings
        bucket = bucket_of(pipeline, config)
        store = Store.open(config, bucket, s3) if s3 else Store.later(config, bucket)
        return BuildContext(
            pipeline, servers.postgres, store, self.run_id, on_progress, writers=config.writers, settings=config
        )

    @contextmanager
    def turn(self, pipeline: Pipeline, load_date: date) -> Iterator[bool]:
        """Hold the turn of a load_date for as long as the context is open; yield False if another run has it.

        A run that stays for long takes its turn again and again, so that others need not wait for its end.
        """
        session = self._begun(pipeline, servers_for_life().postgres)
        if not try_lock(session, run_lock(load_date)):
            yield False
            return
        try:
            yield True
        finally:
            unlock(session, run_lock(load_date))

    def is_alone(self, pipeline: Pipeline, load_date: date) -> bool:
        """Whether this run may be the live run of a load_date: there is one, until its session ends."""
        self.is_live = True
        return try_lock(self._begun(pipeline, servers_for_life().postgres), live_lock(load_date))

    def is_closed(self, pipeline: Pipeline, load_date: date) -> bool:
        """Whether nothing lands in a load_date any more."""
        session = self._begun(pipeline, servers_for_life().postgres)
        return is_closed(pipeline, session, load_date, datetime.now(timezone.utc))

    def published(self, pipeline: Pipeline, relation: Relation, load_date: date) -> Publish | None:
        """Return what is published of a table for a load_date."""
        session = self._begun(pipeline, servers_for_life().postgres)
        return publishes.current(session, [relation], load_date).get(relation)

    def build_statuses(self, pipeline: Pipeline) -> dict[date, dict[str, runs.Status]]:
        """Return the status of each build of this run so far, by load_date and by table or object."""
        return run_states.of_run_by_load_date(self._begun(pipeline, servers_for_life().postgres), self.run_id)

    def _await_turn(self, pipeline: Pipeline, session: Connection[Any], load_date: date, on_progress: Progress) -> None:
        if (pipeline.name, load_date) not in self._turns:
            wait_for_lock(session, run_lock(load_date), "waiting for another run of its load_date", on_progress)
            self._turns.add((pipeline.name, load_date))

    def _begun(self, pipeline: Pipeline, server: SecretStr) -> Connection[Any]:
        """Return the run's session, after its row in the run log was written."""
        session = self._session(pipeline, server)
        with self._lock:
            if pipeline.name not in self._rows:
                self._rows[pipeline.name] = runs.open_row(
                    session, run_id=self.run_id, pipeline=pipeline.name, job=self.job, load_date=self.load_date
                )
        return session

    def _session(self, pipeline: Pipeline, server: SecretStr) -> Connection[Any]:
        with self._lock:
            if pipeline.name not in self._sessions:
                if not self._is_prepared:
                    prepare(pipeline, server)
                    check_not_behind(self._plain_context(pipeline, server))
                session = open_session(server, pipeline.name, f"{self.run_id[:8]} run")
                self._sessions[pipeline.name] = (pipeline, session)
                if self._is_prepared:
                    runs.close_dead_rows(session)
            return self._sessions[pipeline.name][1]

    def _plain_context(self, pipeline: Pipeline, server: SecretStr) -> BuildContext:
        config = servers_for_life().settings
        store = Store.later(config, bucket_of(pipeline, config))
        return BuildContext(pipeline, server, store, self.run_id, settings=config)

    def close(self, error: str | None = None) -> dict[str, list[str]]:
        """Close the run's rows with the status of its builds, and the incidents of the load_dates that it published.

        With an `error` they are failed, whatever the builds are: some tables have none then. Returns these statuses:
        success, missing, held, failed or unneeded; none if no build was started. Missing and held have the names of the
        objects and tables.
        """
        outcomes: dict[str, list[str]] = {"unneeded": []} if any(self._unneeded.values()) else {}
        for name, (pipeline, session) in self._sessions.items():
            with session:
                if name in self._rows:
                    closed = runs.close_run(session, self._rows[name], self.run_id, error, latest_only=self.is_live)
                    outcomes.setdefault(closed, []).extend(self._kept_back(session, closed))
                    record_declared(session, pipeline)
                    report_breached(session, pipeline)
                    report_failing(session, pipeline)
                    report_drifted(session, pipeline)
                    report_waived(session, pipeline)
                    report_restated(session, pipeline)
                    close_recovered(session, pipeline)
        start.flush()
        return outcomes

    def _kept_back(self, session: Connection[Any], status: runs.Status) -> list[str]:
        """Return what was kept back with this status."""
        if status not in KEPT_BACK:
            return []
        states = run_states.of_run_by_load_date(session, self.run_id).values()
        return list(dict.fromkeys(name for each in states for name, found in each.items() if found == status))


def _load_date_of(tags: Mapping[str, str]) -> date | None:
    """Return the load_date of a run's row; None if the tag is no load_date, which the run's steps report."""
    with suppress(ValueError):
        return parse_date(tags.get(PARTITION, ""))
    return None


@dg.resource(description="The run log, ops.pipeline_runs.")
def run_log(context: dg.InitResourceContext) -> Iterator[Run]:
    """Yield the Run of the current Dagster run, and close it when the run ends, also with an error."""
    yield from _run_log(context, is_prepared=False)


@dg.resource(description="The run log, ops.pipeline_runs, in a database that this process has prepared.")
def run_log_of_prepared(context: dg.InitResourceContext) -> Iterator[Run]:
    """Yield the Run as `run_log` does, which prepares the database no second time."""
    yield from _run_log(context, is_prepared=True)


def _run_log(context: dg.InitResourceContext, *, is_prepared: bool) -> Iterator[Run]:
    dagster_run = context.run
    if dagster_run is None:
        raise UserError("The run log works in a run only: materialize the asset in a run.")
    if context.instance:  # the daemon does not watch the processes of the runs that it launches
        context.instance.add_run_tags(dagster_run.run_id, process_tags(dagster_run.run_id))
    automatic = is_automatic(dagster_run.tags)
    load_date = _load_date_of(dagster_run.tags)
    run = Run(dagster_run.run_id, dagster_run.job_name, load_date, automatic=automatic, is_prepared=is_prepared)
    outcomes: dict[str, list[str]] = {}
    try:
        yield run
    finally:
        outcomes = run.close(BROKEN_OFF if sys.exc_info()[0] and not run.is_live else None)
        if outcomes and context.instance:
            # Dagster has no status for held. This tag tells a held run from a stopped one in its list of runs.
            context.instance.add_run_tags(run.run_id, {OUTCOME: ", ".join(sorted(outcomes))})
    if context.instance and not run.is_live and _only_kept_back(context.instance, run.run_id, outcomes.keys()):
        status = "held" if "held" in outcomes else "missing"
        end_as_canceled(context.instance, dagster_run, KEPT_BACK[status].format(_named(outcomes[status])))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _only_kept_back(instance: dg.DagsterInstance, run_id: str, outcomes: Set[str]) -> bool:
    """Whether a run ended without an error and did not publish everything that was requested.

    Such a run ends as CANCELED. With FAILURE, Dagster would show every asset that the run planned as failed, also the
    skipped ones. With SUCCESS, a backfill whose load_dates were all held would count as a success.
    """
    if (
        outcomes <= {"success", "unneeded"} or "failed" in outcomes or sys.exc_info()[0]
    ):  # sys.exc_info: an error ends the run
        return False
    return not instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1).records
