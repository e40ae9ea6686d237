"""One step of a run: it builds its asset for one load_date, or for each load_date of a range.

In a run of one load_date, a step that publishes nothing gives no output, and Dagster skips the steps after it. In a run
over a range that would stop the good load_dates too. There the step gives its output, and each later step leaves out
the load_dates that a step before it did not publish. A held build fails no step. A load_date that fails with an error
fails the last steps of the run only, so that the other load_dates are built and the run still reports the error.

A step of a table or object that is not due on a load_date builds nothing, says so, and gives its output, because the
steps after it may be due. It records a materialization only in a backfill, which would count it as failed otherwise.

Belongs here: which load_dates of a range are built, and what is retried. Not here: the events of a build (factory.py).
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, TypeVar

import dagster as dg
import psycopg

from kpi_assets.assets.run_tags import requested_load_dates
from kpi_assets.dagster_internals import (
    BACKFILL_ID_TAG,
    MAX_RETRIES_TAG,
    interrupts_as_keyboard_interrupt,
    is_last_step,
    output_without_materialization,
)
from kpi_assets.errors import UsageError, UserError
from kpi_assets.ledger.runs import Status
from kpi_assets.materialize.context import BuildContext, BuildOutcome, ObjectOutcome, Progress
from kpi_assets.model.pii import without_quotes
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.printable import printable
from kpi_assets.scrub import scrub
from kpi_assets.warehouse.connection import is_lost
from kpi_assets.warehouse.refusal import find_remedy

_ABOUT_A_VALUE = ("22", "23")  # the classes of errors of Postgres that quote values of rows
PAUSES = (5, 20, 60)  # seconds before each retry after a transient error
NAMED = 3  # load_dates that one sentence names

Outcome = TypeVar("Outcome", ObjectOutcome, BuildOutcome)


@dataclass(frozen=True)
class _Attempt(Generic[Outcome]):
    """One load_date of a range: its outcome if it was built, and the reason if it was not published."""

    outcome: Outcome | None
    reason: str | None
    is_error: bool


@dataclass(frozen=True)
class Step(Generic[Outcome]):
    """An asset as a step of a run."""

    pipeline: Pipeline
    table: Table
    key: dg.AssetKey
    name: str  # the name of the table or object in ops
    upstream: Sequence[str]  # the names of all tables and objects that it depends on, also through others
    build: Callable[[BuildContext, date], Outcome]
    events: Callable[[dg.AssetExecutionContext, str, Outcome], Iterator[Any]]

    def run(self, context: dg.AssetExecutionContext) -> Iterator[Any]:
        """Build the load_dates that the run requests, if all of them may be built; yield the events of the builds."""
        with user_errors_as_failures(context):
            days = requested_load_dates(self.pipeline, context.run.tags)
            if not days:
                raise UsageError("The run names no load_date: launch it for a partition, or for a range of them.")
        if len(days) > 1 or len(context.partition_keys) > 1:
            yield from self._run_range(context, days)
            return
        if not_due := self.pipeline.not_due(self.table, days[0]):
            yield from self._pass_on(context, days[0], not_due)
            yield output_without_materialization(context, self.key)
            return
        with user_errors_as_failures(context):
            unneeded = self._unneeded(context, days[0])
            outcome = None if unneeded else self._build(context, days[0])
        if outcome is None:  # without an output of this step, Dagster skips the steps after it
            context.log.info(unneeded)
            return
        yield from self.events(context, str(days[0]), outcome)

    def _pass_on(self, context: dg.AssetExecutionContext, load_date: date, not_due: str) -> Iterator[Any]:
        """Say why there is nothing to do for a load_date."""
        context.log.info(f"{not_due}.")
        is_in_future = self.pipeline.is_next(load_date)
        if not is_in_future and BACKFILL_ID_TAG in context.run.tags:
            metadata = {"not due": dg.MetadataValue.text(not_due)}
            yield dg.AssetMaterialization(self.key, partition=str(load_date), metadata=metadata)

    def _unneeded(self, context: dg.AssetExecutionContext, load_date: date) -> str | None:
        """Return why the run has nothing left to do; None if it has."""
        resources, reporter = context.resources, self._reporter(context, load_date)
        found: str | None = resources.run_log.unneeded(self.pipeline, resources.s3, reporter, load_date)
        return found

    def _reporter(self, context: dg.AssetExecutionContext, load_date: date) -> Progress:
        return _ignore_errors(context.resources.progress(context.log, f"{self.name} {load_date}"))

    def _build(self, context: dg.AssetExecutionContext, load_date: date) -> Outcome:
        resources, reporter = context.resources, self._reporter(context, load_date)
        work: BuildContext = resources.run_log.context(self.pipeline, resources.s3, reporter, load_date)
        return self.build(work, load_date)

    def _run_range(self, context: dg.AssetExecutionContext, days: Sequence[date]) -> Iterator[Any]:
        """Build each load_date whose inputs were published; an error of one does not stop the others."""
        unpublished, is_error = [], False
        with user_errors_as_failures(context):
            statuses = context.resources.run_log.build_statuses(self.pipeline)
        for load_date in days:
            of_day, partition = statuses.get(load_date, {}), str(load_date)
            if not_due := self.pipeline.not_due(self.table, load_date):
                yield from self._pass_on(context, load_date, not_due)
                continue
            if of_day.get(self.name) == "success":
                continue  # this step is being retried, and published that load_date the first time
            attempt = self._attempt(context, load_date, of_day)
            is_error = is_error or attempt.is_error
            if attempt.outcome is not None:
                yield from self.events(context, partition, attempt.outcome)
            if attempt.reason is not None:
                context.log.error(f"{self.name} of {partition} is not published: {attempt.reason}")
                unpublished.append(partition)
        if is_error and is_last_step(context):
            raise dg.Failure(
                f"{self.name} was not published for {len(unpublished)} of {len(days)} load_dates "
                f"({_some(unpublished)}): the run's log and `kpi plan` say why.",
                allow_retries=False,
            )
        yield output_without_materialization(context, self.key)

    def _attempt(
        self, context: dg.AssetExecutionContext, load_date: date, statuses: Mapping[str, Status]
    ) -> _Attempt[Outcome]:
        """Build one load_date of a range, unless something that it depends on was not published in this run."""
        if blocking := _blocking(self.name, self.upstream, statuses):
            name, status = next(iter(blocking.items()))
            return _Attempt(None, f"{name} was {status} in this run", is_error="failed" in blocking.values())
        try:
            with user_errors_as_failures(context):
                outcome = self._build(context, load_date)
        except dg.Failure as failure:
            return _Attempt(None, str(failure.description), is_error=True)
        return _Attempt(outcome, outcome.unpublished_reason, is_error=False)


def _some(partitions: Sequence[str]) -> str:
    """Return the first few partitions, and how many more there are."""
    more = f" and {len(partitions) - NAMED} more" if len(partitions) > NAMED else ""
    return ", ".join(partitions[:NAMED]) + more


def _ignore_errors(report: Progress) -> Progress:
    """Return the callback without its errors, which must not fail a build that is published already."""

    def report_safely(phase: str, done: int, total: int) -> None:
        with suppress(Exception):
            report(phase, done, total)

    return report_safely


def upstream_names(pipeline: Pipeline, table: Table) -> list[str]:
    """Return the names of all tables and objects that a table depends on, also through others."""
    found = {table.object_name} if table.has_object else set()
    for relation in table.reads:
        found |= {str(relation), *upstream_names(pipeline, pipeline.tables[relation])}
    return sorted(found)


def _blocking(name: str, upstream: Sequence[str], statuses: Mapping[str, Status]) -> dict[str, Status]:
    """Return what was not published in this run and so prevents a build, with the status of its own build.

    A failure of the table or object itself does not count, because this step is its retry.
    """
    ends = {n: statuses[n] for n in (name, *upstream) if statuses.get(n, "running") not in {"running", "success"}}
    return {n: status for n, status in ends.items() if (n, status) != (name, "failed")}


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt as soon as somebody stops the run, so that psycopg cancels the statement on the server.

    psycopg does so for KeyboardInterrupt only, and not for Dagster's exception. A statement that is not cancelled may
    run for hours and keep its locks. An error that the cancellation causes does not replace the KeyboardInterrupt.
    """
    try:
        with interrupts_as_keyboard_interrupt():
            yield
    except Exception as error:
        cause = error.__context__
        while cause is not None and not isinstance(cause, KeyboardInterrupt):
            cause = cause.__context__
        if cause is not None:
            raise cause from None
        raise


