"""The way of a result into Postgres: every value arrives as it was, and too many rows are refused."""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from kpi_assets.lake.rows import OPTIONS, TooManyRowsError, csv_blocks
from kpi_assets_tests.pipeline_harness import PipelineHarness

ROWS: dict[str, list[object]] = {
    "id": [1, -9223372036854775808, None],
    "name": ["a,\"b\"\n'c'\\.", "", None],
    "amount": [Decimal("-1.50"), Decimal("0.00"), None],
    "day": [date(1, 1, 1), date(9999, 12, 31), None],
    "at": [datetime.fromisoformat("2025-01-31 12:30:00.000001"), datetime.fromisoformat("0001-01-01"), None],
    "ok": [True, False, None],
}
TYPES = {
    "id": pa.int64(),
    "name": pa.string(),
    "amount": pa.decimal128(10, 2),
    "day": pa.date32(),
    "at": pa.timestamp("us"),
    "ok": pa.bool_(),
}


def _batches() -> Iterator[pa.Table]:
    for number in range(3):
        yield pa.table({name: pa.array([values[number]], TYPES[name]) for name, values in ROWS.items()})


def test_every_value_arrives_as_it_was(lab: PipelineHarness) -> None:
    lab.prepared()
    with lab.session() as session, session.cursor() as cursor:
        session.execute(
            "create temporary table t (id bigint, name text, amount numeric(10,2), day date, at timestamp, ok boolean)"
        )
        done: list[int] = []
        with cursor.copy(f"copy pg_temp.t from stdin with ({OPTIONS}, encoding 'UTF8')".encode()) as copy:
            for block in csv_blocks(_batches(), 3, "a table", done.append):
                copy.write(block)
        found = session.execute("select * from pg_temp.t").fetchall()
    assert found == [*zip(*ROWS.values(), strict=True)]
    assert done == [1, 2, 3]


def test_too_many_rows_are_refused_before_they_are_sent() -> None:
    blocks = csv_blocks(_batches(), 2, "marts/sums.sql: marts.sums")
    assert len([next(blocks), next(blocks)]) == 2
    with pytest.raises(TooManyRowsError, match=r"^marts/sums.sql: marts.sums has more than 2 rows, which one client"):
        next(blocks)
