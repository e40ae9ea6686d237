"""An engine loads of a CSV object what Postgres loads of it, and sets the same records aside for the same reasons."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.fixtures.cases import find_cases
from kpi_assets.lake.raw_text import SETTINGS, RawText
from kpi_assets.model.dialect import Dialect
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.portable.raw_words import refused_words
from kpi_assets.model.table import Table
from kpi_assets.samples import GENERATORS
from kpi_assets.settings import CHECKOUT
from kpi_assets.sources.formats.csv.grammar import Grammar
from kpi_assets.sources.formats.csv.layout import layout_of
from kpi_assets.sources.formats.csv.records import CARRIAGE_RETURN, HEADER_AGAIN, OPEN, STRAY
from kpi_assets_tests.lake.raw_objects import KEY, Both, has_line_ends_in_values, table_text
from kpi_assets_tests.model.portable.spark import OnSpark
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness
from kpi_assets_tests.shipped import PIPELINES

pytestmark = pytest.mark.nightly
FIXTURES = CHECKOUT / "kpi_assets_tests" / "sql"

TYPES = {
    "k": "integer",
    "s": "smallint",
    "b": "bigint",
    "n": '"numeric(6,2)"',
    "w": '"numeric(4,0)"',
    "f": "boolean",
    "d": "date",
    "m": "timestamp",
    "t": "text",
}
# Texts that a cast of one side might read and the other not.
TEXTS = [
    "", " ", "0", "-0", "1", "+1", "-1", " 1", "1 ", "\t1", "1\xa0", "1.0", "1.", ".5", "-.5", ".", "-", "--1", "-1-",
    "1e3", "1E3", "1e", "0x1F", "0b1", "0o7", "1_000", "1,000", "1.000", "1'000", "१", "\uff11", "∞", "½", "\u22121",
    "NaN", "nan", "Infinity", "-inf", "inf", "null", "NULL", "None", "N/A", "\\N", "\\.", "true", "TRUE", "True",
    "tRUE", "t", "T", "f", "F", "false", "False", "yes", "no", "on", "y", "1b", "1L", "1S", "1D", "1.5f", "1BD",
    "32767", "32768", "-32768", "-32769", "2147483647", "2147483648", "-2147483648", "-2147483649",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
    "0000000000000000000000000000000000000000000000000000000000000007", "00000000000000000000.50", "9" * 40,
    "9" * 1200, "9999", "9999.99", "10000", "10000.00", "9999.999", "9999.990", "-9999.99", "0.001", "0.005",
    "1.2300000000", "1." + "0" * 60, "0" * 60 + ".1", "1.2" + "0" * 60, "-.00", "-.", "1.2.3", "1..2", "1.-2",
    "2025-01-31", "2025-02-29", "2024-02-29", "2025-13-01", "2025-1-1", "0000-01-01", "0001-01-01", "9999-12-31",
    "10000-01-01", "-0001-01-01", "2025-01-01 BC", "20250101", "2025/01/01", "epoch", "today", "now", "infinity",
    "2025-01-31 ", " 2025-01-31", "2025-01-31T", "2025-01", "2025", "31.01.2025", "2025-00-10", "2025-01-00",
    "2025-01-31 10:00:00", "2025-01-31T10:00:00", "2025-01-31t10:00:00", "2025-01-31  10:00:00",
    "2025-01-31 24:00:00", "2025-01-31 23:59:60", "2025-01-31 23:59:59.5", "2025-01-31 23:59:59.123456",
    "2025-01-31 23:59:59.1234560000000", "2025-01-31 23:59:59.1234567", "2025-01-31 10:00", "2025-01-31 10:00:00Z",
    "2025-01-31 10:00:00+02", "0000-01-01 10:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999",
    "2025-02-29 10:00:00", "2025-01-31 9:00:00", "2025-01-31 10:00:00.", "2025-01-31 10:00:00 UTC",
    "2025-01-31 10:00:00.000000000000000000000000001", "1582-10-10", "1582-10-10 00:00:00", "1900-02-29",
    "0001-01-01 00:00:00.000001", "2025-03-30 02:30:00", "é", "😀", "\ufeff1", "\u2028", "\x85", "\x01", "\x7f", "a b",
    "a'b", "$1", "${k}", "%s", "\\", "\\\\", "/*", "--",
]  # fmt: skip


@pytest.fixture(scope="module")
def both(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Postgres with a pipeline of its own, and an engine with the settings that it needs."""
    folder = tmp_path_factory.mktemp("raw")
    with PipelineHarness.open(stack, folder / "lab") as lab, OnSpark.open() as spark:
        lab.file("raw/t.sql", table_text(TYPES))
        lab.prepared()
        for name, value in SETTINGS.items():
            spark.all_rows(f"set {name} = {value}")
        with lab.session() as session:
            yield Both(lab, session, spark, folder)


