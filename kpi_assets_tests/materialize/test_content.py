"""Contents of objects: each record is published, or quarantined with line, column, value and reason. None is lost.

The tests compare the published rows, the quarantine, the row counts of the run log and the results of the gate.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.model import written
from kpi_assets.model.records import Record
from kpi_assets.sources.formats.csv import copy_modes, proof
from kpi_assets.sources.formats.csv.records import HEADER_AGAIN, OPEN, STRAY, TOO_LONG
from kpi_assets.warehouse import quarantine
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.crash_points import THINGS, leftover_builds
from kpi_assets_tests.pipeline_harness import DAY, MART, NEXT, RAW_THINGS, PipelineHarness, failed

HEADER = b"thing_id,name,weight\n"
FIRST, LAST = b"1,anvil,20.50\n", b"9,feather,\n"
QUARANTINE = "select line, record, column_name, value, reason from ops.quarantine order by line"
QUARANTINE_OF = "select line, record, column_name, value, reason from ops.quarantine where build_id ="
ACCOUNTS = (
    "select status, rows_extracted, rows_loaded_raw, rows_quarantined from ops.pipeline_runs "
    "where job = 'raw.things' order by id desc limit 1"
)
ONE_COLUMN = """\
/* @asset
description: Names as delivered.
owner: team:tests
grain: [name]
source:
  object: raw/things/load_date={load_date}/things.csv
  format: csv
columns:
  name: {type: text, description: Name.}
@end */
"""
WHOLE = written.problem("integer", "x") or ""
PLAIN = written.problem("numeric(6,2)", "x") or ""
SCALE = written.problem("numeric(6,2)", "0.125") or ""

Quarantined = tuple[int, str, str | None, str | None, str]


def whole(line: int, record: str, reason: str) -> Quarantined:
    """Return the quarantine row of a record that cannot be split into fields."""
    return (line, record, None, None, reason)


def value(line: int, record: str, column: str, text: str, reason: str) -> Quarantined:
    """Return the quarantine row of a record with a value that its column refuses."""
    return (line, record, column, text, reason)


BROKEN: dict[str, tuple[bytes, Quarantined]] = {
    "too few fields": (b"2,saw\n", whole(3, "2,saw", "it has 2 fields, not 3")),
    "too many fields": (b"2,saw,1.00,x\n", whole(3, "2,saw,1.00,x", "it has 4 fields, not 3")),
    "a blank line": (b"\n", whole(3, "", "it has 1 field, not 3")),
    "backslash dot": (b"\\.\n", whole(3, "\\.", "it has 1 field, not 3")),
    "a byte that is not UTF-8": (b"2,sa\xffw,1\n", whole(3, "2,sa\\xffw,1", "byte 4 is not UTF-8")),
    "Latin-1": ("2,scie à main,1\n".encode("latin-1"), whole(3, "2,scie \\xe0 main,1", "byte 7 is not UTF-8")),
    "a NUL byte": (b"2,sa\x00w,1\n", whole(3, "2,sa\\x00w,1", "it contains a NUL byte")),
    "a lone carriage return": (b"2,sa\rw,1\n", whole(3, "2,sa\rw,1", "a carriage return is outside quotes")),
    "a number too large": (
        b"99999999999,saw,1\n",
        value(
            3,
            "99999999999,saw,1",
            "thing_id",
            "99999999999",
            'value "99999999999" is out of range for type integer',
        ),
    ),
    "an exponent": (b"1e5,saw,1\n", value(3, "1e5,saw,1", "thing_id", "1e5", WHOLE)),
    "a word": (b"2,saw,heavy\n", value(3, "2,saw,heavy", "weight", "heavy", PLAIN)),
    "an empty string that is no number": (b'2,saw,""\n', value(3, '2,saw,""', "weight", "", written.EMPTY)),
    "a thousands separator": (
        b'2,saw,"1,000"\n',
        value(3, '2,saw,"1,000"', "weight", "1,000", PLAIN),
    ),
    "more digits than its column": (
        b"2,saw,12345.00\n",
        value(3, "2,saw,12345.00", "weight", "12345.00", "numeric field overflow"),
    ),
    "backslash N is no NULL": (b"2,saw,\\N\n", value(3, "2,saw,\\N", "weight", "\\N", PLAIN)),
    "a broken record of several lines": (
        b'x,"sa\nw",1\n',
        value(3, 'x,"sa\nw",1', "thing_id", "x", WHOLE),
    ),
    "a quote within a value": (b'2,Hose 1/2" clear,4.50\n', whole(3, '2,Hose 1/2" clear,4.50', STRAY)),
    "text after a closing quote": (b'2,"Hose" clear,4.50\n', whole(3, '2,"Hose" clear,4.50', STRAY)),
    "a quote that is not closed": (b'2,"saw,1\n', whole(3, '2,"saw,1', OPEN)),
    "the header again": (HEADER, whole(3, "thing_id,name,weight", HEADER_AGAIN)),
    "the header again in quotes": (b'"thing_id",name,"weight"\n', whole(3, '"thing_id",name,"weight"', HEADER_AGAIN)),
    "a price that would be rounded": (b"2,saw,0.125\n", value(3, "2,saw,0.125", "weight", "0.125", SCALE)),
    "an underscore": (b"1_0,saw,1\n", value(3, "1_0,saw,1", "thing_id", "1_0", WHOLE)),
    "a hexadecimal number": (b"2,saw,0x1F\n", value(3, "2,saw,0x1F", "weight", "0x1F", PLAIN)),
    "not a number": (b"2,saw,NaN\n", value(3, "2,saw,NaN", "weight", "NaN", PLAIN)),
    "a blank before a number": (b"2,saw, 3\n", value(3, "2,saw, 3", "weight", " 3", written.BLANKS)),
    "a plus sign": (b"+2,saw,3\n", value(3, "+2,saw,3", "thing_id", "+2", WHOLE)),
}


def build(lab: PipelineHarness, body: bytes, budget: int = 0) -> BuildOutcome:
    """Verify and build raw.things from an object with this body."""
    source = RAW_THINGS.replace("columns:", f"quarantine: {{rows: {budget}}}\ncolumns:")
    lab.file("raw/things.sql", source)
    lab.put_things(body)
    return lab.build("raw.things")


@pytest.mark.parametrize("name", few(9, BROKEN))
def test_a_broken_record_is_quarantined_and_holds_the_build_unless_the_budget_allows_it(
    lab: PipelineHarness, name: str
) -> None:
    record, quarantined = BROKEN[name]

    outcome = build(lab, HEADER + FIRST + record + LAST)

    assert outcome.held
    assert list(failed(outcome.results)) == ["quarantine"]
    line, _, column, text, reason = quarantined
    gate = failed(outcome.results)["quarantine"]
    where = f"line 3, {column} {text!r}" if column else "line 3"
    assert (gate.metric, gate.threshold) == (1, 0)
    assert gate.message == f"1 unreadable record, first on {where}: {reason}"
    assert gate.samples == [{"line": line, "column": column, "value": text, "reason": reason}]
    assert lab.rows(QUARANTINE) == [quarantined]
    assert lab.rows("select table_name, load_date, object_key, build_id from ops.quarantine") == [
        ("raw.things", DAY, f"raw/things/load_date={DAY}/things.csv", outcome.build_id)
    ]
    assert lab.rows(ACCOUNTS) == [("held", 3, 0, 1)]
    assert lab.rows("select to_regclass('raw.things')") == [(None,)]
    assert lab.rows(f"select thing_id from {outcome.candidate} order by 1") == [(1,), (9,)]

    allowed = build(lab, HEADER + FIRST + record + LAST, budget=1)

    assert not allowed.held
    accounted = {result.name: result for result in allowed.results}["rows_accounted"]
    assert accounted.message == "3 records in the object = 2 loaded + 1 in quarantine"
    assert lab.rows(THINGS) == [(1, "anvil", "20.50"), (9, "feather", None)]
    assert lab.rows(f"{QUARANTINE_OF} {allowed.build_id}") == [quarantined]
    assert lab.rows(ACCOUNTS) == [("success", 3, 2, 1)]
    assert lab.rows("select rows from ops.published") == [(2,)]


@dataclass(frozen=True)
class Good:
    """An object whose records are all published."""

    body: bytes
    rows: list[tuple[int, str | None, str | None]]


GOOD = {
    "CRLF": Good(b"thing_id,name,weight\r\n1,anvil,20.50\r\n2,saw,\r\n", [(1, "anvil", "20.50"), (2, "saw", None)]),
    "LF and CRLF mixed": Good(HEADER + b"1,anvil,20.50\r\n2,saw,\n", [(1, "anvil", "20.50"), (2, "saw", None)]),
    "no line end at its end": Good(HEADER + b"1,anvil,20.50\n2,saw,1", [(1, "anvil", "20.50"), (2, "saw", "1.00")]),
    "one record": Good(HEADER + FIRST, [(1, "anvil", "20.50")]),
    "line ends in quotes": Good(
        HEADER + b'1,"an\nvil",2\n2,"s\r\naw",3\n', [(1, "an\nvil", "2.00"), (2, "s\r\naw", "3.00")]
    ),
    "empty is NULL, quoted empty is a text": Good(HEADER + b'1,,\n2,"",3\n', [(1, None, None), (2, "", "3.00")]),
    "quotes, commas and backslashes": Good(
        HEADER + b'1,"Easy Grab 9\\""x13\\"" Oblong, Glass",1\n2,\\N,2\n3,a\\.b,3\n',
        [(1, 'Easy Grab 9\\"x13\\" Oblong, Glass', "1.00"), (2, "\\N", "2.00"), (3, "a\\.b", "3.00")],
    ),
    "leading zeros, signs and points": Good(
        HEADER + b"007,x,-0.00\n-8,y,.5\n09, z ,3.000\n",
        [(-8, "y", "0.50"), (7, "x", "0.00"), (9, " z ", "3.00")],
    ),
    "everything in quotes": Good(
        b'"thing_id","name","weight"\n"1","anvil","20.50"\n"2","a ""b"", c",\n',
        [(1, "anvil", "20.50"), (2, 'a "b", c', None)],
    ),
    "the header's words inside quotes": Good(
        HEADER + b'1,"x\nthing_id,name,weight\ny",2\n', [(1, "x\nthing_id,name,weight\ny", "2.00")]
    ),
    "the ends of its types": Good(
        HEADER + b"-2147483648,x,-9999.99\n2147483647,y,9999.99\n",
        [(-2147483648, "x", "-9999.99"), (2147483647, "y", "9999.99")],
    ),
    "what a spreadsheet would execute": Good(HEADER + b"1,=cmd|' /C calc'!A0,1\n", [(1, "=cmd|' /C calc'!A0", "1.00")]),
    "a byte order mark": Good(b"\xef\xbb\xbf" + HEADER + FIRST, [(1, "anvil", "20.50")]),
    "not ASCII": Good(HEADER + "1,Jalapeño 辣椒 🌶,1\n".encode(), [(1, "Jalapeño 辣椒 🌶", "1.00")]),
}


@pytest.mark.parametrize("name", few(5, GOOD))
def test_a_good_object_is_published_and_a_broken_record_does_not_change_its_rows(
    lab: PipelineHarness, name: str
) -> None:
    body, rows = GOOD[name].body, GOOD[name].rows

    outcome = build(lab, body)

    assert not outcome.held
    assert lab.rows(THINGS) == rows
    assert lab.rows(QUARANTINE) == []
    assert lab.rows(ACCOUNTS) == [("success", len(rows), len(rows), 0)]

    beside = build(lab, body + (b"broken\n" if body.endswith(b"\n") else b"\nbroken\n"), budget=1)

    assert lab.rows(THINGS) == rows
    assert beside.checksum == outcome.checksum
    assert lab.rows(ACCOUNTS) == [("success", len(rows) + 1, len(rows), 1)]


WRONG_HEADERS = [
    (None, "exists", "is not there"),
    (b"", "not_empty", "has 0 bytes"),
    (
        (HEADER + FIRST).decode().encode("utf-16"),
        "header",
        ": it is text in UTF-16, not in UTF-8: write encoding: utf-16",
    ),
    (
        b"thing_id,name,weight\r1,anvil,20.50\r",
        "header",
        ": its first line cannot be read: a carriage return is outside quotes",
    ),
    (
        b"thing_id,title,weight\n" + FIRST,
        "header",
        ": its header is 'thing_id,title,weight', not 'thing_id,name,weight' (missing 'name'; unknown 'title')",
    ),
    (
        b"thing_id,name\n1,anvil\n",
        "header",
        ": its header is 'thing_id,name', not 'thing_id,name,weight' (missing 'weight')",
    ),
    (
        b"thing_id,name,weight,color\n1,anvil,20.50,red\n",
        "header",
        ": its header is 'thing_id,name,weight,color', not 'thing_id,name,weight' (unknown 'color')",
    ),
    (
        b"thing_id,name,name\n1,anvil,anvil\n",
        "header",
        ": its header is 'thing_id,name,name', not 'thing_id,name,weight' (missing 'weight'; twice 'name')",
    ),
    (
        b"THING_ID,name,weight\n" + FIRST,
        "header",
        ": its header writes 'THING_ID' for the column 'thing_id': write field: \"THING_ID\" there",
    ),
    (
        FIRST,
        "header",
        ": its header is '1,anvil,20.50', not 'thing_id,name,weight' "
        "(missing 'thing_id', 'name', 'weight'; unknown '1', 'anvil', '20.50'; if it has no header, write header: "
        "false)",
    ),
]


@pytest.mark.parametrize(
    ("body", "gate", "said"),
    few(
        4,
        WRONG_HEADERS,
    ),
)
def test_an_object_with_a_wrong_header_is_held_before_it_is_read(
    lab: PipelineHarness, body: bytes | None, gate: str, said: str
) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    if body is not None:
        lab.put_things(body)

    outcome = lab.verify("raw.things")

    assert outcome.held
    message = f"s3://{lab.bucket}/raw/things/load_date=2025-03-01/things.csv{said if said[0] == ':' else ' ' + said}"
    assert {name: result.message for name, result in failed(outcome.results).items()} == {gate: message}
    status = "missing" if body is None else "held"
    assert lab.rows("select job, status, error_message from ops.pipeline_runs") == [("s3.things", status, message)]
    assert lab.rows(
        "select check_name, status, subject, message from ops.data_quality_results where status <> 'pass'"
    ) == [(gate, "fail", "object", message)]


def test_a_record_that_is_lost_during_the_load_holds_the_build(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records counted while reading are compared with those loaded and quarantined, whatever loses one."""
    load = quarantine._load

    def lose_one(connection: Any, found: Iterable[Record], forms: Any, width: int) -> None:
        load(connection, [record for record in found if record.line != 3], forms, width)

    monkeypatch.setattr(quarantine, "_load", lose_one)
    outcome = build(lab, HEADER + FIRST + b"2,saw,1\n" + LAST + b"broken\n", budget=1)
    assert outcome.held
    assert {name: (result.metric, result.message) for name, result in failed(outcome.results).items()} == {
        "rows_accounted": (1, "4 records in the object = 2 loaded + 1 in quarantine + 1 unexplained")
    }


