"""One step of a run: its asset is built for one load_date, or for each of a range.

Belongs here: which load_dates of a range are built, what happens to the others, and what is tried again. Not here: the
events that a build gives (factory.py).
In a run of one load_date a step that publishes nothing gives no output, and Dagster skips what follows. In a run over a
range that would stop the good load_dates too: there the step gives its output, and each later step leaves out the
load_dates that something before it did not publish. What is held fails no step. An error of a load_date fails the last
steps, so that the others are built and the run tells.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, TypeVar

import dagster as dg
import psycopg
from dagster._core.events import DagsterEvent
from dagster._core.execution.plan.outputs import StepOutputData, StepOutputHandle
from dagster._core.storage.tags import MAX_RETRIES_TAG
from dagster._utils.interrupts import raise_interrupts_as

from kpi_assets.assets.run_tags import load_dates_asked
from kpi_assets.errors import UsageError, UserError
from kpi_assets.ledger.runs import Status
from kpi_assets.materialize.context import BuildContext, BuildOutcome, ObjectOutcome, Progress
from kpi_assets.model.pipeline import Pipeline, Table
from kpi_assets.printable import printable
from kpi_assets.scrub import scrub
from kpi_assets.warehouse.connection import is_lost
from kpi_assets.warehouse.refusal import cure_of

PAUSES = (5, 20, 60)  # seconds before the tries after the first, where a connection was lost
NAMED = 3  # load_dates that one sentence names

Outcome = TypeVar("Outcome", ObjectOutcome, BuildOutcome)


@dataclass(frozen=True)
class Step(Generic[Outcome]):
    """An asset as a step: what it is called in ops, what it needs of others, and how it is built and told."""

    pipeline: Pipeline
    key: dg.AssetKey
    name: str
    behind: Sequence[str]  # the tables and objects upstream of it, near and far, as ops calls them
    build: Callable[[BuildContext, date], Outcome]
    events: Callable[[dg.AssetExecutionContext, str, Outcome], Iterator[Any]]

    def run(self, context: dg.AssetExecutionContext) -> Iterator[Any]:
        """Build what the run asks for, if all of it may be built; the events of it."""
        with user_errors_as_failures(context):
            days = load_dates_asked(self.pipeline, context.run.tags)
            if not days:
                raise UsageError("The run names no load_date: launch it for a partition, or for a range of them.")
        if len(days) > 1:
            yield from self._range(context, days)
            return
        with user_errors_as_failures(context):
            unneeded = self._unneeded(context, days[0])
            outcome = None if unneeded else self._build(context, days[0])
        if outcome is None:  # without an output of this step, Dagster skips those that follow on it
            context.log.info(unneeded)
            return
        yield from self.events(context, str(days[0]), outcome)

    def _unneeded(self, context: dg.AssetExecutionContext, load_date: date) -> str | None:
        resources, reporter = context.resources, self._reporter(context, load_date)
        found: str | None = resources.run_log.unneeded(self.pipeline, resources.s3, reporter, load_date)
        return found

    def _reporter(self, context: dg.AssetExecutionContext, load_date: date) -> Progress:
        return _harmless(context.resources.progress(context.log, f"{self.name} {load_date}"))

    def _build(self, context: dg.AssetExecutionContext, load_date: date) -> Outcome:
        resources, reporter = context.resources, self._reporter(context, load_date)
        work: BuildContext = resources.run_log.context(self.pipeline, resources.s3, reporter, load_date)
        return self.build(work, load_date)

    def _range(self, context: dg.AssetExecutionContext, days: Sequence[date]) -> Iterator[Any]:
        left, broken = [], False
        with user_errors_as_failures(context):
            before = context.resources.run_log.build_statuses(self.pipeline)
        for load_date in days:
            build_statuses, partition = before.get(load_date, {}), str(load_date)
            if build_statuses.get(self.name) == "success":
                continue  # this step is tried again, and had done that much
            kept_back = _kept_back(self.name, self.behind, build_statuses)
            why = next((f"{name} was {status} in this run" for name, status in kept_back.items()), None)
            broken = broken or "failed" in kept_back.values()
            if why is None:
                outcome, why = self._one_of_range(context, load_date)
                if outcome is not None:
                    yield from self.events(context, partition, outcome)
                broken = broken or outcome is None
            if why is not None:
                context.log.error(f"{self.name} of {partition} is not published: {why}")
                left.append(partition)
        if broken and _is_last(context):
            some = ", ".join(left[:NAMED]) + (f" and {len(left) - NAMED} more" if len(left) > NAMED else "")
            raise dg.Failure(
                f"{self.name} was not published for {len(left)} of {len(days)} load_dates ({some}): "
                "the run's log and `kpi plan` say why.",
                allow_retries=False,
            )
        yield _skip_materialization_output(context, self.key)

    def _one_of_range(self, context: dg.AssetExecutionContext, load_date: date) -> tuple[Outcome | None, str | None]:
        """The outcome of one load_date, and why it is not published; an error of one does not stop the others."""
        try:
            with user_errors_as_failures(context):
                outcome = self._build(context, load_date)
        except dg.Failure as failure:
            return None, str(failure.description)
        return outcome, outcome.why_not


def _harmless(report: Progress) -> Progress:
    """The listener, whose own error is none of the build: it also hears of what is published already."""

    def tell(phase: str, done: int, total: int) -> None:
        with suppress(Exception):
            report(phase, done, total)

    return tell


def behind(pipeline: Pipeline, table: Table) -> list[str]:
    """The tables and objects upstream of a table, near and far."""
    found = {table.object_name} if table.has_object else set()
    for relation in table.reads:
        found |= {str(relation), *behind(pipeline, pipeline.tables[relation])}
    return sorted(found)


def _kept_back(name: str, upstream: Sequence[str], build_statuses: Mapping[str, Status]) -> dict[str, Status]:
    """What keeps a load_date of a range from being built: what came to no good end in this run, with that end.

    Of the table or object itself an error is none: this step is tried again.
    """
    ends = {
        n: build_statuses[n]
        for n in (name, *upstream)
        if build_statuses.get(n, "running") not in {"running", "success"}
    }
    return {n: status for n, status in ends.items() if (n, status) != (name, "failed")}


def _is_last(context: dg.AssetExecutionContext) -> bool:
    """Whether no other step of this run follows on this one."""
    step = context.get_step_execution_context()
    return not any(step.step.key in needed for needed in step.execution_plan.get_executable_step_deps().values())


@contextmanager
def _stopping_at_once() -> Iterator[None]:
    """Whoever stops the run is heard at once, as KeyboardInterrupt.

    Of that, and not of Dagster's own exception, psycopg knows that the server is to end the statement too: it would go
    on for hours, with its locks. An error that comes of ending does not take its place.
    """
    try:
        with raise_interrupts_as(KeyboardInterrupt):
            yield
    except Exception as error:
        behind = error.__context__
        while behind is not None and not isinstance(behind, KeyboardInterrupt):
            behind = behind.__context__
        if behind is not None:
            raise behind from None
        raise


def _told(error: Exception) -> tuple[str, bool] | None:
    """What is told of an error instead of its stack trace, and whether it may pass; None of a fault of ours."""
    if isinstance(error, UserError):
        return printable(error), error.passing
    reason = printable(scrub(" ".join(str(error).split())))
    if isinstance(error, psycopg.Error) and is_lost(error):
        return f"The connection to the warehouse was lost ({reason}).", True
    if isinstance(error, psycopg.Error) and (cure := cure_of(error)):
        return f"The warehouse refused a statement ({type(error).__name__}: {reason}): {cure}.", False
    # Dagster keeps the whole stack trace of what is a fault of ours: not where it quotes a secret.
    trace = "".join(traceback.format_exception(error))
    return None if scrub(trace) == trace else (f"{type(error).__name__}: {reason}", False)


@contextmanager
def user_errors_as_failures(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Iterator[None]:
    """What a person can mend fails the step in its own words; where a connection was lost, the step is tried again."""
    try:
        with _stopping_at_once():
            yield
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        sentence, passing = told
    else:
        return
    tried = context.retry_number
    # Whoever gave a command is told at once, and gives it again.
    if not passing or tried == len(PAUSES) or context.run.tags.get(MAX_RETRIES_TAG) == "0":
        raise dg.Failure(scrub(sentence), allow_retries=False)
    context.log.warning(f"{scrub(sentence)} It is tried again in {PAUSES[tried]} seconds.")
    raise dg.RetryRequested(max_retries=len(PAUSES), seconds_to_wait=PAUSES[tried])


def _skip_materialization_output(context: dg.AssetExecutionContext, key: dg.AssetKey) -> DagsterEvent:
    """Lets the steps that follow go on, without a materialisation: dg.Output would say one of each load_date."""
    step = context.get_step_execution_context()
    handle = StepOutputHandle(step.step.key, context.assets_def.get_output_name_for_asset_key(key))
    return DagsterEvent.step_output_event(step, StepOutputData(handle))