def table(both: Both, text: str) -> Table:
    """Return a raw table with this file."""
    both.lab.file("raw/t.sql", text)
    found = both.lab.pipeline().table("raw.t")
    assert list(refused_words(found)) == []
    return found


def test_every_text_is_a_value_of_each_type_on_both_or_on_none(both: Both) -> None:
    plain = table(both, table_text(TYPES))
    names = list(TYPES)
    lines = [",".join(names)]
    for number, (text, name) in enumerate(itertools.product(TEXTS, names[1:])):
        written = '"' + text.replace('"', '""') + '"' if set(text) & set(',"') or number % 3 == 0 else text
        lines.append(",".join([str(number), *(written if each == name else "" for each in names[1:])]))
    lines += [text if "," not in text else f'"{text}"' for text in TEXTS]
    data = "\n".join(lines).encode()
    assert list(both.differences(plain, data)) == []
    found = both.on_engine(plain, data, DAY)
    assert len(found.rows) > 250
    assert len(found.bad) > 800


WORDS = {
    "": "",
    "semicolon": ', delimiter: ";", decimal: comma, thousands: point',
    "tab": ', delimiter: tab, quote: "\'", thousands: space, null: ["", "N/A", "\\\\N", "$"]',
    "pipe": ', delimiter: "|", escape: "\\\\", null: ["NULL", "\'"], true: ["ja", "1"], false: ["nein", "0"]',
    "bare": ', quote: none, thousands: apostrophe, null: ["\\"\\"", "-"]',
    "comment": ', comment: "#", skip_lines: 2, header: false, object_key: o',
    "position": ", position: p, object_key: o, extra: ignore",
    "regex": ', delimiter: "^", quote: "$", escape: "*", comment: "+"',
    "blank": ', delimiter: " ", quote: "|", extra: ignore',
}
_PIECES = [
    "1", "-7", "12.50", "1,5", "1.234,50", "1 000", "1'000", "true", "ja", "2025-01-31", "2025-02-30", "x", "é", "😀",
    "N/A", "\\N", "$", "'", "NULL", "", "", "", "-", " ", "#", "+", "1e3", "99999", "a\tb", "\"", "\\", "^", "|", ";",
    "\x00", "\r",
]  # fmt: skip


_GOOD = {"k": ["1", "-7"], "n": ["2", "-123456"], "t": ["x", "é", "😀"], "d": ["2025-01-31"], "f": ["t", "ja"]}


def _random_field(rng: random.Random, dialect: Dialect, name: str, *, is_careful: bool) -> str:
    """Return a field, which may break the dialect; a careful one closes its quotes."""
    quote = dialect.quote
    text = rng.choice(_PIECES if rng.random() < 0.15 else [*_GOOD.get(name, []), dialect.null[0]])
    if not quote:
        return text
    if is_careful and {quote, dialect.escape} & set(text):
        return rng.choice([quote * 2, "x" + quote * 2, quote * 6, ""])
    if rng.random() > (0.9 if set(text) & {dialect.delimiter, quote} else 0.3):
        return text
    if is_careful or rng.random() < 0.9:
        text = Grammar.of(dialect).in_quotes(text.encode()).decode()
    return quote + text + quote


def _random_object(rng: random.Random, dialect: Dialect, *, is_careful: bool) -> bytes:
    """Return an object of a dialect, with records that break it in many ways."""
    names = [each.name for each in dialect.fields]
    if dialect.header:
        rng.shuffle(names)
        if dialect.extra != "hold":
            names.insert(rng.randrange(len(names) + 1), "more")
    end = rng.choice(["\n", "\r\n"])
    lines = ["skipped", "too"][: dialect.skip_lines]
    if dialect.header:
        lines.append(dialect.delimiter.join(names))
    for _ in range(rng.randrange(60)):
        width = len(names) if rng.random() < 0.9 else rng.randrange(len(names) + 2)
        of = [*names, "more", "more"][:width]
        lines.append(dialect.delimiter.join(_random_field(rng, dialect, each, is_careful=is_careful) for each in of))
        if rng.random() < 0.05:
            others = ["#", "+ 1", lines[0], "\\.", " ", lines[-1] + "\r", "" if is_careful else dialect.quote]
            lines.append(rng.choice(others))
    data = (end.join(lines) + rng.choice(["", end])).encode()
    if rng.random() < 0.4 and data.count(b"\n") > 2:
        place = rng.randrange(data.index(b"\n") + 1, len(data))
        bad = rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xc0\xaf", b"\x80"])
        data = data[:place] + bad + data[place:]
    return (b"\xef\xbb\xbf" if rng.random() < 0.1 else b"") + data


