"""`kpi fetch`: asks the APIs of a pipeline for the objects of a load_date, and lands what they answer."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timezone
from typing import Annotated

import typer
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from kpi_assets.cli.arguments import LoadDateOrRunDate, PipelineName
from kpi_assets.cli.terminal import err, error_line, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError, UserError
from kpi_assets.lake_places import object_url
from kpi_assets.materialize.context import BuildContext, Progress, shown_progress
from kpi_assets.materialize.fetch import FetchOutcome, fetch_object
from kpi_assets.model.asking import day_to_ask, why_not_asked
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.printable import printable
from kpi_assets.sources.store import open_store

Wanted = tuple[Table, date]  # a raw table, and the day whose object is asked for


def fetch(
    pipeline: PipelineName,
    load_date: LoadDateOrRunDate,
    table: Annotated[
        str, typer.Option(metavar="TABLE", help="Only the object of this raw table, as in raw.sales.")
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Ask again for what is there, and replace it by the answer.")
    ] = False,
) -> None:
    """Ask the APIs of a pipeline for what lacks of a load_date, and land it: exit 0 all is there, 1 an API failed."""
    found = pipeline_of(pipeline)
    wanted = _wanted(found, _tables_of(found, table), load_date, datetime.now(timezone.utc))
    with open_workspace(pipeline) as work:
        problems = fetch_all(work.ready(), wanted, replace=replace)
    for problem in problems:
        error_line(str(problem))
    if problems:
        raise typer.Exit(UserError.exit_code)


def _tables_of(pipeline: Pipeline, name: str) -> list[Table]:
    """Return the raw tables whose objects APIs give, or the named one of them. Raises UsageError."""
    tables = [each for each in pipeline.object_tables if each.source.api]
    if not tables:
        raise UsageError(
            f"No API gives anything to {pipeline.name}: its files name none in source.api. `kpi land` lands its files."
        )
    if not name or pipeline.table(name) in tables:
        return [pipeline.table(name)] if name else tables
    listed = ", ".join(str(each.relation) for each in tables)
    raise UsageError(f"{name} does not come from an API: those of {pipeline.name} that do are {listed}.")


def _wanted(pipeline: Pipeline, tables: Sequence[Table], load_date: date, now: datetime) -> list[Wanted]:
    """Return what may be asked for, and say what may not. Raises UsageError if nothing may."""
    pipeline.check_load_date(load_date)
    wanted, refused = list[Wanted](), list[str]()
    for each in tables:
        day = day_to_ask(pipeline, each, load_date, now, by_hand=True)
        if reason := pipeline.not_due(each, load_date):
            refused.append(reason)
        elif day is not None:
            wanted.append((each, day))
        else:
            days = each.object_days(load_date)
            why = why_not_asked(pipeline, each, days[0], now, by_hand=True) if days else "no object of it is due"
            refused.append(f"{each.object_name} of {load_date} cannot be had now: {why}")
    if not wanted:
        raise UsageError("; ".join(refused) + ".")
    for reason in refused:
        say(styled("not asked", "yellow"), f" {reason}.")
    return wanted


def fetch_all(work: Workspace, wanted: Sequence[Wanted], *, replace: bool) -> list[UserError]:
    """Fetch some objects, one after another, and print a line about each; return an error for each that failed."""
    store = open_store(work.pipeline, work.settings)
    run_id, problems, is_lost = str(uuid.uuid4()), list[UserError](), False
    for table, day in wanted:
        with _counted(f"{table.object_name} {day}") as on_progress:
            context = BuildContext(work.pipeline, work.server, store, run_id, on_progress, settings=work.settings)
            try:
                with context.session(table, f"{run_id[:8]} fetch {table.object_name}") as connection:
                    outcome = fetch_object(context, connection, table, day, replace=replace)
            except UserError as error:
                problems.append(error)
                continue
        _say(object_url(store.bucket, outcome.key), outcome)
        is_lost = is_lost or outcome.is_lost
    if is_lost:
        say(
            styled("gone", "yellow"),
            f"      the bucket {store.bucket} keeps no versions: what was there before cannot be read again; what was "
            "published from it stays until the load_date is run",
        )
    return problems


@contextmanager
def _counted(title: str) -> Iterator[Progress]:
    """Show on stderr how many records have come, and yield what is told so. Without a terminal nothing is shown."""
    words = TextColumn("{task.description}", markup=False)
    with Bars(words, BarColumn(), console=err, transient=True, disable=not err.is_terminal) as bars:
        task = bars.add_task(printable(title), total=None)

        def update(phase: str, done: int, total: int) -> None:
            said = f"{title}: {shown_progress(phase, done, total) or phase}"
            bars.update(task, completed=done, total=total or None, description=printable(said))

        yield update


def _say(place: str, outcome: FetchOutcome) -> None:
    if outcome.outcome == "unchanged":
        say(f"{outcome.outcome:9} {place}: it is there, so nothing is asked for it; --replace asks again")
        return
    pages = f"{outcome.pages:,} page{'s' * (outcome.pages != 1)}"
    records = f"{outcome.records:,} record{'s' * (outcome.records != 1)}"
    say(f"{outcome.outcome:9} {place} ({records} in {pages}, {outcome.size_bytes:,} bytes, {outcome.seconds:.1f} s)")
