"""Looking: `kpi show`, `kpi checks`, `kpi url`. Nothing is built and nothing changes."""

import math
from collections.abc import Sequence
from datetime import date
from enum import Enum
from typing import Annotated, Any

import typer

from kpi_assets.cli.common import LoadDate, PipelineName, Session, err, grid, out, pipeline_of, say, session, styled
from kpi_assets.cli.export import as_csv, as_json, without_formulas
from kpi_assets.errors import UsageError, UserError
from kpi_assets.printable import printable, strict_json
from kpi_assets.settings import settings

STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "error": "bold red"}
TABLE_ROWS = 50  # printed of a table, unless --limit says otherwise
NOT_NUMBERS = {"text", "boolean", "date"}  # which stand on the left


class Format(str, Enum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


def show(
    pipeline: PipelineName,
    table: Annotated[str, typer.Argument(metavar="SCHEMA.TABLE")],
    load_date: LoadDate = None,
    format: Annotated[  # noqa: A002
        Format,
        typer.Option(help="How to print it. csv and json hold exactly what is stored: see --no-formulas."),
    ] = Format.table,
    limit: Annotated[int | None, typer.Option(min=1, help="How many rows; 50 of a table by default.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="A KPI's rows of low volume too, and which they are.")
    ] = False,
    no_formulas: Annotated[
        bool,
        typer.Option(
            "--no-formulas", help="With csv, for a spreadsheet: text that it would execute gets a ' in front."
        ),
    ] = False,
) -> None:
    """Print a published table as readers are shown it; the latest load_date by default."""
    pipeline_of(pipeline).table(table)
    if no_formulas and format is not Format.csv:
        raise UsageError("--no-formulas is for spreadsheets: say --format csv too, or leave it out.")
    with session(pipeline) as work:
        show_table(work, table, load_date, format, limit, everything=everything, no_formulas=no_formulas)


def show_table(
    work: Session,
    name: str,
    load_date: date | None,
    style: Format,
    limit: int | None = None,
    *,
    everything: bool = False,
    no_formulas: bool = False,
) -> None:
    """Print the rows of one load_date in the order of the grain."""
    from psycopg import sql  # noqa: PLC0415

    from kpi_assets.ledger import publishes  # noqa: PLC0415
    from kpi_assets.materialize.retention import explain_replay  # noqa: PLC0415
    from kpi_assets.model.excerpt import sql_cut  # noqa: PLC0415
    from kpi_assets.model.names import LOW_VOLUME  # noqa: PLC0415
    from kpi_assets.warehouse.connection import connect  # noqa: PLC0415
    from kpi_assets.warehouse.content import lost, published_rows  # noqa: PLC0415
    from kpi_assets.warehouse.views import for_readers  # noqa: PLC0415

    table = work.looked_at().pipeline.table(name)
    with connect(work.server, work.pipeline.name, "show", reads=True) as connection:
        day = load_date or publishes.latest_load_date(connection, table.relation)
        if day is None or table.relation not in publishes.current(connection, [table.relation], day):
            if day and (gone := publishes.dropped(connection, [table.relation], day)):
                raise UserError(f"It cannot be shown: {explain_replay(work.pipeline, gone, day)}.")
            which = f" of {load_date}" if load_date else ""
            raise UserError(
                f"{table.relation}{which} is not published in {work.place}: land and run the load_date first."
            )
        publish = publishes.current(connection, [table.relation], day)[table.relation]
        all_rows = publish.rows
        if all_rows and lost(connection, table, [day]):
            raise UserError(
                f"The rows of {table.relation} of {day} are gone from the database, which the ledger calls published: "
                f"`kpi run {work.pipeline.name} --load-date {day}` makes them again."
            )
        top = limit or (TABLE_ROWS if style is Format.table else None)
        # As it was published: the file may have other columns by now.
        published = publish.types or table.types
        readers = sql.SQL("true") if everything else for_readers(published)
        columns = [name for name in published if everything or name != LOW_VOLUME]
        order = [name for name in table.header.grain if name in published] or columns
        rows = sql.SQL("from {} as t where {}").format(published_rows(connection, table, day), readers)
        texts = [f't."{column}"::{published[column]}::text' for column in columns]
        shown = map(sql_cut, texts) if style is Format.table else texts
        # As the server writes them: a date such as infinity has no other form here. A name alone in ORDER BY would be
        # that of the text, which has another order.
        query = sql.SQL("select {} {} order by {} limit {}").format(
            sql.SQL(", ").join(map(sql.SQL, shown)),
            rows,
            sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(column)) for column in order),
            sql.Literal(top),
        )
        found: list[tuple[str | None, ...]] = connection.execute(query).fetchall()
        shown_rows = all_rows
        if table.header.min_volume and not everything:
            [(shown_rows,)] = connection.execute(sql.SQL("select count(*) {}").format(rows)).fetchall()
    types = [published[column] for column in columns]
    if style is Format.json:
        typer.echo(as_json(columns, types, found))
    elif style is Format.csv:
        _print_csv(columns, without_formulas(types, found) if no_formulas else found)
    else:
        numbers = [name for name, type_ in zip(columns, types, strict=True) if type_ not in NOT_NUMBERS]
        out.print(grid(f"{table.relation}, load_date {day}", columns, found, right=numbers))
        if len(found) < shown_rows:
            say(f"{len(found)} of {shown_rows:,} rows: --limit and --format csv show more.")
    if shown_rows < all_rows:
        left = f"{all_rows - shown_rows:,} of {all_rows:,} rows"
        say(f"{left} are left out for their low volume: --all shows them.", console=err)