@pytest.mark.parametrize("words", WORDS)
def test_objects_of_any_dialect_are_read_as_on_postgres(both: Both, words: str) -> None:
    columns = {"k": "integer", "n": '"numeric(8,2)"', "t": "text", "f": "boolean", "d": "date"}
    of_words = table(both, table_text(columns, WORDS[words]))
    rng, seen = random.Random(f"{words} 1"), [0, 0, 0]
    for number in range(3):
        data = _random_object(rng, of_words.dialect, is_careful=bool(number))
        assert list(both.differences(of_words, data)) == []
        outcome = both.on_engine(of_words, data, DAY)
        seen = [seen[0] + len(outcome.rows), seen[1] + len(outcome.bad), seen[2] + bool(outcome.problem)]
    assert min(seen[:2]) > 5, seen


# Types of the shipped tables that no engine holds, and what is declared in their place here.
_INSTEAD = {"timestamp with time zone": "text", "numeric": "numeric(20,6)"}


def _raw_tables(pipeline: Pipeline) -> dict[Relation, Table]:
    """Return the raw tables of CSV, with types that an engine holds."""
    found = {}
    for table in pipeline.object_tables:
        if table.source.format != "csv" or [*refused_words(table)]:
            continue
        columns = {
            name: column.model_copy(update={"type": _INSTEAD.get(column.type, column.type)})
            for name, column in table.header.columns.items()
        }
        found[table.relation] = replace(table, header=table.header.model_copy(update={"columns": columns}))
    return found


@pytest.mark.parametrize(("name", "most"), [("instacart", 13), ("ecommerce", 5), ("storefront", 5)])
def test_each_planted_fault_is_set_aside_as_on_postgres(both: Both, tmp_path: Path, name: str, most: int) -> None:
    tables, generator = _raw_tables(PIPELINES[name]), GENERATORS[name]
    seen, differ = set[bytes](), 0
    for number, fault in enumerate(["", *generator.faults]):
        folder = tmp_path / str(number)
        generator.write(folder, load_date=DAY, orders=60, seed=1, faults=[fault] if fault else [])
        for table in tables.values():
            for path in (each for each in folder.rglob(Path(table.object_key(DAY)).name) if each.is_file()):
                data = path.read_bytes()
                if data not in seen:
                    seen.add(data)
                    assert list(both.differences(table, data)) == [], fault
                    differ += number > 0
    assert differ >= most


def test_the_objects_of_all_fixtures_are_read_as_on_postgres(both: Both) -> None:
    tables = {name: _raw_tables(pipeline) for name, pipeline in PIPELINES.items()}
    seen = set[bytes]()
    for case in find_cases(FIXTURES):
        table = tables[case.pipeline].get(Relation.parse(case.table)) if not case.question else None
        for path in case.objects.values() if table else ():
            data = path.read_bytes()
            assert table is not None
            if data not in seen:
                seen.add(data)
                assert list(both.differences(table, data, case.file.load_date)) == [], case.id
    assert len(seen) > 30


