"""CSV as bytes, against an independent count, Python's csv module, and what COPY makes of it on the real server."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import Connection

from kpi_assets.lake import records
from kpi_assets.lake.records import RecordCounter, UnreadableError, header_problem, parse_fields, read_records
from kpi_assets.local.stack import Stack
from kpi_assets.model.records import Record
from kpi_assets.settings import settings
from kpi_assets.warehouse.connection import connect

COLUMNS = ["thing_id", "name", "weight"]
# What a CSV is made of, each piece often: quotes alone and doubled, separators, line ends, letters of 1 to 4 bytes.
PIECES = st.lists(st.sampled_from(['"', '""', ",", "\n", "a", "b c", "\\", "'", "é", "🙂", "\\N", "0"]), max_size=24)
quickly = hypothesis_settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes as blocks that end at the given places."""
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def counted(data: bytes) -> int:
    """The records of a CSV without its header, counted letter by letter."""
    ends, quoted = 0, False
    for byte in data:
        quoted ^= byte == ord('"')
        ends += byte == ord("\n") and not quoted
    unfinished = bool(data) and (quoted or not data.endswith(b"\n"))
    return max(ends + unfinished - 1, 0)


@quickly
@given(PIECES, st.lists(st.integers(0, 200), max_size=6))
def test_records_are_counted_wherever_blocks_end(pieces: list[str], places: list[int]) -> None:
    data = "".join(pieces).encode()
    counter = RecordCounter()
    assert b"".join(counter.watch(cut(data, places))) == data
    assert counter.records == counted(data)


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"", 0),
        (b"a", 0),
        (b"a\n", 0),
        (b"a\n1", 1),
        (b"a\n1\n", 1),
        (b"a\n1\n\n\n", 3),
        (b'a\n"1\n2"\n', 1),
        (b'a\n"1""\n""2"\n3\n', 2),
        (b'"a\nb"\n1\n', 1),
        (b'a\n"1\n2\n', 1),
        (b"a\r\n1\r\n2\r\n", 2),
    ],
)
def test_the_count_of_known_files(data: bytes, count: int) -> None:
    for size in (1, 2, 3, 100):
        counter = RecordCounter()
        assert b"".join(counter.watch(data[at : at + size] for at in range(0, len(data), size))) == data
        assert counter.records == count


def test_the_count_is_none_of_what_was_not_watched() -> None:
    counter = RecordCounter()
    blocks = counter.watch([b"a\n1\n", b"2\n", b"3\n"])
    next(blocks), next(blocks)
    assert counter.records == 2


# ---- fields


@quickly
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r")), min_size=1, max_size=5))
def test_fields_that_csv_wrote_are_read_back(values: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="").writerow(values)
    assert parse_fields(out.getvalue()) == values
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([*values, "end"])
    assert parse_fields(out.getvalue()) == [*(value or None for value in values), "end"]


@pytest.fixture(scope="module")
def session(stack: Stack) -> Iterator[Connection[Any]]:
    server = settings().postgres_url
    assert server is not None
    with connect(server, "postgres", "test") as connection:
        connection.autocommit = False
        yield connection


def copied(connection: Connection[Any], text: str, width: int) -> list[tuple[str | None, ...]]:
    """What COPY makes of one record. Raises psycopg.DataError where it refuses it."""
    connection.rollback()
    columns = [f"c{number}" for number in range(width)]
    connection.execute(f"create temporary table t ({' text, '.join(columns)} text) on commit drop")
    with connection.cursor().copy("copy pg_temp.t from stdin (format csv, header)") as copy:
        copy.write(f"header\n{text}\n")
    return connection.execute("select * from pg_temp.t").fetchall()


