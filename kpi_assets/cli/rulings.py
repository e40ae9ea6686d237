"""`kpi waive`, `kpi rulings` and `kpi revoke`: a person's word about one build."""

from datetime import date, datetime, timezone
from typing import Annotated
from uuid import uuid4

import typer

from kpi_assets.cli.arguments import PipelineName, date_option
from kpi_assets.cli.quarantine import By, who
from kpi_assets.cli.show import RowFormat
from kpi_assets.cli.terminal import grid, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.lake_places import object_url
from kpi_assets.ledger import rulings as ledger
from kpi_assets.ledger.rulings import RecordedRuling
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.rule import USUAL_HOURS, AskedWaiver
from kpi_assets.materialize.rule import revoke as revoke_ruling
from kpi_assets.materialize.rule import waive as waive_build
from kpi_assets.printable import printable, strict_json
from kpi_assets.read.export import as_csv
from kpi_assets.sources.store import Store, open_store
from kpi_assets.warehouse.connection import connect

STYLES = {"open": "yellow", "used": "yellow", "expired": "dim", "revoked": "dim"}
_COLUMNS = ("id", "kind", "load_date", "table", "checks", "state", "by", "until", "reason")
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the ruling.")]


def waive(
    pipeline: PipelineName,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The held table, as `schema.table`.")],
    load_date: Annotated[date, date_option("--load-date", help="The load_date.")],
    check: Annotated[
        list[str],
        typer.Option("--check", metavar="NAME", help="A check that may fail; once for each that holds the build."),
    ],
    reason: Reason,
    hours: Annotated[
        int | None,
        typer.Option(metavar="N", help=f"For how long it may be used; {USUAL_HOURS} unless pipeline.yaml allows less."),
    ] = None,
    by: By = "",
) -> None:
    """Rule that a held build is published although the named checks fail: this build, and no other one."""
    found = pipeline_of(pipeline)
    declared = found.table(table)
    with open_workspace(pipeline) as work:
        context, store = _context(work)
        asked = AskedWaiver(declared, load_date, list(dict.fromkeys(check)), reason, who(by), hours)
        made = waive_build(context, asked)
    until = f"{made.expires_at:%Y-%m-%d %H:%M} UTC" if made.expires_at else ""
    say(styled("waived", "yellow"), f" {', '.join(made.checks)} of {made.asset} of {load_date} until {until}")
    say(f"written {object_url(store.bucket, made.object_key)} (ruling {made.ruling_id})")
    command = f"`kpi run {pipeline} --load-date {load_date} --select {made.asset}+`"
    say(f"{made.asset} of {load_date} is published by automation where it is on; {command} does it now.")


def rulings(
    pipeline: PipelineName,
    open_: Annotated[bool, typer.Option("--open", help="Only those that count now.")] = False,
    format: Annotated[RowFormat, typer.Option(help="How to print them.")] = RowFormat.table,  # noqa: A002
) -> None:
    """Print what people ruled on builds: the waivers, and the builds that are kept out."""
    pipeline_of(pipeline)
    with open_workspace(pipeline) as work:
        work.readable()
        with connect(work.server, pipeline, "rulings", read_only=True) as connection:
            found = ledger.every(connection)
    now = datetime.now(timezone.utc)
    rows = [_cells(each, now) for each in found if not open_ or each.state(now) in {"open", "used"}]
    if format is RowFormat.json:
        typer.echo(strict_json([dict(zip(_COLUMNS, row, strict=True)) for row in rows], indent=2))
        return
    texts = [[None if cell is None else str(cell) for cell in row] for row in rows]
    if format is RowFormat.csv:
        shown = [[cell and printable(cell) for cell in row] for row in texts] if out.is_terminal else texts
        typer.echo(as_csv(_COLUMNS, shown), nl=False)
        return
    if not rows:
        say(f"{pipeline}: {'no ruling counts now' if open_ else 'nobody ruled on a build'}.")
        return
    state = _COLUMNS.index("state")
    cells = [[styled(cell, STYLES[str(cell)]) if n == state else cell for n, cell in enumerate(row)] for row in texts]
    out.print(grid(f"{pipeline}: rulings", _COLUMNS, cells, right=("id",)))


def revoke(
    pipeline: PipelineName,
    id_: Annotated[int, typer.Argument(metavar="ID", help="Number of the ruling, as `kpi rulings` prints it.")],
    reason: Reason,
    by: By = "",
) -> None:
    """Take a ruling back: what was published by it stays until it is built again, and is held then."""
    pipeline_of(pipeline)
    with open_workspace(pipeline) as work:
        context, store = _context(work)
        made = revoke_ruling(context, id_, reason, who(by))
    say(styled("revoked", "green"), f" ruling {id_}: {made.kind} of {made.asset} of {made.load_date}")
    say(f"written beside {object_url(store.bucket, made.object_key)}")


def _context(work: Workspace) -> tuple[BuildContext, Store]:
    store = open_store(work.pipeline, work.settings)
    return BuildContext(work.pipeline, work.readable().server, store, str(uuid4())), store


def _cells(each: RecordedRuling, now: datetime) -> tuple[object, ...]:
    until = f"{each.expires_at:%Y-%m-%d %H:%M}" if each.expires_at else None
    checks = ", ".join(each.checks) or None
    day, state = each.load_date.isoformat(), each.state(now)
    return each.ruling_id, each.kind, day, each.asset, checks, state, each.ruled_by, until, each.reason
