"""Rows as files: what a spreadsheet reads, and columns with types that hold every digit."""

import io
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.read.breakdown import Breakdown
from kpi_assets.surface.answer import Problem
from kpi_assets.surface.api import files
from kpi_assets.surface.api.files import check_there, name_of, write
from kpi_assets_tests.surface.api.made import DAY, point, state, values

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TYPES = {
    "i": "integer",
    "n": "numeric(12,6)",
    "wide": "numeric(50,2)",
    "bare": "numeric",
    "f": "double precision",
    "b": "boolean",
    "d": "date",
    "t": "timestamp with time zone",
    "clock": "time without time zone",
    "s": "text",
    "list": "integer[]",
}
ROW = ["7", "9.950000", "1234567890123456789012345678901234567890.25", "-0.12", "1e+20", "true", "2025-03-01"]
ROW += ["2025-03-01 08:00:00.25+00", "23:59:59.5", "=1+1", "{1,2}"]
SECOND = ["-7", "0.000001", "0.00", "1234.5", "-0.5", "false", "1970-01-01", "2025-03-01 00:00:00+00", "00:00:00"]
SECOND += ['a "quoted", text', "{}"]


def breakdown(rows: Sequence[Sequence[str | None]], types: dict[str, str] = TYPES) -> Breakdown:
    return Breakdown(DAY, 12, [*types], [*types.values()], rows, len(rows), 0)


def parts(*rows: Sequence[str | None]) -> tuple[Breakdown, Iterator[Breakdown]]:
    first, *rest = [breakdown([row]) for row in rows]
    return first, iter(rest)


def written(tmp_path: Path, style: str, *rows: Sequence[str | None]) -> bytes:
    kpi = state(tmp_path, point(DAY, 12, values("1")))
    assert kpi.latest
    return write(style, kpi, kpi.latest, *parts(*rows))


def table(tmp_path: Path, style: str, *rows: Sequence[str | None]) -> Any:
    content = io.BytesIO(written(tmp_path, style, *rows))
    return parquet.read_table(content) if style == "parquet" else pa.ipc.open_stream(content).read_all()


@pytest.mark.parametrize("style", ["parquet", "arrow"])
def test_columns_have_types_that_hold_every_digit(tmp_path: Path, style: str) -> None:
    found = table(tmp_path, style, ROW, SECOND, [None] * len(ROW))
    assert [str(field.type) for field in found.schema] == [
        "date32[day]",
        "int32",
        "decimal128(12, 6)",
        "decimal256(50, 2)",
        "decimal128(6, 2)",
        "double",
        "bool",
        "date32[day]",
        "timestamp[us, tz=UTC]",
        "string",
        "string",
        "string",
    ]
    first, second, third = found.to_pylist()
    assert first == {
        "load_date": DAY,
        "i": 7,
        "n": Decimal("9.950000"),
        "wide": Decimal("1234567890123456789012345678901234567890.25"),
        "bare": Decimal("-0.12"),
        "f": 1e20,
        "b": True,
        "d": date(2025, 3, 1),
        "t": datetime(2025, 3, 1, 8, 0, 0, 250_000, tzinfo=timezone.utc),
        "clock": "23:59:59.5",
        "s": "=1+1",
        "list": "{1,2}",
    }
    assert (second["bare"], second["s"]) == (Decimal("1234.50"), 'a "quoted", text')
    assert third == {"load_date": DAY, **dict.fromkeys(TYPES)}


def test_a_file_names_its_publish_and_the_types_of_postgres(tmp_path: Path) -> None:
    schema = table(tmp_path, "parquet", ROW).schema
    assert {name.decode(): value.decode() for name, value in schema.metadata.items()} == {
        "kpi": "shop/heavy",
        "load_date": "2025-03-02",
        "publish_id": "12",
        "published_at": "2025-03-03T08:00:00+00:00",
        "gate": "published",
        "code_version": "0123456789abcdef",
        "waived": "[]",
    }
    assert schema.field("n").metadata == {b"description": b"", b"type": b"numeric(12,6)", **_numbered(schema, "n")}


def _numbered(schema: Any, name: str) -> dict[bytes, bytes]:
    """Return what Parquet itself adds to a column."""
    return {key: value for key, value in schema.field(name).metadata.items() if key == b"PARQUET:field_id"}


@pytest.mark.parametrize(
    ("type_", "text"),
    [("numeric(12,6)", "NaN"), ("date", "infinity"), ("numeric", "-Infinity"), ("date", "0044-03-15 BC")],
)
def test_a_column_with_a_value_that_arrow_has_not_stays_text(type_: str, text: str) -> None:
    texts = pa.chunked_array([pa.array([text, None])])
    assert files.typed(pa, type_, texts).to_pylist() == [text, None]


def test_no_rows_are_a_file_with_columns(tmp_path: Path) -> None:
    kpi = state(tmp_path, point(DAY, 12, values("1")))
    assert kpi.latest
    content = write("parquet", kpi, kpi.latest, breakdown([]), iter(()))
    assert parquet.read_table(io.BytesIO(content)).column_names == ["load_date", *TYPES]
    assert write("csv", kpi, kpi.latest, breakdown([]), iter(())).decode() == ",".join(["load_date", *TYPES]) + "\r\n"


def test_a_spreadsheet_executes_nothing(tmp_path: Path) -> None:
    found = written(tmp_path, "csv", ROW, SECOND)
    assert found.decode().splitlines() == [
        "load_date,i,n,wide,bare,f,b,d,t,clock,s,list",
        "2025-03-02,7,9.950000,1234567890123456789012345678901234567890.25,-0.12,1e+20,true,2025-03-01,"
        '2025-03-01 08:00:00.25+00,23:59:59.5,\'=1+1,"{1,2}"',
        "2025-03-02,-7,0.000001,0.00,1234.5,-0.5,false,1970-01-01,2025-03-01 00:00:00+00,00:00:00,"
        '"a ""quoted"", text",{}',
    ]


def test_the_name_of_a_file(tmp_path: Path) -> None:
    kpi = state(tmp_path, point(DAY, 12, values("1")))
    assert kpi.latest
    assert [name_of(kpi, kpi.latest, style) for style in ("csv", "arrow")] == [
        "shop_heavy_2025-03-02.csv",
        "shop_heavy_2025-03-02.arrows",
    ]


def test_without_pyarrow_there_are_csv_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_pyarrow", lambda: None)
    check_there("csv")
    check_there("json")
    with pytest.raises(Problem) as found:
        check_there("parquet")
    assert found.value.status == 501
    assert found.value.title == "This server cannot write parquet: pyarrow is not installed beside it."