@quickly
@given(PIECES)
def test_fields_are_those_that_copy_reads(session: Connection[Any], pieces: list[str]) -> None:
    text, quotes = "", 0
    for piece in pieces:  # outside quotes a line end would begin another record
        text += piece.replace("\n", " ") if quotes % 2 == 0 else piece
        quotes += piece.count('"')
    try:
        fields = parse_fields(text)
    except ValueError:
        with pytest.raises(psycopg.errors.BadCopyFileFormat):
            copied(session, text, 1)
    else:
        assert copied(session, text, len(fields)) == [tuple(fields)]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", [None]),
        ('""', [""]),
        (",", [None, None]),
        ('"",', ["", None]),
        ("a,b", ["a", "b"]),
        (" a , b ", [" a ", " b "]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a""b"', ['a"b']),
        ('""""', ['"']),
        ('""""""', ['""']),
        ('a"b,c"d', ["ab,cd"]),
        ('a""', ["a"]),
        ('""a""', ["a"]),
        ('"a"b"c"', ["abc"]),
        ('"a\nb"', ["a\nb"]),
        ('"a\r\nb"', ["a\r\nb"]),
        ('"a\rb"', ["a\rb"]),
        (r'"Easy Grab 9\""x13\"" Glass"', ['Easy Grab 9\\"x13\\" Glass']),
        (r"\N,\.", ["\\N", "\\."]),
        (r"\.", ["\\."]),
        ("NULL,null", ["NULL", "null"]),
    ],
)
def test_fields_of_known_records(session: Connection[Any], text: str, fields: list[str | None]) -> None:
    assert parse_fields(text) == fields
    assert copied(session, text, len(fields)) == [tuple(fields)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"a', "a quote is not closed"),
        ('a,b"', "a quote is not closed"),
        ('"a"""b"c', "a quote is not closed"),
        ("a\rb", "a carriage return stands outside quotes"),
        ('"a"\r,b', "a carriage return stands outside quotes"),
    ],
)
def test_a_record_that_is_none(session: Connection[Any], text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        parse_fields(text)
    with pytest.raises(psycopg.errors.BadCopyFileFormat):
        copied(session, text, 2)


# ---- records


def read(data: bytes, width: int = 2, size: int = 1 << 20) -> list[Record]:
    return list(read_records([data[at : at + size] for at in range(0, len(data), size)], width))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b"a,b", []),
        (b"a,b\n", []),
        (b"a,b\n1,x", [Record(2, "1,x", ["1", "x"])]),
        (b"a,b\n1,x\n2,\n", [Record(2, "1,x", ["1", "x"]), Record(3, "2,", ["2", None])]),
        (b"a,b\r\n1,x\r\n", [Record(2, "1,x", ["1", "x"])]),
        (b'a,b\n1,"x\ny"\n2,z\n', [Record(2, '1,"x\ny"', ["1", "x\ny"]), Record(4, "2,z", ["2", "z"])]),
        (b'"a\n",b\n1,x\n', [Record(3, "1,x", ["1", "x"])]),
        (b"a,b\n\n1,x\n\n", [Record(2, "", None, "it has 1 fields, not 2"), Record(3, "1,x", ["1", "x"]),
                             Record(4, "", None, "it has 1 fields, not 2")]),
        (b"a,b\n1\n", [Record(2, "1", None, "it has 1 fields, not 2")]),
        (b"a,b\n1,2,3\n", [Record(2, "1,2,3", None, "it has 3 fields, not 2")]),
        (b"a,b\n1,\xe4\n2,y\n", [Record(2, "1,\\xe4", None, "byte 2 is not UTF-8"), Record(3, "2,y", ["2", "y"])]),
        (b"a,b\n1,x\x00y\n", [Record(2, "1,x\\x00y", None, "it holds a NUL byte")]),
        (b"a,b\n1,x\ry\n", [Record(2, "1,x\ry", None, "a carriage return stands outside quotes")]),
        (b"a,b\n\\.\n1,x\n", [Record(2, "\\.", None, "it has 1 fields, not 2"), Record(3, "1,x", ["1", "x"])]),
        (b'a,b\n1,x"y\n2,z"w\n3,v\n', [Record(2, '1,x"y\n2,z"w', ["1", "xy\n2,zw"]), Record(4, "3,v", ["3", "v"])]),
    ],
)  # fmt: skip
def test_records_with_the_line_on_which_each_begins(data: bytes, found: list[Record]) -> None:
    for size in (1, 2, 3, 1000):
        assert read(data, size=size) == found


def test_a_blank_line_is_a_record_of_one_column() -> None:
    assert read(b"a\n\n1\n", width=1) == [Record(2, "", [None]), Record(3, "1", ["1"])]


@pytest.mark.parametrize("data", [b'a,b\n1,x\n2,"y\n3,z\n', b'a,b\n1,x\n2,"y', b'a,b\n1,x\n2,"y""\n'])
def test_a_quote_that_is_never_closed_ends_the_reading_with_its_line(data: bytes) -> None:
    found = []
    with pytest.raises(UnreadableError, match=r"^the record on line 3 opens a quote that is never closed: the rest is"):
        for record in read_records([data], 2):
            found.append(record)  # noqa: PERF402
    assert found == [Record(2, "1,x", ["1", "x"])]