def test_an_object_with_only_a_header_is_held(lab: PipelineHarness) -> None:
    outcome = build(lab, HEADER)
    assert {name: result.message for name, result in failed(outcome.results).items()} == {
        "min_rows": "0 rows, at least 1 are wanted"
    }
    assert lab.rows(ACCOUNTS) == [("held", 0, 0, 0)]


def test_an_empty_object_replaces_rows_if_the_table_may_be_empty(lab: PipelineHarness) -> None:
    empty = RAW_THINGS.replace("@end", "checks: {min_rows: {at_least: 0, of_previous: 0}}\n@end")
    for storage in ("rows", "partitions"):
        own = empty.replace("raw/things/", f"raw/{storage}/")
        lab.file(f"raw/{storage}.sql", own.replace("grain:", f"storage: {storage}\ngrain:"))
        for body, expected in ((HEADER + FIRST + LAST, 2), (HEADER, 0)):
            lab.put(f"raw/{storage}/load_date={DAY}/things.csv", body)
            outcome = lab.build(f"raw.{storage}")
            assert (outcome.held, outcome.rows) == (False, expected)
            assert lab.rows(f"select count(*) from raw.{storage}") == [(expected,)]
    assert lab.rows("select asset, rows from ops.published order by 1") == [("raw.partitions", 0), ("raw.rows", 0)]


