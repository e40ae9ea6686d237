"""The pages of questions: the list of all, and one question with its answer and what a reader may choose.

Belongs here: their addresses, and what their template is given. Not here: the answer itself (read/ask.py), and what is
common to the pages and the API (surface/questions.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from fastapi import APIRouter, Request, Response

from kpi_assets.model.column_types import NUMBERS, base_of
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.question import Parameter, Question
from kpi_assets.model.titles import asset_title, day
from kpi_assets.read.ask import Answer, NoAnswerError, find_days, prepare_question
from kpi_assets.read.ask import answer as read_answer
from kpi_assets.surface import draw
from kpi_assets.surface.answer import Body, Problem, Reading, answer
from kpi_assets.surface.pages.words import pipeline_title
from kpi_assets.surface.questions import given_in, question_named
from kpi_assets.surface.render import link, page

router = APIRouter(include_in_schema=False)

SHOWN = 1_000  # rows of a page


@dataclass(frozen=True)
class Field:
    """A parameter as a field of a form, with the text that is in it."""

    name: str
    title: str
    type: str  # of an input; `select` for one of the choices
    text: str
    choices: list[str]
    bounds: Mapping[str, str]


@dataclass(frozen=True)
class Cell:
    """A value of an answer as a page shows it."""

    text: str
    is_number: bool
    bar: draw.Svg | None


@router.get("/questions")
async def all_questions(request: Request) -> Response:
    """List the questions of all pipelines."""

    def make(_: Reading) -> Body:
        return Body(page("questions", groups=_groups(request), question=None, watch=False))

    return await answer(request, [], make)


@router.get("/questions/{pipeline}/{name}")
async def one_question(request: Request, pipeline: str, name: str) -> Response:
    """Show a question and its answer."""
    found, question = question_named(request, pipeline, name)
    load_date, given = given_in(request, question)
    return await answer(
        request,
        [pipeline],
        lambda reading: _body(request, reading, found, question, given, load_date),
        reads=question.reads,
    )


def _body(
    request: Request,
    reading: Reading,
    pipeline: Pipeline,
    question: Question,
    given: Mapping[str, str],
    load_date: date | None,
) -> Body:
    values: dict[str, Any] = {
        "groups": _groups(request),
        "question": question,
        "pipeline": pipeline,
        "section": pipeline_title(pipeline),
        "path": _path(pipeline, question),
        "fields": [_field(name, each, given) for name, each in question.header.parameters.items()],
        "sql": question.query.sql.strip(),
        "watch": False,
    }
    if not reading.has(pipeline):
        return Body(page("questions", **values, made=None, days=[], chosen=None, why="Nothing is published yet."))
    connection = reading.of(pipeline)
    try:
        asked = prepare_question(connection, pipeline, question, given, load_date)
    except NoAnswerError as error:
        if load_date is not None:
            raise Problem(404, "This day has no answer.", str(error)) from None
        days = find_days(connection, question)
        return Body(page("questions", **values, made=None, days=days, chosen=None, why=str(error)))
    made = read_answer(connection, pipeline, asked)
    days = list(asked.days) if asked.load_date in asked.days else [*asked.days, asked.load_date]
    api = f"/api/v1{_path(pipeline, question)}"
    words = {"load_date": asked.load_date, **given}
    return Body(
        page(
            "questions",
            **values,
            made=made,
            days=days,
            chosen=asked.load_date,
            heads=_heads(made),
            rows=[[_cell(made, row, n) for n in range(len(made.columns))] for row in made.rows[:SHOWN]],
            shown=SHOWN,
            of=_made_of(made),
            banner=_banner(pipeline, made),
            is_latest=asked.load_date == asked.days[0] if asked.days else True,
            files={kind: link(api, **words, format=kind.lower()) for kind in ("CSV", "Parquet", "SQL")}
            | {"JSON": link(api, **words)},
        )
    )


def _path(pipeline: Pipeline, question: Question) -> str:
    return f"/questions/{pipeline.name}/{question.name}"


def _groups(request: Request) -> list[tuple[str, list[tuple[str, Question]]]]:
    """Return the title of each pipeline with questions, and the address and the question of each."""
    pipelines: Mapping[str, Pipeline] = request.app.state.surface.pipelines
    return [
        (pipeline_title(each), [(_path(each, question), question) for question in each.questions.values()])
        for _, each in sorted(pipelines.items())
        if each.questions
    ]


def _field(name: str, parameter: Parameter, given: Mapping[str, str]) -> Field:
    text, choices = given.get(name, parameter.default_text), parameter.chosen_from
    types = {"integer": "number", "numeric": "number", "date": "date"}
    bounds = {"min": parameter.lowest, "max": parameter.highest}
    found = {word: str(bound) for word, bound in bounds.items() if bound is not None}
    if parameter.type == "numeric":
        found["step"] = "any"
    return Field(
        name, parameter.title, "select" if choices else types.get(parameter.type, "text"), text, choices, found
    )


def _heads(made: Answer) -> list[tuple[str, str | None, bool]]:
    """Return title, description and whether it is aligned as a number of each column."""
    columns = made.asked.question.header.columns
    return [
        (columns[name].title, columns[name].description, _is_number(made, n) and not columns[name].bar)
        for n, name in enumerate(made.columns)
    ]


def _is_number(made: Answer, column: int) -> bool:
    words = made.asked.question.header.columns[made.columns[column]]
    return words.format is not None or (base_of(made.types[column]) in NUMBERS and not words.labels)


def _cell(made: Answer, row: Any, column: int) -> Cell:
    share = made.share(row, column)
    bar = None if share is None else draw.bar(Decimal(str(share)), Decimal(1))
    return Cell(made.shown(row, column), _is_number(made, column), bar)


def _made_of(made: Answer) -> list[tuple[str, str]]:
    """Return each table and the day as which it was published, or that it was not; none for what is recorded now."""
    found = []
    for each in made.asked.read:
        of = day(each.load_date)
        found.append((str(each.relation), f"as published for {of}" if each.publish_id else f"of {of}, not published"))
    return found


def _banner(pipeline: Pipeline, made: Answer) -> tuple[str, str] | None:
    """Return the state of a newer day that is not in the answer, and a sentence about it."""
    newer = made.newer
    if newer is None:
        return None
    said = {"held": "is held", "failed": "failed", "running": "is being built"}[newer.state]
    return newer.state, (
        f"{day(newer.load_date, year=True)} {said}, at {asset_title(pipeline, newer.asset)}; the newest answer is of "
        f"{day(made.asked.load_date)}, the last good day."
    )
