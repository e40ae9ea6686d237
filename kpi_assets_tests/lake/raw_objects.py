"""One CSV object on Postgres and on an engine: what each loads, what each sets aside, and why.

Belongs here: asking both. Not here: the objects (test_raw_text.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

from psycopg import Connection, sql

from kpi_assets.lake.raw_text import Counted, RawText
from kpi_assets.model.records import BadRecord, Record
from kpi_assets.model.table import Table
from kpi_assets.sources.formats.csv.encoding import BYTE_ORDER_MARK
from kpi_assets.sources.formats.csv.layout import HEADER_LIMIT, Layout, layout_of
from kpi_assets.sources.formats.csv.records import read_records, spans
from kpi_assets.warehouse import candidates, quarantine
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets_tests.model.portable.spark import OnSpark
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

_MOST = 10_000
_numbers = count(1)


@dataclass(frozen=True)
class Outcome:
    """What became of an object: `problem` says that it cannot be read, or else each record was loaded or set aside."""

    problem: str = ""
    rows: Sequence[tuple[Any, ...]] = ()
    bad: Sequence[BadRecord] = ()

    @property
    def records(self) -> int:
        """All records."""
        return len(self.rows) + len(self.bad)


class Both:
    """Postgres and an engine."""

    def __init__(self, lab: PipelineHarness, session: Connection[Any], spark: OnSpark, folder: Path) -> None:
        self.lab, self.session, self.spark, self._folder = lab, session, spark, folder

    def differences(self, table: Table, data: bytes, day: date = DAY) -> Iterator[str]:
        """Yield how what an engine makes of an object differs from what Postgres makes of it."""
        expected, found = self.on_postgres(table, data, day), self.on_engine(table, data, day)
        if has_line_ends_in_values(table, data, day):
            # An engine may not read such an object; if it did, it would have to cut it in the same way.
            if "has a line end, or a quote is not closed" not in found.problem:
                yield f"{data!r}: {found.problem or 'it is read'}, and a value has a line end"
            return
        for name in ("problem", "bad"):
            if (one := getattr(expected, name)) != (other := getattr(found, name)):
                yield f"{data!r}: {name} {other}, not {one}"
        one, other = (sorted(map(repr, each.rows)) for each in (expected, found))
        if one != other:
            yield f"{data!r}: rows {sorted({*other} - {*one})}, not {sorted({*one} - {*other})}"

    def on_postgres(self, table: Table, data: bytes, day: date) -> Outcome:
        """Load an object as a build does, and take it back."""
        layout = layout_of(data[:HEADER_LIMIT], table.dialect, day)
        if layout.problem:
            return Outcome(layout.problem)
        candidate = Candidate(table, day, next(_numbers))
        with self.session.transaction(force_rollback=True):
            candidates.create_empty(self.session, candidate)
            records = _placed(read_records([_body(data, layout)], layout))
            result = quarantine.load_readable(self.session, candidate, records)
            names = sql.SQL(", ").join(map(sql.Identifier, table.types))
            rows = self.session.execute(sql.SQL("select {} from {}").format(names, candidate.name)).fetchall()
        assert (result.loaded, result.bad) == (len(rows), len(result.samples))
        return Outcome("", rows, result.samples)

    def write(self, data: bytes, name: str = "object.csv") -> Path:
        """Write a file that the engine reads."""
        path = self._folder / f"{next(_numbers)}" / name
        path.parent.mkdir()
        path.write_bytes(data)
        return path

    def on_engine(self, table: Table, data: bytes, day: date) -> Outcome:
        """Load an object by the SQL of an engine."""
        layout = layout_of(data[:HEADER_LIMIT], table.dialect, day)
        if layout.problem:
            return Outcome(layout.problem)
        path = self.write(data)
        text = RawText(table, layout, f"file://{path}", KEY, len(data), data.startswith(BYTE_ORDER_MARK))
        assert not text.refusal(), text.refusal()
        counted = self.counted(text)
        if problem := text.problem(counted):
            return Outcome(problem)
        rows = self.spark.all_rows(text.rows())
        bad = self.bad(text) if counted.bad else []
        assert (counted.records, counted.bad) == (len(rows) + len(bad), len(bad))
        return Outcome("", rows, bad)

    def counted(self, text: RawText) -> Counted:
        """Return what the engine counts."""
        [row] = self.spark.all_rows(text.count())
        return Counted.of(row)

    def bad(self, text: RawText) -> list[BadRecord]:
        """Return the records that the engine cannot read, each with the reason by Postgres."""
        found = list(text.records(self.spark.all_rows(text.bad(_MOST))))
        with self.session.transaction():
            reasons = quarantine.reasons(self.session, text.table, found)
        assert [each.line for each in reasons] == [each.line for each in found], "Postgres can read the others"
        return reasons


KEY = "raw/t/object.csv"


def _placed(records: Iterator[Record]) -> Iterator[Record]:
    for number, record in enumerate(records, 1):
        yield replace(record, position=number, object_key=KEY)


def _body(data: bytes, layout: Layout) -> bytes:
    return data[layout.skipped :]


def has_line_ends_in_values(table: Table, data: bytes, day: date = DAY) -> bool:
    """Whether a value in quotes has a line end, or a quote is not closed and another one follows."""
    layout = layout_of(data[:HEADER_LIMIT], table.dialect, day)
    if layout.problem:
        return False
    body = _body(data, layout)
    if any(b"\n" in record.rstrip(b"\r\n") for number, record in spans(iter([body]), layout.grammar) if number):
        return True
    done = 0
    opened = False
    for record, found in zip(spans(iter([body]), layout.grammar), _with_comments(body, layout), strict=True):
        done += len(record[1])
        opened = opened or (found == "a quote is not closed" and layout.grammar.quote in body[done:])
    return opened


def _with_comments(body: bytes, layout: Layout) -> Iterator[str]:
    """Yield the problem of each record, and nothing for each comment."""
    records = read_records(iter([body]), layout)
    for number, _ in spans(iter([body]), layout.grammar):
        yield (next(records).problem or "") if number else ""


def table_text(columns: Mapping[str, str], words: str = "", header: str = "") -> str:
    """Return the file of a raw table; each column has a type, and perhaps more words behind it."""
    lines = "".join(f"  {name}: {{type: {type_}, description: Value.}}\n" for name, type_ in columns.items())
    grain = next(iter(columns))
    return (
        "/* @asset\ndescription: Values.\nowner: team:tests\n"
        f'grain: [{grain}]\nsource: {{object: "raw/t/{{load_date}}.csv", format: csv{words}}}\n{header}'
        f"columns:\n{lines}@end */\n"
    )
