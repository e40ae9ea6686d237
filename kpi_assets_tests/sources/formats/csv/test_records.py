"""Reading CSV, compared with an independent count, Python's csv module, and COPY on a real server."""

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

from kpi_assets.embedded.stack import Stack
from kpi_assets.model.records import Record
from kpi_assets.settings import settings
from kpi_assets.sources.formats.csv import records
from kpi_assets.sources.formats.csv.copy_modes import RecordCounter
from kpi_assets.sources.formats.csv.layout import HEADER_LIMIT
from kpi_assets.sources.formats.csv.records import GrammarError, cut_record
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests.csv_files import header_problem, records_of
from kpi_assets_tests.examples import examples

COLUMNS = ["thing_id", "name", "weight"]
# Pieces of CSV: single and doubled quotes, separators, line ends, letters of 1 to 4 bytes
PIECES = st.lists(st.sampled_from(['"', '""', ",", "\n", "a", "b c", "\\", "'", "é", "🙂", "\\N", "0"]), max_size=24)
quickly = hypothesis_settings(
    max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Split the bytes into blocks that end at the given places."""
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def counted(data: bytes) -> int:
    """Count the records of a CSV without its header, byte by byte."""
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
    assert max(counter.records - 1, 0) == counted(data)


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
def test_the_records_of_known_files_are_counted(data: bytes, count: int) -> None:
    for size in (1, 2, 3, 100):
        counter = RecordCounter()
        assert b"".join(counter.watch(data[at : at + size] for at in range(0, len(data), size))) == data
        assert max(counter.records - 1, 0) == count


def test_only_blocks_that_were_read_are_counted() -> None:
    counter = RecordCounter()
    blocks = counter.watch([b"a\n1\n", b"2\n", b"3\n"])
    next(blocks), next(blocks)
    assert max(counter.records - 1, 0) == 2


# ---- fields


def fields_of(text: str) -> list[str | None]:
    """Return the fields of one record. Raises GrammarError."""
    fields, end = cut_record(text.encode())
    assert end == len(text.encode())
    return [None if field == (b"", False) else field[0].decode() for field in fields]


@quickly
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r")), min_size=1, max_size=5))
def test_fields_written_by_the_csv_module_are_read_back(values: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(values)
    assert fields_of(out.getvalue()) == values
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([*values, "end"])
    assert fields_of(out.getvalue()) == [*(value or None for value in values), "end"]


@pytest.fixture(scope="module")
def session(stack: Stack) -> Iterator[Connection[Any]]:
    server = settings().postgres_url
    assert server is not None
    with connect(server, "postgres", "test") as connection:
        connection.autocommit = False
        yield connection


def copied(connection: Connection[Any], text: str, width: int) -> list[tuple[str | None, ...]]:
    """Return the rows that COPY reads from one record. Raises psycopg.DataError if COPY refuses the record."""
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
    for piece in pieces:  # outside quotes a line end would start a new record
        text += piece.replace("\n", " ") if quotes % 2 == 0 else piece
        quotes += piece.count('"')
    try:
        fields = fields_of(text)
    except GrammarError:  # COPY accepts most of these: each quote toggles the quoted state
        assert '"' in text
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
        ('"a\nb"', ["a\nb"]),
        ('"a\r\nb"', ["a\r\nb"]),
        ('"a\rb"', ["a\rb"]),
        ('"",""', ["", ""]),
        ('""","""', ['","']),
        (r'"Easy Grab 9\""x13\"" Glass"', ['Easy Grab 9\\"x13\\" Glass']),
        (r"\N,\.", ["\\N", "\\."]),
        (r"\.", ["\\."]),
        ("NULL,null", ["NULL", "null"]),
    ],
)
def test_the_fields_of_known_records_are_those_of_copy(
    session: Connection[Any], text: str, fields: list[str | None]
) -> None:
    assert fields_of(text) == fields
    assert copied(session, text, len(fields)) == [tuple(fields)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"a', records.OPEN),
        ('"', records.OPEN),
        ('a,"b""', records.OPEN),
        ('"a\n""', records.OPEN),
        ("a\rb", records.CARRIAGE_RETURN),
        ('"a"\r,b', records.CARRIAGE_RETURN),
        ('"a"\r\r\n', records.CARRIAGE_RETURN),
    ],
)
def test_an_invalid_record_is_refused_with_a_reason(session: Connection[Any], text: str, reason: str) -> None:
    with pytest.raises(GrammarError, match=f"^{reason}$"):
        fields_of(text)
    with pytest.raises(psycopg.errors.BadCopyFileFormat):
        copied(session, text, 2)


@pytest.mark.parametrize(
    "text",
    ['a,b"', 'a"b,c"d', 'a""', '""a""', '"a"b"c"', '"a"b', '"a" ', ' "a"', '"a"""b"c', 'x,"a" ,y', 'Hose 1/2" clear'],
)
def test_a_stray_quote_is_refused(text: str) -> None:
    """COPY lets each quote toggle the quoted state, and so loses the quote, or line ends after it."""
    with pytest.raises(GrammarError, match=f"^{records.STRAY}$"):
        fields_of(text)


