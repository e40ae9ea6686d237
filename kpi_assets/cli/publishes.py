"""`kpi publishes`: lists what readers saw of a load_date, since when, and whether the rows are still there."""

from datetime import date
from typing import Annotated

import typer

from kpi_assets.cli.arguments import PipelineName, date_option
from kpi_assets.cli.show import RowFormat, print_csv
from kpi_assets.cli.terminal import grid, out, say, styled
from kpi_assets.cli.workspace import open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.printable import strict_json
from kpi_assets.read.publishes import PublishRow, read_publishes
from kpi_assets.warehouse.connection import connect

STYLES = {"shown": "green", "kept": "yellow", "gone": "dim"}
_COLUMNS = ("publish", "table", "from", "until", "rows", "checksum", "cause", "restores", "run", "state")


def publishes(
    pipeline: PipelineName,
    load_date: Annotated[date, date_option("--load-date", help="The load_date.")],
    table: Annotated[str | None, typer.Argument(metavar="SCHEMA.TABLE", help="Only this table.")] = None,
    format: Annotated[RowFormat, typer.Option(help="How to print them.")] = RowFormat.table,  # noqa: A002
) -> None:
    """List the publishes of a load_date: since when and until when readers saw them, and whether rows are kept.

    The state is `shown` if readers see these rows now, `kept` if `kpi rollback` can show them again, and else `gone`.
    """
    found = pipeline_of(pipeline)
    tables = [found.table(table)] if table else [each for each in found.tables.values() if each.storage.stores_rows]
    if table and not tables[0].storage.stores_rows:
        raise UsageError(f"{table} stores no rows: ask for {tables[0].origin.relation}, which it shows.")
    with open_workspace(pipeline) as work:
        work.readable()
        with connect(work.server, pipeline, "publishes", read_only=True) as connection:
            rows = read_publishes(connection, [each.relation for each in tables], load_date)
    cells = [_cells(each) for each in rows]
    if format is RowFormat.json:
        typer.echo(strict_json([dict(zip(_COLUMNS, row, strict=True)) for row in cells], indent=2))
    elif format is RowFormat.csv:
        print_csv(_COLUMNS, [[None if cell is None else str(cell) for cell in row] for row in cells])
    elif not rows:
        say(f"Nothing of {table or pipeline} of {load_date} was ever published in {work.place}.")
    else:
        shown = [
            [*row[:2], *(cell and str(cell)[:19].replace("T", " ") for cell in row[2:4]), *row[4:-1]] for row in cells
        ]
        styles = [styled(each.place, STYLES[each.place]) for each in rows]
        lines = [[*row, style] for row, style in zip(shown, styles, strict=True)]
        out.print(grid(f"{pipeline}: publishes of {load_date}", _COLUMNS, lines, right=("publish", "rows", "restores")))


def _cells(each: PublishRow) -> tuple[object, ...]:
    until = each.until and each.until.isoformat()
    return (
        *(each.publish_id, each.asset, each.published_at.isoformat(), until, each.rows, each.checksum),
        *(each.cause, each.restores, each.run_id, each.place),
    )
