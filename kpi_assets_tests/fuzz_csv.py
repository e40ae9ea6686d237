"""Fuzzing of the CSV readers: random files are also read by other readers and by a table of value forms in this file.

`python -m kpi_assets_tests.fuzz_csv --minutes 10 --seed 1` runs the properties for long; sources/test_fuzz.py runs each
for a moment. The other readers are a letter-by-letter one by RFC 4180, Python's csv, DuckDB, and COPY on a real server.
Python's csv reads good files only: even in strict mode it accepts a quote inside an unquoted value. DuckDB too reads
good files only, without carriage returns: it accepts some files that break the rules, and splits CR LF inside quotes.
"""

import argparse
import csv
import io
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from psycopg import Connection

from kpi_assets.embedded.stack import embedded_servers
from kpi_assets.model.dialect import Dialect, Field
from kpi_assets.model.written import Form, Notation, form_of
from kpi_assets.settings import settings as kpi_settings
from kpi_assets.sources.formats.base import CopyMode, ModeMismatchError
from kpi_assets.sources.formats.csv import proof
from kpi_assets.sources.formats.csv.copy_modes import Part, RecordCounter, modes
from kpi_assets.sources.formats.csv.grammar import Grammar
from kpi_assets.sources.formats.csv.layout import layout_of
from kpi_assets.sources.formats.csv.proof import UnprovenError
from kpi_assets.sources.formats.csv.records import read_records
from kpi_assets.warehouse import candidates, quarantine
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets_tests.csv_files import proven, records_of
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

Fields = list[str | None]
COLUMNS = ["a", "b"]
SEEN: Counter[str] = Counter()  # counts the kinds of examples for the output of a run


def quietly(examples: int) -> Any:
    """Return the settings of a run of `examples` examples."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=checks)


# ---- files of texts

PIECES = ['"', '""', ",", "\n", "\r\n", "\r", "x", "a,b", '"a","b"\n', "é", "\\", "\\.", " ", '",', ',"', '"\n']
FIELD = st.text(st.sampled_from('",\nab \\é'), max_size=5)


@st.composite
def files(draw: st.DrawFn) -> str:
    """Draw a file of two text columns: mostly good records, sometimes anything."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = ["a,b"]
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.integers(0, 3)):
            lines.append(",".join(draw(st.lists(written_field(), min_size=2, max_size=2))))
        else:
            lines.append("".join(draw(st.lists(st.sampled_from(PIECES), max_size=6))))
    return end.join(lines) + draw(st.sampled_from(["", end]))


@st.composite
def written_field(draw: st.DrawFn) -> str:
    """Draw a text as a good file writes it."""
    text = draw(FIELD)
    needs = any(letter in text for letter in '",\n\r')
    return '"' + text.replace('"', '""') + '"' if needs or draw(st.booleans()) else text


