"""The same table, delivered in files of many dialects, is published with the same rows and the same checksum.

A dialect is one entry of DIALECTS: the words of its source, the words of its columns, and how its file is made.
"""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kpi_assets.materialize import load
from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.sources.compression import zstd_module
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness, failed

KEY = f"raw/sales/load_date={DAY}/sales"
TYPES = {
    "sale_id": "integer",
    "sold_on": "date",
    "sold_at": "timestamp with time zone",
    "amount": "numeric(10,2)",
    "share": "double precision",
    "returned": "boolean",
    "note": "text",
}
ARROW_TYPES = {
    "sale_id": pa.int64(),
    "sold_on": pa.date32(),
    "sold_at": pa.timestamp("ms", "Europe/Berlin"),
    "amount": pa.decimal128(12, 2),
    "share": pa.float64(),
    "returned": pa.bool_(),
    "note": pa.string(),
}
# Texts with everything that a dialect can trip over; None is NULL.
ROWS: list[list[str | None]] = [
    ["1", "2025-01-07", "2025-01-07 09:05:00+00", "1234.50", "0.25", "true", "café, „crème“; 5 €"],
    ["2", "2025-12-31", "2025-07-01 21:30:00+00", "-0.05", "1e-07", "false", None],
    ["3", None, None, None, None, None, 'say "hi"'],
    ["4", "2024-02-29", "2024-02-29 00:00:00+00", "1234567.89", "12.5", "true", "back\\slash\tand tab"],
    ["5", "2025-03-01", "2025-03-01 12:00:00+00", "0.00", "0", "false", "plain"],
]
UNQUOTED = ("sale_id", "amount", "share", "returned")  # in JSON
PLAIN_ROWS = [[*row[:6], f"note {row[0]}" if row[6] else None] for row in ROWS]
Value = Callable[[str], str]


@dataclass(frozen=True)
class Dialect:
    """One way to write the file."""

    source: str = ""  # words of the source
    columns: dict[str, str] = field(default_factory=dict)  # words of columns
    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    quote_all: bool = False
    null: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    header: Sequence[str] | None = tuple(TYPES)
    order: Sequence[str] = tuple(TYPES)
    before: str = ""
    end: str = "\n"
    pack: Callable[[str], bytes] = str.encode
    format: str = "csv"

    def field(self, column: str, text: str | None) -> str:
        """Return a value as the file writes it."""
        if text is None:
            return self.null
        written = self.values.get(column, str)(text)
        if not self.quote:
            return written
        special = {self.delimiter, self.quote, "\n", "\r"}
        if not (self.quote_all or set(written) & special):
            return written
        if self.escape != self.quote:
            written = written.replace(self.escape, self.escape * 2)
        return self.quote + written.replace(self.quote, self.escape + self.quote) + self.quote

    def file(self, rows: Sequence[Sequence[str | None]]) -> bytes:
        """Return the file."""
        lines = [self.delimiter.join(self.header)] if self.header else []
        for row in rows:
            values = dict(zip(TYPES, row, strict=True))
            lines.append(self.delimiter.join(self.field(column, values.get(column, "x")) for column in self.order))
        return self.pack(self.before + "".join(line + self.end for line in lines))


class Parquet(Dialect):
    """A Parquet file, whose values have types."""

    def file(self, rows: Sequence[Sequence[str | None]]) -> bytes:
        columns = [pa.array(each, pa.string()) for each in zip(*rows, strict=True)]
        arrays = [each.cast(ARROW_TYPES[name]) for name, each in zip(TYPES, columns, strict=True)]
        body = io.BytesIO()
        pq.write_table(pa.table(arrays, names=list(TYPES)), body)
        return body.getvalue()


class Json(Dialect):
    """JSON, whose numbers and booleans are no texts; without `end` it is an array."""

    def file(self, rows: Sequence[Sequence[str | None]]) -> bytes:
        records = []
        for row in rows:
            letters = {
                name: text if text is None or name in UNQUOTED else json.dumps(text)
                for name, text in zip(TYPES, row, strict=True)
            }
            records.append("{" + ", ".join(f'"{name}": {text or "null"}' for name, text in letters.items()) + "}")
        return self.pack("\n".join(records) if self.end else f"[{', '.join(records)}]")


def comma(text: str) -> str:
    """Return a number with a decimal comma."""
    return text.replace(".", ",")


def grouped(text: str) -> str:
    """Return a number with points between its thousands, and a decimal comma."""
    whole, _, decimals = text.partition(".")
    return f"{int(whole):,}".replace(",", ".").replace("0", "-0", int(text.startswith("-0"))) + "," + decimals


def us_date(text: str) -> str:
    """Return YYYY-MM-DD as M/D/YYYY."""
    year, month, day = text.split("-")
    return f"{int(month)}/{int(day)}/{year}"


def german_date(text: str) -> str:
    """Return YYYY-MM-DD as DD.MM.YYYY."""
    return ".".join(reversed(text.split("-")))


def local(text: str) -> str:
    """Return an instant of UTC as local time of Berlin."""
    hour = int(text[11:13]) + (2 if "-07-" in text else 1)
    return f"{text[:11]}{hour:02}{text[13:19]}"


