"""The reported outcome of a run follows from all of its steps, including a failure after a publish."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import psycopg
import pytest

from kpi_assets.cli.runner import Result, States
from kpi_assets_tests.assets.test_after_publish import AFTER
from kpi_assets_tests.cli import small
from kpi_assets_tests.cli.command import CliHarness

DAY, NEXT = date(2025, 5, 1), date(2025, 5, 2)
COLUMNS = {
    "number": ("integer", ["1", "2", "3"]),
    "share": ("double precision", ["'Infinity'", "'NaN'", "0.1"]),
    "exact": ("numeric", ["'-Infinity'", "'1e400'", "1.10"]),
    "day": ("date", ["'infinity'", "'10000-01-01'", "null"]),
    "at": ("timestamp with time zone", ["'-infinity'", "'294276-01-01'", "'2025-01-01 10:00+01'"]),
    "more": ("jsonb", ["""'{"a": [1.10, null]}'""", "'1e400'", "null"]),
    "words": ("text", ["E'\\x1b[31m[bold]\\u202e'", "''", "null"]),
    "good": ("boolean", ["true", "false", "null"]),
}
ROWS = ", ".join(f"({', '.join(cells)})" for cells in zip(*(cells for _, cells in COLUMNS.values()), strict=True))
ODD = "\n".join(
    [
        "/* @asset",
        "description: A value of each kind that has no form in JSON or in Python.",
        "owner: team:tests",
        "grain: [number]",
        "kpi: {chart: {x: number, y: share}}",
        "columns:",
        *(f"  {name}: {{type: {type_}, description: A column.}}" for name, (type_, _) in COLUMNS.items()),
        "@end */",
        f"select {', '.join(f'v.{name}::{type_} as {name}' for name, (type_, _) in COLUMNS.items())}",
        f"from (values {ROWS}) as v ({', '.join(COLUMNS)})",
        "where exists (select 1 from raw.things as t where t.load_date = %(load_date)s)",
    ]
)
BIG = "1" + "0" * 400


GOOD, HELD, FAILED = ("success", None), ("held", "by its grain"), ("failed", "no server")


@pytest.mark.parametrize(
    ("states", "failures", "word", "code"),
    [
        ({"a": GOOD, "b": GOOD}, {}, "published", 0),
        ({"a": GOOD, "b": HELD}, {"b": "a check failed"}, "held", 3),
        ({"a": HELD}, {"a": "a check failed"}, "held", 3),
        ({"a": GOOD, "b": FAILED}, {"b": "no server"}, "failed", 1),
        ({"a": HELD, "b": FAILED}, {}, "failed", 1),
        ({"a": GOOD, "b": GOOD}, {"a": "the history is full"}, "failed", 1),
        ({"a": GOOD, "b": GOOD}, {"shop": "the history is gone"}, "failed", 1),
        ({"a": HELD, "b": GOOD}, {"b": "the history is full"}, "failed", 1),
        ({"a": GOOD}, {}, "failed", 1),
        ({}, {}, "failed", 1),
    ],
)
def test_the_outcome_of_a_run_is_that_of_its_worst_step(
    states: States, failures: dict[str, str], word: str, code: int
) -> None:
    result = Result.of(DAY, "run", ["a", "b"], states, failures)
    assert (result.outcome, result.exit_code) == (word, code)


@pytest.fixture(scope="module")
def odd(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The KPI_SQL_DIR of a pipeline with a KPI of extreme values, and a table that reads it."""
    for day in (DAY, NEXT):
        small.upload(kpi, day)
    return small.write_sql(tmp_path_factory.mktemp("odd") / "sql", odd=ODD, after=AFTER)


@pytest.fixture(scope="module")
def ran(kpi: CliHarness, odd: Path) -> Path:
    """The same, with a published load_date."""
    said = kpi("run", small.NAME, "--load-date", DAY, KPI_SQL_DIR=str(odd))
    assert said.line("published small") == f"published small, load_date {DAY}: 5 assets"
    return odd


def show(kpi: CliHarness, sql: Path, *words: str) -> str:
    return kpi("show", small.NAME, "marts.odd", "--load-date", DAY, *words, KPI_SQL_DIR=str(sql)).out


