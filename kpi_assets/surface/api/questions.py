"""The questions of the API: the list of all, and the answer of one, as JSON, CSV, Parquet, Arrow or SQL.

Belongs here: their addresses and the form of their answers. Not here: the answer itself (read/ask.py), and what is
common to the pages and the API (surface/questions.py).
"""

import importlib
import io
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.question import Parameter, ParameterType, Question, shown_value
from kpi_assets.read.ask import Answer as MadeAnswer
from kpi_assets.read.ask import NoAnswerError, prepare_question
from kpi_assets.read.ask import answer as read_answer
from kpi_assets.read.export import as_csv, without_formulas
from kpi_assets.surface.answer import Body, Problem, Reading, answer
from kpi_assets.surface.api import files
from kpi_assets.surface.api.answers import API, Answer
from kpi_assets.surface.api.exact import dumps, objects, write
from kpi_assets.surface.api.finding import PROBLEMS, pipelines_of
from kpi_assets.surface.api.parameters import LoadDate, PipelineName, only_declared
from kpi_assets.surface.questions import given_in, question_named
from kpi_assets.surface.render import link

Format = Literal["json", "csv", "parquet", "arrow", "sql"]
MEDIA: Mapping[str, str] = {**files.MEDIA, "json": "application/json", "sql": "text/plain; charset=utf-8"}
_PARAMETERS = {
    "name": "parameters",
    "in": "query",
    "required": False,
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "description": "The parameters of the question, such as `at_least=50`; `/api/v1/questions` lists them.",
}

router = APIRouter(prefix=API, tags=["Questions"])


class ParameterAnswer(Answer):
    """A parameter of a question, which is given as `name=value`."""

    name: str
    title: str
    type: ParameterType
    default: str
    lowest: str | None
    highest: str | None
    choices: list[str] = Field(description="The only values; empty if others are possible.")


class QuestionWords(Answer):
    """What the file of a question says."""

    id: str
    pipeline: str
    name: str
    title: str
    description: str
    owner: str
    parameters: list[ParameterAnswer]
    tables: list[str] = Field(description="The tables that it reads.")
    links: dict[str, str]


class QuestionsAnswer(Answer):
    """All questions."""

    questions: list[QuestionWords]


class AnswerColumn(Answer):
    """A column of an answer: its type is one of PostgreSQL."""

    name: str
    title: str
    type: str
    format: str | None = Field(description="How people read its numbers, such as `percent1` of a share of 1.")
    description: str | None
    labels: dict[str, str] = Field(description="What people call its values.")


class MadeOf(Answer):
    """A table that the answer was made of; without a publish_id it is not published for that load_date."""

    table: str
    load_date: date
    publish_id: int | None


class Newer(Answer):
    """A newer load_date, which the answer is not of, and the table or object (`s3.x`) at which it stopped."""

    load_date: date
    state: Literal["held", "failed", "running"]
    since: datetime
    table: str


class QuestionAnswer(Answer):
    """The answer of a question: everything in it was read in one transaction."""

    id: str
    title: str
    load_date: date
    parameters: dict[str, str] = Field(description="The values that it was asked with.")
    columns: list[AnswerColumn]
    rows: list[dict[str, Any]]
    made_of: list[MadeOf]
    not_in_window: str = Field(description="The load_dates of its window that are not published; mostly empty.")
    newer: Newer | None = Field(description="Why the answer is not of a newer load_date; null if there is none.")
    load_dates: list[date] = Field(description="The load_dates with an answer, the latest first; at most 60.")
    links: dict[str, str]


@router.get("/questions", response_model=QuestionsAnswer, summary="All questions")
async def questions(request: Request) -> Response:
    """Every question of every pipeline, with its parameters."""
    only_declared(request)
    found = sorted(pipelines_of(request).items())
    every = [_words(pipeline, each) for _, pipeline in found for each in pipeline.questions.values()]

    def make(_: Reading) -> Body:
        return Body(dumps(QuestionsAnswer(questions=every)), "application/json")

    return await answer(request, [], make)


@router.get(
    "/questions/{pipeline}/{name}",
    response_model=QuestionAnswer,
    responses={
        200: {
            "description": "The answer, of the load_date that `X-Load-Date` names.",
            "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in files.MEDIA.values()},
        },
        **PROBLEMS,
    },
    openapi_extra={"parameters": [_PARAMETERS]},
    summary="The answer of one question",
)
async def one_question(
    request: Request,
    pipeline: PipelineName,
    name: str,
    load_date: LoadDate = None,
    format: Annotated[  # noqa: A002
        Format,
        Query(
            description="CSV is made for spreadsheets: a text that one would execute begins with a '. sql is the "
            "SELECT with the load_date and the values in it."
        ),
    ] = "json",
) -> Response:
    """The answer for one load_date, by default the latest that all tables of the question have published."""
    found, question = question_named(request, pipeline, name)
    _, given = given_in(request, question, "format")
    if format in ("parquet", "arrow"):
        files.check_there(format)
    return await answer(
        request,
        [found.name],
        lambda reading: _body(reading, found, question, given, load_date, format),
        reads=question.reads,
    )


