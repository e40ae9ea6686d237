"""The plan: `kpi plan`, what each load_date is in need of, and why."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date, datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from kpi_assets.cli.common import HELD, PipelineName, Session, date_option, grid, out, pipeline_of, say, session, styled
from kpi_assets.printable import strict_json

if TYPE_CHECKING:
    from kpi_assets.ledger.results import Warned
    from kpi_assets.materialize.drop import PublishedTable  # their packages bring boto3
    from kpi_assets.plan.status import LoadDateStatus

STYLES = {
    "published": "green",
    "new": "cyan",
    "stale": "yellow",
    "lost": "bold red",
    "running": "cyan",
    "incomplete": "yellow",
    "late": "bold yellow",
    "missing": "dim",
    "held": "bold red",
    "failed": "red",
}


class Format(str, Enum):
    """How the plan is printed."""

    table = "table"
    json = "json"


def plan(
    pipeline: PipelineName,
    first: Annotated[date | None, date_option("--from", help="The first load_date; the first one known.")] = None,
    last: Annotated[date | None, date_option("--to", help="The last load_date; the last one known.")] = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.table,  # noqa: A002
) -> None:
    """Print which load_dates are not published as they should be, and why: exit 0, 1 failed or lost, 3 held."""
    found = pipeline_of(pipeline)
    start, end = first or found.config.start_date, last or datetime.now(timezone.utc).date()
    found.load_dates(start, end)
    with session(pipeline) as work:
        standings = _known(standings_of(work.looked_at(), start, end), first, last)
        late, orphans, warned = _late(work), _orphans(work), _warned(work, start, end)
        mismatches = _mismatches(work)
    counts = Counter(standing.state for standing in standings)
    if format is Format.json:
        typer.echo(strict_json([_as_json(standing) for standing in standings], indent=2))
    else:
        rows = [(s.load_date, styled(s.state, STYLES[s.state]), s.reason) for s in standings if s.state != "published"]
        if rows:
            out.print(grid(f"{pipeline}: what is not published", ("load_date", "state", "why"), rows))
        for sentence in late:
            say(styled("late", STYLES["late"]), f" {sentence}.")
        for mismatch in mismatches:
            say(styled("mismatch", STYLES["lost"]), f" {mismatch}.")
        for warning in warned:
            say(styled("warning", STYLES["late"]), f" {warning}.")
        for orphan in orphans:
            put_back = f"put the file back, or run `kpi drop {pipeline} {orphan.asset}`."
            say(styled("orphan", "yellow"), f" no file describes {orphan}, which readers still see: {put_back}")
        say(told(counts) if counts else f"Nothing of {pipeline} has landed yet in {work.place}: kpi sample, kpi land.")
    raise typer.Exit(1 if counts["failed"] or counts["lost"] else HELD if counts["held"] else 0)


def standings_of(work: Session, first: date, last: date) -> "list[LoadDateStatus]":
    """The standing of each load_date of a range."""
    from kpi_assets.plan.collect import collect  # noqa: PLC0415
    from kpi_assets.sources.store import open_store  # noqa: PLC0415
    from kpi_assets.warehouse.connection import connect  # noqa: PLC0415

    store = open_store(work.pipeline, work.settings)
    with connect(work.server, work.pipeline.name, "plan", reads=True) as connection:
        return [standing for year in collect(work.pipeline, store, connection, first, last) for standing in year]


def _late(work: Session) -> list[str]:
    """A sentence for each KPI that is not as fresh as its header wants it."""
    from kpi_assets.monitoring import freshness  # noqa: PLC0415
    from kpi_assets.warehouse.connection import connect  # noqa: PLC0415

    with connect(work.server, work.pipeline.name, "plan", reads=True) as connection:
        return [found.sentence for found in freshness.late(connection, work.pipeline)]


def _orphans(work: Session) -> "list[PublishedTable]":
    """What is published, and no file describes any more."""
    from kpi_assets.materialize.drop import orphans  # noqa: PLC0415
    from kpi_assets.warehouse.connection import connect  # noqa: PLC0415

    with connect(work.server, work.pipeline.name, "plan", reads=True) as connection:
        return orphans(connection, work.pipeline.tables)


def _mismatches(work: Session) -> list[str]:
    """What is stored in another way than its file says."""
    from kpi_assets.warehouse import tables  # noqa: PLC0415
    from kpi_assets.warehouse.connection import connect  # noqa: PLC0415

    with connect(work.server, work.pipeline.name, "plan", reads=True) as connection:
        return tables.mismatches(connection, work.pipeline.tables.values())


def _warned(work: Session, first: date, last: date) -> "list[Warned]":
    """What checks warn of that hold nothing."""
    from kpi_assets.ledger import results  # noqa: PLC0415
    from kpi_assets.warehouse.connection import connect  # noqa: PLC0415

    with connect(work.server, work.pipeline.name, "plan", reads=True) as connection:
        return results.warned(connection, first, last)


def told(counts: Collection[str]) -> str:
    """How many load_dates are in which state."""
    found = Counter(counts)
    return ", ".join(f"{found[state]} {state}" for state in STYLES if found[state]) + "."


def _known(standings: "Sequence[LoadDateStatus]", first: date | None, last: date | None) -> "list[LoadDateStatus]":
    """Without the load_dates before and after all that landed, unless the range was given."""
    known = [n for n, standing in enumerate(standings) if standing.state != "missing"]
    if not known:
        return list(standings) if first and last else []
    return list(standings[0 if first else known[0] : None if last else known[-1] + 1])


def _as_json(standing: "LoadDateStatus") -> dict[str, object]:
    return {
        "load_date": standing.load_date.isoformat(),
        "state": standing.state,
        "reason": standing.reason,
        "cause": standing.stale_reason,
        "objects_landed": standing.landed,
    }