def test_values_that_json_cannot_write_are_the_texts_of_the_server(kpi: CliHarness, ran: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    text = show(kpi, ran, "--format", "json")
    assert "\x1b" not in text
    assert "\u202e" not in text
    names = list(COLUMNS)
    rows = json.loads(text, parse_constant=refuse)
    assert [list(row) for row in rows] == [names] * 3
    assert [list(row.values()) for row in rows] == [
        [1, "Infinity", "-Infinity", "infinity", "-infinity", {"a": [1.1, None]}, "\x1b[31m[bold]\u202e", True],
        [2, "NaN", BIG, "10000-01-01", "294276-01-01 00:00:00+00", int(BIG), "", False],
        [3, 0.1, "1.10", None, "2025-01-01 09:00:00+00", None, None, None],
    ]


def test_csv_holds_the_texts_of_the_server(kpi: CliHarness, ran: Path) -> None:
    rows = list(csv.reader(io.StringIO(show(kpi, ran, "--format", "csv"))))
    assert rows == [
        list(COLUMNS),
        ["1", "Infinity", "-Infinity", "infinity", "-infinity", '{"a": [1.10, null]}', "\x1b[31m[bold]\u202e", "true"],
        ["2", "NaN", BIG, "10000-01-01", "294276-01-01 00:00:00+00", BIG, "", "false"],
        ["3", "0.1", "1.10", "", "2025-01-01 09:00:00+00", "", "", ""],
    ]


def test_the_table_shows_the_values_without_control_characters(kpi: CliHarness, ran: Path) -> None:
    said = show(kpi, ran, "--limit", "1")
    assert "\x1b" not in said
    assert "\\x1b[31m[bold]\\u202e" in said.replace("\n", "")
    assert "-Infinity" in said


def test_a_plan_is_strict_json(kpi: CliHarness, ran: Path) -> None:
    words = ("plan", small.NAME, "--from", DAY, "--to", DAY, "--format", "json")
    [row] = json.loads(kpi.process(*words, KPI_SQL_DIR=str(ran)).out)
    assert (row["load_date"], row["state"]) == (str(DAY), "published")


@contextmanager
def refusing(kpi: CliHarness, more: str) -> Iterator[None]:
    """Make Dagster's database refuse the materialization of raw.things, and then also events that fit `more`."""
    with psycopg.connect(kpi.url("dagster"), autocommit=True) as connection:
        connection.execute("create sequence refused")  # a rollback does not reset a sequence
        connection.execute(
            "create function refuse() returns trigger language plpgsql as $$ begin "
            "if new.dagster_event_type = 'ASSET_MATERIALIZATION' and new.asset_key like '%\"raw\", \"things\"%' then "
            "perform nextval('refused'); raise exception 'the history is full'; "
            f"elsif {more} and (select is_called from refused) then raise exception 'the history is gone'; "
            "end if; return new; end $$"
        )
        connection.execute("create trigger refuse before insert on event_logs for each row execute function refuse()")
        try:
            yield
        finally:
            connection.execute("drop trigger refuse on event_logs; drop function refuse; drop sequence refused")


def test_a_failure_after_a_publish_is_reported_as_such(kpi: CliHarness, ran: Path) -> None:
    range_ = ("backfill", small.NAME, "--from", NEXT, "--to", NEXT)
    with refusing(kpi, "false"):
        said = kpi("run", small.NAME, "--load-date", NEXT, code=1, KPI_SQL_DIR=str(ran))
        summary = kpi(*range_, code=1, KPI_SQL_DIR=str(ran)).line(f"{NEXT} failed")
    assert said.line("raw.things published").startswith("raw.things published")
    told = said.line("failed raw.things:")
    assert told.startswith("failed raw.things: it is published; the run failed after that: ")
    assert "the history is full" in told
    assert said.line("marts.odd ").endswith("the run ended before it started")
    assert "what it reads was not published" not in said.out + said.err
    assert "published small" not in said.out
    published = "select asset from ops.published where load_date = %s order by 1"
    assert kpi.rows(published, NEXT, database=small.NAME) == [("raw.things",)]
    assert summary == f"{NEXT} failed 2 raw.things (failed after publishing)"


@pytest.mark.nightly
def test_a_run_whose_history_is_gone_says_what_is_published_and_why_it_failed(kpi: CliHarness, ran: Path) -> None:
    with refusing(kpi, "true"):
        said = kpi("run", small.NAME, "--load-date", NEXT, code=1, KPI_SQL_DIR=str(ran))
    assert said.line("raw.things published").startswith("raw.things published")
    assert said.line("marts.odd ").endswith("the run ended before it started")
    told = said.line("failed small:")
    assert told.startswith("failed small: Dagster's database, which keeps the history of runs, cannot be used (")
    assert "the history is gone)" in told
    assert "fault of kpi_assets" not in told
