"""Printing for people: lines, tables and progress bars, in which nothing that is quoted can steer the terminal.

Belongs here: how something is printed. Not here: what is printed (each command), and rows for programs (export.py).
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table as Grid
from rich.text import Text

from kpi_assets.printable import printable

# Where no terminal says how wide it is (a pipe, a log), lines are as long as their content wants, within reason.
PIPE_WIDTH = 160
# Nothing is ever parsed as markup: `styled` is how a word gets its color.
out = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(
    stderr=True, highlight=False, markup=False, emoji=False, width=None if sys.stderr.isatty() else PIPE_WIDTH
)


def styled(value: object, style: str) -> Text:
    """A value in a style, shown as it is: no markup in it, and nothing that steers the terminal."""
    return Text(printable(value), style)


def say(*parts: object, console: Console = out) -> None:
    """Print one line, never wrapped, so that it can be searched for.

    What is not `styled` is shown as it is, with escapes for what would steer the terminal.
    """
    words = (part if isinstance(part, Text) else Text(printable(part)) for part in parts)
    console.print(Text().join(words), soft_wrap=True)


def error_line(text: str) -> None:
    """One line on stderr."""
    say(styled("error:", "bold red"), " ", text, console=err)


def grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()) -> Grid:
    """A table for the terminal; None is shown as an empty cell, and what is not `styled` as `say` has it."""
    made = Grid(
        title=printable(title) or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in columns:
        made.add_column(printable(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(
            *(cell if isinstance(cell, Text) else Text("" if cell is None else printable(cell)) for cell in row)
        )
    return made


@contextmanager
def progress_bar(title: str, total: int, *, in_bytes: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while something is done; hears how much is done. On no terminal, nothing."""
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
