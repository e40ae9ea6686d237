"""An engine loads of a Parquet object what Postgres loads of it, and none where Postgres would set rows aside."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg import Connection, sql

from kpi_assets.embedded.stack import Stack
from kpi_assets.lake.raw_parquet import RawParquet
from kpi_assets.model.records import BadRecord
from kpi_assets.model.table import Table
from kpi_assets.sources.formats import format_of
from kpi_assets.sources.formats.parquet.object import ParquetObject
from kpi_assets.warehouse import candidates, quarantine
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets_tests.lake.raw_objects import table_text
from kpi_assets_tests.model.portable.spark import OnSpark
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

pytestmark = pytest.mark.nightly
KEY = f"raw/t/{DAY}.parquet"
TYPES = {
    "k": "integer",
    "s": "smallint",
    "n": '"numeric(6,2)"',
    "f": "boolean",
    "d": "date",
    "m": "timestamp",
    "t": "text",
}
at = datetime  # without a time zone, as the column is
COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "k": (pa.int64(), [1, 2, 2**31 - 1, 4, 5, 6, 7, 8]),
    "s": (pa.int32(), [1, None, 3, 32_767, -32_768, 6, 7, 8]),
    "n": (pa.decimal128(20, 1), [*map(Decimal, ("1.5", "0", "-9999.9", "0.0", "9999.9")), None, None, None]),
    "f": (pa.bool_(), [True, False, None, True, True, False, None, None]),
    "d": (pa.date32(), [date(2025, 1, 31), date(1, 1, 1), date(9999, 12, 31), None, None, None, None, None]),
    "m": (pa.timestamp("us"), [at(2025, 1, 31, 23, 59, 59, 1), at(1, 1, 1), None, at(9999, 12, 31), *[None] * 4]),
    "t": (pa.string(), ["a", "é\n\"", None, "", " x ", "a'b", "\\N", "NULL"]),
    "more": (pa.float64(), [float("nan")] * 8),
}  # fmt: skip


@pytest.fixture(scope="module")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    """A pipeline with a raw table of Parquet."""
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("parquet")) as lab:
        text = table_text(TYPES, ", extra: ignore, object_key: o")
        lab.file("raw/t.sql", text.replace(".csv", ".parquet").replace("format: csv", "format: parquet"))
        lab.prepared()
        yield lab


@pytest.fixture(scope="module")
def spark() -> Iterator[OnSpark]:
    """An engine."""
    with OnSpark.open() as running:
        yield running


def written(columns: dict[str, tuple[pa.DataType, list[Any]]]) -> bytes:
    """Return a Parquet object with row groups of 3 rows."""
    target = io.BytesIO()
    arrays = {name: pa.array(values, type_) for name, (type_, values) in columns.items()}
    pq.write_table(pa.table(arrays), target, row_group_size=3)
    return target.getvalue()


def opened(lab: PipelineHarness, table: Table, data: bytes) -> ParquetObject:
    """Return an object on S3 whose rows can be read."""
    lab.put(KEY, data)
    manifest = lab.store.manifest("t", DAY, KEY)
    assert manifest is not None
    found = format_of(table).open(lab.store, manifest, table, DAY)
    assert isinstance(found, ParquetObject)
    assert found.problem == ""
    found.prepare(lambda _done: None)
    return found


def on_postgres(session: Connection[Any], table: Table, of: ParquetObject) -> tuple[list[Any], list[BadRecord]]:
    """Load an object as a build does, and take it back."""
    candidate = Candidate(table, DAY, 1)
    with session.transaction(force_rollback=True):
        candidates.create_empty(session, candidate)
        placed = (replace(each, position=each.line, object_key=KEY) for each in of.records())
        result = quarantine.load_readable(session, candidate, placed)
        names = sql.SQL(", ").join(map(sql.Identifier, table.types))
        return session.execute(sql.SQL("select {} from {}").format(names, candidate.name)).fetchall(), result.samples


def raw_of(table: Table, of: ParquetObject, path: Path) -> RawParquet:
    """Return how an engine reads an object."""
    filled = {each.column: each.name for each in of.layout.filled}
    return RawParquet(table, filled, f"file://{path}", KEY, of.size)


# Values beside 8 good rows that no column holds, in the last row.
BAD: dict[str, Any] = {
    "k": 2**31,
    "s": 40_000,
    "n": Decimal("10000.0"),
    "d": pa.scalar(2_932_897, pa.date32()),  # the first day of the year 10000
    "m": pa.scalar(253_402_300_800_000_000, pa.timestamp("us")),
    "t": "a\x00b",
}


@pytest.mark.parametrize("name", ["", *BAD])
def test_all_rows_are_loaded_or_none(lab: PipelineHarness, spark: OnSpark, tmp_path: Path, name: str) -> None:
    columns = dict(COLUMNS)
    if name:
        type_, values = columns[name]
        columns[name] = (type_, [*values[:-1], BAD[name]])
    table, data, path = lab.pipeline().table("raw.t"), written(columns), tmp_path / "object.parquet"
    path.write_bytes(data)
    with opened(lab, table, data) as of, lab.session() as session:
        rows, bad = on_postgres(session, table, of)
        raw = raw_of(table, of, path)
        [(records, misfits)] = spark.all_rows(raw.count())
        assert (records, misfits) == (8, len(bad)) == (8, int(bool(name)))
        assert (raw.problem(records, misfits) == "") is not bool(name)
        if not name:
            assert sorted(map(repr, spark.all_rows(raw.rows()))) == sorted(map(repr, rows))


def test_an_object_of_which_rows_are_missing_is_not_loaded(
    lab: PipelineHarness, spark: OnSpark, tmp_path: Path
) -> None:
    table, data, path = lab.pipeline().table("raw.t"), written(COLUMNS), tmp_path / "object.parquet"
    path.write_bytes(written({name: (type_, values[:5]) for name, (type_, values) in COLUMNS.items()}))
    with opened(lab, table, data) as of:
        raw = raw_of(table, of, path)
        [(records, misfits)] = spark.all_rows(raw.count())
        assert raw.problem(records, misfits) == (
            "the engine read 5 records, and the footer of the object says 8: build it again"
        )
        assert "passes over" in replace(raw, object_key="raw/_t.parquet").refusal()
