"""Runs in this process. The definitions and the Dagster instance are opened once for any number of load_dates.

Belongs here: executing a run, and its result by asset. Not here: printing the result (run.py), and the live view of a
run (run_view.py).
"""

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy.exc import SQLAlchemyError

from kpi_assets.assets.resources import plain_s3, run_log_of_prepared
from kpi_assets.automation.stalled import record_if_alerts_stalled
from kpi_assets.cli import HELD, STOPPED
from kpi_assets.cli.process import enable_gc
from kpi_assets.cli.run_view import RunView
from kpi_assets.cli.selection import parents_of
from kpi_assets.cli.workspace import Workspace, read_tree
from kpi_assets.dagster_internals import (
    MAX_RETRIES_TAG,
    ErrorSource,
    RunFailureReason,
    keep_ctrl_c_from_helpers,
)
from kpi_assets.definitions import build_defs
from kpi_assets.errors import UserError
from kpi_assets.instance import folder
from kpi_assets.instance.processes import close_dead_runs, process_tags
from kpi_assets.instance.storage import describe_failure, events_in_batches, open_instance
from kpi_assets.ledger import run_states
from kpi_assets.materialize.context import BuildContext, Progress
from kpi_assets.materialize.erase import check_not_behind
from kpi_assets.model.names import Relation
from kpi_assets.sources.store import open_store
from kpi_assets.warehouse.connection import connect

STOPPED_MESSAGE = "Stopped: what is published already stays; run the load_date again for the rest."
States = Mapping[str, tuple[str, str | None]]
# The exit code of each outcome, the worst first. A missing object is not held, because no gate judged it, and it is no
# success, because not everything was built.
EXIT_CODES = {"failed": 1, "held": HELD, "missing": 1, "published": 0}


def worst(outcomes: Collection[str]) -> str:
    """Return the worst outcome of several builds or runs."""
    return next((outcome for outcome in EXIT_CODES if outcome in outcomes), "published")


@dataclass(frozen=True)
class Result:
    """The result of a run.

    `states` maps each asset that the run has started to success, held, missing or failed, and the reason.
    `errors_after_publish` maps an asset to the error that came after it was published. `not_started` lists the others.
    """

    load_date: date
    run_id: str
    states: States
    errors_after_publish: Mapping[str, str] = field(default_factory=dict)
    not_started: Sequence[str] = ()

    @classmethod
    def of(
        cls, load_date: date, run_id: str, names: Sequence[str], states: States, failures: Mapping[str, str]
    ) -> "Result":
        """Combine the states of the run log with the errors of the steps that failed in Dagster."""
        after = {name: error for name, error in failures.items() if states.get(name, ("", None))[0] == "success"}
        known = {**{name: ("failed", error) for name, error in failures.items()}, **states}
        return cls(load_date, run_id, known, after, [name for name in names if name not in known])

    @property
    def outcome(self) -> str:
        """The worst outcome of an asset: failed, held, missing, or published.

        An asset that was not started, without one that is held or missing, means that the run failed.
        """
        found = {state for state, _ in self.states.values()} | ({"failed"} if self.errors_after_publish else set())
        outcome = worst(found)
        return "failed" if outcome == "published" and self.not_started else outcome

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return EXIT_CODES[self.outcome]


class StoppedError(UserError):
    """Somebody pressed Ctrl-C, or a signal ended the process."""

    exit_code = STOPPED


