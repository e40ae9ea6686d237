"""Readable records are told from unreadable ones value by value, natively and as servers before 16 must do it."""

from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.lake.records import read_records
from kpi_assets.model.records import BadRecord
from kpi_assets.warehouse import candidates, triage
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets_tests.lab import DAY, RAW_THINGS, Lab, failed

TYPES = {
    "a_smallint": "smallint",
    "an_integer": "integer",
    "a_bigint": "bigint",
    "a_numeric": "numeric(6,2)",
    "a_real": "real",
    "a_double": "double precision",
    "a_boolean": "boolean",
    "a_text": "text",
    "a_date": "date",
    "a_time": "timestamp without time zone",
    "a_moment": "timestamp with time zone",
    "a_uuid": "uuid",
    "a_json": "jsonb",
}
HEADER = """\
/* @asset
description: One column of each type.
owner: team:tests
grain: [id]
source: {{object: "raw/kinds/{{load_date}}.csv", format: csv}}
columns:
  id: {{type: integer, description: Number.}}
{columns}
@end */
"""


@pytest.fixture(params=["natively", "as on Postgres 15"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "natively":
        monkeypatch.setattr(triage, "INPUT_FUNCTIONS", 10**9)


@pytest.fixture(scope="module")
def kinds(shared: Lab) -> Candidate:
    """A candidate with one column of each type."""
    columns = "\n".join(f'  {name}: {{type: "{type_}", description: Value.}}' for name, type_ in TYPES.items())
    shared.file("raw/kinds.sql", HEADER.format(columns=columns))
    return Candidate(shared.pipeline().table("raw.kinds"), DAY, 1)


def triaged(session: Connection[Any], candidate: Candidate, data: bytes, kept: int = 0) -> triage.Triaged:
    candidates.create_empty(session, candidate)
    return triage.triage(session, candidate, read_records([data], len(candidate.table.columns)), kept)


def record_with(column: str, value: str) -> bytes:
    """A record of `kinds` with one value, and NULL in the other columns."""
    written = f'"{value.replace(chr(34), chr(34) * 2)}"'
    return ("7," + ",".join(written if name == column else "" for name in TYPES)).encode()


REFUSED = [
    ("a_smallint", "32768", 'value "32768" is out of range for type smallint'),
    ("a_smallint", "x", 'invalid input syntax for type smallint: "x"'),
    ("an_integer", "2147483648", 'value "2147483648" is out of range for type integer'),
    ("an_integer", "-2147483649", 'value "-2147483649" is out of range for type integer'),
    ("an_integer", "1e5", 'invalid input syntax for type integer: "1e5"'),
    ("an_integer", "1.0", 'invalid input syntax for type integer: "1.0"'),
    ("an_integer", "1,000", 'invalid input syntax for type integer: "1,000"'),
    ("an_integer", "NaN", 'invalid input syntax for type integer: "NaN"'),
    ("an_integer", "", 'invalid input syntax for type integer: ""'),
    ("an_integer", "it's; drop table x", 'invalid input syntax for type integer: "it\'s; drop table x"'),
    ("an_integer", "%s {} \\N", 'invalid input syntax for type integer: "%s {} \\N"'),
    ("an_integer", "1\n2", 'invalid input syntax for type integer: "1\n2"'),
    ("a_bigint", "9223372036854775808", 'value "9223372036854775808" is out of range for type bigint'),
    ("a_numeric", "10000", "numeric field overflow"),
    ("a_numeric", "Infinity", "numeric field overflow"),
    ("a_numeric", "1,5", 'invalid input syntax for type numeric: "1,5"'),
    ("a_real", "1e40", '"1e40" is out of range for type real'),
    ("a_double", "1e400", '"1e400" is out of range for type double precision'),
    ("a_double", "five", 'invalid input syntax for type double precision: "five"'),
    ("a_boolean", "maybe", 'invalid input syntax for type boolean: "maybe"'),
    ("a_boolean", "2", 'invalid input syntax for type boolean: "2"'),
    ("a_date", "2025-02-31", 'date/time field value out of range: "2025-02-31"'),
    ("a_date", "someday", 'invalid input syntax for type date: "someday"'),
    ("a_time", "2025-01-01 25:00", 'date/time field value out of range: "2025-01-01 25:00"'),
    ("a_moment", "2025-01-01 00:00 Mars/Base", 'time zone "mars/base" not recognized'),
    ("a_uuid", "123", 'invalid input syntax for type uuid: "123"'),
    ("a_json", "{'a': 1}", "invalid input syntax for type json"),
    ("a_json", '"\\u0000"', "unsupported Unicode escape sequence"),
]


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(("column", "value", "reason"), REFUSED)
def test_a_value_that_its_type_refuses(
    session: Connection[Any], kinds: Candidate, column: str, value: str, reason: str
) -> None:
    bad = record_with(column, value)
    found = triaged(session, kinds, b"header\n1,,,,,,,,,,,,,\n" + bad + b"\n2,,,,,,,,,,,,,\n")
    assert found == triage.Triaged(2, 1, [BadRecord(3, bad.decode(), column, value, reason)])
    assert session.execute(f"select id, load_date from {kinds.relation} order by id").fetchall() == [(1, DAY), (2, DAY)]


ACCEPTED = [
    ("a_smallint", "-0", "0"),
    ("an_integer", "007", "7"),
    ("an_integer", " 7 ", "7"),
    ("a_numeric", "1e2", "100.00"),
    ("a_numeric", "0.005", "0.01"),
    ("a_numeric", "9999.99", "9999.99"),
    ("a_numeric", "NaN", "NaN"),
    ("a_double", "-Infinity", "-Infinity"),
    ("a_boolean", "yes", "true"),
    ("a_text", "", ""),
    ("a_text", "\\N", "\\N"),
    ("a_text", "a\nb\t\\", "a\nb\t\\"),
    ("a_date", "0001-01-01", "0001-01-01"),
    ("a_date", "9999-12-31", "9999-12-31"),
    ("a_time", "2025-03-01T10:00:00", "2025-03-01 10:00:00"),
    ("a_moment", "2025-03-01 10:00+02", "2025-03-01 08:00:00+00"),
    ("a_uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("a_json", '{"a": [1, null]}', '{"a": [1, null]}'),
]


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(("column", "value", "stored"), ACCEPTED)
def test_a_value_that_its_type_accepts_is_stored_as_copy_would(
    session: Connection[Any], kinds: Candidate, column: str, value: str, stored: str
) -> None:
    data = b"header\n" + record_with(column, value) + b"\n"
    assert triaged(session, kinds, data) == triage.Triaged(1, 0, [])
    assert session.execute(f"select {column}::text from {kinds.relation}").fetchall() == [(stored,)]
    session.execute(f"truncate {kinds.relation}")
    header = ",".join(kinds.table.columns).encode()
    assert candidates.copy_in(session, kinds, [data.replace(b"header", header)], lambda _done: None) == 1
    assert session.execute(f"select {column}::text from {kinds.relation}").fetchall() == [(stored,)]


@pytest.mark.usefixtures("_way")
def test_each_kind_of_bad_record_is_handed_back_with_its_line_and_text(session: Connection[Any], shared: Lab) -> None:
    shared.file("raw/things.sql", RAW_THINGS)
    candidate = Candidate(shared.pipeline().table("raw.things"), DAY, 2)
    data = (
        b"thing_id,name,weight\n"
        b'1,"two\nlines",1.5\n'
        b"2,short\n"
        b"3,long,1,2\n"
        b"\n"
        b"4,\xe9t\xe9,1\n"
        b"5,a\x00b,1\n"
        b"6,a\rb,1\n"
        b"seven,x,heavy\n"
        b'8,"x ""quoted"", {this} %s",heavy\n'
        b"9,,\n"
    )
    found = triaged(session, candidate, data)
    assert found.samples == [
        BadRecord(4, "2,short", None, None, "it has 2 fields, not 3"),
        BadRecord(5, "3,long,1,2", None, None, "it has 4 fields, not 3"),
        BadRecord(6, "", None, None, "it has 1 fields, not 3"),
        BadRecord(7, "4,\\xe9t\\xe9,1", None, None, "byte 2 is not UTF-8"),
        BadRecord(8, "5,a\\x00b,1", None, None, "it holds a NUL byte"),
        BadRecord(9, "6,a\rb,1", None, None, "a carriage return stands outside quotes"),
        BadRecord(10, "seven,x,heavy", "thing_id", "seven", 'invalid input syntax for type integer: "seven"'),
        BadRecord(
            11, '8,"x ""quoted"", {this} %s",heavy', "weight", "heavy", 'invalid input syntax for type numeric: "heavy"'
        ),
    ]
    assert (found.loaded, found.bad) == (2, 8)
    rows = session.execute(f"select thing_id, name, weight::text from {candidate.relation} order by 1").fetchall()
    assert rows == [(1, "two\nlines", "1.50"), (9, None, None)]


@pytest.mark.usefixtures("_way")
def test_a_table_of_texts_refuses_only_broken_records(session: Connection[Any], shared: Lab) -> None:
    text = HEADER.format(columns="  name: {type: text, description: Name.}").replace("type: integer", "type: text")
    shared.file("raw/texts.sql", text.replace("raw/kinds", "raw/texts"))
    candidate = Candidate(shared.pipeline().table("raw.texts"), DAY, 3)
    found = triaged(session, candidate, b"id,name\nx,y\nx\n,\n")
    assert found == triage.Triaged(2, 1, [BadRecord(3, "x", None, None, "it has 1 fields, not 2")])


def test_all_bad_records_are_counted_and_only_the_first_are_kept(
    session: Connection[Any], shared: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage, "KEPT", 3)
    shared.file("raw/things.sql", RAW_THINGS)
    candidate = Candidate(shared.pipeline().table("raw.things"), DAY, 4)
    data = b"thing_id,name,weight\n" + b"".join(b"x%d,,\n" % number for number in range(9)) + b"1,,\n"
    found = triaged(session, candidate, data, kept=2)
    assert (found.loaded, found.bad, [bad.line for bad in found.samples]) == (1, 9, [2, 3, 4])
    session.execute(f"drop table {candidate.relation}")
    session.execute("drop table pg_temp.triage, pg_temp.verdict")
    assert [bad.line for bad in triaged(session, candidate, data, kept=5).samples] == [2, 3, 4, 5, 6]


# ---- what the gate makes of it

BAD = b"thing_id,name,weight\n1,anvil,20.50\nx,feather,0.01\n3,saw,heavy\n4,nail,1.00\n5,short\n"


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(("budget", "held"), [(0, True), (2, True), (3, False), (4, False)])
def test_the_budget_says_how_many_records_may_be_set_aside(lab: Lab, budget: int, held: bool) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("  format: csv\n", f"  format: csv\n  quarantine_budget: {budget}\n"))
    lab.put_things(BAD)

    outcome = lab.build("raw.things")

    results = {result.name: result for result in outcome.results}
    assert (outcome.held, outcome.rows) == (held, 2)
    assert results["rows_accounted"].passed
    assert results["rows_accounted"].message == "5 records in the object = 2 loaded + 3 in quarantine"
    quarantine = results["quarantine"]
    assert (quarantine.metric, quarantine.threshold, quarantine.passed) == (3, budget, not held)
    assert quarantine.message == (
        "3 unreadable records, first on line 3, thing_id 'x': invalid input syntax for type integer: \"x\""
    )
    assert [sample["line"] for sample in quarantine.samples] == [3, 4, 6]
    assert lab.rows(
        "select line, record, column_name, value, reason, object_key, table_name from ops.quarantine order by line"
    ) == [
        (line, record, column, value, reason, "raw/things/load_date=2025-03-01/things.csv", "raw.things")
        for line, record, column, value, reason in [
            (3, "x,feather,0.01", "thing_id", "x", 'invalid input syntax for type integer: "x"'),
            (4, "3,saw,heavy", "weight", "heavy", 'invalid input syntax for type numeric: "heavy"'),
            (6, "5,short", None, None, "it has 2 fields, not 3"),
        ]
    ]
    status, extracted, loaded, set_aside = lab.rows(
        "select status, rows_extracted, rows_loaded_raw, rows_quarantined from ops.pipeline_runs where job like 'raw.%'"
    )[0]
    assert (status, extracted, loaded, set_aside) == ("held" if held else "success", 5, 0 if held else 2, 3)
    if held:
        assert lab.rows("select to_regclass('raw.things')") == [(None,)]
    else:
        assert lab.rows("select thing_id from raw.things order by 1") == [(1,), (4,)]
    assert lab.rows(f"select count(*) from {outcome.candidate if held else 'raw.things'}") == [(2,)]


def test_a_quote_that_is_never_closed_holds_whatever_the_budget(lab: Lab) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("  format: csv\n", "  format: csv\n  quarantine_budget: 1000\n"))
    lab.put_things(b'thing_id,name,weight\n1,anvil,20.50\n2,"feather,0.01\n3,saw,1.00\n')
    outcome = lab.build("raw.things")
    assert outcome.held
    result = failed(outcome.results)["rows_accounted"]
    assert result.message.endswith("the record on line 3 opens a quote that is never closed: the rest is unread")
    assert result.message.startswith(f"s3://{lab.bucket}/raw/things/load_date=2025-03-01/things.csv: ")
    assert lab.rows("select to_regclass('raw.things')") == [(None,)]