def zipped(text: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._sales.csv", b"\0\1")
        archive.writestr("export/sales.csv", text)
    return made.getvalue()


def zstd(text: str) -> bytes:
    compressed: bytes = zstd_module().compress(text.encode())
    return compressed


def two_members(text: str) -> bytes:
    return gzip.compress(text[:40].encode()) + gzip.compress(text[40:].encode())


yes_no: Value = {"true": "Ja", "false": "Nein"}.__getitem__
bits: Value = {"true": "1", "false": "0"}.__getitem__
REVERSED = tuple(reversed(TYPES))
DIALECTS = {
    "plain": Dialect(),
    "semicolons, Latin-9, decimal commas": Dialect(
        'delimiter: ";", encoding: iso8859-15, decimal: comma',
        delimiter=";",
        values={"amount": comma, "share": comma, "note": lambda text: text},
        pack=lambda text: text.encode("iso8859-15", "replace"),
    ),
    "tabs, UTF-16": Dialect(
        "delimiter: tab, encoding: utf-16", delimiter="\t", pack=lambda text: text.encode("utf-16")
    ),
    "all in quotes, byte order mark, CRLF": Dialect(
        quote_all=True, end="\r\n", pack=lambda text: text.encode("utf-8-sig")
    ),
    "escaped quotes, pipes": Dialect('delimiter: "|", escape: "\\\\"', delimiter="|", escape="\\"),
    "m/d/yyyy, gzip": Dialect(
        "compression: gzip", {"sold_on": "format: M/D/YYYY"}, values={"sold_on": us_date}, pack=two_members
    ),
    "German": Dialect(
        'delimiter: ";", decimal: comma, thousands: point, time_zone: Europe/Berlin, true: [Ja], false: [Nein], '
        'null: ["", "k. A."]',
        {"sold_on": "format: DD.MM.YYYY"},
        delimiter=";",
        null="k. A.",
        values={"amount": grouped, "share": comma, "sold_on": german_date, "sold_at": local, "returned": yes_no},
    ),
    "no header, skipped lines, comments": Dialect(
        'header: false, skip_lines: 2, comment: "#"', header=None, before="Report of today\n\n# one,two\n"
    ),
    "fields in another order and under other names, one too many": Dialect(
        "extra: ignore",
        {"sale_id": 'field: "Sale ID"', "note": 'field: "Note"'},
        order=("more", *REVERSED),
        header=("More", *("Sale ID" if n == "sale_id" else "Note" if n == "note" else n for n in REVERSED)),
    ),
    "NA for NULL, bits, zip": Dialect(
        "null: [NA], compression: zip, true: ['1'], false: ['0']", null="NA", values={"returned": bits}, pack=zipped
    ),
    "single quotes, commas for decimals within quotes": Dialect(
        'quote: "\'", decimal: comma', quote="'", escape="'", values={"amount": comma, "share": comma}
    ),
    "epochs, zstd": Dialect(
        "compression: zstd", {"sold_at": "format: epoch"}, values={"sold_at": lambda text: str(epoch(text))}, pack=zstd
    ),
    "Parquet": Parquet(format="parquet"),
    "JSON, an array": Json(format="json", end=""),
    "JSON, records line by line": Json(format="json"),
    "JSON, gzip": Json("compression: gzip", format="json", pack=two_members),
}


def epoch(text: str) -> int:
    return int(datetime.fromisoformat(text + ":00").timestamp())


def declare(lab: PipelineHarness, dialect: Dialect, budget: int = 0) -> None:
    """Write raw.sales with the words of a dialect."""
    columns = "\n".join(
        f'  {name}: {{type: "{type_}", description: Value., {dialect.columns.get(name, "")}}}'.replace(", }", "}")
        for name, type_ in TYPES.items()
    )
    words = f'object: "raw/sales/load_date={{load_date}}/sales", format: {dialect.format}'
    lab.file(
        "raw/sales.sql",
        "/* @asset\ndescription: Sales.\nowner: team:tests\ngrain: [sale_id]\n"
        f"quarantine: {{rows: {budget}}}\n"
        f"source: {{{words}{', ' if dialect.source else ''}{dialect.source}}}\ncolumns:\n{columns}\n@end */\n",
    )


def build(lab: PipelineHarness, dialect: Dialect, body: bytes, **changes: Any) -> BuildOutcome:
    declare(lab, dialect)
    lab.put(KEY, body)
    return lab.build("raw.sales", **changes)


@pytest.fixture(scope="module")
def checksums(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The checksums of the rows as a plain file gives them."""
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("plain")) as lab:
        return {
            name: build(lab, DIALECTS["plain"], DIALECTS["plain"].file(rows)).checksum
            for name, rows in (("all", ROWS), ("simple", PLAIN_ROWS))
        }


@pytest.mark.parametrize("way", ["as it is", "record by record"])
@pytest.mark.parametrize("name", few(6, DIALECTS))
def test_every_dialect_gives_the_same_rows(
    lab: PipelineHarness, checksums: dict[str, str], name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "record by record":
        monkeypatch.setattr(load, "_copy_loaders", lambda _objects: iter(()))
    dialect = DIALECTS[name]
    # These characters are in no single-byte encoding, or need quotes.
    is_narrow = "8859" in dialect.source
    rows = PLAIN_ROWS if is_narrow else ROWS
    outcome = build(lab, dialect, dialect.file(rows))
    assert not outcome.held, failed(outcome.results)
    assert lab.rows("select count(*) from ops.quarantine") == [(0,)]
    assert outcome.checksum == checksums["simple" if is_narrow else "all"]