class Runner:
    """Runs load_dates of one pipeline in this process; a `quiet` one does not show how they proceed."""

    def __init__(self, work: Workspace, instance: "dg.DagsterInstance", *, quiet: bool = False) -> None:
        self._work, self._instance, self._quiet = work, instance, quiet
        self._view: RunView | None = None
        progress = dg.ResourceDefinition.hardcoded_resource(self._reporter)
        overrides = {"s3": plain_s3, "progress": progress, "run_log": run_log_of_prepared}  # by Workspace.ready
        self._job = build_defs(overrides, read_tree(work.pipeline.name)).resolve_job_def(work.pipeline.job)

    def _reporter(self, log: Any, subject: str) -> "Progress":
        assert self._view is not None
        return self._view.reporter(log, subject)

    def materialize(self, load_date: date, names: Sequence[str]) -> Result:
        """Run the named assets of one load_date; Dagster's history shows the run. Raises StoppedError."""
        work, run_id = self._work, str(uuid.uuid4())
        reads = parents_of(work.pipeline)
        title = f"{work.pipeline.name}, load_date {load_date}"
        with RunView(title, names, reads, self._quiet) as self._view:
            failures = self._execute(run_id, load_date, names)
            with connect(work.server, work.pipeline.name, "result", read_only=True) as connection:
                states = run_states.of_run(connection, run_id)
        return Result.of(load_date, run_id, names, states, failures)

    def _execute(self, run_id: str, load_date: date, names: Sequence[str]) -> Mapping[str, str]:
        """Execute the run and return the error of each failed asset; an error of no step has the pipeline's name."""
        pipeline = self._work.pipeline
        try:
            with events_in_batches(self._instance):
                ran = self._job.execute_in_process(
                    instance=self._instance,
                    partition_key=load_date.isoformat(),
                    asset_selection=[dg.AssetKey([pipeline.name, *Relation.parse(name)]) for name in names],
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                    run_id=run_id,
                    tags={**process_tags(run_id), MAX_RETRIES_TAG: "0"},
                    raise_on_error=False,
                )
        except UserError:
            raise
        except Exception as error:  # Dagster cannot go on, for example because its database is gone
            return {pipeline.name: explain_abort(error)}
        return failures_of(pipeline.name, ran.all_events)


@contextmanager
def open_runner(
    work: Workspace, *, quiet: bool = False, erases: bool = False
) -> Iterator[Callable[[date, Sequence[str]], Result]]:
    """Yield a function that runs load_dates of a pipeline whose servers are ready; the context ends its sessions.

    If it is `quiet`, it does not show how the runs proceed. Raises UserError if the database has persons who were
    erased, unless it `erases` them.
    """
    if not erases:
        store = open_store(work.pipeline, work.settings)
        check_not_behind(BuildContext(work.pipeline, work.server, store, str(uuid.uuid4()), settings=work.settings))
    folder.prepare(work.settings)
    keep_ctrl_c_from_helpers()
    with open_instance() as instance:
        runner = Runner(work, instance, quiet=quiet)
        close_dead_runs(instance)
        _record_stalled_alerts(work, instance)
        enable_gc()
        yield runner.materialize


def _record_stalled_alerts(work: Workspace, instance: "dg.DagsterInstance") -> None:
    """Record an incident if the sensor `alerts` is stalled, for the delivery at the end of the command.

    An error of Dagster's database does not fail the command.
    """
    with suppress(SQLAlchemyError), connect(work.server, work.pipeline.name, "alerts") as connection:
        record_if_alerts_stalled(instance, connection, work.pipeline.name)


def failures_of(pipeline: str, events: Sequence["dg.DagsterEvent"]) -> dict[str, str]:
    """Return the error of each failed step by asset; if only the run failed, its error by the pipeline's name.

    Raises StoppedError if somebody stopped the run.
    """
    failures = {}
    for event in events:
        if event.is_step_failure and event.step_key:
            failure = event.step_failure_data
            if failure.error_source == ErrorSource.INTERRUPT:
                raise StoppedError(STOPPED_MESSAGE)
            said = failure.user_failure_data.description if failure.user_failure_data else None
            name = ".".join(event.step_key.split("__")[1:3])
            failures[name] = said or _reason(failure.error)
        elif event.is_run_failure and not failures:  # not in a step: for example, a resource cannot be created
            if event.job_failure_data.failure_reason == RunFailureReason.UNEXPECTED_TERMINATION:
                raise StoppedError(STOPPED_MESSAGE)
            said = _reason(event.job_failure_data.error)
            failures[pipeline] = said.partition(": ")[2] or said  # without the class of the error
    return failures


def _reason(error: "SerializableErrorInfo | None") -> str:
    """Return the first line of the root cause of an error of Dagster: its class and message."""
    while error and error.cause:
        error = error.cause
    said = error.message.strip() if error else ""
    return said.splitlines()[0] if said else "it failed"


def explain_abort(error: Exception) -> str:
    """Return the sentence about a run that Dagster could not go on with."""
    if reason := describe_failure(error):
        return f"{reason}; then run the load_date again."
    return f"The run was aborted ({type(error).__name__}: {error}): this is a bug in kpi_assets."
