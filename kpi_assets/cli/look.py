"""Looking: `kpi show`, `kpi checks`, `kpi url`. Nothing is built and nothing changes."""

import json
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from kpi_assets.cli.common import LoadDate, PipelineName, Session, err, grid, out, pipeline_of, session
from kpi_assets.errors import UserError

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from kpi_assets.model.pipeline import Table

STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "error": "bold red"}
TABLE_ROWS = 50  # printed of a table, unless --limit says otherwise


class Format(str, Enum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


def show(
    pipeline: PipelineName,
    table: Annotated[str, typer.Argument(metavar="SCHEMA.TABLE")],
    load_date: LoadDate = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.table,  # noqa: A002
    limit: Annotated[int | None, typer.Option(min=1, help="How many rows; 50 of a table by default.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="A KPI's rows of low volume too, and which they are.")
    ] = False,
) -> None:
    """Print a published table as readers are shown it; the latest load_date by default."""
    pipeline_of(pipeline).table(table)
    with session(pipeline) as work:
        show_table(work, table, load_date, format, limit, everything=everything)


def show_table(
    work: Session,
    name: str,
    load_date: date | None,
    style: Format,
    limit: int | None = None,
    *,
    everything: bool = False,
) -> None:
    """Print the rows of one load_date in the order of the grain."""
    import pandas as pd  # noqa: PLC0415
    from psycopg import sql  # noqa: PLC0415

    from kpi_assets.build.retention import replay  # noqa: PLC0415
    from kpi_assets.ops import publishes  # noqa: PLC0415
    from kpi_assets.warehouse.candidates import for_readers  # noqa: PLC0415
    from kpi_assets.warehouse.connection import connect  # noqa: PLC0415

    table = work.ready().pipeline.table(name)
    with connect(work.server, work.pipeline.name, "show") as connection:
        day = load_date or publishes.latest_load_date(connection, table.relation)
        if day is None or table.relation not in publishes.current(connection, [table.relation], day):
            if day and (gone := publishes.dropped(connection, [table.relation], day)):
                raise UserError(f"It cannot be shown: {replay(work.pipeline, gone, day)}.")
            which = f" of {load_date}" if load_date else ""
            raise UserError(f"{table.relation}{which} is not published: land and run the load_date first.")
        top = limit or (TABLE_ROWS if style is Format.table else None)
        columns, readers = (
            (table.columns, sql.SQL("true")) if everything else (table.header.selected, for_readers(table))
        )
        rows = sql.SQL("from {} where load_date = {} and {}").format(
            sql.Identifier(*table.relation), sql.Literal(day), readers
        )
        cursor = connection.execute(
            sql.SQL("select {} {} order by {} limit {}").format(
                sql.SQL(", ").join(_shown(table, column, whole=style is not Format.table) for column in columns),
                rows,
                sql.SQL(", ").join(sql.Identifier(column) for column in table.header.grain),
                sql.Literal(top),
            )
        )
        frame = pd.DataFrame(cursor.fetchall(), columns=columns, dtype=object)
        all_rows = shown_rows = publishes.current(connection, [table.relation], day)[table.relation].rows
        if table.header.min_volume and not everything:
            [(shown_rows,)] = connection.execute(sql.SQL("select count(*) {}").format(rows)).fetchall()
    if style is Format.json:
        out.print_json(json.dumps(frame.to_dict("records"), default=str, ensure_ascii=False))
    elif style is Format.csv:
        typer.echo(frame.map(_harmless).to_csv(index=False), nl=False)
    else:
        numbers = [n for n, column in table.header.columns.items() if column.type not in {"text", "boolean", "date"}]
        out.print(grid(f"{table.relation}, load_date {day}", columns, frame.to_numpy().tolist(), right=numbers))
        if len(frame) < shown_rows:
            out.print(f"{len(frame)} of {shown_rows:,} rows: --limit and --format csv show more.")
    if shown_rows < all_rows:
        err.print(
            f"{all_rows - shown_rows:,} of {all_rows:,} rows are left out for their low volume: --all shows them."
        )


def _shown(table: "Table", column: str, *, whole: bool) -> "Composable":
    """A column as it is selected: on the terminal an excerpt of a long text, and in an export all of it."""
    from psycopg import sql  # noqa: PLC0415

    from kpi_assets.model.excerpt import sql_cut  # noqa: PLC0415

    type_ = table.header.columns[column].type
    if whole or type_ not in {"text", "jsonb"}:
        return sql.Identifier(column)
    return sql.SQL(sql_cut(f'"{column}"::text'))


def _harmless(value: Any) -> Any:
    """Text that a spreadsheet would execute as a formula, made text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def checks(pipeline: PipelineName, load_date: LoadDate = None) -> None:
    """Print what the gates said of a load_date, the latest one by default."""
    with session(pipeline) as work:
        show_checks(work, load_date)


def show_checks(work: Session, load_date: date | None, *, only_bad: bool = False, run_id: str | None = None) -> None:
    """Print check results: all, or those that did not pass; of a load_date, or of one run."""
    from kpi_assets.ops import results  # noqa: PLC0415
    from kpi_assets.warehouse.connection import connect  # noqa: PLC0415

    with connect(work.ready().server, work.pipeline.name, "checks") as connection:
        day = load_date or results.latest_load_date(connection)
        if day is None:
            raise UserError(f"Nothing of {work.pipeline.name} has been checked yet: land and run a load_date first.")
        found = [row for row in results.latest(connection, day) if run_id in {None, row["run_id"]}]
    if not found and not only_bad:
        raise UserError(f"Nothing of {work.pipeline.name} was checked for {day}: land and run that load_date first.")
    rows = [
        (
            row["table_name"],
            row["check_name"],
            Text(row["status"], style=STYLES[row["status"]]),
            _number(row["metric_value"]),
            _number(row["threshold"]),
            row["message"],
        )
        for row in found
        if not only_bad or row["status"] != "pass"
    ]
    columns = ("table", "check", "status", "metric", "threshold", "what was found")
    if rows:
        out.print(grid(f"{work.pipeline.name}, load_date {day}: checks", columns, rows, right=("metric", "threshold")))
    for row in found:
        if row["samples"]:
            out.print(f"[bold]{row['table_name']} {row['check_name']}[/]: the first of the bad rows")
            for bad in row["samples"]:
                out.print(f"  {json.dumps(bad, ensure_ascii=False, default=str)}", markup=False, soft_wrap=True)
    counts = {status: sum(row["status"] == status for row in found) for status in STYLES}
    out.print(", ".join(f"{count} {status}" for status, count in counts.items() if count))


def _number(value: Any) -> str | None:
    return None if value is None else f"{float(value):,.10g}"


def url(
    pipeline: PipelineName,
    reader: Annotated[
        bool, typer.Option("--reader", help="As kpi_reader, who sees marts and ops only; for BI tools.")
    ] = False,
) -> None:
    """Print the Postgres URL of the pipeline's database, for psql and BI tools; it holds the password."""
    from urllib.parse import quote, urlsplit, urlunsplit  # noqa: PLC0415

    with session(pipeline) as work:
        work.ready()
        parts = urlsplit(work.server.get_secret_value())
        place = parts.netloc
        if reader:
            if work.stack is None or not work.embedded_postgres:
                raise UserError("The server is yours: grant kpi_reader to a login role of your own, and use that.")
            password = work.stack.credentials.reader_password.get_secret_value()
            place = f"kpi_reader:{quote(password)}@{place.rpartition('@')[2]}"
        typer.echo(urlunsplit((parts.scheme, place, f"/{work.pipeline.name}", parts.query, "")))
