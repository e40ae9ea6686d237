"""What commands share: their arguments, the stack they run on, and where they print."""

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from kpi_assets.cli import STOPPED
from kpi_assets.embedded.stack import Stack, running
from kpi_assets.errors import UsageError, UserError
from kpi_assets.model.pipeline import Pipeline, parse_date
from kpi_assets.model.tree import Broken, load_sound
from kpi_assets.printable import printable
from kpi_assets.settings import Settings, settings

HELD = 3  # exit code

# Where no terminal says how wide it is (a pipe, a log), lines are as long as their content wants, within reason.
PIPE_WIDTH = 160
# Nothing is ever parsed as markup: `styled` is how a word gets its color.
out = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(
    stderr=True, highlight=False, markup=False, emoji=False, width=None if sys.stderr.isatty() else PIPE_WIDTH
)


_umask = 0o077  # the user's, once close_files() has been said


def close_files() -> None:
    """Close to others every file that this process and its children make, whoever makes it: Dagster, for one."""
    global _umask  # noqa: PLW0603  a process has one
    _umask = os.umask(0o077)


@contextmanager
def files_of_the_user() -> Iterator[None]:
    """Files that are made meanwhile, outside of the home, have the mode that the user's shell gives them."""
    ours = os.umask(_umask)
    try:
        yield
    finally:
        os.umask(ours)


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


def loaded() -> None:
    """Say that all is imported: it stays, so that the collector passes over it, and looks after the rest from here.

    To be said once: what is garbage by then, such as a pool of connections in a circle, is never collected.
    """
    gc.freeze()
    gc.enable()


