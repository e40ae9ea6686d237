"""Files whose fields differ from the columns, and rows that know where they come from."""

import gzip
from datetime import date
from typing import Any

import pytest

from kpi_assets.materialize import load
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness, failed

TABLE = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [k]
source: {object: "raw/things/{load_date}.csv", format: csvWORDS}
quarantine: {rows: 9}
columns:
  k: {type: integer, description: Number.}
  v: {type: text, description: Value.COLUMN}
@end */
"""
KEY = f"raw/things/{DAY}.csv"
WAYS = ["as it is", "record by record"]


def declare(lab: PipelineHarness, words: str = "", column: str = "") -> None:
    text = TABLE.replace("WORDS", f", {words}" if words else "").replace("COLUMN", f'", {column}' if column else '"')
    lab.file("raw/things.sql", text.replace("description: Value.", 'description: "Value.'))


def build(lab: PipelineHarness, body: bytes, day: date = DAY, **changes: Any) -> list[tuple[Any, ...]]:
    lab.put(f"raw/things/{day}.csv", body)
    outcome = lab.build("raw.things", day, **changes)
    assert not outcome.held, failed(outcome.results)
    columns = lab.pipeline().table("raw.things").columns
    return lab.rows(f"select {', '.join(columns)} from raw.things where load_date = '{day}' order by k")


def problem(lab: PipelineHarness, body: bytes, day: date = DAY) -> str:
    lab.put(f"raw/things/{day}.csv", body)
    [header] = failed(lab.verify("raw.things", day).results).values()
    return header.message.removeprefix(f"s3://{lab.bucket}/raw/things/{day}.csv: ")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of reading a file."""
    if request.param == WAYS[1]:
        monkeypatch.setattr(load, "_copy_loaders", lambda _objects: iter(()))
    return str(request.param)


def test_rows_know_their_record_and_their_object(lab: PipelineHarness, way: str) -> None:
    declare(lab, "position: record, object_key: origin")
    assert build(lab, b"k,v\n7,a\n3,b\n") == [(3, "b", 2, KEY), (7, "a", 1, KEY)]
    bad = b"k,v\n7,a\nx,c\n3,b\n"
    assert build(lab, bad) == [(3, "b", 3, KEY), (7, "a", 1, KEY)]
    defaults = (
        "select count(*) from information_schema.columns where table_name = 'things' and column_default like 'n%'"
    )
    assert lab.rows(defaults) == [(0,)]