def test_an_object_of_which_all_records_are_quarantined_is_held(lab: PipelineHarness) -> None:
    outcome = build(lab, HEADER + b"x,y\n" * 3, budget=2)
    assert {name: (result.metric, result.message) for name, result in failed(outcome.results).items()} == {
        "quarantine": (3, "3 unreadable records, first on line 2: it has 2 fields, not 3"),
        "min_rows": (0, "0 rows, at least 1 are wanted"),
    }
    assert lab.rows(ACCOUNTS) == [("held", 3, 0, 3)]
    assert [line for line, *_ in lab.rows(QUARANTINE)] == [2, 3, 4]


def test_lines_with_stray_quotes_are_quarantined_and_no_line_between_them_is_lost(lab: PipelineHarness) -> None:
    """COPY would read the text between two quotes as one value, and count one record for it."""
    body = HEADER + b'1,Hose 1/2" clear,4.50\n2,box,2.00\n3,saw,19.90\n4,Pipe 3/4" steel,11.00\n5,Board 2" x 4",6.10\n'
    outcome = build(lab, body, budget=3)
    assert not outcome.held
    assert lab.rows(THINGS) == [(2, "box", "2.00"), (3, "saw", "19.90")]
    assert lab.rows(QUARANTINE) == [
        whole(2, '1,Hose 1/2" clear,4.50', STRAY),
        whole(5, '4,Pipe 3/4" steel,11.00', STRAY),
        whole(6, '5,Board 2" x 4",6.10', STRAY),
    ]
    assert lab.rows(ACCOUNTS) == [("success", 5, 2, 3)]