# ---- records


def read(data: bytes, columns: str = "a,b", size: int = 1 << 20) -> list[Record]:
    return list(records_of([data[at : at + size] for at in range(0, len(data), size)], columns.split(",")))


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
        (b"a,b\n\n1,x\n\n", [Record(2, "", None, "it has 1 field, not 2"), Record(3, "1,x", ["1", "x"]),
                             Record(4, "", None, "it has 1 field, not 2")]),
        (b"a,b\n1\n", [Record(2, "1", None, "it has 1 field, not 2")]),
        (b"a,b\n1,2,3\n", [Record(2, "1,2,3", None, "it has 3 fields, not 2")]),
        (b"a,b\n1,\xe4\n2,y\n", [Record(2, "1,\\xe4", None, "byte 2 is not UTF-8"), Record(3, "2,y", ["2", "y"])]),
        (b"a,b\n1,x\x00y\n", [Record(2, "1,x\\x00y", None, "it contains a NUL byte")]),
        (b"a,b\n1,x\ry\n", [Record(2, "1,x\ry", None, "a carriage return is outside quotes")]),
        (b"a,b\n\\.\n1,x\n", [Record(2, "\\.", None, "it has 1 field, not 2"), Record(3, "1,x", ["1", "x"])]),
        (b'a,b\n1,x"y\n2,z"w\n3,v\n', [Record(2, '1,x"y', None, records.STRAY), Record(3, '2,z"w', None, records.STRAY),
                                       Record(4, "3,v", ["3", "v"])]),
        (b'a,b\n1,"x\ny"z\n2,v\n', [Record(2, '1,"x', None, records.OPEN), Record(3, 'y"z', None, records.STRAY),
                                   Record(4, "2,v", ["2", "v"])]),
        (b'a,b\n1,x\n2,"y\n3,z\n', [Record(2, "1,x", ["1", "x"]), Record(3, '2,"y', None, records.OPEN),
                                   Record(4, "3,z", ["3", "z"])]),
        (b'a,b\n1,x\n2,"y', [Record(2, "1,x", ["1", "x"]), Record(3, '2,"y', None, records.OPEN)]),
        (b'a,b\n2,"y""\n3,z\n', [Record(2, '2,"y""', None, records.OPEN), Record(3, "3,z", ["3", "z"])]),
        (b"a,b\n1,x\na,b\n2,y\n", [Record(2, "1,x", ["1", "x"]), Record(3, "a,b", None, records.HEADER_AGAIN),
                                  Record(4, "2,y", ["2", "y"])]),
        (b'a,b\r\n1,x\r\n"a","b"\r\na,"b"', [Record(2, "1,x", ["1", "x"]),
                                            Record(3, '"a","b"', None, records.HEADER_AGAIN),
                                            Record(4, 'a,"b"', None, records.HEADER_AGAIN)]),
        (b"a,b\n\xef\xbb\xbfa,b\n", [Record(2, "\ufeffa,b", None, records.HEADER_AGAIN)]),
        (b"a,b\nb,a\nA,b\na,b \n", [Record(2, "b,a", ["b", "a"]), Record(3, "A,b", ["A", "b"]),
                                   Record(4, "a,b ", ["a", "b "])]),
        (b'a,b\n1,"x\na,b\n"\n', [Record(2, '1,"x\na,b\n"', ["1", "x\na,b\n"])]),
    ],
)  # fmt: skip
def test_records_have_the_number_of_their_first_line(data: bytes, found: list[Record]) -> None:
    for size in (1, 2, 3, 1000):
        assert read(data, size=size) == found


def test_a_blank_line_is_a_record_of_one_column() -> None:
    assert read(b"a\n\n1\n", "a") == [Record(2, "", [None]), Record(3, "1", ["1"])]


def test_the_search_for_a_closing_quote_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RECORD_LIMIT", 100)
    asked = 0

    def blocks() -> Iterator[bytes]:
        nonlocal asked
        yield b'a,b\n1,"x\n'
        for _ in range(1000):
            asked += 1
            yield b"2,y\n"

    found = records_of(blocks(), ["a", "b"])
    assert next(found) == Record(2, '1,"x', None, f"{records.OPEN}, or {records.TOO_LONG}")
    assert asked == 24
    assert list(found) == [Record(line, "2,y", ["2", "y"]) for line in range(3, 1003)]


@pytest.mark.parametrize("lines", [b"1,x\n" * 50_000, b'""\n' * 50_000, b'1,"' * 100 + b"\n" * 50_000])
def test_an_open_quote_in_a_large_file_is_found_in_one_pass(lines: bytes) -> None:
    found = read(b'a,b\n"' + lines)  # with a copy of the record for each line this would take minutes
    assert found[0].problem in {records.OPEN, records.STRAY}
    assert len(found) == lines.count(b"\n")


