"""Output for people: lines, tables and progress bars, in which no quoted text can control the terminal.

Belongs here: how something is printed. Not here: what is printed (each command), and rows for programs (export.py).
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table as Grid
from rich.text import Text

from kpi_assets.printable import printable

# Width of tables in a pipe or a log, which have no width of their own.
PIPE_WIDTH = 160
_ENDLESS = 1_000_000
# Nothing is parsed as markup. Only `styled` gives a text its color.
out = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(
    stderr=True, highlight=False, markup=False, emoji=False, width=None if sys.stderr.isatty() else PIPE_WIDTH
)


def styled(value: object, style: str) -> Text:
    """Return a value as text in a style, without markup and with escapes for characters that control the terminal."""
    return Text(printable(value), style)


def say(*parts: object, console: Console = out) -> None:
    """Print one line. It is never wrapped, so that it can be searched for.

    Parts that are not `styled` are printed without style, escaped in the same way.
    """
    words = (part if isinstance(part, Text) else Text(printable(part)) for part in parts)
    console.print(Text().join(words), soft_wrap=True)


def headline(text: str) -> None:
    """Print the headline of a part of a longer output."""
    out.print()
    out.rule(styled(text, "bold"), align="left")


def error_line(text: str) -> None:
    """Print an error on one line of stderr."""
    say(styled("error:", "bold red"), " ", text, console=err)


def grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()) -> Grid:
    """Return a table for the terminal. None is an empty cell; a cell that is not `styled` is printed as by `say`.

    The title is one line, also where the table is narrower. A word of a heading is broken only where all columns
    together are too narrow for their headings.
    """
    heading = Text(printable(title), "bold", justify="left", no_wrap=True, overflow="ignore")
    made = Grid(title=heading if title else None, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        shown = printable(column)
        longest = max(map(cell_len, shown.split()), default=0)
        side: JustifyMethod = "right" if column in right else "left"
        made.add_column(shown, justify=side, overflow="fold", min_width=longest)
    for row in rows:
        made.add_row(
            *(cell if isinstance(cell, Text) else Text("" if cell is None else printable(cell)) for cell in row)
        )
    return made


def grid_of_rows(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = (), console: Console = out
) -> Grid:
    """Return a table of rows; where the names of the columns need more space than there is, a line for each value."""
    names = Measurement.get(console, console.options.update(max_width=_ENDLESS), grid("", columns, []))
    if names.maximum <= console.width:
        return grid(title, columns, rows, right)
    made = grid(title, ("column", "value"), [])
    made.columns[0].min_width = max(map(cell_len, map(printable, columns)), default=0)
    for row in rows:
        for name, value in zip(columns, row, strict=True):
            made.add_row(Text(printable(name)), Text("" if value is None else printable(value)))
        made.add_section()
    return made


@contextmanager
def progress_bar(title: str, total: int, *, in_bytes: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr and yield the function that updates it. Without a terminal nothing is shown."""
    amount = DownloadColumn() if in_bytes else MofNCompleteColumn()
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        amount,
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as bar:
        task = bar.add_task(printable(title), total=total)
        yield lambda done: bar.update(task, completed=done)