def test_of_a_quote_that_is_never_closed_only_its_line_is_quarantined(lab: PipelineHarness) -> None:
    outcome = build(lab, HEADER + FIRST + b'2,"saw,1\n' + LAST + b'3,"a\nb",1\n', budget=1)
    assert not outcome.held
    assert lab.rows(THINGS) == [(1, "anvil", "20.50"), (3, "a\nb", "1.00"), (9, "feather", None)]
    assert lab.rows(QUARANTINE) == [whole(3, '2,"saw,1', OPEN)]


@pytest.mark.parametrize("broken", few(1, [b"", b"broken\n"]))
def test_a_quoted_line_end_may_span_two_parts_of_an_s3_read(lab: PipelineHarness, broken: bytes) -> None:
    part = 8 << 20
    filler = part - len(HEADER) - len(b'1,"",1\n') - 3
    before = HEADER + b'1,"' + b"x" * filler + b'",1\n'
    outcome = build(lab, before + b'2,"a\nb",2\n' + LAST + broken, budget=1)
    assert len(before) == part - 3, "the quoted line end spans the boundary"
    assert not outcome.held
    assert lab.rows("select thing_id, length(name) from raw.things order by 1") == [(1, filler), (2, 3), (9, 7)]
    assert lab.rows("select line, record from ops.quarantine") == ([(6, "broken")] if broken else [])