BORDERS = st.lists(st.integers(0, 300), max_size=6)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Split the bytes into blocks that end at the given places."""
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def by_letters(text: str, *, bare_returns: bool = False) -> list[Fields] | None:
    """Return the records of a file, read letter by letter by RFC 4180; None if it breaks a rule."""
    reader = _Letters()
    for at, letter in enumerate(text):
        if letter == "\r" and reader.state != "quoted":
            if text[at + 1 : at + 2] in {"\n", ""}:
                continue
            if not bare_returns:
                return None
        if not reader.take(letter):
            return None
    if not text.endswith("\n"):
        reader.take("\n")
    return None if reader.state == "quoted" else reader.records


class _Letters:
    """The state of the letter-by-letter reader: its records, and its position in a field."""

    def __init__(self) -> None:
        self.records: list[Fields] = []
        self.state = (
            "begin"  # begin of a field, bare, quoted, or quote: the last letter was a quote inside a quoted field
        )
        self._fields: Fields = []
        self._value = ""

    def take(self, letter: str) -> bool:
        """Read one letter; return False if it is not allowed at this place."""
        if self.state == "quoted":
            if letter == '"':
                self.state = "quote"
            else:
                self._value += letter
            return True
        if letter == '"':
            self._value += '"' if self.state == "quote" else ""
            allowed, self.state = self.state != "bare", "quoted"
            return allowed
        if letter in ",\n":
            self._fields.append(self._value if self._value or self.state == "quote" else None)
            self._value, self.state = "", "begin"
            if letter == "\n":
                self.records.append(self._fields)
                self._fields = []
            return True
        allowed, self.state = self.state != "quote", "bare"
        self._value += letter
        return allowed


def check_reading(text: str, places: list[int]) -> None:
    """Check that our reader agrees with the letter-by-letter one wherever blocks end, and loses no line."""
    whole = by_letters(text)
    data = text.encode()
    found = list(records_of(cut(data, places), COLUMNS))
    assert found == list(records_of([data], COLUMNS))
    bad = [record for record in found if record.problem]
    if whole is None:
        SEEN["reading: broken"] += 1
        assert bad
    else:
        SEEN["reading: good"] += 1
        good = [fields for fields in whole[1:] if len(fields) == 2 and not is_header(fields)]
        assert [record.fields for record in found if not record.problem] == good
        assert len(found) == len(whole) - 1
        counter = RecordCounter()
        assert b"".join(counter.watch(cut(data, places))) == data
        assert counter.records - 1 == len(found)
        by_csv = [row or [""] for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
        assert by_csv == [[field or "" for field in fields] for fields in whole]
    lines = text.count("\n") + (not text.endswith("\n"))
    assert sum(record.text.count("\n") + 1 for record in found) == lines - 1


def is_header(fields: Fields) -> bool:
    """Return whether a record repeats the header of the file."""
    return [(fields[0] or "").removeprefix("\ufeff"), *fields[1:]] == COLUMNS


def proves(types: dict[str, str], data: bytes, places: list[int], piece: int) -> bool:
    """Return whether the proof accepts the file, split into these blocks and pieces."""
    before, proof.PIECE = proof.PIECE, piece
    try:
        assert b"".join(proven(types, cut(data, places))) == data
    except UnprovenError:
        return False
    finally:
        proof.PIECE = before
    return True


def check_proof(text: str, places: list[int], piece: int) -> None:
    """Check that the proof accepts every good file, and of the others only those that COPY itself refuses.

    COPY refuses records of another width, and a carriage return outside quotes.
    """
    proven = proves(dict.fromkeys(COLUMNS, "text"), text.encode(), places, piece)
    SEEN[f"proof: {'proven' if proven else 'refused'}"] += 1
    whole = by_letters(text)
    if whole is not None and all(len(fields) == 2 for fields in whole):
        again = any(is_header(fields) for fields in whole[1:])
        looks_so = (
            "\na,b\n" in text.replace('"', "").replace("\r", "") + "\n"
        )  # maybe inside a value: reading it alone tells
        assert not (proven and again)
        assert proven or again or looks_so
    if proven:
        assert by_letters(text, bare_returns=True) is not None


def check_duckdb(text: str) -> None:
    """Check that DuckDB reads a good file as we do."""
    whole = by_letters(text)
    if whole is None or "\r" in text or not all(len(fields) == 2 for fields in whole) or len(whole) < 2:
        SEEN["duckdb: not asked"] += 1
        return
    SEEN["duckdb: asked"] += 1
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(text.encode())
        file.flush()
        rows = duckdb.sql(
            f"select * from read_csv('{file.name}', header = true, auto_detect = false, columns = {{'a': 'varchar', "
            "'b': 'varchar'}, delim = ',', quote = '\"', escape = '\"', strict_mode = true, allow_quoted_nulls = false)"
        ).fetchall()
    assert [list(row) for row in rows] == whole[1:]


# ---- typed values

Value = Any


class RefusedError(Exception):
    """Raised for a text that is not a value of its type."""


def _digits(text: str) -> str:
    if not (text.isascii() and text.isdigit()):
        raise RefusedError
    return text


def as_integer(bits: int) -> Callable[[str], int]:
    """Return a reader of integers of `bits` bits."""

    def read(text: str) -> int:
        number = int(_digits(text.removeprefix("-"))) * (-1 if text.startswith("-") else 1)
        if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            raise RefusedError
        return number

    return read


def as_decimal(text: str, digits: int | None = None, scale: int | None = None) -> Decimal:
    """Return the value of a decimal number with at most `digits` digits and `scale` decimals."""
    whole, _, decimals = text.removeprefix("-").partition(".")
    _digits(whole + decimals)
    number = Decimal(text)
    if digits and scale and (number != round(number, scale) or abs(number) >= 10 ** (digits - scale)):
        raise RefusedError
    return number


def as_double(text: str) -> float:
    """Return the value of a 64-bit floating-point number."""
    lower = text.replace("E", "e")
    mantissa, e, exponent = lower.partition("e")
    number = as_decimal(mantissa)
    if e:
        _digits(exponent[1:] if exponent[:1] in {"+", "-"} else exponent)
    value = float(lower)
    if abs(value) == float("inf") or (value == 0 and number != 0):
        raise RefusedError
    return value


def as_real(text: str) -> "Near":
    """Return the value of a 32-bit floating-point number."""
    mantissa, e, exponent = text.replace("E", "e").partition("e")
    number = as_decimal(mantissa)
    if e:
        power = int(_digits(exponent[1:] if exponent[:1] in {"+", "-"} else exponent))
        number = number.scaleb(min(power, 9999) * (-1 if exponent.startswith("-") else 1))
    if abs(number) >= Decimal(2) ** 128 - Decimal(2) ** 103 or (number and abs(number) <= Decimal(2) ** -150):
        raise RefusedError
    return Near(float(number))


@dataclass(frozen=True, eq=False)
class Near:
    """A 32-bit number that equals its close neighbors: readers may differ in the last of its 24 binary digits."""

    number: float

    def __eq__(self, other: object) -> bool:
        """Return whether the other number is nearly the same; the smallest numbers are 1.4e-45 apart."""
        if not isinstance(other, Near):
            return NotImplemented
        return abs(self.number - other.number) <= abs(self.number) * 2**-22 + 3e-45

    __hash__ = None  # type: ignore[assignment]


def as_boolean(text: str) -> bool:
    """Return the value of a boolean."""
    if text in {"true", "True", "TRUE", "t", "T"}:
        return True
    if text in {"false", "False", "FALSE", "f", "F"}:
        return False
    raise RefusedError


def as_date(text: str) -> date:
    """Return the value of a date."""
    if len(text) != 10 or text[4] + text[7] != "--":
        raise RefusedError
    try:
        return date(int(_digits(text[:4])), int(_digits(text[5:7])), int(_digits(text[8:])))
    except ValueError:
        raise RefusedError from None


def as_timestamp(text: str) -> datetime:
    """Return the value of a timestamp without time zone."""
    day, clock = as_date(text[:10]), text[11:]
    if text[10:11] not in {" ", "T"} or len(clock) < 8 or clock[2] + clock[5] != "::":
        raise RefusedError
    second, point, decimals = clock[6:8], clock[8:9], clock[9:]
    if point and (point != "." or not decimals or len(_digits(decimals).rstrip("0")) > 6):
        raise RefusedError
    try:
        return datetime(  # noqa: DTZ001
            *(day.year, day.month, day.day, int(_digits(clock[:2])), int(_digits(clock[3:5])), int(_digits(second))),
            int(decimals[:6].ljust(6, "0")) if point else 0,
        )
    except ValueError:
        raise RefusedError from None


def as_instant(text: str) -> datetime:
    """Return the value of a timestamp with an offset, in UTC."""
    for zone in ("Z", "UTC"):
        if text.endswith(zone):
            return as_timestamp(text.removesuffix(zone).removesuffix(" "))
    at = max(text.rfind("+", 11), text.rfind("-", 11))
    if at < 0:
        raise RefusedError
    local, sign, offset = text[:at].removesuffix(" "), text[at], text[at + 1 :]
    if len(offset) not in {2, 4, 5} or (len(offset) == 5) != (offset[2:3] == ":"):
        raise RefusedError
    hours, minutes = int(_digits(offset[:2])), int(_digits(offset[2:].removeprefix(":") or "0"))
    moment = as_timestamp(local)
    ahead = timedelta(hours=hours, minutes=minutes) * (1 if sign == "+" else -1)
    edge = {date.min: timedelta(0) < ahead, date.max: ahead < timedelta(0)}.get(moment.date(), False)
    if hours > 15 or minutes > 59 or edge:
        raise RefusedError
    return moment - ahead


TYPES: dict[str, tuple[str, Callable[[str], Value]]] = {
    "s": ("smallint", as_integer(16)),
    "i": ("integer", as_integer(32)),
    "l": ("bigint", as_integer(64)),
    "n": ("numeric(6,2)", lambda text: as_decimal(text, 6, 2)),
    "m": ("numeric", as_decimal),
    "r": ("real", as_real),
    "d": ("double precision", as_double),
    "o": ("boolean", as_boolean),
    "y": ("date", as_date),
    "t": ("timestamp without time zone", as_timestamp),
    "z": ("timestamp with time zone", as_instant),
    "x": ("text", str),
}
RAW = """\
/* @asset
description: One column of each type that has a form.
owner: team:tests
grain: [k]
source: {{object: "raw/kinds/{{load_date}}.csv", format: csv}}
columns:
  k: {{type: integer, description: Number.}}
{columns}
@end */
"""

_day = st.dates().map(str)
_clock = st.times().map(lambda time: f"{time:%H:%M:%S}")
_decimals = st.one_of(st.just(""), st.text("0123456789", max_size=9).map(lambda text: f".{text}"))
_offset = st.one_of(
    st.sampled_from(
        ["Z", " Z", " UTC", "+00", "-00:00", "+0530", "+05:45", "-12", " +14:00", "-15:59", "+16", "z", ""]
    ),
    st.builds("{}{:02}:{:02}".format, st.sampled_from("+-"), st.integers(0, 16), st.integers(0, 60)),
)
_number = st.one_of(
    st.integers(-(2**63), 2**63).map(str), st.integers(-99, 99).map(str), st.integers(0, 99).map("{:03}".format)
)
_point = st.builds("{}.{}".format, st.integers(-9999, 9999), st.text("0123456789", max_size=6))
_moment = st.builds(
    "{}{}{}{}".format,
    st.one_of(_day, st.sampled_from(["0001-01-01", "9999-12-31"])),
    st.sampled_from(" T"),
    _clock,
    _decimals,
)
ODD = """now today tomorrow epoch infinity -infinity inf nan NaN allballs 1_000 0x1F 0b1 0o7 1e5 .5 5. . - -. +1 1,5 yes
on 1 0 true T f tr 2025-1-7 20250107 07/01/25 31-DEC-24 2025-007 J2451187 2024-02-30 10000-01-01 0000-01-01 ٣ 1e400
1e-400 1e-46 3.4028235677973366e+38"""
_instant = st.builds("{}{}".format, _moment, _offset)
_formed = st.one_of(_number, _point, _day, _moment, _instant, st.floats().map(repr), st.sampled_from(ODD.split()))


@st.composite
def value(draw: st.DrawFn, type_: str) -> str:
    """Draw a text that may be a value of a type, mostly one that nearly is."""
    of_type = {
        "boolean": st.sampled_from(["true", "True", "TRUE", "t", "false", "FALSE", "f"]),
        "date": _day,
        "timestamp without time zone": _moment,
        "timestamp with time zone": st.builds("{}{}".format, _moment, _offset),
        "numeric(6,2)": _point,
        "numeric": _point,
        "real": st.floats(width=32).map(repr),
        "double precision": st.floats().map(repr),
        "text": FIELD,
    }.get(type_, st.integers(-40000, 40000).map(str))
    text = draw(st.one_of(of_type, of_type, of_type, _formed))
    if draw(st.integers(0, 7)) == 0 and text:
        at = draw(st.integers(0, len(text)))
        letter = draw(st.sampled_from([*"0123456789-+.:eE TZz/_x\n\t", ""]))
        text = text[:at] + letter + text[at + draw(st.integers(0, 1)) :]
    return text


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[str, str, bool]]:
    """Draw (column, text, in quotes) of each record; all its other columns are NULL."""
    found = []
    for _ in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from(list(TYPES)))
        text = draw(value(TYPES[name][0]))
        found.append((name, text, draw(st.booleans()) or any(letter in text for letter in '",\n\r')))
    return found


class Typed:
    """Loads a table with a column of each type, by the real COPY with its proof and record by record."""

    def __init__(self, lab: PipelineHarness, session: Connection[Any]) -> None:
        columns = "\n".join(f'  {name}: {{type: "{type_}", description: Value.}}' for name, (type_, _) in TYPES.items())
        lab.file("raw/kinds.sql", RAW.format(columns=columns))
        self.candidate = Candidate(lab.pipeline().table("raw.kinds"), DAY, 1)
        self.session = session

    def check(self, written: list[tuple[str, str, bool]], end: str, places: list[int], piece: int) -> None:
        """Check that COPY after the proof loads all values as TYPES says, or nothing; reading by record must agree."""
        lines, good = [",".join(["k", *TYPES])], {}
        for number, (name, text, quoted) in enumerate(written):
            field = '"' + text.replace('"', '""') + '"' if quoted else text
            lines.append(",".join([str(number), *(field if column == name else "" for column in TYPES)]))
            with suppress(RefusedError):
                good[number] = (name, TYPES[name][1](text)) if text or quoted else None
        data = (end.join(lines) + end).encode()
        assert self._copied(data, places, piece) == (good if len(good) == len(written) else None)
        with self.session.transaction(force_rollback=True):
            candidates.create_empty(self.session, self.candidate)
            records = records_of(cut(data, places), self.candidate.table.columns)
            found = quarantine.load_readable(self.session, self.candidate, records)
            assert self._loaded() == good
            assert (found.loaded, found.bad) == (len(good), len(written) - len(good))
        SEEN["typed: loaded"] += len(good)
        SEEN["typed: refused"] += len(written) - len(good)
        SEEN["typed: files that COPY and the proof accept"] += len(good) == len(written)

    def _copied(self, data: bytes, places: list[int], piece: int) -> dict[int, Any] | None:
        before, proof.PIECE = proof.PIECE, piece
        try:
            with self.session.transaction(force_rollback=True):
                candidates.create_empty(self.session, self.candidate)
                blocks = proven(self.candidate.table.types, cut(data, places))
                options = "format csv, header match"
                candidates.copy_in(self.session, self.candidate, blocks, self.candidate.table.columns, options)
                return self._loaded()
        except (UnprovenError, psycopg.DataError):
            return None
        finally:
            proof.PIECE = before

    def _loaded(self) -> dict[int, Any]:
        """Return, by the number of each loaded record, its only column that is not NULL and the value."""
        names = ", ".join("z at time zone 'UTC'" if name == "z" else name for name in TYPES)
        found = {}
        for number, *values in self.session.execute(f"select k, {names} from {self.candidate.relation}").fetchall():
            there = [
                (name, Near(each) if name == "r" else each)
                for name, each in zip(TYPES, values, strict=True)
                if each is not None
            ]
            assert len(there) <= 1
            found[number] = there[0] if there else None
        return found


# ---- dialects


@dataclass(frozen=True)
class Written:
    """One value as a file writes it, and what it is; RefusedError stands for a text that is no value."""

    text: str
    value: Any


def _choose(*written: tuple[str, Any]) -> st.SearchStrategy[Written]:
    return st.sampled_from([Written(*each) for each in written])


DIALECT_VALUES = {
    "note": st.text(st.sampled_from("'\";,|\t\\\\N #\né"), max_size=5).map(lambda text: Written(text, text)),
    "price": _choose(
        ("1,5", Decimal("1.5")), ("-0,05", Decimal("-0.05")), ("1.234,50", Decimal("1234.50")), (",5", Decimal("0.5")),
        ("1.5", RefusedError), ("1,234", RefusedError), ("12.34", RefusedError), ("1e5", RefusedError),
    ),
    "day": _choose(
        ("1/7/2025", date(2025, 1, 7)), ("12/31/1999", date(1999, 12, 31)), ("02/29/2024", date(2024, 2, 29)),
        ("2/29/2025", RefusedError), ("13/1/2025", RefusedError), ("2025-01-07", RefusedError),
    ),
    "short": _choose(
        ("7.1.69", date(1969, 1, 7)), ("07.01.68", date(2068, 1, 7)), ("31.4.20", RefusedError), ("x", RefusedError)
    ),
    "flag": _choose(("ja", True), ("nein", False), ("true", RefusedError), ("JA", RefusedError)),
}  # fmt: skip


def forms(null: tuple[str, ...]) -> dict[str, Form]:
    """Return the form of each column, with these texts for NULL."""
    return {
        "k": form_of("integer", Notation(null)),
        "note": form_of("text", Notation(null)),
        "price": form_of("numeric(8,2)", Notation(null, decimal="comma", thousands="point")),
        "day": form_of("date", Notation(null, format="M/D/YYYY")),
        "short": form_of("date", Notation(null, format="D.M.YY")),
        "flag": form_of("boolean", Notation(null, true=("ja",), false=("nein",))),
    }


DIALECT_TABLE = """\
/* @asset
description: Values in any dialect.
owner: team:tests
grain: [k]
source: {object: "raw/dialects/{load_date}.csv", format: csv, null: ["", NA], decimal: comma, thousands: point,
  true: [ja], false: [nein]}
columns:
  k: {type: integer, description: Number.}
  note: {type: text, description: Note.}
  price: {type: "numeric(8,2)", description: Price.}
  day: {type: date, format: M/D/YYYY, description: Day.}
  short: {type: date, format: D.M.YY, description: Day.}
  flag: {type: boolean, description: Flag.}
@end */
"""


@st.composite
def dialect_files(draw: st.DrawFn) -> tuple[Dialect, bytes, dict[int, Any], int]:
    """Draw (dialect, file, its good rows by number, its number of bad records)."""
    delimiter, quote = draw(st.sampled_from([",", ";", "\t", "|", " "])), draw(st.sampled_from(['"', "'", ""]))
    escape = draw(st.sampled_from(["", "\\"])) if quote else ""
    encoding = draw(st.sampled_from(["utf-8", "cp1252", "utf-16", "shift_jis"]))
    null = draw(st.sampled_from([("",), ("", "NA"), ("NA",)]))
    comment, end = draw(st.sampled_from(["", "#"])), draw(st.sampled_from(["\n", "\r\n"]))
    columns = draw(st.lists(st.sampled_from(list(DIALECT_VALUES)), unique=True, min_size=1))
    names = draw(st.permutations(["k", *columns, *draw(st.sampled_from([[], ["more"]]))]))
    grammar = Grammar(*(each.encode() for each in (delimiter, quote, escape, comment)))
    good: dict[int, Any] = {}
    lines = [delimiter.join(names)]
    for number in range(draw(st.integers(0, 8))):
        values = {name: draw(DIALECT_VALUES[name]) for name in columns if draw(st.integers(0, 3))}
        if not quote:
            values = {k: v for k, v in values.items() if not set(v.text) & {delimiter, "\n"}}
        fields, row = [], {}
        for name in names:
            text = values[name].text if name in values else {"k": str(number), "more": "x"}.get(name, null[0])
            in_quotes = bool(quote) and (name in values and (draw(st.booleans()) or text in null))
            if quote and (set(text) & {delimiter, quote, "\n", "\r"} or (comment and text.startswith(comment))):
                in_quotes = True
            if name in values:
                row[name] = values[name].value if in_quotes or text not in null else None
            fields.append(f"{quote}{grammar.in_quotes(text.encode()).decode()}{quote}" if in_quotes else text)
        line = delimiter.join(fields)
        if comment and line.startswith(comment):
            continue
        lines.append(line)
        if RefusedError not in row.values():
            good[number] = tuple(row.get(name) for name in DIALECT_VALUES)
        if comment and draw(st.booleans()):
            lines.append(comment + draw(st.sampled_from(["", "'", '"', ";;"])))
    records = len([line for line in lines[1:] if not (comment and line.startswith(comment))])
    text = end.join(lines) + draw(st.sampled_from(["", end]))
    data = text.encode(encoding, "replace") if encoding != "shift_jis" else text.replace("é", "表").encode(encoding)
    if encoding == "shift_jis":
        good = {k: tuple(v.replace("é", "表") if isinstance(v, str) else v for v in row) for k, row in good.items()}
    declared = Dialect(
        tuple(Field(name, name, form, optional=True) for name, form in forms(null).items()),
        delimiter=delimiter, quote=quote, escape=escape, comment=comment, encoding=encoding, extra="ignore",
        null=null,
    )  # fmt: skip
    return declared, data, good, records - len(good)


class _Blocks:
    """The blocks of a file, as the readers of an object give them."""

    waited, done = 0.0, 0

    def __init__(self, blocks: list[bytes]) -> None:
        self._blocks, self.size = blocks, sum(map(len, blocks))

    def read(self, start: int = 0, end: int | None = None) -> "_Blocks":
        return self

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._blocks)


class Dialects:
    """Loads files of any dialect in every copy mode and record by record, on a real server."""

    def __init__(self, lab: PipelineHarness, session: Connection[Any]) -> None:
        lab.file("raw/dialects.sql", DIALECT_TABLE)
        self.candidate = Candidate(lab.pipeline().table("raw.dialects"), DAY, 2)
        self.session = session

    def check(self, file: tuple[Dialect, bytes, dict[int, Any], int], places: list[int]) -> None:
        """Check that each way loads the good rows, or refuses the file; a file without bad records is loaded by one."""
        declared, data, good, bad = file
        layout = layout_of(data, declared, DAY)
        assert not layout.problem
        content = _Blocks(cut(data, places))
        ways = modes(lambda: content, layout)
        loaded = [self._copied(mode, content.size) for mode in ways]
        assert all(rows in (None, good) for rows in loaded)
        assert (loaded[-1] == good) is (not bad)
        with self.session.transaction(force_rollback=True):
            candidates.create_empty(self.session, self.candidate)
            part = Part(content, layout, at_start=True, is_whole=True)
            found = quarantine.load_readable(self.session, self.candidate, read_records(part.blocks, layout))
            assert self._rows() == good
            assert (found.loaded, found.bad) == (len(good), bad)
        SEEN["dialects: good" if not bad else "dialects: bad"] += 1

    def _copied(self, mode: CopyMode, size: int) -> dict[int, Any] | None:
        stream = mode.stream(0, size)
        try:
            with self.session.transaction(force_rollback=True):
                candidates.create_empty(self.session, self.candidate)
                rows = candidates.copy_in(
                    self.session, self.candidate, stream, stream.columns, stream.options, stream.settings
                )
                assert rows == stream.records
                return self._rows()
        except (UnprovenError, ModeMismatchError, psycopg.DataError):
            return None

    def _rows(self) -> dict[int, Any]:
        names = ", ".join(DIALECT_VALUES)
        rows = self.session.execute(f"select k, {names} from {self.candidate.relation}").fetchall()
        return {number: tuple(values) for number, *values in rows}


DIALECT_FILES = {"file": dialect_files(), "places": BORDERS}

# ---- for long

PROPERTIES: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
    "reading": (check_reading, {"text": files(), "places": BORDERS}),
    "proof": (check_proof, {"text": files(), "places": BORDERS, "piece": st.sampled_from([1, 2, 7, 64, 1 << 17])}),
    "duckdb": (check_duckdb, {"text": files()}),
}
TYPED = {
    "written": rows(),
    "end": st.sampled_from(["\n", "\r\n"]),
    "places": BORDERS,
    "piece": st.sampled_from([1, 7, 1 << 17]),
}


def _run(check: Callable[..., None], strategies: dict[str, Any], number: int, most: int) -> None:
    @seed(number)
    @quietly(most)
    @given(example=st.fixed_dictionaries(strategies))
    def examples(example: dict[str, Any]) -> None:
        check(**example)

    examples()


def main() -> None:
    """Run every property again and again until the time is up; the first failed example ends the program."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--minutes", type=float, default=10)
    words.add_argument("--seed", type=int, default=1)
    asked = words.parse_args()
    for name in [name for name in os.environ if name.startswith(("KPI_", "AWS_", "PG"))]:
        del os.environ[name]
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # the server logs each COPY that is canceled
    ends = time.monotonic() + asked.minutes * 60
    examples = 0
    with tempfile.TemporaryDirectory(prefix="kpi-fuzz-") as folder:
        Path(folder).chmod(0o755)
        os.environ["KPI_HOME"] = f"{folder}/home"
        with embedded_servers(kpi_settings()) as (_, stack), PipelineHarness.open(stack, Path(folder) / "lab") as lab:  # type: ignore[arg-type]
            lab.prepared()
            with lab.session() as session:
                typed, dialects = Typed(lab, session), Dialects(lab, session)
                for number in count(asked.seed):
                    for check, strategies in PROPERTIES.values():
                        _run(check, strategies, number, 2000)
                    _run(typed.check, TYPED, number, 500)
                    _run(dialects.check, DIALECT_FILES, number, 500)
                    examples += len(PROPERTIES) * 2000 + 1000
                    if time.monotonic() > ends:
                        break
    print(f"seed {asked.seed}, {examples:,} examples in {asked.minutes:g} minutes, no disagreement")
    for name, number in sorted(SEEN.items()):
        print(f"{name}: {number:,}")


if __name__ == "__main__":
    main()