def test_a_large_file_with_positions_is_not_cut(lab: PipelineHarness) -> None:
    declare(lab, "position: record")
    body = b"k,v\n" + b"".join(b"%d,x\n" % key for key in range(3000))
    rows = build(lab, body, writers=3, slice_bytes=len(body) // 5)
    assert [row[2] for row in rows] == list(range(1, 3001))


def test_fields_that_are_no_column_are_held_left_out_or_kept(lab: PipelineHarness, way: str) -> None:
    body = b'more,k,v,"a ""b"""\nx,1,a,\n"",2,b,"c\td\\"\n'
    declare(lab)
    assert problem(lab, body) == "its header is 'more,k,v,a \"b\"', not 'k,v' (unknown 'more', 'a \"b\"')"
    declare(lab, "extra: ignore")
    assert build(lab, body) == [(1, "a"), (2, "b")]
    declare(lab, "extra: keep")
    kept = [{"more": "x", 'a "b"': None}, {"more": "", 'a "b"': "c\td\\"}]
    assert build(lab, body) == [(1, "a", kept[0]), (2, "b", kept[1])]
    assert build(lab, b"k,v\n1,a\n", NEXT) == [(1, "a", None)]


def test_a_field_that_came_later_is_null_before(lab: PipelineHarness, way: str) -> None:
    declare(lab, column=f"since: {NEXT}")
    assert build(lab, b"k\n1\n") == [(1, None)]
    assert build(lab, b"v,k\na,1\n", NEXT) == [(1, "a")]
    assert (
        problem(lab, b"k,v\n1,a\n") == f"its header has 'v' before {NEXT}, from which day on it should: correct since"
    )
    assert problem(lab, b"k\n1\n", NEXT) == "its header is 'k', not 'k,v' (missing 'v')"


def test_an_optional_field_may_be_missing(lab: PipelineHarness, way: str) -> None:
    declare(lab, column='field: "The Value", optional: true')
    assert build(lab, b"k\n1\n") == [(1, None)]
    assert build(lab, b"The Value,k\na,1\n", NEXT) == [(1, "a")]


def test_an_encoding_that_ends_half_way_sets_records_aside_and_loses_none(lab: PipelineHarness) -> None:
    declare(lab, "encoding: cp1252")
    body = "k,v\n1,é\n".encode("cp1252") + b"2,\x81\n" + "3,€\n".encode("cp1252")
    assert build(lab, body) == [(1, "é"), (3, "€")]
    quarantined = lab.rows("select line, record, reason from ops.quarantine")
    assert quarantined == [(3, "2,\\x81", "byte 0x81 at character 2: it is not cp1252")]
    declare(lab, "encoding: utf-16")
    body = "k,v\n1,é\n".encode("utf-16") + b"2\0,\0\x00\xd8\n\0" + "3,🌶\n".encode("utf-16-le")
    assert build(lab, body, NEXT) == [(1, "é"), (3, "🌶")]
    [(line, reason)] = lab.rows(f"select line, reason from ops.quarantine where load_date = '{NEXT}'")
    assert (line, reason) == (3, "byte 0x00 at character 2: it is not utf-16")


def test_a_value_is_quarantined_as_the_file_writes_it(lab: PipelineHarness) -> None:
    lab.file(
        "raw/things.sql",
        TABLE.replace("WORDS", ', delimiter: ";", decimal: comma')
        .replace("type: text", 'type: "numeric(4,2)"')
        .replace("COLUMN", ""),
    )
    assert [row[0] for row in build(lab, b"k;v\n1;1,5\n2;12345,00\n3;1.5\n")] == [1]
    assert lab.rows("select line, column_name, value, reason from ops.quarantine order by 1") == [
        (3, "v", "12345,00", "numeric field overflow"),
        (
            *(4, "v", "1.5"),
            "a number has digits here and at most one ',' before its decimals: write it so, or correct decimal and "
            "thousands",
        ),
    ]  # fmt: skip


def test_lines_before_the_header_and_comments_count_as_lines(lab: PipelineHarness) -> None:
    declare(lab, 'skip_lines: 1, comment: "#"')
    assert build(lab, b"Report\n# of today\nk,v\n1,a\n# note\nx,b\n2,#c\n") == [(1, "a"), (2, "#c")]
    assert lab.rows("select line, record from ops.quarantine") == [(6, "x,b")]


def test_a_file_without_the_header_or_with_one_too_many_is_held(lab: PipelineHarness) -> None:
    declare(lab, "header: false")
    assert build(lab, b"1,a\n2,b\n") == [(1, "a"), (2, "b")]
    assert problem(lab, b"k,v\n1,a\n") == "its first record has the names of its columns: write header: true"
    assert problem(lab, b"1;a\n") == "its values are separated by ';': write delimiter: \";\""


def test_a_large_file_in_another_dialect_is_built_in_slices(lab: PipelineHarness) -> None:
    text = TABLE.replace("WORDS", ', delimiter: ";", encoding: latin-1, compression: gzip').replace("COLUMN", "")
    lab.file("raw/things.sql", text.replace("grain:", "storage: partitions\ngrain:"))
    body = "k;v\n" + "".join(f"{key};é\n" for key in range(3000))
    packed = gzip.compress(body.encode("latin-1"))
    lab.put(KEY, packed)
    outcome = lab.build("raw.things", writers=3, slice_bytes=len(body) // 5)
    assert (outcome.held, outcome.rows) == (False, 3000)
    assert lab.rows("select count(distinct tableoid), count(distinct v), min(v) from raw.things") == [(6, 1, "é")]


def test_a_packed_object_that_is_cut_off_is_held_and_nothing_is_lost(lab: PipelineHarness) -> None:
    declare(lab, "compression: gzip")
    body = b"k,v\n" + b"".join(b"%d,%d\n" % (key, key * 7919 % 99991) for key in range(200_000))
    assert len(build(lab, gzip.compress(body))) == 200_000
    lab.put(f"raw/things/{NEXT}.csv", gzip.compress(body)[:-1000])
    outcome = lab.build("raw.things", NEXT)
    assert outcome.held
    messages = [result.message for result in failed(outcome.results).values()]
    assert any("it is cut off: it ends before its gzip does" in message for message in messages), messages
    assert lab.rows(f"select count(*) from raw.things where load_date = '{NEXT}'") == [(0,)]