@pytest.mark.nightly
@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_record_with_a_field_of_64_mb_is_quarantined_and_others_are_loaded(
    lab: PipelineHarness, quote: bytes
) -> None:
    outcome = build(lab, HEADER + b"1," + quote + b"x" * (64 << 20) + quote + b",1\n" + LAST, budget=1)
    assert not outcome.held
    assert lab.rows("select thing_id, name from raw.things") == [(9, "feather")]
    begin = f"1,{quote.decode()}"
    assert lab.rows(QUARANTINE) == [whole(2, begin + "x" * (16_000 - 7 - len(begin)) + "… (cut)", TOO_LONG)]


@pytest.mark.parametrize("quote", few(1, [b'"', b""]))
@pytest.mark.parametrize("broken", few(1, [b"broken\n", b""]))
def test_a_field_of_15_mb_is_loaded_and_its_preview_is_cut(lab: PipelineHarness, quote: bytes, broken: bytes) -> None:
    outcome = build(lab, HEADER + LAST + b"1," + quote + b"x" * (15 << 20) + quote + b",1\n" + broken, budget=1)
    assert not outcome.held
    assert lab.rows("select thing_id, length(name) from raw.things order by 1") == [(1, 15 << 20), (9, 7)]
    assert outcome.preview[0] == {"thing_id": "1", "name": "x" * 200, "weight": "1.00"}


