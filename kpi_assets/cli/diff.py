"""`kpi diff`: prints what differs between two load_dates or publishes of a table, or what a held candidate changes.

Nothing is built and nothing changes.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Annotated, Any

import typer

from kpi_assets.cli.arguments import Personal, PipelineName, date_argument, date_option
from kpi_assets.cli.show import RowFormat, is_right, print_csv
from kpi_assets.cli.terminal import err, grid, out, say, styled
from kpi_assets.cli.workspace import open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.printable import strict_json
from kpi_assets.read.diff import Change, Difference, read_difference
from kpi_assets.read.export import json_value, without_formulas
from kpi_assets.read.sides import Asked, Earlier, Held, Published
from kpi_assets.warehouse.connection import connect

STYLES = {"came": "green", "went": "red", "changed": "yellow", "repeated": "bold red"}
EACH = 5  # keys of each kind that are printed as a table, unless --limit is given
_MADE = ("change", "column", "before", "after")  # the columns of the output besides the key
_COLUMNS = ("column", "type", "changed", "sum before", "sum after", "sum changed by")


def diff(
    pipeline: PipelineName,
    table: Annotated[str, typer.Argument(metavar="SCHEMA.TABLE")],
    before: Annotated[date | None, date_argument("D1", "The load_date to begin with.")] = None,
    after: Annotated[date | None, date_argument("D2", "The load_date to compare it with.")] = None,
    load_date: Annotated[
        date | None, date_option("--load-date", help="The load_date of the held candidate, or of the publishes.")
    ] = None,
    candidate: Annotated[
        bool,
        typer.Option(
            "--candidate",
            help="Compare the held candidate of --load-date with what is published of it, or with D1 if that is given.",
        ),
    ] = False,
    publish: Annotated[
        tuple[int, int] | None,
        typer.Option(
            "--publish",
            metavar="A B",
            help="Compare these two publishes, whose rows readers see or are kept, as `kpi publishes` prints them.",
        ),
    ] = None,
    columns: Annotated[
        bool,
        typer.Option(
            "--columns",
            help="Print no keys, but of each column in how many keys it changed, and the sums of the numeric ones.",
        ),
    ] = False,
    format: Annotated[  # noqa: A002
        RowFormat, typer.Option(help="How to print the keys that differ, or the columns.")
    ] = RowFormat.table,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="How many keys, in their order; default: as a table 5 of each kind, else all."),
    ] = None,
    no_formulas: Annotated[
        bool,
        typer.Option(
            "--no-formulas", help="With csv, for a spreadsheet: put a ' before each text that it would execute."
        ),
    ] = False,
    pii: Personal = False,
) -> None:
    """Print which keys came, went or changed between two published load_dates, and in which columns.

    With --candidate, what would change if the held candidate of a load_date were published; with --publish, what
    changed from one publish to another. Numeric columns are added up on both sides.
    """
    found = pipeline_of(pipeline).table(table)
    old, new = _sides(before, after, load_date, publish, candidate=candidate)
    if no_formulas and format is not RowFormat.csv:
        raise UsageError("--no-formulas is for spreadsheets: give --format csv too, or leave it out.")
    if columns and limit is not None:
        raise UsageError("--limit counts keys, and --columns prints none: leave one of them out.")
    for_people = format is RowFormat.table
    with open_workspace(pipeline) as work:
        server = work.readable().server
        with connect(server, pipeline, "diff", read_only=True) as connection:
            difference = read_difference(
                connection,
                work.pipeline,
                found,
                old,
                new,
                place=work.place,
                limit=1 if columns else limit,
                each=EACH if for_people and limit is None else None,
                cut=for_people,
                personal=pii,
            )
    title = f"{table} from {difference.before.name} to {difference.after.name}"
    if columns:
        _print_columns(title, difference, format)
    else:
        _print_keys(title, difference, format, no_formulas=no_formulas)
    _say_rest(difference, for_people=for_people)


def _sides(
    before: date | None,
    after: date | None,
    load_date: date | None,
    publish: tuple[int, int] | None,
    *,
    candidate: bool,
) -> tuple[Asked, Asked]:
    """Return the sides that the arguments name. Raises UsageError if they name other than two."""
    if publish is not None:
        if candidate or before is not None:
            raise UsageError("--publish names both sides: leave the load_dates and --candidate out.")
        if publish[0] == publish[1]:
            raise UsageError(f"Publish {publish[0]} is compared with itself: give two publishes.")
        return Earlier(publish[0], load_date), Earlier(publish[1], load_date)
    if candidate:
        if load_date is None:
            raise UsageError("--candidate is that of one load_date: give --load-date too.")
        if after is not None:
            raise UsageError(f"{after} is the load_date to compare with, and so is --candidate: leave one of them out.")
        return Published(before or load_date), Held(load_date)
    if load_date is not None:
        raise UsageError(
            "--load-date names the load_date of a held candidate or of two publishes: give --candidate or --publish "
            "too; two published load_dates are given by their dates alone."
        )
    if before is None or after is None:
        raise UsageError("Two sides are compared: give two load_dates, --load-date and --candidate, or --publish.")
    if before == after:
        raise UsageError(f"{before} is compared with itself: give two load_dates.")
    return Published(before), Published(after)


def _print_keys(title: str, difference: Difference, style: RowFormat, *, no_formulas: bool) -> None:
    """Print the keys that differ, each changed column on a line of its own; for people also the sums that changed."""
    if style is RowFormat.json:
        typer.echo(strict_json([_as_json(difference, change) for change in difference.changes], indent=2))
    elif style is RowFormat.csv:
        typed = list(_lines(difference))
        rows = [without_formulas(types, [row])[0] if no_formulas else row for types, row in typed]
        print_csv([*difference.grain, *_MADE], rows)
    else:
        _print_table(title, difference)
        changed = [row for row in _column_rows(difference) if row[2] != "0" or row[3] != row[4]]
        if changed:
            _print_grid("", changed)


def _lines(difference: Difference) -> Iterator[tuple[list[str], list[str | None]]]:
    """Yield (types, values) for each changed column of each key, and one line for any other key."""
    of_key = [_type_of_key(difference, name) for name in difference.grain]
    for change in difference.changes:
        for name, (was, now) in change.columns.items():
            yield [*of_key, "text", "text", *difference.types[name]], [*change.key, change.kind, name, was, now]
        if not change.columns:
            yield [*of_key, *["text"] * len(_MADE)], [*change.key, change.kind, None, None, None]


def _type_of_key(difference: Difference, name: str) -> str:
    """Return the type of a column of the key; text if it is another one on each side."""
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
        **({"rows": change.copies} if change.kind == "repeated" else {}),
    }


def _print_table(title: str, difference: Difference) -> None:
    rows = []
    copies = iter([change.copies for change in difference.changes for _ in change.columns or [None]])
    for (_, (*key, kind, name, was, now)), count in zip(_lines(difference), copies, strict=True):
        values: list[Any] = [None, styled(f"{count:,} rows", "dim") if kind == "repeated" else None]
        if name:
            values = [styled("NULL", "dim") if value is None else value for value in (was, now)]
        rows.append([*key, styled(kind, STYLES[str(kind)]), name, *values])
    numbers = [name for name in difference.grain if is_right(_type_of_key(difference, name))]
    if rows:
        out.print(grid(title, [*difference.grain, *_MADE], rows, right=numbers))
    if len(difference.changes) < difference.differing:
        say(f"{len(difference.changes):,} of {difference.differing:,} keys: --limit and --format csv show more.")


def _column_rows(difference: Difference) -> list[list[str | None]]:
    """Return a row for each column that was compared: its type, in how many keys it changed, and its sums."""
    found = []
    for name, (was, now) in difference.types.items():
        if name in difference.grain and name not in difference.by_column:
            continue
        sums = difference.sums.get(name)
        type_ = now if was == now else f"{was}, {now}"
        added = [sums.before, sums.after, sums.change] if sums else [None, None, None]
        found.append([name, type_, str(difference.by_column.get(name, 0)), *added])
    return found


def _print_columns(title: str, difference: Difference, style: RowFormat) -> None:
    rows, names = _column_rows(difference), [name.replace(" ", "_") for name in _COLUMNS]
    if style is RowFormat.json:
        found = [dict(zip(names, row, strict=True)) | {"changed": int(row[2] or 0)} for row in rows]
        typer.echo(strict_json(found, indent=2))
    elif style is RowFormat.csv:
        print_csv(names, rows)
    else:
        _print_grid(title, rows)


def _print_grid(title: str, rows: Sequence[Sequence[str | None]]) -> None:
    shown = [[name, type_, f"{int(changed or 0):,}", *sums] for name, type_, changed, *sums in rows]
    out.print(grid(title, _COLUMNS, shown, right=_COLUMNS[2:]))


def _say_rest(difference: Difference, *, for_people: bool) -> None:
    """Print what is to be known of the sides, and in the last line the counts."""
    console = out if for_people else err
    before, after = difference.before, difference.after
    for side in (before, after):
        if side.note:
            say(side.note, console=console)
    for names, side in ((difference.only_before, before), (difference.only_after, after)):
        if names:
            say(f"Only {side.name} has the column{'s' * (len(names) > 1)} {', '.join(names)}.", console=console)
    for name, (was, now) in difference.types.items():
        if was != now:
            say(f"{name} is {was} in {before.name}, and {now} in {after.name}.", console=console)
    if difference.repeated:
        key, one = ", ".join(difference.grain), difference.repeated == 1
        what = "published already, or twice in it" if after.is_added else "in several of its rows"
        say(
            f"{key} is not unique in {after.name}, which cannot be published: {difference.repeated:,} "
            f"key{'s are' if not one else ' is'} {what}, and {'its' if one else 'their'} values are not compared.",
            console=console,
        )
    if not difference.was_read:
        say("No difference: the ledger has the same checksum for both, so that no row was read.", console=console)
    columns = ", ".join(f"{name} {count:,}" for name, count in difference.by_column.items())
    say(
        f"{difference.came:,} came, {difference.went:,} went, {difference.changed:,} changed"
        + (f" ({columns})" if columns else "")
        + (f", {difference.repeated:,} repeated" if difference.repeated else "")
        + f", {difference.unchanged:,} unchanged.",
        console=console,
    )