def _date(text: str) -> date:
    try:
        return parse_date(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


PipelineName = Annotated[str, typer.Argument(metavar="PIPELINE", help="A folder below sql/, such as instacart.")]
LoadDate = Annotated[date | None, typer.Option(parser=_date, metavar="YYYY-MM-DD", help="The load_date.")]
LoadDateOrRunDate = Annotated[
    date,
    typer.Option(
        "--load-date", parser=_date, metavar="YYYY-MM-DD", envvar="RUN_DATE", help="The load_date; RUN_DATE by default."
    ),
]
Select = Annotated[
    str,
    typer.Option(
        metavar="KEYS",
        help="Only these, by commas: schema.table, s3.object, a schema; +x takes all before it, x+ all after.",
    ),
]


def date_option(*names: str, help: str, envvar: str | None = None) -> Any:  # noqa: A002
    """An option that takes a date."""
    return typer.Option(*names, parser=_date, metavar="YYYY-MM-DD", help=help, envvar=envvar)


def pipeline_of(name: str) -> Pipeline:
    """The pipeline of that name. Raises ModelError where it cannot be read, UsageError that lists the known ones."""
    sound, broken = _pipelines()
    if name in broken:
        raise broken[name].error
    if name not in sound:
        known = ", ".join(sorted({*sound, *broken}))
        raise UsageError(f"There is no pipeline {name!r} in {settings().sql_dir}: there is {known}.")
    return sound[name]


def sound_pipelines() -> list[Pipeline]:
    """Every pipeline that can be read; of each of the others a line on stderr says so."""
    sound, broken = _pipelines()
    for name in broken:
        say(f"warning: {name} is left out, since its files cannot be read: `kpi check {name}` says why.", console=err)
    return list(sound.values())


@cache
def _pipelines() -> tuple[dict[str, Pipeline], dict[str, Broken]]:
    """Those that can be read, and the others; once, since a command asks twice and it takes a fifth of a second."""
    config = settings()
    return load_sound(config.sql_dir, config.min_rows)


@dataclass(frozen=True)
class Session:
    """A pipeline with its servers at hand."""

    pipeline: Pipeline
    settings: Settings
    server: SecretStr
    stack: Stack | None

    def ready(self) -> "Session":
        """Make the pipeline's database and bucket where they are missing."""
        from kpi_assets.materialize.prepare import prepare  # noqa: PLC0415

        prepare_bucket(self.stack, self.pipeline)
        reader = self.stack.credentials.reader_password if self.stack and self.embedded_postgres else None
        prepare(self.pipeline, self.server, reader)
        return self

    def looked_at(self) -> "Session":
        """Make sure that the pipeline's database can be read, and change nothing there.

        On the embedded server it is made where nothing has been run yet. Raises WarehouseError.
        """
        from kpi_assets.materialize.prepare import check_readable  # noqa: PLC0415
        from kpi_assets.warehouse.provision import has_database  # noqa: PLC0415

        prepare_bucket(self.stack, self.pipeline)
        if not has_database(self.server, self.pipeline.name):
            if self.embedded_postgres:
                return self.ready()
            raise UserError(
                f"The database {self.pipeline.name!r} does not exist yet: `kpi bootstrap` makes it, or the first run."
            )
        check_readable(self.pipeline, self.server)
        return self

    @property
    def place(self) -> str:
        """Where its data was looked for: the home, or the server and bucket of the user's."""
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

        named = conninfo_to_dict(self.server.get_secret_value())
        server = f"the server {named.get('host', 'localhost')}:{named.get('port', 5432)}"
        bucket = self.settings.s3_buckets.get(self.pipeline.name) or self.settings.s3_bucket
        if self.embedded_postgres:
            server = f"the home {self.settings.home}"
        elif bucket is None:
            return f"{server} and the home {self.settings.home}"
        return f"{server} and the bucket {bucket}" if bucket else server

    @property
    def embedded_postgres(self) -> bool:
        """Whether the warehouse is the embedded one."""
        return self.stack is not None and "KPI_POSTGRES_URL" in self.stack.environment()


def prepare_bucket(stack: Stack | None, pipeline: Pipeline) -> None:
    """On the embedded S3 the pipeline's bucket is made; elsewhere it is somebody's to give."""
    if stack is not None and "KPI_S3_ENDPOINT_URL" in stack.environment():
        stack.make_bucket(pipeline.config.bucket)


@contextmanager
def session(name: str) -> Iterator[Session]:
    """A pipeline and its servers, started where the environment names none and left as they were found."""
    pipeline = pipeline_of(name)
    with running(settings()) as stack:
        config = settings()
        assert config.postgres_url is not None
        yield Session(pipeline, config, config.postgres_url, stack)


def selected(pipeline: Pipeline, keys: str) -> list[str]:
    """The names (`schema.table`, `s3.object`) that --select means, in build order. Raises UsageError."""
    parents = parents_of(pipeline)
    if not keys:
        return list(parents)
    children = {name: [child for child, of in parents.items() if name in of] for name in parents}
    chosen: set[str] = set()
    for word in keys.split(","):
        name = word.strip().strip("+")
        found = [known for known in parents if known == name or known.partition(".")[0] == name]
        if not found:
            raise UsageError(f"{pipeline.name} has no {name!r}: it has {', '.join(parents)}.")
        chosen.update(found)
        if word.strip().startswith("+"):
            chosen.update(_reachable(found, parents))
        if word.strip().endswith("+"):
            chosen.update(_reachable(found, children))
    return [name for name in parents if name in chosen]


def parents_of(pipeline: Pipeline) -> dict[str, list[str]]:
    """For each object and table of a pipeline, in build order, those that it reads."""
    parents: dict[str, list[str]] = {table.object_name: [] for table in pipeline.object_tables}
    for relation, table in pipeline.tables.items():
        own_object = [table.object_name] if table.has_object else []
        parents[str(relation)] = [*own_object, *(str(other) for other in table.reads)]
    return parents


def _reachable(names: Sequence[str], edges: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        for name in edges[waiting.pop()]:
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


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
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

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


class StoppedError(UserError):
    """Somebody pressed Ctrl-C, or asked the process to end."""

    exit_code = STOPPED