def test_of_a_long_broken_record_only_the_beginning_is_kept(lab: PipelineHarness) -> None:
    build(lab, HEADER + FIRST + b"2," + b"x" * 50_000 + b"\n3,saw," + b"y" * 50_000 + b"\n")
    assert lab.rows(QUARANTINE) == [
        whole(3, "2," + "x" * 15_991 + "… (cut)", "it has 2 fields, not 3"),
        value(4, "3,saw," + "y" * 15_987 + "… (cut)", "weight", "y" * 993 + "… (cut)", PLAIN),
    ]
    [(samples, message)] = lab.rows(
        "select samples, message from ops.data_quality_results where check_name = 'quarantine'"
    )
    assert samples[1] == {"line": 4, "column": "weight", "value": "y" * 993 + "… (cut)", "reason": PLAIN}
    assert message == "2 unreadable records, first on line 3: it has 2 fields, not 3"


def test_a_sample_of_a_bad_row_is_cut(lab: PipelineHarness) -> None:
    columns = "".join(f"  c{number}: {{type: text, description: Long.}}\n" for number in range(30))
    check = "checks: {long: {bad_rows: 'select * from {this}'}}\n"
    lab.file("raw/things.sql", RAW_THINGS.replace("@end", columns + check + "@end"))
    names = ",".join(["thing_id,name,weight", *(f"c{number}" for number in range(30))])
    lab.put_things(f"{names}\n1,x,1,{','.join('y' * 5000 for _ in range(30))}\n".encode())
    outcome = lab.build("raw.things")
    [(samples,)] = lab.rows("select samples from ops.data_quality_results where check_name = 'long'")
    assert samples == failed(outcome.results)["long"].samples
    assert len(samples[0]) < 30
    assert samples[0]["c0"] == "y" * 993 + "… (cut)"
    assert samples[0]["…"] == f"(cut: {34 - len(samples[0])} more columns)"
    assert sum(map(len, map(str, samples[0].values()))) < 16_100


