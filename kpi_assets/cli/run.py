"""`kpi run` and `kpi backfill`: runs in this process, which Dagster's history shows like any other run."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timezone
from typing import Annotated

import typer

from kpi_assets.alerts.message import verdict_path
from kpi_assets.cli.alerts import deliver_due
from kpi_assets.cli.arguments import LoadDateOrRunDate, PipelineName, Select, date_option
from kpi_assets.cli.plan import count_states, load_date_statuses
from kpi_assets.cli.run_view import ENDINGS
from kpi_assets.cli.runner import EXIT_CODES, Result, open_runner, worst
from kpi_assets.cli.selection import due_names, select_names, table_of
from kpi_assets.cli.show import show_checks
from kpi_assets.cli.terminal import grid, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.instance.services import known_ui_url
from kpi_assets.model.asking import why_not_asked
from kpi_assets.model.calendar import named
from kpi_assets.model.names import is_object
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.plan.status import STATES, LoadDateStatus
from kpi_assets.sources.store import open_store


def run(pipeline: PipelineName, load_date: LoadDateOrRunDate, select: Select = "") -> None:
    """Build and publish one load_date of a pipeline: exit 0 published, 3 held by a gate, 1 failed or not landed."""
    found = pipeline_of(pipeline)
    found.check_load_date(load_date)
    names = due_names(found, select_names(found, select), load_date)
    if not names:
        raise UsageError(f"{_why_not_due(found, select, load_date)}.")
    with open_workspace(pipeline) as work:
        _check_apis(work, names, load_date)
        with open_runner(work.ready()) as materialize:
            result = materialize(load_date, names)
            explain(work, result)
            deliver_due(work)
    raise typer.Exit(result.exit_code)


def _check_apis(work: Workspace, names: Sequence[str], load_date: date) -> None:
    """Raise UsageError if a run would read an object that is not there, and that no API is asked for now."""
    pipeline, now = work.pipeline, datetime.now(timezone.utc)
    for table in pipeline.object_tables:
        if not table.source.api or table.source.carried_days or table.object_name not in names:
            continue
        why = why_not_asked(pipeline, table, load_date, now)
        key = table.object_key(load_date)
        if why and open_store(pipeline, work.settings).manifest("", load_date, key) is None:
            by_hand = not why_not_asked(pipeline, table, load_date, now, by_hand=True)
            fetch = f"; `kpi fetch {pipeline.name} --load-date {load_date}` asks now" * by_hand
            raise UsageError(f"{table.object_name} of {load_date} is not there: {why}{fetch}.")


def _why_not_due(pipeline: Pipeline, select: str, load_date: date) -> str:
    """Return why nothing of what was selected is due on a load_date."""
    if not select:
        return f"Nothing of {pipeline.name} is due on {named(load_date)}: `kpi plan {pipeline.name}` lists what is"
    return pipeline.not_due(table_of(pipeline, select_names(pipeline, select)[0]), load_date)


def explain(work: Workspace, result: Result) -> None:
    """Print what is held or failed, with counts and samples, or that everything is published."""
    if result.outcome == "published":
        show_checks(work, result.load_date, only_bad=True, run_id=result.run_id)  # warnings hold nothing
        count = f"{len(result.states)} assets"
        say(styled("published", "green"), f" {work.pipeline.name}, load_date {result.load_date}: {count}")
        return
    if any(state == "held" for state, _ in result.states.values()):
        show_checks(work, result.load_date, only_bad=True, run_id=result.run_id)
    for name, (state, error) in result.states.items():
        if state in {"held", "failed", "missing"}:
            say(styled(state, ENDINGS[state]), f" {name}: {error or ''}")
        if state == "held" and (ui_url := known_ui_url(work.settings)):
            say(f"  {ui_url}{verdict_path(work.pipeline.name, name, result.run_id)}")
    if any(is_object(name) and state in {"held", "missing"} for name, (state, _) in result.states.items()):
        say(f"The objects were looked for in {work.place}.")
    if result.outcome == "missing":
        again = "land what is missing (`kpi land`), then run the load_date again"
        say(f"Nothing is wrong with {work.pipeline.name}, load_date {result.load_date}: {again}.")
    for name, error in result.errors_after_publish.items():
        done = "verified" if is_object(name) else "published"
        say(styled("failed", ENDINGS["failed"]), f" {name}: it is {done}; the run failed after that: {error}")
    if result.not_started and not any(state != "success" for state, _ in result.states.values()):
        names = ", ".join(result.not_started)
        say(styled("failed", ENDINGS["failed"]), f" {names}: not started, because the run ended before")


def backfill(
    pipeline: PipelineName,
    first: Annotated[date, date_option("--from", help="The first load_date.")],
    last: Annotated[date, date_option("--to", help="The last load_date.")],
    select: Select = "",
    only: Annotated[
        str,
        typer.Option(
            metavar="STATES",
            help="Only load_dates in these states of `kpi plan`, separated by commas; `missing` includes new ones.",
        ),
    ] = "",
) -> None:
    """Build and publish each landed load_date of a range, oldest first; a held one does not stop the others."""
    found = pipeline_of(pipeline)
    found.load_dates(first, last)
    names = select_names(found, select)
    states = _parse_states(only)
    with open_workspace(pipeline) as work, open_runner(work.ready()) as materialize:
        results: list[Result] = []
        statuses: list[LoadDateStatus] = []
        for status in _statuses_in_turn(work, first, last, results):
            statuses.append(status)
            # A load_date without any object cannot be built, unless none must be there. If some are missing, the others
            # are built.
            due = due_names(found, names, status.load_date)
            if due and (status.landed or status.is_complete) and status.state in states:
                needed = [name for name in due if name in status.tables_to_build] if only else []
                result = materialize(status.load_date, needed or due)
                explain(work, result)
                results.append(result)
        rows = [_summary(result) for result in results]
        out.print(grid(f"{pipeline}: {first} to {last}", ("load_date", "state", "published", "not published"), rows))
        if only:
            ran = {result.load_date for result in results}
            left = [status.state for status in statuses if status.load_date not in ran]
            say(f"{len(rows)} run" + (f"; left as they were: {count_states(left)}" if left else "."))
        else:
            missing = sum(not (status.landed or status.is_complete) for status in statuses)
            say(f"{len(rows)} load_date{'s' * (len(rows) != 1)} run, {missing} not landed")
        if undue := (last - first).days + 1 - len(statuses):
            say(f"{undue} days of the range are not due")
        deliver_due(work)
    raise typer.Exit(EXIT_CODES[worst({result.outcome for result in results})])


def _statuses_in_turn(work: Workspace, first: date, last: date, ran: Sequence[Result]) -> "Iterator[LoadDateStatus]":
    """Yield the status of each load_date. It is read when its turn comes, because a run may make later ones stale."""
    for status in load_date_statuses(work, first, last):
        yield status if not ran else load_date_statuses(work, status.load_date, status.load_date)[0]


def _parse_states(only: str) -> set[str]:
    """Return the states that --only names, or all states. Raises UsageError."""
    words = [word.strip() for word in only.split(",")] if only else list(STATES)
    for word in words:
        if word not in STATES:
            raise UsageError(f"There is no state {word!r}: --only takes {', '.join(STATES)}, separated by commas.")
    return {*words, *(["new"] if "missing" in words else [])}


def _summary(result: Result) -> tuple[object, ...]:
    done = sum(state == "success" for state, _ in result.states.values())
    rest = [f"{name} ({state})" for name, (state, _) in result.states.items() if state != "success"]
    rest += [f"{name} (failed after publishing)" for name in result.errors_after_publish]
    return result.load_date, styled(result.outcome, ENDINGS[result.outcome]), done, ", ".join(rest)