@pytest.mark.parametrize("size", [1000, 4096, 5 << 20])
def test_a_line_that_is_too_long_is_set_aside_and_not_kept_in_memory(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(records, "RECORD_LIMIT", 1 << 20)
    data = b"a,b\n1,x\n2," + b"y" * (2 << 20) + b"\n3,z\n" + b"4," + b'"' * (2 << 20)
    found = read(data, size=size)
    long, quotes = f"2,{'y' * 15_991}… (cut)", f"4,{chr(34) * 15_991}… (cut)"
    assert found == [
        Record(2, "1,x", ["1", "x"]),
        Record(3, long, None, records.TOO_LONG),
        Record(4, "3,z", ["3", "z"]),
        Record(5, quotes, None, records.TOO_LONG),
    ]


@pytest.mark.parametrize("size", [7, 64, 1000])
@pytest.mark.parametrize("record", [b"1," + b"y" * 97, b'1,"' + b"y" * 95 + b'"', b'1,"' + b"y\n" * 47 + b'y"'])
def test_a_record_of_the_maximum_length_is_read(monkeypatch: pytest.MonkeyPatch, record: bytes, size: int) -> None:
    monkeypatch.setattr(records, "RECORD_LIMIT", 100)  # including the line end
    data = b"a,b\n" + record + b"\n2,z\n"
    assert [found.problem for found in read(data, size=size)] == [None, None]
    longer = data.replace(b"y", b"yy", 1)
    assert (read(longer, size=size)[0].problem or "").endswith(records.TOO_LONG)
    assert read(longer, size=size)[-1].fields == ["2", "z"]


@quickly
@given(PIECES, st.lists(st.integers(0, 200), max_size=6))
def test_records_do_not_depend_on_blocks_and_no_line_is_lost(pieces: list[str], places: list[int]) -> None:
    data = "".join(["h\n", *pieces]).encode()
    whole = list(records_of([data], ["x", "y", "z"]))
    assert list(records_of(cut(data, places), ["x", "y", "z"])) == whole
    assert "\n".join(record.text for record in whole) == data.decode().removeprefix("h\n").removesuffix("\n")


# ---- headers


@pytest.mark.parametrize(
    "start",
    [
        b"thing_id,name,weight",
        b"thing_id,name,weight\n1,x,2\n",
        b"thing_id,name,weight\r\n1,x,2\r\n",
        b'"thing_id","name",weight\n',
        b"\xef\xbb\xbfthing_id,name,weight\n",
        b"weight,name,thing_id\n",
    ],
)
def test_a_header_with_the_declared_columns_is_accepted(start: bytes) -> None:
    assert header_problem(start, COLUMNS) == ""


OR = "; if it has no header, write header: false"
NONE = "missing 'thing_id', 'name', 'weight'; unknown "


@pytest.mark.parametrize(
    ("line", "difference"),
    [
        ("thing_id,name", "missing 'weight'"),
        ("thing_id,name,weight,unit", "unknown 'unit'"),
        ("thing_id,label,weight", "missing 'name'; unknown 'label'"),
        ("thing_id,name,weight,name", "twice 'name'"),
        ("thing_id,name,name", "missing 'weight'; twice 'name'"),
        ("Thing_ID,label,weight", "missing 'thing_id', 'name'; unknown 'Thing_ID', 'label'"),
        ("thing_id;label;weight", NONE + "'thing_id;label;weight'" + OR),
        ("1,anvil,20.5", NONE + "'1', 'anvil', '20.5'" + OR),
        ("thing_id,name,weight,", "unknown ''"),
        ("", NONE + "''" + OR),
    ],
)
def test_a_header_with_other_columns_is_refused_with_the_difference(line: str, difference: str) -> None:
    problem = f"its header is {line!r}, not 'thing_id,name,weight' ({difference})"
    for end in ("", "\n", "\r\n", "\n1,x,2\n"):
        assert header_problem(f"{line}{end}".encode(), COLUMNS) == problem


NOT_UTF8 = "its first line is not UTF-8: save it as UTF-8, or write its own encoding, such as encoding: cp1252"


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        ("thing_id,größe,weight\n".encode("latin-1"), NOT_UTF8),
        (" thing_id,name,weight\n".encode("cp500"), NOT_UTF8),
        (b'thing_id,"name,weight\n', f"its first line cannot be read: {records.OPEN}"),
        (b'thing_id,"na"me,weight\n', f"its first line cannot be read: {records.STRAY}"),
        (b"thing_id,name,weight\r1,x,2\r", "its first line cannot be read: a carriage return is outside quotes"),
        (b"x" * HEADER_LIMIT, "its first line does not end: it is not a CSV with a header"),
    ],
    ids=["Latin-1", "EBCDIC", "open quote", "stray quote", "carriage returns", "endless"],
)
def test_a_first_line_that_is_no_header_is_refused(start: bytes, problem: str) -> None:
    assert header_problem(start, COLUMNS) == problem