def _explained(error: Exception) -> tuple[str, bool] | None:
    """Return a sentence for an error, and whether the error is transient; None for a bug in this program.

    Dagster keeps the whole stack trace of a bug, which its author needs. If the trace quotes a secret, it is dropped
    and the error is a sentence.
    """
    if isinstance(error, UserError):
        return printable(error), error.transient
    reason = printable(scrub(" ".join(str(error).split())))
    if isinstance(error, psycopg.Error) and is_lost(error):
        return f"The connection to the warehouse was lost ({reason}).", True
    if isinstance(error, psycopg.Error) and (cure := find_remedy(error)):
        return f"The warehouse refused a statement ({type(error).__name__}: {reason}): {cure}.", False
    if isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_ABOUT_A_VALUE):
        return f"The warehouse refused a value ({type(error).__name__}: {without_quotes(reason)}).", False
    trace = "".join(traceback.format_exception(error))
    return None if scrub(trace) == trace else (f"{type(error).__name__}: {reason}", False)


@contextmanager
def user_errors_as_failures(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Iterator[None]:
    """Fail the step with one sentence for an error that a person can mend; retry it for a transient one."""
    try:
        with _interruptible():
            yield
    except Exception as error:
        explained = _explained(error)
        if explained is None:
            raise
        sentence, transient = explained
    else:
        return
    retries = context.retry_number
    # A run of a command has this tag: it reports the error at once, and the user repeats the command.
    if not transient or retries == len(PAUSES) or context.run.tags.get(MAX_RETRIES_TAG) == "0":
        raise dg.Failure(scrub(sentence), allow_retries=False)
    context.log.warning(f"{scrub(sentence)} The step is retried in {PAUSES[retries]} seconds.")
    raise dg.RetryRequested(max_retries=len(PAUSES), seconds_to_wait=PAUSES[retries])
