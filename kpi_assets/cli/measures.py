"""`kpi measures`: prints the measures of KPIs as readers see them, or computes those anew whose header was changed."""

from collections.abc import Sequence
from datetime import date, datetime, timezone
from typing import Annotated

import typer

from kpi_assets.cli.arguments import LoadDate, PipelineName
from kpi_assets.cli.show import RowFormat, print_csv
from kpi_assets.cli.terminal import err, grid, out, progress_bar, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.materialize.measures import find_outdated
from kpi_assets.materialize.measures import refresh as refresh_table
from kpi_assets.model.number_format import write
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.monitoring.declared_kpis import record_declared
from kpi_assets.monitoring.thresholds import report_breached
from kpi_assets.printable import strict_json
from kpi_assets.read.measures import MeasureValue, read_measures
from kpi_assets.warehouse.connection import connect

STYLES = {"current": "green", "older": "yellow", "missing": "yellow"}
COLUMNS = ("kpi", "measure", "load_date", "value", "state", "publish_id", "final")
FINAL = {None: "", True: "final", False: "provisional"}


def measures(
    pipeline: PipelineName,
    table: Annotated[str, typer.Argument(metavar="[SCHEMA.TABLE]", help="One KPI; default: all.")] = "",
    load_date: LoadDate = None,
    format: Annotated[  # noqa: A002
        RowFormat, typer.Option(help="How to print the values. csv and json hold them exactly.")
    ] = RowFormat.table,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="First compute the values of all load_dates whose measures were added or changed in the header.",
        ),
    ] = False,
) -> None:
    """Print the measures of each KPI as readers see them, on its latest load_date by default."""
    found = pipeline_of(pipeline)
    tables = _kpis(found, table)
    if refresh and load_date is not None:
        raise UsageError("--refresh computes the values of all load_dates: leave --load-date out.")
    with open_workspace(pipeline) as work:
        if refresh:
            _refresh(work.ready(), tables)
        _print(work.readable(), tables, load_date, format)


def _kpis(pipeline: Pipeline, name: str) -> list[Table]:
    """Return the KPIs that have measures, or the named one. Raises UsageError if there is none."""
    if name:
        table = pipeline.table(name)
        if not (table.header.kpi and table.header.kpi.measures):
            raise UsageError(f"{name} has no measures: write kpi: {{measures: …}} into {table.path}.")
        return [table]
    found = [table for table in pipeline.tables.values() if table.header.kpi and table.header.kpi.measures]
    if not found:
        raise UsageError(f"No table of {pipeline.name} has measures: write kpi: {{measures: …}} into the file of one.")
    return found


def _print(work: Workspace, tables: Sequence[Table], load_date: date | None, style: RowFormat) -> None:
    with connect(work.server, work.pipeline.name, "measures", read_only=True) as connection:
        found = read_measures(connection, tables, load_date, place=work.place, now=datetime.now(timezone.utc))
    exact = [_exact(each) for each in found]
    if style is RowFormat.json:
        typer.echo(strict_json([dict(zip(COLUMNS, row, strict=True)) for row in exact], indent=2))
    elif style is RowFormat.csv:
        print_csv(COLUMNS, [[_text(cell) for cell in row] for row in exact])
    else:
        columns = ("KPI", "measure", "load_date", "value", "unit", "state", "final")
        rows = [
            (
                each.table.relation,
                each.name,
                each.load_date,
                write(each.value, each.measure.format),
                each.measure.unit,
                styled(each.state, STYLES[each.state]),
                FINAL[each.is_final],
            )
            for each in found
        ]
        out.print(grid(f"{work.pipeline.name}: measures", columns, rows, right=("value",)))
    outdated = [each for each in found if each.state != "current"]
    if outdated:
        which = f"{len(outdated)} of {len(found)} values {'is' if len(outdated) == 1 else 'are'}"
        command = f"`kpi measures {work.pipeline.name} --refresh`"
        say(f"{which} not computed as the headers say now: {command} computes them anew.", console=err)


def _exact(each: MeasureValue) -> tuple[str | int | bool | None, ...]:
    """Return the cells of a value for programs; the value is text, because a reader may round a number."""
    value = None if each.value is None else f"{each.value:f}"
    which = (str(each.table.relation), each.name, each.load_date.isoformat())
    return (*which, value, each.state, each.publish_id, each.is_final)


def _text(cell: str | int | bool | None) -> str | None:
    return str(cell).lower() if isinstance(cell, bool) else None if cell is None else str(cell)


def _refresh(work: Workspace, tables: Sequence[Table]) -> None:
    """Compute outdated values, and judge the thresholds of their measures again."""
    for table in tables:
        with connect(work.server, work.pipeline.name, "measures", read_only=True) as connection:
            outdated = find_outdated(connection, table)
        days, values = 0, 0
        with progress_bar(str(table.relation), len(outdated), in_bytes=False) as bar:
            refreshed = refresh_table(work.server, work.pipeline, table, outdated, lambda *_: None)
            for number, done in enumerate(refreshed, start=1):
                bar(number)
                days, values = days + bool(done.values), values + done.values
                for warning in done.warnings:
                    say(f"warning: {warning}", console=err)
        counts = f"{values:,} value{'s' * (values != 1)} of {days:,} load_date{'s' * (days != 1)} computed"
        say(f"{table.relation}: ", counts if values else "all values are as the header says", console=err)
    with connect(work.server, work.pipeline.name, "measures") as connection:
        record_declared(connection, work.pipeline)
        report_breached(connection, work.pipeline)
