"""Answers questions: which load_dates have an answer, and the answer of one, all of it read in one snapshot.

An answer names the publish of each table that it was made of. The day is the latest that all tables of the question
have published, if none is given. Of a day before, which a question compares with, a table may not be published: then
its rows are absent.

Belongs here: choosing the day, and running the SELECT with a reader's values. Not here: what a question may read
(model/question_tables.py), and how an answer is shown (cli/ask.py, surface/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import psycopg
from psycopg import ClientCursor, Connection

from kpi_assets.errors import UserError
from kpi_assets.ledger import publishes
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.number_format import write
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.question import AnswerColumn, ParameterValue, Question

TIMEOUT = 10  # seconds that the SELECT of a question may take
MOST_ROWS = 50_000  # of an answer
DAYS = 60  # load_dates that a reader may choose from
Row = Sequence[str | None]


class NoAnswerError(UserError):
    """A question has no answer for the load_date, or none at all yet."""


@dataclass(frozen=True)
class ReadPublish:
    """A table that an answer was made of; without a publish_id it is not published for that load_date."""

    relation: Relation
    load_date: date
    publish_id: int | None


@dataclass(frozen=True)
class NewerDay:
    """A newer load_date that the answer is not of, and where it stopped: at a table, or at an object (`s3.x`)."""

    load_date: date
    state: Literal["held", "failed", "running"]
    since: datetime
    asset: str


@dataclass(frozen=True)
class Asked:
    """A question with its load_date and the values of its parameters; `days` are the load_dates with an answer."""

    question: Question
    load_date: date
    values: Mapping[str, ParameterValue]
    days: Sequence[date]
    read: Sequence[ReadPublish]
    window: Window | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that the SELECT is given."""
        of_window = self.window.parameters if self.window else {}
        return {LOAD_DATE: self.load_date, **of_window, **self.values}

    def statement(self, connection: Connection[Any]) -> str:
        """Return the SELECT with the load_date and the values in it, each quoted as its type needs."""
        return ClientCursor(connection).mogrify(self.question.query.executed, self.parameters).strip()


@dataclass(frozen=True)
class Answer:
    """The rows of an answer, with the values exactly as Postgres writes them; None is NULL."""

    asked: Asked
    columns: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Row]
    newer: NewerDay | None

    def number(self, row: Row, column: int) -> Decimal | None:
        """Return a value as a number; None if it is none."""
        try:
            text = row[column]
            return None if text is None else Decimal(text)
        except InvalidOperation:
            return None

    def shown(self, row: Row, column: int) -> str:
        """Return a value as people see it: a number in the format of its column, or the name of the value."""
        words, text = self._words(column), row[column]
        if words.format:
            number = self.number(row, column)
            return write(number, words.format) if number is not None or text is None else text
        return "" if text is None else words.label(text)

    def share(self, row: Row, column: int) -> float | None:
        """Return the length of the bar beside a number, from 0 to 1: its share of the largest; None without a bar."""
        if not self._words(column).bar:
            return None
        numbers = [abs(each) for other in self.rows if (each := self.number(other, column)) and each.is_finite()]
        number, top = self.number(row, column), max(numbers, default=Decimal(0))
        return float(abs(number) / top) if number and number.is_finite() and top else 0.0

    def _words(self, column: int) -> AnswerColumn:
        return self.asked.question.header.columns[self.columns[column]]


def prepare_question(
    connection: Connection[Any],
    pipeline: Pipeline,
    question: Question,
    given: Mapping[str, str],
    load_date: date | None = None,
) -> Asked:
    """Return a question with the texts that a reader gave, and its load_date; by default the latest with an answer.

    Call it inside one snapshot, that of the answer. Raises WrongParameterError, or NoAnswerError.
    """
    values = question.values(given)
    days = find_days(connection, question)
    day = load_date or (days[0] if days else None)
    if day is None:
        raise NoAnswerError(
            f"Nothing that {question.name} reads is published yet: run a load_date of {pipeline.name} first."
        )
    if day not in days and not find_days(connection, question, only=day):
        latest = f"the latest day with an answer is {days[0]}" if days else "no day has an answer yet"
        missing = [str(each.relation) for each in _read(connection, question, day) if each.publish_id is None]
        reason = f"{', '.join(missing)} is not published" if missing else "nothing is recorded"
        raise NoAnswerError(f"{question.name} has no answer for {day}, because {reason} for it: {latest}.")
    read = [
        *_read(connection, question, day),
        *_read_before(connection, question, day),
    ]
    return Asked(question, day, values, days, read, _window(connection, pipeline, question, day))


def find_days(connection: Connection[Any], question: Question, *, only: date | None = None) -> list[date]:
    """Return the load_dates with an answer, the latest first: those that every table of the day has published.

    A question that reads nothing that is published has an answer for each load_date of which a build is recorded.
    """
    wanted = [str(relation) for relation in _needed(question)]
    if wanted:
        rows = connection.execute(
            "select load_date from ops.published where asset = any(%s) and load_date = coalesce(%s, load_date) "
            "group by load_date having count(*) = %s order by load_date desc limit %s",
            [wanted, only, len(wanted), DAYS],
        ).fetchall()
    else:
        rows = connection.execute(
            "select distinct load_date from ops.pipeline_runs where load_date = coalesce(%s, load_date) "
            "order by load_date desc limit %s",
            [only, DAYS],
        ).fetchall()
    return [day for (day,) in rows]


