"""Runs in this process: the definitions and Dagster's instance are opened once, however many load_dates are run.

Belongs here: executing a run, and what it came to by every one of its steps. Not here: what a person is told of it
(run.py), and the live view of it (run_view.py).
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

from kpi_assets.assets.resources import plain_s3
from kpi_assets.automation.stalled import record_if_alerts_stalled
from kpi_assets.cli import HELD, STOPPED
from kpi_assets.cli.process import loaded
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
from kpi_assets.instance.storage import describe_failure, open_instance
from kpi_assets.ledger import run_states
from kpi_assets.materialize.context import Progress
from kpi_assets.model.names import Relation
from kpi_assets.warehouse.connection import connect

KEPT = "Stopped: what was published before stays; run the load_date again for the rest."
States = Mapping[str, tuple[str, str | None]]
# By the worst that came of it, the worst first. What has not landed was judged by no gate, so it is not held; and what
# was asked for was not done, so it is no success.
EXIT_CODES = {"failed": 1, "held": HELD, "missing": 1, "published": 0}


def worst(words: Collection[str]) -> str:
    """The worst of what several builds or runs came to."""
    return next((word for word in EXIT_CODES if word in words), "published")


@dataclass(frozen=True)
class Result:
    """What a run came to.

    `states` holds for each asset that was worked on success, held, missing or failed, and why; `after` why the run
    failed on an asset that was published by then; `not_begun` the assets that it did not come to.
    """

    load_date: date
    run_id: str
    states: States
    after: Mapping[str, str] = field(default_factory=dict)
    not_begun: Sequence[str] = ()

    @classmethod
    def of(
        cls, load_date: date, run_id: str, names: Sequence[str], states: States, failures: Mapping[str, str]
    ) -> "Result":
        """From what the run log says of each asset, and what Dagster says of each step that failed."""
        after = {name: error for name, error in failures.items() if states.get(name, ("", None))[0] == "success"}
        known = {**{name: ("failed", error) for name, error in failures.items()}, **states}
        return cls(load_date, run_id, known, after, [name for name in names if name not in known])

    @property
    def word(self) -> str:
        """The worst of it: failed, held, missing, or published.

        What was not begun was kept back by what is held or missing, or failed.
        """
        found = {state for state, _ in self.states.values()} | ({"failed"} if self.after else set())
        word = worst(found)
        return "failed" if word == "published" and self.not_begun else word

    @property
    def exit_code(self) -> int:
        """For the shell."""
        return EXIT_CODES[self.word]


class StoppedError(UserError):
    """Somebody pressed Ctrl-C, or asked the process to end."""

    exit_code = STOPPED


class Runner:
    """Runs of one pipeline in this process."""

    def __init__(self, work: Workspace, instance: "dg.DagsterInstance") -> None:
        self._work, self._instance = work, instance
        self._view: RunView | None = None
        overrides = {"s3": plain_s3, "progress": dg.ResourceDefinition.hardcoded_resource(self._reporter)}
        self._job = build_defs(overrides, read_tree()).resolve_job_def(work.pipeline.job)

    def _reporter(self, log: Any, subject: str) -> "Progress":
        assert self._view is not None
        return self._view.reporter(log, subject)

    def materialize(self, load_date: date, names: Sequence[str]) -> Result:
        """Run the named assets of one load_date; Dagster's own history shows the run. Raises StoppedError."""
        work, run_id = self._work, str(uuid.uuid4())
        reads = parents_of(work.pipeline)
        with RunView(f"{work.pipeline.name}, load_date {load_date}", names, reads) as self._view:
            failures = self._execute(run_id, load_date, names)
            with connect(work.server, work.pipeline.name, "result", read_only=True) as connection:
                states = run_states.of_run(connection, run_id)
        return Result.of(load_date, run_id, names, states, failures)

    def _execute(self, run_id: str, load_date: date, names: Sequence[str]) -> Mapping[str, str]:
        """Execute the run; why each step failed that did, and by the pipeline's name what was no step's fault."""
        pipeline = self._work.pipeline
        try:
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
        except Exception as error:  # the run cannot be gone on with, as where Dagster's database is gone
            return {pipeline.name: broken_off(error)}
        return failures_of(pipeline.name, ran.all_events)


@contextmanager
def open_runner(work: Workspace) -> Iterator[Callable[[date, Sequence[str]], Result]]:
    """What materializes load_dates of a pipeline whose servers are ready; its sessions end with the context."""
    folder.prepare(work.settings)
    keep_ctrl_c_from_helpers()
    with open_instance() as instance:
        runner = Runner(work, instance)
        close_dead_runs(instance)
        _record_stalled_alerts(work, instance)
        loaded()
        yield runner.materialize


def _record_stalled_alerts(work: Workspace, instance: "dg.DagsterInstance") -> None:
    """Take down that nobody tells of incidents any more: the command delivers at its end. No failure of the command."""
    with suppress(SQLAlchemyError), connect(work.server, work.pipeline.name, "alerts") as connection:
        record_if_alerts_stalled(instance, connection, work.pipeline.name)


def failures_of(pipeline: str, events: Sequence["dg.DagsterEvent"]) -> dict[str, str]:
    """Why each step failed that did, by asset; where none did and the run failed, why, by the pipeline's name.

    Raises StoppedError where somebody stopped the run.
    """
    failures = {}
    for event in events:
        if event.is_step_failure and event.step_key:
            failure = event.step_failure_data
            if failure.error_source == ErrorSource.INTERRUPT:
                raise StoppedError(KEPT)
            said = failure.user_failure_data.description if failure.user_failure_data else None
            name = ".".join(event.step_key.split("__")[1:3])
            failures[name] = said or _reason(failure.error)
        elif event.is_run_failure and not failures:  # no step was to blame: a resource could not be made, say
            if event.job_failure_data.failure_reason == RunFailureReason.UNEXPECTED_TERMINATION:
                raise StoppedError(KEPT)
            said = _reason(event.job_failure_data.error)
            failures[pipeline] = said.partition(": ")[2] or said  # without the name of the error
    return failures


def _reason(error: "SerializableErrorInfo | None") -> str:
    """The first line of what was behind an error that Dagster tells of: its name and what it says."""
    while error and error.cause:
        error = error.cause
    said = error.message.strip() if error else ""
    return said.splitlines()[0] if said else "it failed"


def broken_off(error: Exception) -> str:
    """What a person is told of a run that Dagster could not go on with."""
    if reason := describe_failure(error):
        return f"{reason}; then run the load_date again."
    return f"The run broke off ({type(error).__name__}: {error}): this is a fault of kpi_assets."