# What went wrong once: each with the reasons of the records that are set aside.
CASES = {
    "a header again": (b"k,n,t\n1,1,a\nk,n,t\n2,2,b\n", [HEADER_AGAIN]),
    "stray quotes": (b'k,n,t\n1,1,5" tube\n2,2,"5"" tube"\n3,3,"a"b\n4,4,"c" \n', [STRAY] * 3),
    "cut off": (b'k,n,t\n1,1,a\n2,2,"b', [OPEN]),
    "cut off in a number": (b"k,n,t\n1,1,a\n2,2", ["it has 2 fields, not 3"]),
    "an open quote, and no quote after it": (b'k,n,t\n1,1,"a\n2,2,b\n', [OPEN]),
    "carriage returns": (b"k,n,t\n1,1,a\rb\n2,2,c\r\r\n3,3,d\r\n4,4,\r", [CARRIAGE_RETURN] * 2),
    "lines of a Mac": (b"k,n,t\n1,1,a\r2,2,b\r3,3,c\r", [CARRIAGE_RETURN]),
    "NUL": (b"k,n,t\n1,1,a\x00b\n", ["it contains a NUL byte"]),
    "bytes": (
        b'k,n,t\n1,1,a\xffb\n2,2,\xc3\xa9\n3,3,\xc3,\n4,4,"\xe2\x82"\n',
        [f"byte {n} is not UTF-8" for n in (5, 4, 5)],
    ),
    "nothing between": (b"k,n,t\n\n1,1,a\n \n", ["it has 1 field, not 3"] * 2),
    "infinity": (b"k,n,t\n1,Infinity,a\n2,NaN,b\n", [ANY] * 2),
    "no record": (b"k,n,t\n", []),
    "no line end": (b"k,n,t", []),
    "a mark": (b"\xef\xbb\xbfk,n,t\n1,1,a\n", []),
    "line ends in the header": (b'k,n,"t"\r\n1,x,a\r\n', [ANY]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_went_wrong_once_is_set_aside_with_its_reason(both: Both, case: str) -> None:
    data, reasons = CASES[case]
    small = table(both, table_text({"k": "integer", "n": '"numeric(6,2)"', "t": "text"}))
    assert list(both.differences(small, data)) == []
    found = both.on_engine(small, data, DAY)
    assert [each.reason for each in found.bad] == reasons
    assert found.problem == ""


@pytest.mark.parametrize(
    "value", [b'"a\nb"', b'"a\r\nb"', b'"a""\n""b"', b'"a\n,"\n3,3,"b"', b'"a\n2,2,b\n3,3,"c"'], ids=str
)
def test_a_line_end_in_a_value_is_refused_with_a_sentence(both: Both, value: bytes) -> None:
    small = table(both, table_text({"k": "integer", "n": '"numeric(6,2)"', "t": "text"}))
    data = b"k,n,t\n0,0,z\n1,1," + value + b"\n"
    assert has_line_ends_in_values(small, data)
    assert both.on_engine(small, data, DAY).problem == (
        "a value in quotes has a line end, or a quote is not closed, and an engine reads line by line: deliver it as "
        "Parquet, or without line ends in values, or leave the table to Postgres"
    )


def test_an_object_in_many_blocks_has_the_numbers_of_its_lines(both: Both) -> None:
    numbered = table(both, table_text({"k": "integer", "t": "text"}, ", position: p"))
    lines = [f"{number},{'x' * (number % 37)}" if number % 11 else f"no {number},y" for number in range(1, 400)]
    data = ("k,t\n" + "\n".join(lines)).encode()
    for name, value in {"maxPartitionBytes": 256, "openCostInBytes": 0}.items():
        both.spark.all_rows(f"set spark.sql.files.{name} = {value}")
    try:
        path = both.write(data)
        parts = both.spark.all_rows(f"select spark_partition_id() from text.`file://{path}`")
        assert len({*parts}) > 30
        assert list(both.differences(numbered, data)) == []
        found = both.on_engine(numbered, data, DAY)
        assert {row[-1] for row in found.rows} == {number for number in range(1, 400) if number % 11}
        assert [each.line for each in found.bad] == [number + 1 for number in range(11, 400, 11)]
        refused = data + b'\n400,"a\n401,b"'
        assert "has a line end" in both.on_engine(numbered, refused, DAY).problem
    finally:
        for name in ("maxPartitionBytes", "openCostInBytes"):
            both.spark.all_rows(f"reset spark.sql.files.{name}")


def test_what_an_engine_does_not_read_is_noticed(both: Both) -> None:
    small = table(both, table_text({"k": "integer", "t": "text"}))
    data = b"k,t\n1,a\n2,b\n"
    path = both.write(data, "_hidden.csv")
    text = RawText(small, layout_of(data, small.dialect, DAY), f"file://{path}", KEY, len(data), is_marked=False)
    assert text.problem(both.counted(text)) == (
        "the engine read 0 bytes in 0 lines, and the object has 12 bytes: build it again"
    )
    assert replace(text, object_key="raw/_hidden.csv").refusal() != ""
