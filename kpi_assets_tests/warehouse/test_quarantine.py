"""Each value is tested for whether it can be read, by Postgres 16 natively and by the fallback for older servers."""

from typing import Any

import psycopg
import pytest
from psycopg import Connection

from kpi_assets.model import written
from kpi_assets.model.column_types import BASES, base_of
from kpi_assets.model.records import BadRecord
from kpi_assets.sources.formats.csv.proof import UnprovenError
from kpi_assets.sources.formats.csv.records import HEADER_AGAIN, OPEN, STRAY
from kpi_assets.warehouse import candidates, input_errors, quarantine
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets_tests.csv_files import proven, records_of
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, RAW_THINGS, PipelineHarness

TYPES = {
    "a_smallint": "smallint",
    "an_integer": "integer",
    "a_bigint": "bigint",
    "a_numeric": "numeric(6,2)",
    "a_free": "numeric",
    "a_real": "real",
    "a_double": "double precision",
    "a_boolean": "boolean",
    "a_text": "text",
    "a_date": "date",
    "a_time": "timestamp without time zone",
    "a_moment": "timestamp with time zone",
    "a_uuid": "uuid",
    "a_json": "jsonb",
    "some_letters": "json",
    "a_varying": "character varying",
    "a_sized": "character varying(3)",
    "a_padded": "character(3)",
    "a_clock": "time without time zone",
    "some_whole": "integer[]",
    "some_scaled": "numeric(4,1)[]",
    "some_times": "timestamp with time zone[]",
    "some_texts": "text[]",
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


WAYS = ["natively", "as on Postgres 15"]


def read_as(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way != "natively":
        monkeypatch.setattr(input_errors, "INPUT_FUNCTIONS_SINCE", 10**9)


@pytest.fixture(params=WAYS)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    read_as(request.param, monkeypatch)


@pytest.fixture(params=few(1, WAYS))
def _way_of_each_value(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    read_as(request.param, monkeypatch)


@pytest.fixture(scope="module")
def kinds(shared: PipelineHarness) -> Candidate:
    """A candidate with one column of each type."""
    columns = "\n".join(f'  {name}: {{type: "{type_}", description: Value.}}' for name, type_ in TYPES.items())
    shared.file("raw/kinds.sql", HEADER.format(columns=columns))
    return Candidate(shared.pipeline().table("raw.kinds"), DAY, 1)


def loaded(session: Connection[Any], candidate: Candidate, data: bytes) -> quarantine.Result:
    candidates.create_empty(session, candidate)
    return quarantine.load_readable(session, candidate, records_of([data], candidate.table.columns))


def record_with(column: str, value: str) -> bytes:
    """Return a record of `kinds` with `value` in `column` and NULL in the other columns."""
    written = f'"{value.replace(chr(34), chr(34) * 2)}"'
    return ("7," + ",".join(written if name == column else "" for name in TYPES)).encode()


WHOLE, POINT = written.problem("integer", "x"), written.problem("integer", "1.0")
PLAIN, SCALE = written.problem("numeric(6,2)", "x"), written.problem("numeric(6,2)", "0.125")
FLOATING, BOOLEAN = written.problem("real", "x"), written.problem("boolean", "x")
DATE, TIME = written.problem("date", "x"), written.problem("timestamp without time zone", "x")
CLOCK, ARRAY = written.problem("time without time zone", "x"), written.problem("integer[]", "x")
MOMENT, YEARS = (written.problem("timestamp with time zone", text) for text in ("x", "9999-12-31T23:00:00-01:00"))
REFUSED = [
    ("a_smallint", "32768", 'value "32768" is out of range for type smallint'),
    ("a_smallint", "x", WHOLE),
    ("an_integer", "2147483648", 'value "2147483648" is out of range for type integer'),
    ("an_integer", "-2147483649", 'value "-2147483649" is out of range for type integer'),
    ("an_integer", "1-2", 'invalid input syntax for type integer: "1-2"'),
    ("an_integer", "1e5", WHOLE),
    ("an_integer", "1.0", POINT),
    ("an_integer", "15.5", POINT),
    ("an_integer", "1,000", WHOLE),
    ("an_integer", "1_000", WHOLE),
    ("an_integer", "0x1F", WHOLE),
    ("an_integer", "0b1", WHOLE),
    ("an_integer", "0o7", WHOLE),
    ("an_integer", "+5", WHOLE),
    ("an_integer", "\u0665", WHOLE),
    ("an_integer", "NaN", WHOLE),
    ("an_integer", "", written.EMPTY),
    ("an_integer", " 7", written.BLANKS),
    ("an_integer", "7\t", written.BLANKS),
    ("an_integer", "\u00a07", written.BLANKS),
    ("an_integer", "it's; drop table x", WHOLE),
    ("an_integer", "%s {} \\N", WHOLE),
    ("an_integer", "1\n2", WHOLE),
    ("a_bigint", "9223372036854775808", 'value "9223372036854775808" is out of range for type bigint'),
    ("a_bigint", "1_0", WHOLE),
    ("a_numeric", "10000", "numeric field overflow"),
    ("a_numeric", ".", 'invalid input syntax for type numeric: "."'),
    ("a_numeric", "0.125", SCALE),
    ("a_numeric", "-1.001", SCALE),
    ("a_numeric", "1.0000000000000001", SCALE),
    ("a_numeric", "1e2", PLAIN),
    ("a_numeric", "NaN", PLAIN),
    ("a_numeric", "Infinity", PLAIN),
    ("a_numeric", "-inf", PLAIN),
    ("a_numeric", "+1", PLAIN),
    ("a_numeric", "1_000", PLAIN),
    ("a_numeric", "0x1F", PLAIN),
    ("a_numeric", "1,5", PLAIN),
    ("a_numeric", "1 ", written.BLANKS),
    ("a_free", "1e2", PLAIN),
    ("a_free", "nan", PLAIN),
    ("a_free", "0x1F", PLAIN),
    ("a_real", "1e40", '"1e40" is out of range for type real'),
    ("a_real", "inf", FLOATING),
    ("a_double", "1e400", '"1e400" is out of range for type double precision'),
    ("a_double", "five", FLOATING),
    ("a_double", "NaN", FLOATING),
    ("a_double", "-Infinity", FLOATING),
    ("a_double", "0x1p3", FLOATING),
    ("a_double", "+1.5", FLOATING),
    ("a_double", " 1.5", written.BLANKS),
    ("a_boolean", "maybe", BOOLEAN),
    ("a_boolean", "1", BOOLEAN),
    ("a_boolean", "0", BOOLEAN),
    ("a_boolean", "yes", BOOLEAN),
    ("a_boolean", "on", BOOLEAN),
    ("a_boolean", "tr", BOOLEAN),
    ("a_boolean", "tRUE", BOOLEAN),
    ("a_boolean", "", written.EMPTY),
    ("a_date", "2025-02-31", 'date/time field value out of range: "2025-02-31"'),
    ("a_date", "0000-01-01", 'date/time field value out of range: "0000-01-01"'),
    *(
        ("a_date", text, DATE)
        for text in (
            *("someday", "2025-1-7", "20250107", "2025/01/07", "07/01/25", "01.07.2025", "31-DEC-24", "2025-007"),
            *("2025-01-07 10:00:00", "2025-01-07T00:00:00Z", "0044-03-15 BC", "10000-01-01", "J2451187", "070125"),
            *("today", "now", "tomorrow", "yesterday", "epoch", "infinity", "-infinity", "allballs", "-2025-01-07"),
        )
    ),
    ("a_date", " 2025-01-07", written.BLANKS),
    *(
        ("a_time", text, TIME)
        for text in (
            *("2025-01-01 25:00:00", "2025-01-01 24:00:00", "2025-01-01 23:59:60", "2025-01-01 10:00", "2025-01-01"),
            *("2025-01-01 10:00:00Z", "2025-01-01 10:00:00+02:00", "2025-01-01 10:00:00 EST", "2025-01-01t10:00:00"),
            *("2025-01-01 10:00:00.1234567", "2025-01-01 10:00:00 PM", "2025-01-01  10:00:00", "10000-01-01 00:00:00"),
            *("now", "today", "epoch", "infinity", "2025-01-01 10:00:00 BC", "20250101T100000", "2025-01-01 10:00:00."),
        )
    ),
    *(
        ("a_moment", text, MOMENT)
        for text in (
            *("2025-01-01 00:00:00", "2025-01-01 00:00:00z", "2025-01-01 00:00:00 EST", "2025-01-01 00:00:00 IST"),
            *("2025-01-01 00:00:00 America/New_York", "2025-01-01 00:00:00+01:00:30", "2025-01-01 00:00:00  Z"),
            *("2025-01-01 00:00:00 Mars/Base", "2025-01-01 24:00:00Z", "2025-01-01 00:00:00.0000001Z", "now", "epoch"),
            *("infinity", "2025-01-01", "2025-01-01Z", "2025-01-01 00:00:00+1", "2025-01-01 00:00:00 +02:00 BC"),
        )
    ),
    ("a_moment", "9999-12-31 23:00:00-01", YEARS),
    ("a_moment", "0001-01-01 00:30:00+0100", YEARS),
    ("a_moment", "2025-01-01 00:00:00+16", 'time zone displacement out of range: "2025-01-01 00:00:00+16"'),
    ("a_uuid", "123", 'invalid input syntax for type uuid: "123"'),
    ("a_json", "{'a': 1}", "invalid input syntax for type json"),
    ("some_letters", "{'a': 1}", "invalid input syntax for type json"),
    ("a_json", '"\\u0000"', "unsupported Unicode escape sequence"),
    ("a_sized", "abcd", "value too long for type character varying(3)"),
    ("a_sized", "ab  ", written.BLANKS),
    ("a_sized", " ab", written.BLANKS),
    ("a_sized", "   ", written.BLANKS),
    ("a_sized", 'a"bc', "value too long for type character varying(3)"),
    ("a_padded", "abcd", "value too long for type character(3)"),
    ("a_padded", "a ", written.BLANKS),
    *(
        ("a_clock", text, CLOCK)
        for text in (
            "10:00",
            "24:00:00",
            "23:59:60",
            "10:00:00Z",
            "10:00:00+02",
            "10:00:00 PM",
            "10:00:00.1234567",
            "now",
        )
    ),
    ("a_clock", "", written.EMPTY),
    ("some_whole", "{1,2", ARRAY),
    ("some_whole", "1,2", ARRAY),
    ("some_whole", "{1,,2}", ARRAY),
    ("some_whole", "{1,}", ARRAY),
    ("some_whole", "{ 1}", ARRAY),
    ("some_whole", "{{1},{2}}", ARRAY),
    ("some_whole", "[2:3]={1,2}", ARRAY),
    ("some_whole", "{0x1F}", ARRAY),
    ("some_whole", "{1.0}", ARRAY),
    ("some_whole", "{2147483648}", 'value "2147483648" is out of range for type integer'),
    ("some_whole", " {1}", written.BLANKS),
    ("some_whole", "", written.EMPTY),
    ("some_scaled", "{1.25}", ARRAY),
    ("some_scaled", "{1000}", "numeric field overflow"),
    ("some_times", '{"2025-01-01 10:00:00"}', ARRAY),
    ("some_texts", "{a, b}", ARRAY),
    ("some_texts", "{{a}}", ARRAY),
    ("some_texts", '{a"b"}', ARRAY),
    ("some_texts", '{"a}', ARRAY),
]


@pytest.mark.usefixtures("_way_of_each_value")
@pytest.mark.parametrize(("column", "value", "reason"), REFUSED)
def test_a_value_that_its_type_refuses_is_a_bad_record_with_its_reason(
    session: Connection[Any], kinds: Candidate, column: str, value: str, reason: str
) -> None:
    bad = record_with(column, value)
    empty = b"," * len(TYPES)
    found = loaded(session, kinds, b"header\n1" + empty + b"\n" + bad + b"\n2" + empty + b"\n")
    assert found == quarantine.Result(2, 1, [BadRecord(3, bad.decode(), column, value, reason)])
    assert session.execute(f"select id, load_date from {kinds.relation} order by id").fetchall() == [(1, DAY), (2, DAY)]


@pytest.mark.parametrize("end", few(1, ["\n", "\r\n", ""]))
@pytest.mark.parametrize(("column", "value", "reason"), [each for each in REFUSED if not TYPES[each[0]].endswith("[]")])
def test_a_value_that_its_type_refuses_is_not_loaded_by_copy(
    session: Connection[Any], kinds: Candidate, column: str, value: str, reason: str, end: str
) -> None:
    """The value is refused by the proof or by COPY, with quotes and without. Arrays are read by their records."""
    quoted = record_with(column, value).decode()
    for record in {quoted, quoted.replace('"', "")} if value and not set(value) & set('",\n') else {quoted}:
        with pytest.raises((UnprovenError, psycopg.DataError)), session.transaction():
            candidates.create_empty(session, kinds)
            copied(session, kinds, record + end)


def copied(session: Connection[Any], candidate: Candidate, records: str) -> int:
    """Load the records by the proven COPY and return their number."""
    data = (",".join(candidate.table.columns) + "\n" + records).encode()
    blocks = proven(candidate.table.types, [data])
    return candidates.copy_in(session, candidate, blocks, candidate.table.columns, "format csv, header match")


ACCEPTED = [
    ("a_smallint", "-0", "0"),
    ("a_smallint", "08", "8"),
    ("an_integer", "007", "7"),
    ("an_integer", "-7", "-7"),
    ("a_bigint", "9223372036854775807", "9223372036854775807"),
    ("a_numeric", ".5", "0.50"),
    ("a_numeric", "5.", "5.00"),
    ("a_numeric", "-3", "-3.00"),
    ("a_numeric", "1.500", "1.50"),
    ("a_numeric", "08.0", "8.00"),
    ("a_numeric", "9999.99", "9999.99"),
    ("a_numeric", "-0.000", "0.00"),
    ("a_free", "0.1234567890123456789", "0.1234567890123456789"),
    ("a_real", "1e-07", "1e-07"),
    ("a_double", "1.0E10", "10000000000"),
    ("a_double", "-.5e+3", "-500"),
    *(("a_boolean", text, "true") for text in ("true", "True", "TRUE", "t", "T")),
    *(("a_boolean", text, "false") for text in ("false", "False", "FALSE", "f", "F")),
    ("a_text", "", ""),
    ("a_text", "\\N", "\\N"),
    ("a_text", "a\nb\t\\", "a\nb\t\\"),
    ("a_text", " x ", " x "),
    ("a_date", "0001-01-01", "0001-01-01"),
    ("a_date", "9999-12-31", "9999-12-31"),
    ("a_date", "2024-02-29", "2024-02-29"),
    ("a_time", "2025-03-01T10:00:00", "2025-03-01 10:00:00"),
    ("a_time", "2025-03-01 10:00:00.5", "2025-03-01 10:00:00.5"),
    ("a_time", "9999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"),
    ("a_time", "2025-03-01 10:00:00.123456000", "2025-03-01 10:00:00.123456"),
    ("a_moment", "2025-03-01 10:00:00+02", "2025-03-01 08:00:00+00"),
    ("a_moment", "2025-03-01T10:00:00-0530", "2025-03-01 15:30:00+00"),
    ("a_moment", "2025-03-01T10:00:00.000001+05:45", "2025-03-01 04:15:00.000001+00"),
    ("a_moment", "2025-03-01T10:00:00Z", "2025-03-01 10:00:00+00"),
    ("a_moment", "2025-03-01 10:00:00 UTC", "2025-03-01 10:00:00+00"),
    ("a_moment", "2025-03-01 10:00:00 +0000", "2025-03-01 10:00:00+00"),
    ("a_moment", "0001-01-01T00:00:00+00:00", "0001-01-01 00:00:00+00"),
    ("a_moment", "9999-12-31T23:59:59.999999+02:00", "9999-12-31 21:59:59.999999+00"),
    ("a_uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("a_json", '{"a": [1, null]}', '{"a": [1, null]}'),
    ("some_letters", '{"b": 1.50,  "a": 1, "a": 2}', '{"b": 1.50,  "a": 1, "a": 2}'),
    ("a_varying", " x ", " x "),
    ("a_sized", "", ""),
    ("a_sized", "a b", "a b"),
    ("a_sized", "ä€𝄞", "ä€𝄞"),
    ("a_sized", 'a,"', 'a,"'),
    ("a_padded", "ab", "ab"),
    ("a_padded", "a\nb", "a\nb"),
    ("a_clock", "00:00:00", "00:00:00"),
    ("a_clock", "23:59:59.5000000", "23:59:59.5"),
    ("some_whole", "{}", "{}"),
    ("some_whole", "{7}", "{7}"),
    ("some_whole", '{-1,08,NULL,"2"}', "{-1,8,NULL,2}"),
    ("some_scaled", "{.5,1.50}", "{0.5,1.5}"),
    (
        "some_times",
        '{2025-01-01T10:00:00Z,"2025-01-01 10:00:00+02"}',
        '{"2025-01-01 10:00:00+00","2025-01-01 08:00:00+00"}',
    ),
    ("some_texts", "{a}", "{a}"),
    ("some_texts", "{a b,NULL}", '{"a b",NULL}'),
    ("some_texts", r'{"a ","b\"c","{}","x,\\"}', r'{"a ","b\"c","{}","x,\\"}'),
    ("some_texts", '{"two\nlines"}', '{"two\nlines"}'),
]


@pytest.mark.usefixtures("_way_of_each_value")
@pytest.mark.parametrize(("column", "value", "stored"), ACCEPTED)
def test_a_value_that_its_type_accepts_is_stored_as_by_copy(
    session: Connection[Any], kinds: Candidate, column: str, value: str, stored: str
) -> None:
    record = record_with(column, value).decode()
    assert loaded(session, kinds, f"header\n{record}\n".encode()) == quarantine.Result(1, 0, [])
    assert session.execute(f"select {column}::text from {kinds.relation}").fetchall() == [(stored,)]
    bare = record.replace('"', "") if value and not set(value) & set('",\n') else record
    for written_so in (record, bare, bare + "\r"):
        session.execute(f"truncate {kinds.relation}")
        if written_so.endswith("\r"):
            data = ",".join(kinds.table.columns) + "\r\n" + written_so + "\n"
            blocks = proven(kinds.table.types, [data.encode()])
            assert candidates.copy_in(session, kinds, blocks, kinds.table.columns, "format csv, header match") == 1
        else:
            assert copied(session, kinds, written_so + "\n") == 1
        assert session.execute(f"select {column}::text from {kinds.relation}").fetchall() == [(stored,)]


def test_every_type_has_accepted_and_refused_values_here() -> None:
    assert {base_of(type_) for type_ in TYPES.values() if not type_.endswith("[]")} == set(BASES)
    assert {column for column, *_ in ACCEPTED} == set(TYPES)
    assert {column for column, *_ in REFUSED} == set(TYPES) - {"a_text", "a_varying"}


@pytest.mark.usefixtures("_way")
def test_the_first_of_several_refused_values_is_named(session: Connection[Any], kinds: Candidate) -> None:
    """This holds whether the check of the form or Postgres refuses the value."""
    rest = b"," * (len(TYPES) - 2)
    data = b"header\n1,99999,1_0" + rest + b"\n2,1_0,9999999999" + rest + b"\n3,5,6" + rest + b"\n"
    assert [(bad.line, bad.column, bad.reason) for bad in loaded(session, kinds, data).samples] == [
        (2, "a_smallint", 'value "99999" is out of range for type smallint'),
        (3, "a_smallint", WHOLE),
    ]


@pytest.mark.usefixtures("_way")
def test_of_long_values_only_the_beginning_is_kept(session: Connection[Any], kinds: Candidate) -> None:
    rest = b"," * (len(TYPES) - 1)
    data = b"header\n1," + b"9" * 3_000_000 + rest + b"\n2," + b"x" * 50_000 + rest + b"\n"
    [large, long] = loaded(session, kinds, data).samples
    assert (large.value, long.value) == ("9" * 993 + "… (cut)", "x" * 993 + "… (cut)")
    assert large.reason == 'value "' + "9" * 986 + "… (cut)"
    assert long.reason == WHOLE
    assert large.record == "1," + "9" * 15_991 + "… (cut)"


@pytest.mark.usefixtures("_way")
def test_each_kind_of_bad_record_is_returned_with_its_line_and_text(
    session: Connection[Any], shared: PipelineHarness
) -> None:
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
        b'9,Hose 1/2" clear,1\n'
        b'10,"Pipe",2\n'
        b"thing_id,name,weight\n"
        b'11,"open,3\n'
        b"12,,\n"
    )
    found = loaded(session, candidate, data)
    assert found.samples == [
        BadRecord(4, "2,short", None, None, "it has 2 fields, not 3"),
        BadRecord(5, "3,long,1,2", None, None, "it has 4 fields, not 3"),
        BadRecord(6, "", None, None, "it has 1 field, not 3"),
        BadRecord(7, "4,\\xe9t\\xe9,1", None, None, "byte 2 is not UTF-8"),
        BadRecord(8, "5,a\\x00b,1", None, None, "it contains a NUL byte"),
        BadRecord(9, "6,a\rb,1", None, None, "a carriage return is outside quotes"),
        BadRecord(10, "seven,x,heavy", "thing_id", "seven", WHOLE),
        BadRecord(11, '8,"x ""quoted"", {this} %s",heavy', "weight", "heavy", PLAIN),
        BadRecord(12, '9,Hose 1/2" clear,1', None, None, STRAY),
        BadRecord(14, "thing_id,name,weight", None, None, HEADER_AGAIN),
        BadRecord(15, '11,"open,3', None, None, OPEN),
    ]
    assert (found.loaded, found.bad) == (3, 11)
    rows = session.execute(f"select thing_id, name, weight::text from {candidate.relation} order by 1").fetchall()
    assert rows == [(1, "two\nlines", "1.50"), (10, "Pipe", "2.00"), (12, None, None)]


@pytest.mark.usefixtures("_way")
def test_a_table_of_text_columns_refuses_only_broken_records(session: Connection[Any], shared: PipelineHarness) -> None:
    text = HEADER.format(columns="  name: {type: text, description: Name.}").replace("type: integer", "type: text")
    shared.file("raw/texts.sql", text.replace("raw/kinds", "raw/texts"))
    candidate = Candidate(shared.pipeline().table("raw.texts"), DAY, 3)
    found = loaded(session, candidate, b"id,name\nx,y\nx\n,\nid,name\n")
    assert found == quarantine.Result(
        2,
        2,
        [
            BadRecord(3, "x", None, None, "it has 1 field, not 2"),
            BadRecord(5, "id,name", None, None, HEADER_AGAIN),
        ],
    )


def test_all_bad_records_are_counted_and_only_the_first_are_kept(
    session: Connection[Any], shared: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "MIN_SAMPLES", 3)
    shared.file("raw/things.sql", RAW_THINGS)
    candidate = Candidate(shared.pipeline().table("raw.things"), DAY, 4)
    data = b"thing_id,name,weight\n" + b"".join(b"x%d,,\n" % number for number in range(9)) + b"1,,\n"
    found = loaded(session, candidate, data)
    assert (found.loaded, found.bad, [bad.line for bad in found.samples]) == (1, 9, [2, 3, 4])
    session.execute(f"drop table {candidate.relation}")
    for words, kept in {
        "rows: 5": 5,
        "share: 0.6": 6,
        "share: 0.69": 6,
        "rows: 4, share: 0.9": 4,
        "rows: 2": 3,
    }.items():
        shared.file("raw/things.sql", RAW_THINGS.replace("columns:", f"quarantine: {{{words}}}\ncolumns:"))
        candidate = Candidate(shared.pipeline().table("raw.things"), DAY, 4)
        session.execute("drop table pg_temp.records, pg_temp.bad_records")
        assert [bad.line for bad in loaded(session, candidate, data).samples] == [*range(2, 2 + kept)]
        session.execute(f"drop table {candidate.relation}")


# ---- the gate

BAD = b"thing_id,name,weight\n1,anvil,20.50\nx,feather,0.01\n3,saw,heavy\n4,nail,1.00\n5,short\n"


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(("budget", "held"), [(0, True), (2, True), (3, False), (4, False)])
def test_a_build_with_more_bad_records_than_its_budget_is_held(lab: PipelineHarness, budget: int, held: bool) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("columns:", f"quarantine: {{rows: {budget}}}\ncolumns:"))
    lab.put_things(BAD)

    outcome = lab.build("raw.things")

    results = {result.name: result for result in outcome.results}
    assert (outcome.held, outcome.rows) == (held, 2)
    assert results["rows_accounted"].passed
    assert results["rows_accounted"].message == "5 records in the object = 2 loaded + 3 in quarantine"
    quarantine = results["quarantine"]
    assert (quarantine.metric, quarantine.threshold, quarantine.passed) == (3, budget, not held)
    assert quarantine.message == (f"3 unreadable records, first on line 3, thing_id 'x': {WHOLE}")
    assert [sample["line"] for sample in quarantine.samples] == [3, 4, 6]
    assert lab.rows(
        "select line, record, column_name, value, reason, object_key, table_name from ops.quarantine order by line"
    ) == [
        (line, record, column, value, reason, "raw/things/load_date=2025-03-01/things.csv", "raw.things")
        for line, record, column, value, reason in [
            (3, "x,feather,0.01", "thing_id", "x", WHOLE),
            (4, "3,saw,heavy", "weight", "heavy", PLAIN),
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