def _print_csv(columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
    """Byte by byte what is stored; to a person at a terminal, what cannot steer it."""
    if out.is_terminal:
        rows = [[None if value is None else printable(value) for value in row] for row in rows]
    typer.echo(as_csv(columns, rows), nl=False)


def checks(pipeline: PipelineName, load_date: LoadDate = None) -> None:
    """Print what the gates said of a load_date, the latest one by default."""
    with session(pipeline) as work:
        show_checks(work, load_date)


def show_checks(work: Session, load_date: date | None, *, only_bad: bool = False, run_id: str | None = None) -> None:
    """Print check results: all, or those that did not pass; of a load_date, or of one run."""
    from kpi_assets.ledger import results  # noqa: PLC0415
    from kpi_assets.warehouse.connection import connect  # noqa: PLC0415

    with connect(work.looked_at().server, work.pipeline.name, "checks", reads=True) as connection:
        day = load_date or results.latest_load_date(connection)
        if day is None:
            raise UserError(
                f"Nothing of {work.pipeline.name} has been checked yet in {work.place}: land and run a load_date first."
            )
        found = [row for row in results.latest(connection, day) if run_id in {None, row["run_id"]}]
    if not found and not only_bad:
        raise UserError(
            f"Nothing of {work.pipeline.name} was checked for {day} in {work.place}: land and run that load_date first."
        )
    rows = [
        (
            row["table_name"],
            row["check_name"],
            styled(row["status"], STYLES[row["status"]]),
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
            say(styled(f"{row['table_name']} {row['check_name']}", "bold"), ": the first of the bad rows")
            for bad in row["samples"]:
                say("  ", strict_json(bad))
    counts = {status: sum(row["status"] == status for row in found) for status in STYLES}
    say(", ".join(f"{count} {status}" for status, count in counts.items() if count))


def _number(value: Any) -> str | None:
    """A metric for people; one that no float can hold is shown as it is."""
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:
        return str(value)
    return f"{number:,.10g}" if math.isfinite(number) else str(value)


def url(
    pipeline: Annotated[
        str, typer.Argument(metavar="[PIPELINE]", help="Of its database. Left out: of the web UI.", show_default=False)
    ] = "",
    reader: Annotated[
        bool,
        typer.Option("--reader", help="As kpi_reader, who reads marts, and of ops what quotes no row; for BI tools."),
    ] = False,
) -> None:
    """Print the Postgres URL of the pipeline's database, or the web UI's address; it holds the password or token."""
    from urllib.parse import quote, urlsplit, urlunsplit  # noqa: PLC0415

    if not pipeline:
        if reader:
            raise UsageError("--reader is for a database: name a pipeline too.")
        typer.echo(_web_ui())
        return
    pipeline_of(pipeline)
    with session(pipeline) as work:
        work.looked_at()
        parts = urlsplit(work.server.get_secret_value())
        place = parts.netloc
        if reader:
            if work.stack is None or not work.embedded_postgres:
                raise UserError("The server is yours: grant kpi_reader to a login role of your own, and use that.")
            password = work.stack.credentials.reader_password.get_secret_value()
            place = f"kpi_reader:{quote(password)}@{place.rpartition('@')[2]}"
        typer.echo(urlunsplit((parts.scheme, place, f"/{work.pipeline.name}", parts.query, "")))


def _web_ui() -> str:
    """The address that lets a person into the web UI that `kpi up` of this home serves."""
    from kpi_assets.instance import access, services  # noqa: PLC0415

    config = settings()
    [port] = [port for name, runs, port, _ in services.status(config.home) if name == services.WEB and runs] or [None]
    if port is None:
        raise UserError(f"No web UI runs in {config.home.resolve()}: start it with `kpi up`.")
    return access.link(services.address(port), access.token_of(config))