def _body(
    reading: Reading,
    pipeline: Pipeline,
    question: Question,
    given: Mapping[str, str],
    load_date: date | None,
    format_: Format,
) -> Body:
    connection = reading.of(pipeline)
    try:
        asked = prepare_question(connection, pipeline, question, given, load_date)
    except NoAnswerError as error:
        raise Problem(404, "There is no answer.", str(error)) from None
    headers = {"X-Load-Date": str(asked.load_date)}
    if format_ == "sql":
        return Body(f"{asked.statement(connection)}\n".encode(), MEDIA["sql"], headers)
    made = read_answer(connection, pipeline, asked)
    if format_ == "json":
        return Body(_json(pipeline, made, given), MEDIA["json"], headers)
    name = f"{pipeline.name}_{question.name}_{asked.load_date}.{'arrows' if format_ == 'arrow' else format_}"
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    if format_ == "csv":
        return Body(as_csv(made.columns, without_formulas(made.types, made.rows)), MEDIA["csv"], headers)
    return Body(_typed(pipeline, made, format_), MEDIA[format_], headers)


def _words(pipeline: Pipeline, question: Question) -> QuestionWords:
    header = question.header
    return QuestionWords(
        id=f"{pipeline.name}/{question.name}",
        pipeline=pipeline.name,
        name=question.name,
        title=header.title,
        description=header.description,
        owner=header.owner,
        parameters=[_parameter(name, each) for name, each in header.parameters.items()],
        tables=[str(relation) for relation in question.reads],
        links={
            "answer": f"{API}/questions/{pipeline.name}/{question.name}",
            "page": f"/questions/{pipeline.name}/{question.name}",
        },
    )


def _parameter(name: str, parameter: Parameter) -> ParameterAnswer:
    return ParameterAnswer(
        name=name,
        title=parameter.title,
        type=parameter.type,
        default=parameter.default_text,
        lowest=None if parameter.lowest is None else str(parameter.lowest),
        highest=None if parameter.highest is None else str(parameter.highest),
        choices=parameter.chosen_from,
    )


def _json(pipeline: Pipeline, made: MadeAnswer, given: Mapping[str, str]) -> bytes:
    """Return an answer in the form of QuestionAnswer, whose rows have exact numbers."""
    asked, words = made.asked, _words(pipeline, made.asked.question)
    newer = made.newer
    path = words.links["answer"]
    parts: dict[str, object] = {
        "id": words.id,
        "title": words.title,
        "load_date": asked.load_date,
        "parameters": {name: shown_value(value) for name, value in asked.values.items()},
        "columns": _columns(made),
    }
    rest: dict[str, object] = {
        "made_of": [
            MadeOf(table=str(each.relation), load_date=each.load_date, publish_id=each.publish_id)
            for each in asked.read
        ],
        "not_in_window": asked.window.absent if asked.window else "",
        "newer": newer and Newer(load_date=newer.load_date, state=newer.state, since=newer.since, table=newer.asset),
        "load_dates": list(asked.days),
        "links": {
            "self": link(path, load_date=asked.load_date, **given),
            "page": link(words.links["page"], load_date=asked.load_date, **given),
            **{kind: link(path, load_date=asked.load_date, **given, format=kind) for kind in ("csv", "parquet", "sql")},
        },
    }
    rows = ",".join(objects(made.columns, made.types, made.rows))
    return f'{write(parts)[:-1]},"rows":[{rows}],{write(rest)[1:]}'.encode()


def _columns(made: MadeAnswer) -> list[AnswerColumn]:
    columns = made.asked.question.header.columns
    return [
        AnswerColumn(
            name=name,
            title=columns[name].title,
            type=type_,
            format=columns[name].format,
            description=columns[name].description,
            labels=columns[name].named_values,
        )
        for name, type_ in zip(made.columns, made.types, strict=True)
    ]


def _typed(pipeline: Pipeline, made: MadeAnswer, format_: Format) -> bytes:
    """Return an answer as a file whose columns have types, and which names what it was made of."""
    pa = importlib.import_module("pyarrow")
    fields, arrays = [], []
    for n, column in enumerate(_columns(made)):
        texts = pa.chunked_array([pa.array([row[n] for row in made.rows], pa.string())])
        values = files.typed(pa, column.type, texts)
        fields.append(pa.field(column.name, values.type, metadata={"title": column.title, "type": column.type}))
        arrays.append(values)
    metadata = {
        "question": f"{pipeline.name}/{made.asked.question.name}",
        "load_date": str(made.asked.load_date),
        "parameters": write({name: shown_value(value) for name, value in made.asked.values.items()}),
        "made_of": write({f"{each.relation}@{each.load_date}": each.publish_id for each in made.asked.read}),
    }
    table, out = pa.table(arrays, schema=pa.schema(fields, metadata=metadata)), io.BytesIO()
    if format_ == "parquet":
        importlib.import_module("pyarrow.parquet").write_table(table, out)
    else:
        with importlib.import_module("pyarrow.ipc").new_stream(out, table.schema) as stream:
            stream.write_table(table)
    return out.getvalue()
