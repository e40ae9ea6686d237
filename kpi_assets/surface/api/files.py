"""Rows as files: CSV for spreadsheets, and Parquet and Arrow, whose columns have types and which name their publish.

pyarrow is an extra: without it, CSV and JSON are all that there is. Each column has load_date before it, so that files
of several load_dates can be put together.

Belongs here: writing rows. Not here: which rows (rows.py), and CSV itself (read/export.py).
"""

import importlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

from kpi_assets.model.column_types import base_of
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.read.breakdown import Breakdown
from kpi_assets.read.export import csv_lines, without_formulas
from kpi_assets.read.kpis import KpiState, Point
from kpi_assets.surface.answer import Problem
from kpi_assets.surface.api import exact
from kpi_assets.surface.api.answers import finality_of, waived_of

MEDIA: Mapping[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
_EXTENSIONS = {"csv": "csv", "parquet": "parquet", "arrow": "arrows"}
_TYPED = ("parquet", "arrow")
_WIDEST = 76  # digits of Arrow's decimals


def check_there(format_: str) -> None:
    """Raise Problem 501 if what writes a format is not installed."""
    if format_ in _TYPED and _pyarrow() is None:
        raise Problem(
            501,
            f"This server cannot write {format_}: pyarrow is not installed beside it.",
            'Ask for format=csv or json; `pip install "kpi_assets[parquet]"` adds it.',
        )


def _pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        return None


def name_of(kpi: KpiState, point: Point, format_: str) -> str:
    """Return the name of a file: pipeline, table and load_date, which are letters, digits, _, - and dots."""
    return f"{kpi.id.replace('/', '_')}_{point.load_date}.{_EXTENSIONS[format_]}"


def write(format_: str, kpi: KpiState, point: Point, first: Breakdown, rest: Iterator[Breakdown]) -> bytes:
    """Return the rows as a file."""
    return _csv(first, rest) if format_ == "csv" else _typed(format_, kpi, point, first, rest)


def _csv(first: Breakdown, rest: Iterator[Breakdown]) -> bytes:
    out = io.BytesIO()
    out.write(csv_lines([(LOAD_DATE, *first.columns)]))
    for chunk in _all(first, rest):
        harmless = without_formulas(chunk.types, chunk.rows)
        out.write(csv_lines([str(chunk.load_date), *row] for row in harmless))
    return out.getvalue()


def _all(first: Breakdown, rest: Iterator[Breakdown]) -> Iterator[Breakdown]:
    yield first
    yield from rest


def _typed(format_: str, kpi: KpiState, point: Point, first: Breakdown, rest: Iterator[Breakdown]) -> bytes:
    pa = _pyarrow()
    # The texts of PostgreSQL, packed: a part of the rows at a time are objects of Python.
    packed: list[list[Any]] = [[] for _ in first.columns]
    count = 0
    for chunk in _all(first, rest):
        count += len(chunk.rows)
        for column, values in zip(packed, zip(*chunk.rows, strict=True), strict=False):
            column.append(pa.array(values, pa.string()))
    days = pa.array([point.load_date], pa.date32()).take(pa.array([0] * count, pa.int32()))
    fields, arrays = [pa.field(LOAD_DATE, pa.date32(), nullable=False)], [days]
    for name, type_, parts in zip(first.columns, first.types, packed, strict=True):
        values = typed(pa, type_, pa.chunked_array(parts, pa.string()))
        description = kpi.table.header.columns[name].description if name in kpi.table.header.columns else ""
        fields.append(pa.field(name, values.type, metadata={"description": description, "type": type_}))
        arrays.append(values)
    table = pa.table(arrays, schema=pa.schema(fields, metadata=_metadata(kpi, point)))
    out = io.BytesIO()
    if format_ == "parquet":
        importlib.import_module("pyarrow.parquet").write_table(table, out)
    else:
        with importlib.import_module("pyarrow.ipc").new_stream(out, table.schema) as stream:
            stream.write_table(table)
    return out.getvalue()


def _metadata(kpi: KpiState, point: Point) -> Mapping[str, str]:
    return {
        "kpi": kpi.id,
        "load_date": str(point.load_date),
        "publish_id": str(point.publish_id),
        "published_at": point.published_at.isoformat(),
        "gate": kpi.gate,
        "code_version": point.code_version,
        "waived": exact.write(waived_of(point)),
        **finality_of(kpi, point),
    }


def typed(pa: Any, type_: str, texts: Any) -> Any:
    """Return the texts of PostgreSQL as values of Arrow.

    A column with a value that Arrow's type has not, such as a numeric NaN or the date infinity, stays text as a whole:
    no value is rounded or left out. Its field names the type of PostgreSQL.
    """
    wanted = arrow_type(pa, type_, texts)
    if wanted is None:
        return texts
    try:
        return texts.cast(wanted)
    except pa.ArrowInvalid:
        return texts


def arrow_type(pa: Any, type_: str, texts: Any) -> Any:
    """Return the type of Arrow for one of PostgreSQL; None for those that stay text, such as a time of day."""
    base = base_of(type_)
    if base == "numeric":
        return _decimal(pa, type_, texts)
    plain = {
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "real": pa.float32(),
        "double precision": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp without time zone": pa.timestamp("us"),
        "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    }
    return plain.get(base)


def _decimal(pa: Any, type_: str, texts: Any) -> Any:
    """Return the decimal type of numeric(p,s), and of numeric the one that is wide enough for the values."""
    if "(" in type_:
        digits, scale = map(int, type_[type_.index("(") + 1 : -1].split(","))
    else:
        whole, scale = _widths(texts)
        digits = max(whole + scale, 1)
    if digits > _WIDEST:
        return None
    return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)


def _widths(texts: Any) -> tuple[int, int]:
    """Return the most digits before and behind the point."""
    whole = scale = 0
    for chunk in texts.chunks:
        for text in chunk.to_pylist():
            if text is not None:
                before, _, behind = text.lstrip("-").partition(".")
                whole, scale = max(whole, len(before)), max(scale, len(behind))
    return whole, scale
