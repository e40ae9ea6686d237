"""`kpi ask`: lists the questions of a pipeline, and answers one of them. Nothing is built and nothing changes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from enum import Enum
from typing import Annotated, Any

import typer
from psycopg import Connection
from rich.text import Text

from kpi_assets.cli.arguments import LoadDate, PipelineName
from kpi_assets.cli.show import is_right, print_csv
from kpi_assets.cli.terminal import err, grid, grid_of_rows, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.model.calendar import named
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.question import QUESTIONS, Question, shown_value
from kpi_assets.printable import printable
from kpi_assets.read.ask import Answer, answer, prepare_question
from kpi_assets.read.export import as_json
from kpi_assets.warehouse.connection import connect, one_snapshot
from kpi_assets.warehouse.provision import READER

# The parameters of a question are options of its own, which only its file knows.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}
# Not a session of ours by name: a publish waits for its snapshot, as for those of other readers.
SESSION = {"application_name": "kpi_ask"}
BAR = 20  # characters of the longest bar


class AnswerFormat(str, Enum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    json = "json"
    sql = "sql"


def ask(
    context: typer.Context,
    pipeline: PipelineName,
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="The name of a question; without it, all are listed.")
    ] = None,
    load_date: LoadDate = None,
    format: Annotated[  # noqa: A002
        AnswerFormat,
        typer.Option(help="How to print the answer. sql prints its SELECT, with the load_date and the values in it."),
    ] = AnswerFormat.table,
) -> None:
    """Answer a question of a pipeline, for the latest load_date that all its tables have published, or list them all.

    The parameters of a question are options: `--at-least 50` gives the parameter at_least.
    """
    found = pipeline_of(pipeline)
    if question is None or question.startswith("-"):
        if question or context.args:
            raise UsageError("Name the question before its parameters: kpi ask PIPELINE QUESTION --PARAMETER VALUE.")
        _list(found)
        return
    wanted = found.question(question)
    given = _given(context.args, wanted)
    wanted.values(given)  # before any server is started
    with open_workspace(pipeline) as work, _snapshot(work, wanted) as connection:
        asked = prepare_question(connection, found, wanted, given, load_date)
        if format is AnswerFormat.sql:
            typer.echo(asked.statement(connection))
            return
        made = answer(connection, found, asked)
    if format is AnswerFormat.json:
        typer.echo(as_json(made.columns, made.types, made.rows))
    elif format is AnswerFormat.csv:
        print_csv(made.columns, made.rows)
    else:
        _print(made)


@contextmanager
def _snapshot(work: Workspace, question: Question) -> Iterator[Connection[Any]]:
    """Yield a session of a reader, in the one snapshot of an answer."""
    server, name = work.readable().server, work.pipeline.name
    reader = connect(server, name, "ask", role=READER, more=SESSION, read_only=True)
    with reader as connection, one_snapshot(connection, question.reads):
        yield connection


def _list(pipeline: Pipeline) -> None:
    """Print the questions of a pipeline."""
    if not pipeline.questions:
        say(f"{pipeline.name} has no questions: write one into {pipeline.path / QUESTIONS}.")
        return
    rows = [
        (name, question.title, ", ".join(map(option_of, question.header.parameters)))
        for name, question in pipeline.questions.items()
    ]
    out.print(grid(f"Questions of {pipeline.name}", ("name", "question", "parameters"), rows))


def option_of(name: str) -> str:
    """Return the option of a parameter."""
    return f"--{name.replace('_', '-')}"


def _given(args: Sequence[str], question: Question) -> dict[str, str]:
    """Return the text of each parameter on the command line. Raises UsageError for anything else that stands there."""
    names = {option_of(name): name for name in question.header.parameters}
    found: dict[str, str] = {}
    left = list(args)
    while left:
        option, equals, value = left.pop(0).partition("=")
        if option not in names:
            known = f"its parameters are {', '.join(names)}" if names else "it has no parameters"
            raise UsageError(f"{question.name} has no parameter {option!r}: {known}.")
        if not equals and not left:
            raise UsageError(f"{option} has no value: write it behind.")
        if names[option] in found:
            raise UsageError(f"{option} is given twice: leave one out.")
        found[names[option]] = value if equals else left.pop(0)
    return found


def _print(made: Answer) -> None:
    """Print an answer for people: the table with bars, of what it was made, and whether a newer day is not there."""
    asked, columns = made.asked, made.asked.question.header.columns
    chosen = [f"{columns_title} {value}" for columns_title, value in _chosen(made)]
    title = "\n".join([asked.question.title, ", ".join([f"load_date {asked.load_date}", *chosen])])
    rows = [[_cell(made, row, n) for n in range(len(made.columns))] for row in made.rows]
    titles = _titles(made)
    right = [
        titles[n]
        for n, (name, type_) in enumerate(zip(made.columns, made.types, strict=True))
        if (columns[name].format or is_right(type_)) and not columns[name].bar and not columns[name].labels
    ]
    for line in title.split("\n"):
        say(styled(line, "bold"))
    out.print(grid_of_rows("", titles, rows, right=right))
    if not made.rows:
        say("The answer has no rows.")
    say(_made_of(made))
    if newer := made.newer:
        say(
            styled(f"{newer.load_date} is {newer.state}", "bold red"),
            f" at {newer.asset}: this answer is of {asked.load_date}, the last day that all its tables have published.",
            console=err,
        )


def _chosen(made: Answer) -> list[tuple[str, str]]:
    parameters = made.asked.question.header.parameters
    return [(f"{parameters[name].title}:", shown_value(value)) for name, value in made.asked.values.items()]


def _titles(made: Answer) -> list[str]:
    """Return the titles of the columns, each another one."""
    found: list[str] = []
    for name in made.columns:
        title = made.asked.question.header.columns[name].title
        found.append(f"{title} ({name})" if title in found else title)
    return found


def _cell(made: Answer, row: Sequence[str | None], column: int) -> object:
    text, share = made.shown(row, column), made.share(row, column)
    if share is None:
        return text
    return Text.assemble(("█" * round(share * BAR)).ljust(BAR), " ", printable(text))


def _made_of(made: Answer) -> str:
    """Return the sentence about what an answer was made of."""
    by_day: dict[date, list[str]] = {}
    missing: list[str] = []
    for each in made.asked.read:
        if each.publish_id is None:
            missing.append(f"{each.relation} of {each.load_date} is not published")
        else:
            by_day.setdefault(each.load_date, []).append(f"{each.relation} (publish {each.publish_id})")
    parts = [f"{', '.join(tables)} of {named(day)}" for day, tables in by_day.items()]
    said = f"Made of {'; '.join(parts)}." if parts else "Made of what is recorded now."
    if made.asked.window and made.asked.window.absent:
        missing.append(f"its window has nothing of {made.asked.window.absent}")
    return " ".join([said, *(f"{each[0].upper()}{each[1:]}." for each in missing)])
