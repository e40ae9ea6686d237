"""The landing and the live run of a pipeline in threads of this process, as `kpi up` has them in processes.

Belongs here: starting and ending them. Not here: what they do (stream/service.py, automation/live_run.py), and what
happens meanwhile (demo_stream.py).
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date

import dagster as dg

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.progress import to_log
from kpi_assets.assets.resources import plain_s3, run_log_of_prepared
from kpi_assets.automation.live_run import live_job
from kpi_assets.cli.process import enable_gc
from kpi_assets.cli.runner import failures_of
from kpi_assets.cli.workspace import Workspace
from kpi_assets.dagster_internals import MAX_RETRIES_TAG, keep_ctrl_c_from_helpers
from kpi_assets.errors import UserError
from kpi_assets.instance import folder
from kpi_assets.instance.processes import close_dead_runs, process_tags
from kpi_assets.instance.storage import events_in_batches, open_instance
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.stream.described import streams_of
from kpi_assets.stream.service import land_all

IsOver = Callable[[], bool]


class Beside:
    """Something that goes on in a thread until it is ended."""

    def __init__(self, name: str, work: Callable[[IsOver], None]) -> None:
        self._name, self._work = name, work
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)
        self._error: BaseException | None = None

    def _run(self) -> None:
        try:
            self._work(self._over.is_set)
        except BaseException as error:  # raised in the thread that asks for it
            self._error = error

    def check(self) -> None:
        """Raise the error with which it has ended, or UserError if it has ended by itself."""
        if self._thread.is_alive():
            return
        if self._error:
            raise self._error
        raise UserError(f"{self._name} has ended before its time: `kpi status` says what else runs here.")

    def end(self) -> None:
        """Ask it to end, wait until it has, and raise its error."""
        self._over.set()
        self._thread.join()
        if self._error:
            raise self._error

    @contextmanager
    def going_on(self) -> Iterator["Beside"]:
        """Start it, and end it at the end of the context."""
        self._thread.start()
        try:
            yield self
        except BaseException:
            with suppress(Exception):  # the first error counts
                self.end()
            raise
        self.end()


def landing(work: Workspace) -> Beside:
    """Return the landing of all streams of a pipeline: what `kpi stream` does."""
    # What librdkafka says of each connection; the reader says in a sentence what matters.
    logging.getLogger("kpi_assets.stream.kafka").setLevel(logging.CRITICAL)
    pipeline = work.pipeline
    return Beside(
        f"The landing of {pipeline.name}",
        lambda is_over: land_all(pipeline, streams_of(pipeline), work.settings, work.server, is_over),
    )


@contextmanager
def open_live(work: Workspace) -> Iterator[Callable[[Pipeline, date], Beside]]:
    """Yield a function that returns a live run of a load_date; Dagster's history shows it like any other.

    It takes the pipeline, whose files may have changed since the workspace was opened.
    """
    folder.prepare(work.settings)
    keep_ctrl_c_from_helpers()
    with open_instance() as instance:
        close_dead_runs(instance)
        enable_gc()
        yield lambda pipeline, load_date: Beside(
            f"The live run of {pipeline.name} of {load_date}",
            lambda is_over: _run(pipeline, instance, load_date, is_over),
        )


def _run(pipeline: Pipeline, instance: dg.DagsterInstance, load_date: date, is_over: IsOver) -> None:
    """Execute the live job in this process. Raises UserError if it fails."""
    run_id = str(uuid.uuid4())
    job = dg.Definitions(
        assets=pipeline_assets(pipeline),
        jobs=[live_job(pipeline, is_over)],
        resources={
            "s3": plain_s3,
            "run_log": run_log_of_prepared,
            "progress": dg.ResourceDefinition.hardcoded_resource(to_log),
        },
        executor=dg.in_process_executor,
    ).resolve_job_def(pipeline.live_job)
    with events_in_batches(instance):
        ran = job.execute_in_process(
            instance=instance,
            partition_key=load_date.isoformat(),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            run_id=run_id,
            tags={**process_tags(run_id), MAX_RETRIES_TAG: "0"},
            raise_on_error=False,
        )
    if failures := failures_of(pipeline.name, ran.all_events):
        raise UserError(f"The live run of {pipeline.name} of {load_date} failed: {next(iter(failures.values()))}")


def wait_for(is_there: Callable[[], bool], patience: float, problem: str, *others: Beside) -> None:
    """Wait until something is there. Raises UserError after `patience` seconds, and what ends the others before."""
    deadline = time.monotonic() + patience
    while not is_there():
        for each in others:
            each.check()
        if time.monotonic() > deadline:
            raise UserError(f"{problem} within {patience:g} seconds: `kpi doctor` looks for the reason.")
        time.sleep(0.25)