def answer(connection: Connection[Any], pipeline: Pipeline, asked: Asked) -> Answer:
    """Run the SELECT, in the snapshot of `asked`. Raises UserError if it cannot be run, or takes too long."""
    cursor = ClientCursor(connection)
    cursor.execute(f"set local statement_timeout = '{TIMEOUT}s'")
    cursor.execute("set local cursor_tuple_fraction = 1")  # all rows are read
    name = asked.question.name
    try:
        # A cursor of the server reads no more rows than wanted, in the order of the SELECT.
        cursor.execute(f"declare answer no scroll cursor for {asked.statement(connection)}")
        cursor.execute(f"fetch forward {MOST_ROWS + 1} from answer")
    except psycopg.errors.QueryCanceled:
        raise UserError(
            f"{name} took longer than {TIMEOUT} seconds and was stopped: ask for less, or let its SELECT read less "
            f"({asked.question.path})."
        ) from None
    except psycopg.Error as error:
        reason = error.diag.message_primary or type(error).__name__
        raise UserError(f"{name} cannot be answered ({reason}): its SELECT is {asked.question.path}.") from None
    result = cursor.pgresult
    assert result is not None
    if result.ntuples > MOST_ROWS:
        raise UserError(
            f"The answer of {name} has more than {MOST_ROWS:,} rows: let its SELECT end with a limit "
            f"({asked.question.path})."
        )
    width = range(result.nfields)
    types = _types(connection, [(result.ftype(n), result.fmod(n)) for n in width])
    rows = [[_text(result.get_value(row, n), types[n]) for n in width] for row in range(result.ntuples)]
    cursor.execute("close answer")
    columns = [(result.fname(n) or b"").decode() for n in width]
    return Answer(asked, columns, types, rows, _newer(connection, pipeline, asked))


def _needed(question: Question) -> list[Relation]:
    """Return the tables that must be published for the load_date."""
    return sorted({*question.of_day, *question.of_window})


def _read(connection: Connection[Any], question: Question, day: date) -> list[ReadPublish]:
    found = publishes.current(connection, _needed(question), day)
    return [ReadPublish(each, day, found[each].publish_id if each in found else None) for each in _needed(question)]


def _read_before(connection: Connection[Any], question: Question, day: date) -> list[ReadPublish]:
    """Return the tables of the days before, the latest first; none before the calendar's first day."""
    found = []
    for relation, days in sorted(question.days_before, key=lambda each: (each[1], each[0])):
        if days < (day - date.min).days:
            before = day - timedelta(days=days)
            publish = publishes.current(connection, [relation], before).get(relation)
            found.append(ReadPublish(relation, before, publish.publish_id if publish else None))
    return found


def _window(connection: Connection[Any], pipeline: Pipeline, question: Question, day: date) -> Window | None:
    """Return the window of a question: the load_dates that all its tables of the window have published."""
    lookback = question.header.lookback
    if lookback is None:
        return None
    first = max(pipeline.config.start_date, day - timedelta(days=lookback.days - 1))
    if not question.of_window:  # ops and live views have what is recorded, published or not
        return Window(first, day, tuple(first + timedelta(days=n) for n in range((day - first).days + 1)))
    found = publishes.current_between(connection, question.of_window, first, day)
    there = [each for each, of in sorted(found.items()) if len(of) == len(question.of_window)]
    return Window(first, day, tuple(there))


def _types(connection: Connection[Any], found: Sequence[tuple[int, int]]) -> list[str]:
    """Return the names of types in Postgres' catalog, with their parameters."""
    rows = connection.execute(
        "select format_type(oid, modifier) from unnest(%s::oid[], %s::integer[]) with ordinality "
        "as t (oid, modifier, n) order by n",
        [[oid for oid, _ in found], [modifier for _, modifier in found]],
    ).fetchall()
    return [name for (name,) in rows]


def _text(value: bytes | None, type_: str) -> str | None:
    """Return a value as its cast to text has it: only a boolean is sent in another way."""
    if value is None:
        return None
    text = value.decode()
    return {"t": "true", "f": "false"}[text] if type_ == "boolean" else text


_NEWER = """
select load_date, status, since, job
from (
    select distinct on (load_date, job) load_date, job, status, coalesce(ended_at, started_at) as since
    from ops.pipeline_runs
    where job = any(%(jobs)s) and load_date > %(load_date)s
    order by load_date, job, id desc
) as latest
where status in ('held', 'failed', 'running')
order by load_date desc, array_position(array['held', 'failed', 'running'], status), array_position(%(jobs)s, job)
limit 1
"""


def _newer(connection: Connection[Any], pipeline: Pipeline, asked: Asked) -> NewerDay | None:
    """Return the newest load_date that the answer is not of, because something that it comes from stopped."""
    if asked.days and asked.load_date < asked.days[0]:
        return None  # a reader has chosen an earlier day
    jobs = _upstream(pipeline, _needed(asked.question))
    row = connection.execute(_NEWER, {"jobs": jobs, "load_date": asked.load_date}).fetchone()
    return NewerDay(*row) if row else None


def _upstream(pipeline: Pipeline, relations: Sequence[Relation]) -> list[str]:
    """Return all tables and objects from which tables come, in build order."""
    wanted = set(relations)
    for relation in reversed([*pipeline.tables]):
        if relation in wanted:
            wanted |= {*pipeline.inputs_of(pipeline.tables[relation])}
    found = []
    for relation, table in pipeline.tables.items():
        if relation in wanted:
            found += [table.object_name, str(relation)] if table.has_object else [str(relation)]
    return found
