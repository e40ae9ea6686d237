"""`kpi plan`: what each load_date needs, and why."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date, datetime, timezone
from typing import Annotated

import typer
from rich.table import Table as Grid

from kpi_assets.cli import HELD
from kpi_assets.cli.arguments import PipelineName, ReportFormat, date_option
from kpi_assets.cli.plan_ranges import Range, fitting
from kpi_assets.cli.terminal import grid, out, say, styled
from kpi_assets.cli.waiting_rows import find_waiting, say_waiting
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.ledger import results, rulings
from kpi_assets.ledger.results import Warned
from kpi_assets.ledger.rulings import RecordedRuling
from kpi_assets.materialize import erase
from kpi_assets.materialize.drop import PublishedTable, orphans
from kpi_assets.monitoring import freshness
from kpi_assets.plan.collect import collect
from kpi_assets.plan.status import LoadDateStatus
from kpi_assets.plan.unexpected import find_unexpected
from kpi_assets.printable import strict_json
from kpi_assets.sources.store import open_store
from kpi_assets.warehouse import tables
from kpi_assets.warehouse.connection import connect

HEADER = 4  # lines of a table besides its rows
FEW = 5  # warnings that are printed in full
STYLES = {
    "published": "green",
    "new": "cyan",
    "stale": "yellow",
    "lost": "bold red",
    "running": "cyan",
    "growing": "green",
    "incomplete": "yellow",
    "late": "bold yellow",
    "missing": "dim",
    "held": "bold red",
    "failed": "red",
}


def plan(
    pipeline: PipelineName,
    first: Annotated[date | None, date_option("--from", help="The first load_date; default: the first landed.")] = None,
    last: Annotated[date | None, date_option("--to", help="The last load_date; default: the last landed.")] = None,
    format: Annotated[ReportFormat, typer.Option(help="How to print the plan.")] = ReportFormat.table,  # noqa: A002
) -> None:
    """Print which load_dates are not published as they should be, and why: exit 0, 1 failed or lost, 3 held."""
    found = pipeline_of(pipeline)
    start, end = first or found.config.start_date, last or datetime.now(timezone.utc).date()
    found.load_dates(start, end)
    with open_workspace(pipeline) as work:
        statuses = _landed(load_date_statuses(work.readable(), start, end), first, last)
        unexpected = list(find_unexpected(found, open_store(found, work.settings), start, end))
        late, orphans, warned = _late(work), _orphans(work), _warned(work, start, end)
        mismatches, waiting = _mismatches(work), find_waiting(work)
        waived, behind = _waived(work, start, end), _behind(work)
    counts = Counter(status.state for status in statuses)
    if format is ReportFormat.json:
        typer.echo(strict_json([_as_json(status) for status in statuses], indent=2))
    else:
        if ranges := fitting(statuses, lambda tried: len(out.render_lines(_table(pipeline, tried))) - HEADER):
            out.print(_table(pipeline, ranges))
            if not {each.why for each in ranges} <= {status.reason for status in statuses}:
                say(f"`kpi plan {pipeline} --format json` has the whole reason of each load_date.")
        for each in unexpected:
            say(styled("not due", STYLES["late"]), f" {each}.")
        _say_behind(behind)
        for sentence in late:
            say(styled("late", STYLES["late"]), f" {sentence}.")
        for mismatch in mismatches:
            say(styled("mismatch", STYLES["lost"]), f" {mismatch}.")
        for warning in warned[:FEW]:
            say(styled("warning", STYLES["late"]), f" {warning}.")
        if (more := len(warned) - FEW) > 0:
            checks = f"`kpi checks {pipeline} --load-date DATE` shows those of a load_date."
            say(styled("warning", STYLES["late"]), f" {more} more checks: {checks}")
        say_waived(waived)
        say_waiting(pipeline, waiting)
        for orphan in orphans:
            put_back = f"put the file back, or run `kpi drop {pipeline} {orphan.asset}`."
            say(styled("orphan", "yellow"), f" no file describes {orphan}, which readers still see: {put_back}")
        say(
            count_states(counts)
            if counts
            else f"Nothing of {pipeline} has landed yet in {work.place}: kpi sample, kpi land."
        )
    raise typer.Exit(1 if counts["failed"] or counts["lost"] else HELD if counts["held"] else 0)


def _table(pipeline: str, ranges: "Sequence[Range]") -> Grid:
    rows = [(each.load_dates, styled(each.state, STYLES[each.state]), each.why) for each in ranges]
    return grid(f"{pipeline}: what is not published", ("load_date", "state", "why"), rows)


def load_date_statuses(work: Workspace, first: date, last: date) -> "list[LoadDateStatus]":
    """Return the status of each load_date of a range."""
    store = open_store(work.pipeline, work.settings)
    with connect(work.server, work.pipeline.name, "plan", read_only=True) as connection:
        return [status for year in collect(work.pipeline, store, connection, first, last) for status in year]


def _say_behind(sentence: str) -> None:
    if sentence:
        say(styled("erasure", STYLES["held"]), f" {sentence}.")


def _behind(work: Workspace) -> str:
    """Return a sentence if erased persons may be left in the database; empty if none are."""
    store = open_store(work.pipeline, work.settings)
    with connect(work.server, work.pipeline.name, "plan", read_only=True) as connection:
        return erase.behind(work.pipeline, store, connection)


def _late(work: Workspace) -> list[str]:
    """Return a sentence for each KPI that is not as fresh as its header demands."""
    with connect(work.server, work.pipeline.name, "plan", read_only=True) as connection:
        return [found.sentence for found in freshness.late(connection, work.pipeline)]


def _orphans(work: Workspace) -> "list[PublishedTable]":
    """Return the published tables that no file describes any more."""
    with connect(work.server, work.pipeline.name, "plan", read_only=True) as connection:
        return orphans(connection, work.pipeline.tables)


def _mismatches(work: Workspace) -> list[str]:
    """Return a sentence for each table whose storage in the database is not that of its file."""
    with connect(work.server, work.pipeline.name, "plan", read_only=True) as connection:
        return tables.find_mismatches(connection, work.pipeline.tables.values())


def _warned(work: Workspace, first: date, last: date) -> "list[Warned]":
    """Return the warnings of checks that did not hold a load_date."""
    with connect(work.server, work.pipeline.name, "plan", read_only=True) as connection:
        return results.warned(connection, first, last)


def say_waived(found: "Sequence[RecordedRuling]") -> None:
    """Print by which rulings tables are published although checks of them failed."""
    for ruling in found:
        say(styled("waived", STYLES["late"]), f" {ruling.sentence}.")


def _waived(work: Workspace, first: date, last: date) -> "list[RecordedRuling]":
    """Return the rulings by which tables are published although checks of them failed."""
    with connect(work.server, work.pipeline.name, "plan", read_only=True) as connection:
        return rulings.shown(connection, first, last)


def count_states(counts: Collection[str]) -> str:
    """Return a sentence with the number of load_dates in each state."""
    found = Counter(counts)
    return ", ".join(f"{found[state]} {state}" for state in STYLES if found[state]) + "."


def _landed(statuses: "Sequence[LoadDateStatus]", first: date | None, last: date | None) -> "list[LoadDateStatus]":
    """Leave out the load_dates before the first and after the last that landed, except at an end that was given.

    Those stay whose APIs are still to be asked.
    """
    landed = [n for n, status in enumerate(statuses) if status.state != "missing" or status.asked_from]
    if not landed:
        return list(statuses) if first and last else []
    return list(statuses[0 if first else landed[0] : None if last else landed[-1] + 1])


def _as_json(status: "LoadDateStatus") -> dict[str, object]:
    return {
        "load_date": status.load_date.isoformat(),
        "state": status.state,
        "reason": status.reason,
        "cause": status.stale_reason,
        "objects_landed": status.landed,
        "asked_from": status.asked_from.isoformat() if status.asked_from else None,
    }
