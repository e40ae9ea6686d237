"""Questions: files below sql/<pipeline>/questions/, each a named SELECT for one load_date over what readers may read.

A question is no table: nothing is built of it. Readers ask it (read/ask.py), and its file says what they may choose.

Belongs here: the words of its header, and the values of its parameters. Not here: what its SELECT may read
(question_tables.py), and answering it (read/ask.py).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator
from sqlglot import exp

from kpi_assets.errors import UsageError
from kpi_assets.model.calendar import parse_date
from kpi_assets.model.clock import is_chance, is_clock
from kpi_assets.model.differences import column_differences
from kpi_assets.model.field_types import Owner, Sentence, Value
from kpi_assets.model.header import Lookback, cut
from kpi_assets.model.hidden_reads import is_beyond
from kpi_assets.model.lookback import WINDOW_START
from kpi_assets.model.names import LOAD_DATE, PREVIOUS, Identifier, Relation
from kpi_assets.model.number_format import NumberFormat
from kpi_assets.model.query import Query, parse_statement
from kpi_assets.model.sentences import Loc, known_words, refuse, shown
from kpi_assets.model.strict_yaml import Lines, ModelError, Problems, Strict, read

QUESTIONS = "questions"  # the folder of a pipeline that has them, which is no schema
LONGEST_TEXT = 200  # characters of a value of type text
_DIGITS = 38  # of a value of type numeric
_BIGINT = 2**63
# Words that `kpi ask` and the API have beside the parameters of a question.
_TAKEN = (LOAD_DATE, WINDOW_START, PREVIOUS, "load_dates_there", "format", "help", "debug", "version", "limit", "as_of")
_BOOLEANS = {"true": True, "false": False}

ParameterType = Literal["integer", "numeric", "text", "date", "boolean"]
ParameterValue = int | Decimal | str | date | bool


class WrongParameterError(UsageError):
    """A value that a question does not take for one of its parameters; one sentence names the parameter."""

    def __init__(self, name: str, problem: str) -> None:
        self.parameter = name
        super().__init__(f"{name}: {problem}.")


class Parameter(Strict):
    """A value that readers choose; the SELECT has it as `%(name)s`."""

    title: Sentence = Field(description="What readers are asked for.")
    type: ParameterType = Field(description="integer, numeric, text, date or boolean.")
    default: Value = Field(description="The value if a reader gives none.")
    range: list[Value | None] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="The lowest and the highest value of an integer, a numeric or a date; null for an open end.",
        examples=["range: [1, 1000]"],
    )
    choices: list[Value] | None = Field(
        default=None, min_length=2, description="The only values.", examples=["choices: [gross, net]"]
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> "Parameter":
        refuse(self._problems())
        return self

    def _problems(self) -> Iterator[tuple[Loc, str]]:
        if self.range and self.type in ("text", "boolean"):
            yield ("range",), f"is for numbers and dates, and the type is {self.type}: take it out, or write choices"
            return
        if self.range and self.choices:
            yield ("choices",), "the range says which values there are: write one of both"
        if self.choices and self.type == "boolean":
            yield ("choices",), "a boolean is true or false: take it out"
        bounds = [((("range", n)), each) for n, each in enumerate(self.range or []) if each is not None]
        listed = [(("choices", n), each) for n, each in enumerate(self.choices or [])]
        wrong = [(loc, problem) for loc, each in [*bounds, *listed] if (problem := self._type_problem(each))]
        yield from wrong
        if not wrong and self.range and None not in self.range and self.lowest > self.highest:  # type: ignore[operator]
            yield ("range",), "its lowest value is above its highest: write the lowest first"
        elif not wrong and (problem := self.problem(text_of_value(self.default))):
            yield ("default",), problem

    def _type_problem(self, value: Value) -> str:
        try:
            _parsed(self.type, text_of_value(value))
        except ValueError as error:
            return str(error)
        return ""

    @property
    def lowest(self) -> ParameterValue | None:
        """The lowest value; None if there is no bound."""
        return _bound(self.type, self.range[0]) if self.range else None

    @property
    def highest(self) -> ParameterValue | None:
        """The highest value; None if there is no bound."""
        return _bound(self.type, self.range[1]) if self.range else None

    @property
    def chosen_from(self) -> list[str]:
        """The only values, as texts; none if other ones are possible."""
        if self.type == "boolean":
            return list(_BOOLEANS)
        return [text_of_value(each) for each in self.choices or []]

    @property
    def default_text(self) -> str:
        """The default as a reader would write it."""
        return text_of_value(self.default)

    def problem(self, text: str) -> str:
        """Return why a text is not a value of this parameter; empty if it is one."""
        try:
            value = _parsed(self.type, text)
        except ValueError as error:
            return str(error)
        if self.choices and value not in [_parsed(self.type, each) for each in self.chosen_from]:
            return f"{shown(text)} is none of its values: write {', '.join(self.chosen_from)}"
        if self.lowest is not None and value < self.lowest:  # type: ignore[operator]
            return f"{shown(text)} is too low: write {self.lowest} or more"
        if self.highest is not None and value > self.highest:  # type: ignore[operator]
            return f"{shown(text)} is too high: write {self.highest} or less"
        return ""

    def value(self, text: str) -> ParameterValue:
        """Return the value of a text without a problem."""
        return _parsed(self.type, text)


def _bound(type_: ParameterType, value: Value | None) -> ParameterValue | None:
    return None if value is None else _parsed(type_, text_of_value(value))


def text_of_value(value: Value) -> str:
    """Return a value of the file as a reader would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)