def test_an_error_that_quotes_a_long_value_is_cut(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/weighed.sql", MART.replace("    thing_id,\n", "    name::integer as thing_id,\n"))
    lab.put_things(HEADER + b"1," + b"x" * 3_000_000 + b",1\n")
    lab.build("raw.things")
    with pytest.raises(WarehouseError) as caught:
        lab.build("marts.weighed")
    [(said,)] = lab.rows("select error_message from ops.pipeline_runs where status = 'failed'")
    assert said == str(caught.value)
    assert 3_900 < len(said) < 4_300
    assert 'invalid input syntax for type integer: "xxx' in said
    assert said.endswith("x… (cut)).")
    assert [len(detail) < 4_400 for (detail,) in lab.rows("select unnest(details) from ops.alerts")] == [True]


def test_a_wrong_header_is_cut_in_the_message(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(b",".join(b"c%d" % number for number in range(100_000)) + b"\n")
    [result] = failed(lab.verify("raw.things").results).values()
    assert len(result.message) < 2_500
    assert "… (cut)" in result.message


TEXTS = """\
/* @asset
description: Words as delivered.
owner: team:tests
grain: [word]
source: {object: "raw/words/load_date={load_date}/words.csv", format: csv}
quarantine: {rows: 3}
columns:
  word: {type: text, description: Word.}
  label: {type: text, description: Label of the word.}
@end */
"""


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "again", few(2, [b"word,label", b'"word",label', b'"word","label"', b"\xef\xbb\xbfword,label"])
)
@pytest.mark.parametrize("header", few(1, [b"word,label", b'"word","label"']))
def test_a_repeated_header_is_quarantined_in_a_table_of_text_columns(
    lab: PipelineHarness, header: bytes, again: bytes, end: bytes
) -> None:
    lab.file("raw/words.sql", TEXTS)
    key = f"raw/words/load_date={DAY}/words.csv"
    lines = [header, b"A1,red", b"label,word", again, b"word,labels", b"B1,blue", again]
    lab.put(key, end.join(lines))
    assert not lab.build("raw.words").held
    assert lab.rows("select word, label from raw.words order by 1") == [
        ("A1", "red"),
        ("B1", "blue"),
        ("label", "word"),
        ("word", "labels"),
    ]
    assert lab.rows(QUARANTINE) == [whole(line, again.decode(), HEADER_AGAIN) for line in (4, 7)]


def test_a_repeated_header_is_quarantined_where_records_are_rewritten_for_the_server(lab: PipelineHarness) -> None:
    """With two texts for NULL, of which COPY knows one."""
    lab.file("raw/words.sql", TEXTS.replace("format: csv}", "format: csv, null: ['', NA]}"))
    lab.put(f"raw/words/load_date={DAY}/words.csv", b"word,label\nA1,red\nword,label\nB1,NA\n")
    assert not lab.build("raw.words").held
    assert lab.rows("select word, label from raw.words order by 1") == [("A1", "red"), ("B1", None)]
    assert lab.rows(QUARANTINE) == [whole(3, "word,label", HEADER_AGAIN)]


def test_a_repeated_header_is_quarantined_in_a_table_of_one_column(lab: PipelineHarness) -> None:
    lab.file("raw/words.sql", TEXTS.replace("  label: {type: text, description: Label of the word.}\n", ""))
    lab.put(f"raw/words/load_date={DAY}/words.csv", b"word\na\nwords\nsword\nword\n\xc3\xa9\n")
    assert not lab.build("raw.words").held
    assert lab.rows('select word from raw.words order by word collate "C"') == [("a",), ("sword",), ("words",), ("é",)]
    assert lab.rows(QUARANTINE) == [whole(5, "word", HEADER_AGAIN)]


def test_the_proof_stops_the_copy_of_an_invalid_value(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """COPY accepts both files, so only the proof finds the errors."""
    monkeypatch.setattr(proof.Proof, "watch", lambda _self, blocks: iter(blocks))
    assert not build(lab, HEADER + b"1,a,0.125\n").held
    assert not build(lab, HEADER + b'1,a"b,1\n2,c"d,1\n').held
    monkeypatch.undo()
    assert build(lab, HEADER + b"1,a,0.125\n").held
    assert build(lab, HEADER + b'1,a"b,1\n2,c"d,1\n').held


DATED = """\
/* @asset
description: Moments as delivered.
owner: team:tests
grain: [id]
source:
  object: raw/moments/load_date={load_date}/moments.csv
  format: csv
quarantine: {rows: 9}
columns:
  id: {type: integer, description: Moment.}
  day: {type: date, description: Day of the moment.}
  at: {type: timestamp with time zone, description: Instant of the moment.}
@end */
"""


def test_valid_dates_are_published_and_invalid_ones_are_quarantined(lab: PipelineHarness) -> None:
    lab.file("raw/moments.sql", DATED)
    lab.put(
        f"raw/moments/load_date={DAY}/moments.csv",
        b"id,day,at\n"
        b"1,2024-02-29,2025-03-01T00:00:00+05:30\n"
        b"2,0001-01-01,2025-03-01 12:00:00Z\n"
        b"3,9999-12-31,2025-03-01 12:00:00 UTC\n"
        b"4,2025-02-31,\n"
        b"5,2025-02-29,\n"
        b"6,31/01/2025,\n"
        b"7,,2025-03-01 25:00:00\n"
        b"9,,2025-03-01 12:00:00\n"
        b"10,today,\n"
        b"8,,\n",
    )
    date, moment = written.problem("date", "x"), written.problem("timestamp with time zone", "x")
    assert not lab.build("raw.moments").held
    assert lab.rows("select id, day::text, at::text from raw.moments order by 1") == [
        (1, "2024-02-29", "2025-02-28 18:30:00+00"),
        (2, "0001-01-01", "2025-03-01 12:00:00+00"),
        (3, "9999-12-31", "2025-03-01 12:00:00+00"),
        (8, None, None),
    ]
    range_error = "date/time field value out of range: "
    assert lab.rows("select line, column_name, value, reason from ops.quarantine order by line") == [
        (5, "day", "2025-02-31", range_error + '"2025-02-31"'),
        (6, "day", "2025-02-29", range_error + '"2025-02-29"'),
        (7, "day", "31/01/2025", date),
        (8, "at", "2025-03-01 25:00:00", moment),
        (9, "at", "2025-03-01 12:00:00", moment),
        (10, "day", "today", date),
    ]


def test_a_duplicate_key_in_an_object_holds_the_build(lab: PipelineHarness) -> None:
    outcome = build(lab, HEADER + FIRST + LAST + b"1,anvil again,1\n")
    gate = failed(outcome.results)["grain"]
    assert (gate.metric, gate.samples) == (1, [{"thing_id": 1, "rows": 2}])
    assert lab.rows(ACCOUNTS) == [("held", 3, 0, 0)]


def test_a_null_key_holds_the_build(lab: PipelineHarness) -> None:
    outcome = build(lab, HEADER + FIRST + b",ghost,1\n")
    assert failed(outcome.results)["grain"].samples == [{"thing_id": None, "rows": 1}]


def test_the_same_keys_on_another_load_date_are_no_duplicates(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    for day in (DAY, NEXT):
        lab.put_things(HEADER + FIRST + LAST, day)
        assert not lab.build("raw.things", day).held
    assert lab.rows("select load_date, thing_id from raw.things order by 1, 2") == [
        (DAY, 1),
        (DAY, 9),
        (NEXT, 1),
        (NEXT, 9),
    ]
    assert leftover_builds(lab) == []


def test_records_that_copy_skips_silently_are_noticed(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL before 18 reads a line `\\.` as the end of a CSV. In text format every version does."""
    monkeypatch.setattr(copy_modes, "_with_backslashes", iter)
    lab.file("raw/things.sql", ONE_COLUMN)
    lab.put_things(b"name\nanvil\n\\.\nsaw\n")
    outcome = lab.build("raw.things")
    assert (outcome.held, outcome.rows) == (False, 3)
    assert lab.rows(ACCOUNTS) == [("success", 3, 3, 0)]
    assert lab.rows("select name from raw.things order by 1") == [("\\.",), ("anvil",), ("saw",)]
