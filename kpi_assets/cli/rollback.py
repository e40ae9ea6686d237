"""`kpi rollback`: shows again what readers saw of a load_date before, after it has said what would change."""

import uuid
from collections.abc import Sequence
from datetime import date, datetime, timezone
from typing import Annotated, Any

import typer
from psycopg import Connection

from kpi_assets.cli.alerts import deliver_due
from kpi_assets.cli.arguments import PipelineName, date_option
from kpi_assets.cli.quarantine import By, who
from kpi_assets.cli.selection import select_names
from kpi_assets.cli.terminal import grid, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.erase import check_not_behind
from kpi_assets.materialize.rollback import roll_back
from kpi_assets.materialize.rolled_back import Moment, Planned, at_instant, before_run, last_with, plan
from kpi_assets.materialize.rule import check_reason
from kpi_assets.model.names import Relation, is_object
from kpi_assets.model.number_format import write
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.monitoring.declared_kpis import record_declared
from kpi_assets.monitoring.thresholds import report_breached
from kpi_assets.sources.store import open_store
from kpi_assets.warehouse.connection import connect


def rollback(
    pipeline: PipelineName,
    load_date: Annotated[date, date_option("--load-date", help="The load_date.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the rulings.")],
    as_of: Annotated[
        str | None,
        typer.Option(metavar="INSTANT", help="To what readers saw then, such as 2025-03-01T09:30; in UTC if not said."),
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="RUN", help="To what readers saw before this run published anything of it.")
    ] = None,
    to: Annotated[
        int | None, typer.Option(metavar="PUBLISH", help="To what readers saw before a run replaced this publish.")
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select", metavar="KEYS", help="Only these tables, as in `kpi run`; may be given several times."
        ),
    ] = None,
    by: By = "",
    yes: Annotated[bool, typer.Option("--yes", help="Roll back without asking.")] = False,
) -> None:
    """Show again what readers saw of a load_date before, in all tables at once, and keep out what took its place.

    It prints first what changes. What was rolled back is held until something new comes: another object, other SQL.
    """
    found = pipeline_of(pipeline)
    check_reason(reason)
    if sum(each is not None for each in (as_of, before, to)) != 1:
        raise UsageError("Say to which state to roll back: give one of --as-of, --before and --to.")
    instant = _instant(as_of) if as_of is not None else None
    only = _selected(found, select or [])
    with open_workspace(pipeline) as work:
        with connect(work.readable().server, pipeline, "rollback") as connection:
            moment = _moment(connection, load_date, instant, before, to)
            planned = plan(connection, found, load_date, moment, only)
        _preview(found, planned)
        _confirm(yes=yes)
        context = BuildContext(found, work.server, open_store(found, work.settings), str(uuid.uuid4()))
        check_not_behind(context)
        done = roll_back(context, planned, reason, who(by))
        for ruling in done.rulings:
            say(styled("held", "yellow"), f" {ruling.asset}: what was there is kept out (ruling {ruling.ruling_id})")
        count = len(done.publishes)
        tables = f"{count} table{'s' * (count != 1)}"
        say(styled("rolled back", "green"), f" {tables} of {load_date} to what readers saw {planned.moment.said}")
        _after(work, found)


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        raise UsageError(f"{text!r} is no instant: write one such as 2025-03-01T09:30.") from None
    found = (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    if found > datetime.now(timezone.utc):
        raise UsageError(f"{text} lies in the future: give an instant that is over.")
    return found


def _moment(
    connection: Connection[Any], load_date: date, instant: datetime | None, run: str | None, publish: int | None
) -> Moment:
    if instant is not None:
        return at_instant(instant)
    if run is not None:
        return before_run(connection, load_date, run)
    assert publish is not None
    return last_with(connection, load_date, publish)


def _selected(pipeline: Pipeline, keys: Sequence[str]) -> set[Relation] | None:
    """Return the tables that --select names; None if it is not given. Views follow their tables."""
    if not keys:
        return None
    names = [name for name in select_names(pipeline, ",".join(keys)) if not is_object(name)]
    found = {table.relation for name in names if (table := pipeline.table(name)).storage.stores_rows}
    if not found:
        raise UsageError(f"{', '.join(keys)} names no table that stores rows: a view follows the table that it shows.")
    return found


def _preview(pipeline: Pipeline, planned: Planned) -> None:
    """Print what changes: the rows and checksums of each table, and the values of its KPIs."""
    rows = [
        (
            each.table.relation,
            *(f"{each.now.rows:,}", f"{each.then.rows:,}", each.now.checksum, each.then.checksum),
            each.then.publish_id,
        )
        for each in planned.changes
    ]
    columns = ("table", "rows now", "rows then", "checksum now", "checksum then", "publish")
    title = f"{pipeline.name}: {planned.load_date} as it was {planned.moment.said}"
    out.print(grid(title, columns, rows, right=("rows now", "rows then", "publish")))
    values = [
        (each.asset, name, *(_number(pipeline, each.asset, name, of) for of in (each.now, each.then)))
        for each in planned.values
        for name in dict.fromkeys([*each.now, *each.then])
    ]
    if values:
        out.print(grid("", ("KPI", "measure", "now", "then"), values, right=("now", "then")))
    roots = ", ".join(str(each.table.relation) for each in planned.roots)
    say(f"What is there now of {roots} is kept out from then on, until something new comes.")
    for name in planned.later:
        say(f"{name} was not published then: it stays, and is built again from what it reads.")


def _number(pipeline: Pipeline, asset: str, name: str, values: Any) -> str | None:
    kpi = pipeline.tables[Relation.parse(asset)].header.kpi
    measure = kpi.measures.get(name) if kpi else None
    value = values.get(name)
    return str(value) if measure is None and value is not None else write(value, measure.format) if measure else None


def _confirm(*, yes: bool) -> None:
    """Ask unless `yes` is given. Raises typer.Exit if the answer is no, and UsageError if there is none."""
    try:
        if yes or typer.confirm("Roll it back?"):
            return
    except typer.Abort:
        raise UsageError("Nobody answered, so nothing was rolled back: give --yes to roll it back.") from None
    say("Nothing was rolled back.")
    raise typer.Exit(1)


def _after(work: Workspace, pipeline: Pipeline) -> None:
    """Judge the thresholds of the values that readers see now, and tell people what is held."""
    with connect(work.server, pipeline.name, "rollback") as connection:
        record_declared(connection, pipeline)
        report_breached(connection, pipeline)
    deliver_due(work)
