"""Decisions: a line of JSON is read as it was written, and each broken shape is one sentence with object and line."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from kpi_assets.model.decision import Decision, DecisionError, json_text, parse_json, problem_of, read_lines
from kpi_assets.model.table import Table
from kpi_assets_tests.model.conftest import Tree

KEY = "decisions/marts.sold/load_date=2025-03-01/0001.jsonl"
AT = "2025-03-02T09:30:00+00:00"
ROW = {
    "kind": "correct",
    "key": {"thing_id": 10},
    "was": {"name": "anvill"},
    "set": {"name": "anvil"},
    "reason": "misspelt by the till",
    "by": "ana",
    "at": AT,
}
PLACE = {"object": "raw/things/load_date=2025-03-01/things.csv", "line": 3}
RECORD = {**ROW, "key": PLACE, "was": {"record": "x,anvil"}, "set": {"record": "2,anvil"}}
WORDS = "kind, key, was, set, reason, by, at"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    tree = Tree(tmp_path_factory.mktemp("decisions") / "sql")
    return {str(relation): table for relation, table in tree.load().tables.items()}


def read(table: Table, *lines: object) -> list[Decision]:
    written = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    return list(read_lines(b"\n".join(written), table, KEY))


@pytest.mark.parametrize(("name", "line"), [("marts.sold", ROW), ("raw.things", RECORD)])
def test_a_written_decision_is_read_back(tables: dict[str, Table], name: str, line: dict[str, Any]) -> None:
    [found] = read(tables[name], line)
    assert json.loads(found.line()) == line
    assert found == Decision(
        "correct",
        line["key"],
        line["was"],
        line["set"],
        reason="misspelt by the till",
        by="ana",
        at=datetime(2025, 3, 2, 9, 30, tzinfo=timezone.utc),
        place=f"{KEY}:1",
    )
    assert list(read_lines(found.line().encode(), tables[name], KEY)) == [found]
    assert problem_of(tables[name], found) == ""


def test_blank_lines_are_passed_over_and_each_decision_knows_its_line(tables: dict[str, Table]) -> None:
    discard = {**ROW, "kind": "discard"}
    del discard["set"]
    found = read(tables["marts.sold"], b"", ROW, b"  \r", {**discard, "at": "2025-03-02T10:30:00Z"}, b"")
    assert [(each.kind, each.place) for each in found] == [("correct", f"{KEY}:2"), ("discard", f"{KEY}:4")]
    assert (found[1].set, found[1].at - found[0].at) == ({}, timedelta(hours=1))


def test_the_time_of_a_decision_is_in_utc(tables: dict[str, Table]) -> None:
    [found] = read(tables["marts.sold"], {**ROW, "at": "2025-03-02T00:30:00+02:00"})
    assert f"{found.at:%Y-%m-%d %H:%M %z}" == "2025-03-01 22:30 +0000"


@pytest.mark.parametrize(
    "text", ["5.00", "-0.1", "12345678901234567.89", "1e400", "7", "1" * 5000, '{"a": [1.50, "ü", null, true]}']
)
def test_numbers_keep_their_value(text: str) -> None:
    value = parse_json(text)
    assert json.loads(json_text(value), parse_float=Decimal, parse_int=Decimal) == json.loads(
        text, parse_float=Decimal, parse_int=Decimal
    )


def test_a_number_is_a_float_unless_that_would_round_it() -> None:
    assert [type(parse_json(text)) for text in ("5.00", "7", "0.1", "12345678901234567.89")] == [
        float,
        int,
        float,
        Decimal,
    ]
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text(float("nan"))


def test_a_decision_that_cannot_be_made_says_why(tables: dict[str, Table]) -> None:
    [found] = read(tables["marts.sold"], ROW)
    assert problem_of(tables["marts.sold"], replace(found, set={})) == (
        "it sets nothing: write at least one column and its value in set"
    )
    [record] = read(tables["raw.things"], {**RECORD, "key": {**PLACE, "line": 1}})
    assert record.key["line"] == 1


@pytest.mark.parametrize(
    ("key", "row", "is_on"),
    [
        ({"thing_id": 10}, {"name": "anvill", "weight": 5.0}, True),
        ({"thing_id": 11}, {"name": "anvill"}, False),
        ({"thing_id": 10}, {"name": "anvil"}, False),
        ({"thing_id": 10}, {}, False),
    ],
)
def test_a_decision_holds_while_the_row_reads_the_same(
    tables: dict[str, Table], key: dict[str, Any], row: dict[str, Any], is_on: bool
) -> None:
    assert read(tables["marts.sold"], ROW)[0].is_on(key, row) == is_on


def without(word: str, line: dict[str, Any] = ROW) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != word}


DEEP = "nested too deeply: at most 100 lists and objects may lie within each other"
BROKEN_ROWS: list[tuple[object, str]] = [
    (b'{"kind": "correct",', "it is not JSON (Expecting property name enclosed in double quotes at character 20)"),
    (b"\xff", "it is not UTF-8 (byte 1)"),
    (b"[" * 100_000, f"it is {DEEP}"),
    (b'{"was": ' + b"[" * 500 + b"]" * 500 + b"}", f"it is {DEEP}"),
    (b'{"was": {"weight": 1e131072}}', "it has the number 1e131072, which PostgreSQL cannot store: write another"),
    (b'{"was": {"weight": 1e-16384}}', "it has the number 1e-16384, which PostgreSQL cannot store: write another"),
    (
        b'{"was": {"weight": 1e9999999999999999999}}',
        "it has the number 1e9999999999999999999, which PostgreSQL cannot store: write another",
    ),
    (
        {**ROW, "at": "0001-01-01T00:00:00+02:00"},
        "its at is '0001-01-01T00:00:00+02:00': write when, as in 2025-03-01T09:30:00+00:00",
    ),
    (b'{"key": {"thing_id": NaN}}', "it is not JSON (NaN is no number there)"),
    (b'{"by": "ana", "by": "bob"}', "it has 'by' twice: leave one out"),
    ([ROW], f"it is a list: write an object with {WORDS}"),
    (7, f"it is a number: write an object with {WORDS}"),
    ({**ROW, "why": "x"}, f"it has the unknown word 'why': the words are {WORDS}"),
    ({**ROW, "reason": "\x00"}, r"it holds the character \u0000, which PostgreSQL cannot store: take it out"),
    ({**ROW, "set": {"name": "\ud800"}}, r"it holds the character \ud800, which PostgreSQL cannot store: take it out"),
    (without("kind"), "it lacks the word kind: write correct, accept or discard"),
    ({**ROW, "kind": "approve"}, "its kind is 'approve': write correct, accept or discard"),
    ({**ROW, "kind": ["accept"]}, 'its kind is ["accept"]: write correct, accept or discard'),
    (without("key"), "it lacks the word key: write an object with the columns of the grain"),
    (without("was"), "it lacks the word was: write an object with values that the row has"),
    (without("set"), "it lacks the word set: write an object with the corrected values"),
    (without("reason"), "it lacks the word reason: write why, in words for whoever reads it later"),
    (without("by"), "it lacks the word by: write who decided"),
    (without("at"), "it lacks the word at: write when, as in 2025-03-01T09:30:00+00:00"),
    ({**ROW, "was": None}, "its was is null: write an object with values that the row has"),
    ({**ROW, "reason": " "}, "its reason is blank: write why, in words for whoever reads it later"),
    ({**ROW, "by": 7}, "its by is a number: write who decided"),
    ({**ROW, "at": "yesterday"}, "its at is 'yesterday': write when, as in 2025-03-01T09:30:00+00:00"),
    (
        {**ROW, "at": "2025-03-01T09:30:00"},
        "its at is '2025-03-01T09:30:00', without a time zone: write when, as in 2025-03-01T09:30:00+00:00",
    ),
    ({**ROW, "key": {}}, "its key is empty: write the columns of the grain, thing_id"),
    ({**ROW, "key": {"name": "x"}}, "its key is 'name': write the columns of the grain, thing_id"),
    ({**ROW, "key": {"thing_id": 1, "a": 2}}, "its key is 'thing_id', 'a': write the columns of the grain, thing_id"),
    (
        {**ROW, "key": {"thing_id": None}},
        "thing_id of its key is null: a row whose key is unknown cannot be decided on",
    ),
    ({**ROW, "set": {}}, "it sets nothing: write at least one column and its value in set"),
    (
        {**ROW, "set": {"nam": "anvil"}},
        "it sets 'nam', which is no column of marts.sold: it has thing_id, name",
    ),
    (
        {**ROW, "set": {"thing_id": None}},
        "it sets thing_id to null, and thing_id is a column of the grain: give it a value",
    ),
    ({**ROW, "set": {"name": ["a"]}}, "it sets name to a list, and name is text: write one value"),
    ({**ROW, "kind": "accept"}, "it sets values, and its kind is accept: take set out, or write kind: correct"),
    ({**ROW, "kind": "discard"}, "it sets values, and its kind is discard: take set out, or write kind: correct"),
]
BROKEN_RECORDS: list[tuple[object, str]] = [
    (
        without("set", {**RECORD, "kind": "accept"}),
        "it accepts a record that cannot be read: correct the record, or discard it; only rows can be accepted",
    ),
    (
        {**RECORD, "key": {"thing_id": 2}},
        "its key is 'thing_id': write the key of the record's object and its line",
    ),
    (
        {**RECORD, "key": {**PLACE, "object": 7}},
        "object of its key is 7: write the key of the record's object on S3",
    ),
    ({**RECORD, "key": {**PLACE, "line": 0}}, "line of its key is 0: write the line on which the record begins"),
    ({**RECORD, "key": {**PLACE, "line": "3"}}, "line of its key is '3': write the line on which the record begins"),
    ({**RECORD, "key": {**PLACE, "line": True}}, "line of its key is true: write the line on which the record begins"),
    ({**RECORD, "was": {}}, 'its was is {}: write {"record": …} with the text as it was delivered'),
    (
        {**RECORD, "set": {"name": "x"}},
        'its set is {"name": "x"}: write {"record": …} with the text as it should have been delivered',
    ),
    (
        {**RECORD, "set": {"record": ""}},
        'its set is {"record": ""}: write {"record": …} with the text as it should have been delivered',
    ),
]


@pytest.mark.parametrize(
    ("name", "line", "problem"),
    [
        *(("marts.sold", line, problem) for line, problem in BROKEN_ROWS),
        *(("raw.things", line, problem) for line, problem in BROKEN_RECORDS),
    ],
    ids=lambda each: each[:40] if isinstance(each, str) else "",
)
def test_a_broken_line_is_one_sentence(tables: dict[str, Table], name: str, line: object, problem: str) -> None:
    sound = ROW if name == "marts.sold" else RECORD
    with pytest.raises(DecisionError) as error:
        read(tables[name], sound, line)
    assert str(error.value) == f"Line 2 of {KEY} is no decision on {name}: {problem}."
