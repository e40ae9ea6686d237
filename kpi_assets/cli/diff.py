"""`kpi diff`: prints what differs between two published load_dates of a table. Nothing is built and nothing changes."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any

import typer

from kpi_assets.cli.arguments import Personal, PipelineName, date_argument
from kpi_assets.cli.show import TABLE_ROWS, RowFormat, is_right, print_csv
from kpi_assets.cli.terminal import err, grid, out, say, styled
from kpi_assets.cli.workspace import open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.printable import strict_json
from kpi_assets.read.diff import Change, Difference, read_difference
from kpi_assets.read.export import json_value, without_formulas
from kpi_assets.warehouse.connection import connect

STYLES = {"came": "green", "went": "red", "changed": "yellow"}
_MADE = ("change", "column", "before", "after")  # the columns of the output besides the key


def diff(
    pipeline: PipelineName,
    table: Annotated[str, typer.Argument(metavar="SCHEMA.TABLE")],
    before: Annotated[date, date_argument("D1", "The load_date to begin with.")],
    after: Annotated[date, date_argument("D2", "The load_date to compare it with.")],
    format: Annotated[  # noqa: A002
        RowFormat, typer.Option(help="How to print the keys that differ.")
    ] = RowFormat.table,
    limit: Annotated[int | None, typer.Option(min=1, help="How many keys; default: 50 as a table, else all.")] = None,
    no_formulas: Annotated[
        bool,
        typer.Option(
            "--no-formulas", help="With csv, for a spreadsheet: put a ' before each text that it would execute."
        ),
    ] = False,
    pii: Personal = False,
) -> None:
    """Print which keys came, went or changed from one published load_date to another, and in which columns."""
    found = pipeline_of(pipeline).table(table)
    if before == after:
        raise UsageError(f"{before} is compared with itself: give two load_dates.")
    if no_formulas and format is not RowFormat.csv:
        raise UsageError("--no-formulas is for spreadsheets: give --format csv too, or leave it out.")
    for_people = format is RowFormat.table
    with open_workspace(pipeline) as work:
        server = work.readable().server
        with connect(server, pipeline, "diff", read_only=True) as connection:
            difference = read_difference(
                connection,
                work.pipeline,
                found,
                before,
                after,
                place=work.place,
                limit=limit or (TABLE_ROWS if for_people else None),
                cut=for_people,
                personal=pii,
            )
    if format is RowFormat.json:
        typer.echo(strict_json([_as_json(difference, change) for change in difference.changes], indent=2))
    elif format is RowFormat.csv:
        typed = list(_lines(difference))
        rows = [without_formulas(types, [row])[0] if no_formulas else row for types, row in typed]
        print_csv([*difference.grain, *_MADE], rows)
    else:
        _print_table(f"{table} from {before} to {after}", difference)
    _say_rest(difference, before, after, for_people=for_people)


def _lines(difference: Difference) -> Iterator[tuple[list[str], list[str | None]]]:
    """Yield (types, values) for each changed column of each key, and one line for a key that came or went."""
    of_key = [_type_of_key(difference, name) for name in difference.grain]
    for change in difference.changes:
        for name, (was, now) in change.columns.items():
            yield [*of_key, "text", "text", *difference.types[name]], [*change.key, change.kind, name, was, now]
        if not change.columns:
            yield [*of_key, *["text"] * len(_MADE)], [*change.key, change.kind, None, None, None]


def _type_of_key(difference: Difference, name: str) -> str:
    """Return the type of a column of the key; text if it is another one in each load_date."""
    was, now = difference.types[name]
    return now if was == now else "text"


def _as_json(difference: Difference, change: Change) -> dict[str, Any]:
    key = zip(difference.grain, change.key, strict=True)
    return {
        "change": change.kind,
        "key": {name: json_value(_type_of_key(difference, name), text) for name, text in key},
        "columns": {
            name: dict(zip(("before", "after"), map(json_value, difference.types[name], values), strict=True))
            for name, values in change.columns.items()
        },
    }


def _print_table(title: str, difference: Difference) -> None:
    rows = []
    for _, (*key, kind, name, was, now) in _lines(difference):
        values = [styled("NULL", "dim") if value is None else value for value in (was, now)] if name else [None, None]
        rows.append([*key, styled(kind, STYLES[str(kind)]), name, *values])
    numbers = [name for name in difference.grain if is_right(_type_of_key(difference, name))]
    if rows:
        out.print(grid(title, [*difference.grain, *_MADE], rows, right=numbers))
    differing = difference.came + difference.went + difference.changed
    if len(difference.changes) < differing:
        say(f"{len(difference.changes):,} of {differing:,} keys: --limit and --format csv show more.")


def _say_rest(difference: Difference, before: date, after: date, *, for_people: bool) -> None:
    """Print the columns that only one load_date has, and in the last line the counts."""
    console = out if for_people else err
    for names, day in ((difference.only_before, before), (difference.only_after, after)):
        if names:
            say(f"Only {day} has the column{'s' * (len(names) > 1)} {', '.join(names)}.", console=console)
    columns = ", ".join(f"{name} {count:,}" for name, count in difference.by_column.items())
    say(
        f"{difference.came:,} came, {difference.went:,} went, {difference.changed:,} changed"
        + (f" ({columns})" if columns else "")
        + f", {difference.unchanged:,} unchanged.",
        console=console,
    )