def test_a_quote_that_is_open_for_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RECORD_LIMIT", 100)
    asked = 0

    def blocks() -> Iterator[bytes]:
        nonlocal asked
        yield b'a,b\n1,"x\n'
        for _ in range(1000):
            asked += 1
            yield b"2,y\n"

    with pytest.raises(UnreadableError, match="line 2 opens a quote"):
        list(read_records(blocks(), 2))
    assert asked == 24


def test_an_open_quote_in_a_large_file_is_found_in_one_pass() -> None:
    data = b'a,b\n"' + b"1,x\n" * 1_000_000  # took minutes while the record was copied for each of its lines
    with pytest.raises(UnreadableError, match="line 2 opens a quote"):
        read(data)


def test_a_line_that_never_ends_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RECORD_LIMIT", 1 << 20)
    with pytest.raises(UnreadableError, match=r"^line 3 does not end within 1 MiB: the rest is unread$"):
        list(read_records((b"a,b\n1,x\n", *(b"y" * 1000 for _ in range(2000))), 2))


@quickly
@given(PIECES, st.lists(st.integers(0, 200), max_size=6))
def test_records_are_the_same_wherever_blocks_end_and_as_many_as_counted(pieces: list[str], places: list[int]) -> None:
    data = "".join(["h\n", *pieces]).encode()
    try:
        whole = list(read_records([data], 3))
    except UnreadableError:
        assert data.count(b'"') % 2 == 1
        return
    assert list(read_records(cut(data, places), 3)) == whole
    assert len(whole) == counted(data)


# ---- headers


@pytest.mark.parametrize(
    "start",
    [
        b"thing_id,name,weight",
        b"thing_id,name,weight\n1,x,2\n",
        b"thing_id,name,weight\r\n1,x,2\r\n",
        b'"thing_id","name",weight\n',
        b'thing_id,"na"me,weight\n',
    ],
)
def test_a_header_as_the_contract_says(start: bytes) -> None:
    assert header_problem(start, COLUMNS) == ""


NONE = "missing 'thing_id', 'name', 'weight'; unknown "


@pytest.mark.parametrize(
    ("line", "difference"),
    [
        ("name,thing_id,weight", "the same columns in another order"),
        ("thing_id,name", "missing 'weight'"),
        ("thing_id,name,weight,unit", "unknown 'unit'"),
        ("thing_id,label,weight", "missing 'name'; unknown 'label'"),
        ("thing_id,name,weight,name", "twice 'name'"),
        ("thing_id,name,name", "missing 'weight'; twice 'name'"),
        ("Thing_ID,name,weight", "missing 'thing_id'; unknown 'Thing_ID'"),
        ("thing_id, name,weight", "missing 'name'; unknown ' name'"),
        ("thing_id;name;weight", NONE + "'thing_id;name;weight'"),
        ("1,anvil,20.5", NONE + "'1', 'anvil', '20.5'"),
        ("thing_id,name,weight,", "unknown ''"),
        ("", NONE + "''"),
    ],
)
def test_a_header_with_other_columns(line: str, difference: str) -> None:
    problem = f"its header is {line!r}, not 'thing_id,name,weight' ({difference})"
    for end in ("", "\n", "\r\n", "\n1,x,2\n"):
        assert header_problem(f"{line}{end}".encode(), COLUMNS) == problem


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        (b"\xef\xbb\xbfthing_id,name,weight\n", "it begins with a byte order mark: save it as plain UTF-8"),
        ("thing_id,größe,weight\n".encode("latin-1"), "its first line is not UTF-8: save it as UTF-8"),
        ("thing_id,name,weight\n".encode("utf-16"), "its first line is not UTF-8: save it as UTF-8"),
        (b'thing_id,"name,weight\n', "its first line cannot be read: a quote is not closed"),
        (b"thing_id,name,weight\r1,x,2\r", "its first line cannot be read: a carriage return stands outside quotes"),
        (b"x" * records.HEADER_LIMIT, "its first line does not end: it is no CSV with a header"),
    ],
    ids=["byte order mark", "Latin-1", "UTF-16", "quote", "carriage returns", "endless"],
)
def test_a_first_line_that_is_no_header(start: bytes, problem: str) -> None:
    assert header_problem(start, COLUMNS) == problem
