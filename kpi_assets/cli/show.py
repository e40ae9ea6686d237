"""`kpi show` and `kpi checks`: print published rows and check results. Nothing is built and nothing changes."""

import math
from collections.abc import Sequence
from datetime import date
from enum import Enum
from typing import Annotated, Any

import typer

from kpi_assets.cli.arguments import LoadDate, Personal, PipelineName, date_option
from kpi_assets.cli.kpi_lines import ShownKpi, find_kpi, say_finality, say_restated
from kpi_assets.cli.terminal import err, grid, grid_of_rows, out, say, styled
from kpi_assets.cli.waiting_rows import find_waiting, say_waiting
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.ledger import rulings
from kpi_assets.ledger.rulings import RecordedRuling
from kpi_assets.model.column_types import TEXTS, base_of, element_of
from kpi_assets.printable import printable, strict_json
from kpi_assets.read.checks import read_checks
from kpi_assets.read.export import as_csv, as_json, without_formulas
from kpi_assets.read.rows import read_live, read_rows
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot

STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "error": "bold red"}
TABLE_ROWS = 50  # printed with --format table, unless --limit is given
NOT_NUMBERS = {*TEXTS, "boolean", "date"}  # types that are aligned left, as arrays are


class RowFormat(str, Enum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


def show(
    pipeline: PipelineName,
    table: Annotated[str, typer.Argument(metavar="SCHEMA.TABLE")],
    load_date: LoadDate = None,
    as_of: Annotated[
        date | None,
        date_option(
            "--as-of",
            help="Any day: print what was known on it, from its latest load_date. A history shows the versions that "
            "held on it.",
        ),
    ] = None,
    format: Annotated[  # noqa: A002
        RowFormat,
        typer.Option(help="How to print the rows. csv and json hold exactly what is stored: see --no-formulas."),
    ] = RowFormat.table,
    limit: Annotated[int | None, typer.Option(min=1, help="How many rows; default: 50 as a table, else all.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Print the rows of low volume of a KPI too, and mark them.")
    ] = False,
    no_formulas: Annotated[
        bool,
        typer.Option(
            "--no-formulas", help="With csv, for a spreadsheet: put a ' before each text that it would execute."
        ),
    ] = False,
    pii: Personal = False,
) -> None:
    """Print the rows of a published table that readers see, the latest load_date by default, or of a live view.

    Of a history, these are the versions that held on the load_date, as they were known then. Of a KPI, it says whether
    its numbers are final, and if it was restated, what it was before, and why it changed.
    """
    found = pipeline_of(pipeline)
    if load_date is not None and as_of is not None:
        raise UsageError("--load-date is a load_date, and --as-of any day: give one of them.")
    if found.live_view(table) is None:
        found.table(table)
    elif load_date is not None or as_of is not None:
        option = "--load-date" if as_of is None else "--as-of"
        raise UsageError(f"{table} is a live view and has no load_dates: leave {option} out.")
    if no_formulas and format is not RowFormat.csv:
        raise UsageError("--no-formulas is for spreadsheets: give --format csv too, or leave it out.")
    with open_workspace(pipeline) as work:
        show_table(
            work,
            table,
            load_date,
            format,
            limit,
            as_of=as_of,
            everything=everything,
            no_formulas=no_formulas,
            personal=pii,
        )


def show_table(
    work: Workspace,
    name: str,
    load_date: date | None,
    style: RowFormat,
    limit: int | None = None,
    *,
    as_of: date | None = None,
    everything: bool = False,
    no_formulas: bool = False,
    personal: bool = False,
) -> None:
    """Print the rows of one load_date, or of a live view, in the order of the grain."""
    pipeline, for_people = work.readable().pipeline, style is RowFormat.table
    most = limit or (TABLE_ROWS if for_people else None)
    marks: list[RecordedRuling] = []
    kpi: ShownKpi | None = None
    live = pipeline.live_view(name)
    reads = LEDGER_ALONE if live else [pipeline.table(name).relation]
    with connect(work.server, pipeline.name, "show", read_only=True) as connection, one_snapshot(connection, reads):
        if live:
            found = read_live(connection, live, place=work.place, limit=most, cut=for_people, personal=personal)
        else:
            found = read_rows(
                connection,
                pipeline,
                pipeline.table(name),
                load_date,
                place=work.place,
                as_of=as_of,
                limit=most,
                cut=for_people,
                everything=everything,
                personal=personal,
            )
            if for_people and found.load_date:
                marks = rulings.of_publish(connection, pipeline.table(name).relation, found.load_date)
            if for_people and as_of is None and found.load_date:
                kpi = find_kpi(connection, pipeline, pipeline.table(name), found.load_date)
    if style is RowFormat.json:
        typer.echo(as_json(found.columns, found.types, found.rows))
    elif style is RowFormat.csv:
        print_csv(found.columns, without_formulas(found.types, found.rows) if no_formulas else found.rows)
    else:
        numbers = [column for column, type_ in zip(found.columns, found.types, strict=True) if is_right(type_)]
        title = f"{name}, load_date {found.load_date}" if found.load_date else f"{name}, live"
        if as_of:
            title = f"{name} as of {as_of} (load_date {found.load_date})"
        for mark in marks:
            say(styled("waived", STYLES["warn"]), f" {mark.sentence}.")
        say_finality(kpi)
        out.print(grid_of_rows(title, found.columns, found.rows, right=numbers))
        if len(found.rows) < found.shown:
            say(f"{len(found.rows)} of {found.shown:,} rows: --limit and --format csv show more.")
        say_restated(kpi)
        say_waiting(work.pipeline.name, find_waiting(work, [name], found.load_date))
    if found.shown < found.published:
        left = f"{found.published - found.shown:,} of {found.published:,} rows"
        say(f"{left} are left out for their low volume: --all shows them.", console=err)


def is_right(type_: str) -> bool:
    """Return whether values of a type are aligned right."""
    return element_of(type_) is None and base_of(type_) not in NOT_NUMBERS


def print_csv(columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
    """Print the rows exactly as stored; on a terminal, escape the characters that would control it."""
    if out.is_terminal:
        rows = [[None if value is None else printable(value) for value in row] for row in rows]
    typer.echo(as_csv(columns, rows), nl=False)


def checks(pipeline: PipelineName, load_date: LoadDate = None) -> None:
    """Print the check results of a load_date; the latest one by default."""
    with open_workspace(pipeline) as work:
        show_checks(work, load_date)


def show_checks(work: Workspace, load_date: date | None, *, only_bad: bool = False, run_id: str | None = None) -> None:
    """Print check results of a load_date or of one run: all, or only those that did not pass.

    The rows that a warning is about are then left out: a delivery may have many of them, and nothing is held.
    """
    with connect(work.readable().server, work.pipeline.name, "checks", read_only=True) as connection:
        checked = read_checks(connection, work.pipeline, load_date, place=work.place, run_id=run_id)
    rows = [
        (
            row["table_name"],
            row["check_name"],
            styled(row["status"], STYLES[row["status"]]),
            _number(row["metric_value"]),
            _number(row["threshold"]),
            f"{row['message']} (waived by {row['waived_by']}: {row['waived_because']})"
            if row["ruling_id"]
            else row["message"],
        )
        for row in checked.results
        if not only_bad or row["status"] != "pass"
    ]
    columns = ("table", "check", "status", "metric", "threshold", "what was found")
    if rows:
        out.print(
            grid(
                f"{work.pipeline.name}, load_date {checked.load_date}: checks",
                columns,
                rows,
                right=("metric", "threshold"),
            )
        )
    for row in checked.results:
        if row["samples"] and not (only_bad and row["status"] in ("pass", "warn")):
            is_report = row["dimension"] is None and row["rows_examined"] is not None
            shown = "by dimension" if is_report else "the first of the bad rows"
            say(styled(f"{row['table_name']} {row['check_name']}", "bold"), f": {shown}")
            for bad in row["samples"]:
                say("  ", strict_json(bad))
    if only_bad and any(row["samples"] and row["status"] == "warn" for row in checked.results):
        command = f"kpi checks {work.pipeline.name} --load-date {checked.load_date}"
        say(f"`{command}` shows the rows that the warnings are about.")
    counts = {status: sum(row["status"] == status for row in checked.results) for status in STYLES}
    say(", ".join(f"{count} {status}" for status, count in counts.items() if count))


def _number(value: Any) -> str | None:
    """Return a metric as text, rounded to 10 digits; a number that is too big for a float is not rounded."""
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:
        return str(value)
    return f"{number:,.10g}" if math.isfinite(number) else str(value)