def shown_value(value: ParameterValue) -> str:
    """Return a value as a reader would write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(type_: ParameterType, text: str) -> ParameterValue:
    """Return the value that a text has in a type. Raises ValueError with a sentence for the reader."""
    if type_ == "integer":
        if not re.fullmatch(r"[-+]?[0-9]{1,19}", text, re.ASCII) or not -_BIGINT <= int(text) < _BIGINT:
            raise ValueError(f"{shown(text)} is not a whole number: write digits only")
        return int(text)
    if type_ == "numeric":
        if not re.fullmatch(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", text, re.ASCII) or len(text) > _DIGITS:
            raise ValueError(f"{shown(text)} is not a number: write a plain decimal number")
        return Decimal(text)
    if type_ == "date":
        return parse_date(text)
    if type_ == "boolean":
        if text not in _BOOLEANS:
            raise ValueError(f"{shown(text)} is not true or false: write one of them")
        return _BOOLEANS[text]
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"it has {len(text):,} characters: write at most {LONGEST_TEXT}")
    if not text.isprintable():
        raise ValueError(f"{shown(text)} has a character that cannot be printed: take it out")
    return text


class AnswerColumn(Strict):
    """A column of the answer, as readers see it."""

    title: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] = Field(
        description="What readers call it."
    )
    description: Sentence | None = Field(default=None, description="What a reader must know to use the value.")
    format: NumberFormat | None = Field(
        default=None, description="How its numbers are written; without it, as Postgres writes them."
    )
    bar: bool = Field(default=False, description="Whether a bar beside each number shows how large it is.")
    labels: list[str] | dict[str, str] = Field(
        default={},
        description="What its values are called: the names of the values 0, 1, 2 and so on, or a name for each value.",
        examples=["labels: [Sunday, Monday, Tuesday]"],
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> "AnswerColumn":
        if self.bar and self.format is None:
            refuse([(("bar",), "a bar is as long as a number, which needs a format: add it")])
        if self.labels and self.format is not None:
            refuse([(("labels",), "a value has a name or is written as a number: take labels or format out")])
        return self

    @property
    def named_values(self) -> dict[str, str]:
        """The name of each value that has one."""
        return self.labels if isinstance(self.labels, dict) else {str(n): name for n, name in enumerate(self.labels)}

    def label(self, text: str) -> str:
        """Return what a value is called, which is the value itself if it has no name."""
        return self.named_values.get(text, text)


class QuestionHeader(Strict):
    """Everything the header of a question may say."""

    title: Sentence = Field(
        description="The question, as a reader would ask it.",
        examples=["title: Which products do people come back for?"],
    )
    description: Sentence = Field(
        description="What the answer is, with the definitions that somebody could dispute.",
        examples=["description: 'Of the products in enough orders, those that are reordered most often.'"],
    )
    owner: Owner = Field(
        description="Who answers for the question: `team:name` or an e-mail address.",
        examples=["owner: team:analytics"],
    )
    parameters: dict[Identifier, Parameter] = Field(
        default={},
        description="What readers may choose. The SELECT has each as `%(name)s`, and it is bound, never put into the "
        "text.",
        examples=[
            "parameters: {at_least: {title: In at least so many orders, type: integer, default: 50, range: [1, 1000]}}"
        ],
    )
    columns: dict[Identifier, AnswerColumn] = Field(
        min_length=1,
        description="The columns of the answer, in the order of the SELECT.",
        examples=["columns: {product_name: {title: Product}, orders: {title: Orders, format: integer, bar: true}}"],
    )
    lookback: Lookback | None = Field(
        default=None,
        description="The calendar days that the SELECT may read, the load_date the last; `lookback: 28` is short for "
        "`days: 28`. A table is limited to them by `load_date between %(window_start)s and %(load_date)s`.",
        examples=["lookback: 28"],
    )

    @field_validator("lookback", mode="before")
    @classmethod
    def _days_alone(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, dict) else {"days": value}

    @model_validator(mode="after")
    def _names_are_free(self) -> "QuestionHeader":
        refuse(
            (("parameters", name), "this word is taken: give the parameter another name")
            for name in self.parameters
            if name in _TAKEN
        )
        return self


@dataclass(frozen=True)
class Question:
    """One question: its words, its SELECT, and what that reads (question_tables.py).

    `of_day` are the tables that it reads of its load_date, `days_before` those of a fixed number of days before it, and
    `of_window` those of the window.
    """

    name: str
    path: Path
    header: QuestionHeader
    query: Query
    of_day: tuple[Relation, ...] = ()
    days_before: tuple[tuple[Relation, int], ...] = ()
    of_window: tuple[Relation, ...] = ()

    @property
    def title(self) -> str:
        """The question, as a reader would ask it."""
        return self.header.title

    @property
    def reads(self) -> tuple[Relation, ...]:
        """Everything that the SELECT reads, sorted: tables, live views and relations of ops."""
        return self.query.reads

    @property
    def tables(self) -> list[Relation]:
        """The tables that it reads of any load_date, sorted."""
        return sorted({*self.of_day, *self.of_window, *(relation for relation, _ in self.days_before)})

    def values(self, given: Mapping[str, str]) -> dict[str, ParameterValue]:
        """Return the value of each parameter, from the texts that a reader gave. Raises WrongParameterError."""
        parameters = self.header.parameters
        for name in given:
            if name not in parameters:
                raise WrongParameterError(
                    name, f"the question has no such parameter: {known_words(name, list(parameters))}"
                )
        found = {}
        for name, parameter in parameters.items():
            text = given.get(name, parameter.default_text)
            if problem := parameter.problem(text):
                raise WrongParameterError(name, problem)
            found[name] = parameter.value(text)
        return found


def read_question(path: Path, text: str) -> Question:
    """Read the file of a question. Raises ModelError with all its errors."""
    words, body = cut(path, text, "question")
    problems = Problems()
    header, lines = None, Lines(None)
    with problems.collected():
        header, lines = read(QuestionHeader, words, path)
    if header is None:
        problems.raise_any()
        raise AssertionError
    if not body.strip():
        raise ModelError(path, 1, "has no SELECT: write it below the header")
    query = parse_statement(
        body, path, known=[LOAD_DATE, *header.parameters, *([WINDOW_START] * bool(header.lookback))]
    )
    for line, problem in _problems_of(header, lines, query):
        problems.add(path, line, problem)
    problems.raise_any()
    return Question(path.stem, path, header, query)


def _problems_of(header: QuestionHeader, lines: Lines, query: Query) -> Iterator[tuple[int, str]]:
    """Yield (line, sentence) for what is wrong with a SELECT and its header together."""
    yield from column_differences(list(header.columns), lines, query)
    used = {each.name for each in query.tree.find_all(exp.Placeholder)}
    for name in header.parameters:
        if name not in used:
            yield lines.of("parameters", name), f"the SELECT does not use %({name})s: use it there, or take it out"
    if header.lookback and WINDOW_START not in used:
        yield (
            lines.of("lookback"),
            f"the SELECT reads no window: limit a table by `{LOAD_DATE} between %({WINDOW_START})s and "
            f"%({LOAD_DATE})s`, or take lookback out",
        )
    for node in query.tree.walk():
        if is_clock(node) or is_chance(node):
            yield (
                query.line_at(node),
                f"{node.sql('postgres')} gives another answer each time: ask by load_date instead",
            )
        if is_beyond(node):
            yield (
                query.line_at(node),
                f"{node.sql('postgres')} reads or does something that the SELECT does not name: take it out",
            )
        if node.args.get("locks"):
            yield query.line_at(node), "the SELECT locks rows, but a question only reads: take that out"
    if not query.tree.args.get("order"):
        yield query.line, "the SELECT ends without ORDER BY: add it, so that the same rows always come in one order"
