"""Parquet: its types fit the columns or the object is held, each value arrives as it is, and row groups are sliced."""

import datetime as dt
import io
import json
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kpi_assets.errors import UserError
from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.model import written
from kpi_assets.sources.formats.parquet import object as parquet_object
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS, PipelineHarness, failed

KEY = f"raw/things/load_date={DAY}/things.parquet"
URL = "s3://{}/" + KEY
RAW = RAW_THINGS.replace("things.csv\n  format: csv", "things.parquet\n  format: parquet").replace(
    "columns:", "quarantine: {rows: 9}\ncolumns:"
)
WIDE = """\
/* @asset
description: A column of each type.
owner: team:tests
grain: [n]
source:
  object: raw/things/load_date={{load_date}}/things.parquet
  format: parquet
quarantine: {{rows: 9}}
columns:
  n: {{type: integer, description: "Number, from 1."}}
{columns}
@end */
"""
UTC = dt.timezone.utc
SUMMER = dt.datetime(2025, 7, 1, 23, 30, 0, 123456, tzinfo=UTC)


def parquet(columns: Mapping[str, Any], **options: Any) -> bytes:
    """Return a Parquet file; a column is an Arrow array or a list."""
    table = pa.table(
        {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    )
    body = io.BytesIO()
    pq.write_table(table, body, **options)
    return body.getvalue()


def things(**changes: Any) -> dict[str, Any]:
    weight = pa.array([Decimal("20.50"), None], pa.decimal128(6, 2))
    return {"thing_id": [1, 2], "name": ["anvil", "feather"], "weight": weight, **changes}


def load(lab: PipelineHarness, body: bytes) -> BuildOutcome:
    """Land the object, verify it, and build its table."""
    lab.put(KEY, body)
    verified = lab.verify("raw.things")
    assert not verified.held, verified.results
    return lab.build("raw.things")


def problem(lab: PipelineHarness, body: bytes) -> str:
    """Return why an object is held before it is read."""
    lab.put(KEY, body)
    verified = lab.verify("raw.things")
    return failed(verified.results)["header"].message.removeprefix(URL.format(lab.bucket) + ": ")


def of_type(lab: PipelineHarness, type_: str, values: pa.Array) -> BuildOutcome:
    """Load one column of a type besides its number."""
    lab.file("raw/things.sql", WIDE.format(columns=f'  v: {{type: "{type_}", description: Value.}}'))
    return load(lab, parquet({"n": list(range(1, len(values) + 1)), "v": values}))


LOCAL = dt.datetime(2025, 7, 1, 1, 2, 3, 400000)  # noqa: DTZ001  without time zone
ACCEPTED: Sequence[tuple[str, pa.Array, list[Any]]] = [
    ("smallint", pa.array([-32768, None, 7], pa.int16()), [-32768, None, 7]),
    ("integer", pa.array([1, 2, 2147483647], pa.int64()), [1, 2, 2147483647]),
    ("bigint", pa.array([9223372036854775807, 0], pa.uint64()), [9223372036854775807, 0]),
    ("numeric", pa.array([18446744073709551615], pa.uint64()), [Decimal(18446744073709551615)]),
    ("numeric(6,2)", pa.array([Decimal("1.5"), None], pa.decimal128(5, 1)), [Decimal("1.50"), None]),
    ("numeric", pa.array([Decimal("1.230")], pa.decimal256(50, 3)), [Decimal("1.230")]),
    ("double precision", pa.array([0.1, 1e-300, None, -0.0], pa.float64()), [0.1, 1e-300, None, -0.0]),
    ("double precision", pa.array([0.1, None], pa.float32()), [0.10000000149011612, None]),
    ("real", pa.array([0.1, 3.4e38], pa.float32()), [0.1, 3.4e38]),
    ("boolean", pa.array([True, False, None]), [True, False, None]),
    (
        "text",
        pa.array(["", None, 'a "b", c', "d\ne\\.", "ü🙂", "\\N"]),
        ["", None, 'a "b", c', "d\ne\\.", "ü🙂", "\\N"],
    ),
    ("text", pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
    ("text", pa.array(["größe".encode()], pa.binary()), ["größe"]),
    ("text", pa.array([None, None], pa.null()), [None, None]),
    ("date", pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31)]), [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    (
        "timestamp without time zone",
        pa.array([LOCAL], pa.timestamp("ns")),
        [LOCAL],
    ),
    ("timestamp with time zone", pa.array([SUMMER], pa.timestamp("us", "Europe/Berlin")), [SUMMER]),
    (
        "timestamp with time zone",
        pa.array([SUMMER.replace(microsecond=0)], pa.timestamp("s", "UTC")),
        [SUMMER.replace(microsecond=0)],
    ),
    ("uuid", pa.array(["0e37df36-f698-11e6-8dd4-cb9ced3df976"]), ["0e37df36-f698-11e6-8dd4-cb9ced3df976"]),
    ("jsonb", pa.array(['{"a": [1, null]}', None]), [{"a": [1, None]}, None]),
]


@pytest.mark.parametrize(
    ("type_", "values", "read"), few(7, ACCEPTED), ids=[f"{t} from {v.type}" for t, v, _ in ACCEPTED]
)
def test_values_arrive_as_they_are(lab: PipelineHarness, type_: str, values: pa.Array, read: list[Any]) -> None:
    outcome = of_type(lab, type_, values)
    assert (outcome.held, outcome.rows) == (False, len(read))
    as_read = "v::text" if type_ == "uuid" else "v"
    assert [value for (value,) in lab.rows(f"select {as_read} from raw.things order by n")] == read


@pytest.mark.parametrize(
    ("type_", "values", "read"), few(4, ACCEPTED), ids=[f"{t} from {v.type}" for t, v, _ in ACCEPTED]
)
def test_a_text_beside_them_changes_no_value(
    lab: PipelineHarness, type_: str, values: pa.Array, read: list[Any]
) -> None:
    """Rows of numbers and dates alone are given to COPY in another format than rows with a text."""
    words = [f'  v: {{type: "{type_}", description: Value.}}', "  t: {type: text, description: Text.}"]
    lab.file("raw/things.sql", WIDE.format(columns="\n".join(words)))
    numbers = list(range(1, len(values) + 1))
    assert not load(lab, parquet({"n": numbers, "v": values, "t": pa.array(["x"] * len(values))})).held
    as_read = "v::text" if type_ == "uuid" else "v"
    assert [value for (value,) in lab.rows(f"select {as_read} from raw.things order by n")] == read


REFUSED: Sequence[tuple[str, pa.Array, str]] = [
    ("integer", pa.array([1.0]), "is double, not integer: declare it as double precision, and cast it in staging"),
    ("real", pa.array([0.1]), "is double, not real: declare it as double precision, and cast it in staging"),
    ("integer", pa.array(["1"]), "is string, not integer: declare it as text, and cast it in staging"),
    ("text", pa.array([1]), "is int64, not text: declare it as bigint, and cast it in staging"),
    (
        "numeric(6,2)",
        pa.array([0.1]),
        "is double, not numeric(6,2): declare it as double precision, and cast it in staging",
    ),
    (
        "numeric(6,1)",
        pa.array([Decimal("1.25")]),
        "is decimal128(3, 2), whose decimals numeric(6,1) would round: declare numeric with 2 decimals, or round",
    ),
    (
        "numeric(6,1)[]",
        pa.array([[Decimal("1.25")]]),
        "is list<element: decimal128(3, 2)>, whose decimals numeric(6,1)[] would round: declare numeric[], and round "
        "it in staging",
    ),
    (
        "timestamp with time zone",
        pa.array([LOCAL]),
        "is timestamp[us], not timestamp with time zone: declare it as timestamp without time zone, and cast it in "
        "staging",
    ),
    ("date", pa.array(["2025-01-01"]), "is string, not date: declare it as text, and cast it in staging"),
    (
        "jsonb",
        pa.array([{"a": 1}]),
        "is struct<a: int64>, which no column can hold: write its parts as columns of their own, or as a text of JSON",
    ),
]


@pytest.mark.parametrize(("type_", "values", "why"), few(4, REFUSED), ids=[f"{t} from {v.type}" for t, v, _ in REFUSED])
def test_other_types_than_declared_hold_the_object(
    lab: PipelineHarness, type_: str, values: pa.Array, why: str
) -> None:
    lab.file("raw/things.sql", WIDE.format(columns=f'  v: {{type: "{type_}", description: Value.}}'))
    assert problem(lab, parquet({"n": [1], "v": values})) == f"its column 'v' {why}"


BAD: Sequence[tuple[str, pa.Array, str | None, str]] = [
    ("double precision", pa.array([1.0, float("nan")]), "nan", written.problem("double precision", "nan") or ""),
    ("real", pa.array([1, float("-inf")], pa.float32()), "-inf", written.problem("real", "-inf") or ""),
    ("date", pa.array([0, -1_000_000], pa.date32()), "-0768-02-04", written.problem("date", "-0768-02-04") or ""),
    (
        "timestamp without time zone",
        pa.array([0, 1], pa.timestamp("ns")),
        "1970-01-01 00:00:00.000000001",
        written.problem("timestamp without time zone", "1970-01-01 00:00:00.000000001") or "",
    ),
    ("smallint", pa.array([1, 40_000]), "40000", 'value "40000" is out of range for type smallint'),
    ("text", pa.array(["a", "b\0c"]), None, "it contains a NUL byte"),
    ("text", pa.array([b"a", b"\xff"]), None, "its column 'v' is not UTF-8"),
    ("jsonb", pa.array(["{}", "{"]), "{", "invalid input syntax for type json"),
]


@pytest.mark.parametrize(("type_", "values", "value", "reason"), few(4, BAD), ids=[f"{t} {v!r}" for t, _, v, _ in BAD])
def test_a_value_that_does_not_fit_is_set_aside_and_its_neighbors_load(
    lab: PipelineHarness, type_: str, values: pa.Array, value: str | None, reason: str
) -> None:
    outcome = of_type(lab, type_, values)
    assert (outcome.held, outcome.rows) == (False, 1)
    assert lab.rows("select n from raw.things") == [(1,)]
    [found] = lab.rows("select line, column_name, value, reason, record from ops.quarantine")
    assert found[:4] == (2, "v" if value else None, value, reason)
    assert json.loads(found[4])["n"] == "2"


def test_columns_may_have_any_order_but_all_must_be_there(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW)
    assert not load(lab, parquet(dict(reversed(things().items())))).held
    assert lab.rows("select * from raw.things order by 2") == [
        (DAY, 1, "anvil", Decimal("20.50")),
        (DAY, 2, "feather", None),
    ]
    other = things(height=[1, 2])
    del other["name"]
    assert problem(lab, parquet(other)) == (
        "its columns are thing_id, weight, height, not thing_id, name, weight (missing 'name'; unknown 'height')"
    )


def test_what_is_no_parquet_is_named(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW)
    whole = parquet(things())
    assert (
        problem(lab, b"thing_id,name,weight\n1,a,\n")
        == "it does not begin as Parquet does: land the Parquet file itself"
    )
    assert problem(lab, b"\x1f\x8b" + whole).startswith("it is a gzip file, not Parquet: ")
    assert (
        problem(lab, whole[:-9]) == "it does not end as Parquet does, so it was cut off: land it again from its source"
    )
    for footer in (b"\xff\xff\xff\x7fPAR1", b"\x09\x00\x00\x00PAR1"):
        broken = problem(lab, whole[:-8] + footer)
        assert broken.startswith("its footer cannot be read (")
        assert broken.endswith("): land it again from its source")


def test_a_name_that_is_not_utf8_is_named(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", WIDE.format(columns="  v: {type: bigint, description: Value.}"))
    body = parquet({"n": [1], "größe": [1]}, store_schema=False).replace("größe".encode(), b"gr\xff\xfe\xfd\xfce")
    assert "its footer cannot be read ('utf-8' codec can't decode byte 0xff in position 2" in problem(lab, body)


def test_a_broken_row_group_holds_the_load_date(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW)
    count = 50_000
    body = bytearray(
        parquet(
            things(
                thing_id=list(range(count)),
                name=[f"n{n}" for n in range(count)],
                weight=pa.nulls(count, pa.decimal128(6, 2)),
            ),
            compression="zstd",
            row_group_size=25_000,
        )
    )
    body[len(body) // 2 : len(body) // 2 + 4000] = bytes(4000)
    outcome = load(lab, bytes(body))
    assert outcome.held
    [message] = [result.message for result in outcome.results if not result.passed and result.name == "rows_accounted"]
    assert message.startswith(f"{URL.format(lab.bucket)}: its row group ")
    assert message.endswith("): land it again from its source")


def test_no_object_is_read_without_the_library(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.file("raw/things.sql", RAW)
    lab.put(KEY, parquet(things()))
    monkeypatch.delitem(sys.modules, "kpi_assets.sources.formats.parquet.object")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in [name for name in sys.modules if name.startswith("kpi_assets.sources.formats.parquet.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError) as caught:
        lab.verify("raw.things")
    assert str(caught.value) == (
        "raw.things reads Parquet, and the package pyarrow is not installed: install kpi_assets with its extra, as in "
        "pip install 'kpi_assets[parquet]'."
    )


WORDS = """\
/* @asset
description: Things with the words of files.
owner: team:tests
grain: [n]
source:
  object: raw/things/load_date={load_date}/things.parquet
  format: parquet
  extra: EXTRA
  object_key: origin
POSITION
quarantine: {rows: 9}
columns:
  n: {type: integer, field: "No.", description: Number.}
  weight: {type: "numeric(6,1)", round: half_even, description: Weight.}
  share: {type: double precision, allow: [nan], description: Share.}
  color: {type: text, since: 2025-03-02, description: Color.}
  note: {type: text, optional: true, description: Note.}
@end */
"""
WORDED = {
    "No.": [1, 2, 3],
    "weight": pa.array([Decimal("0.25"), Decimal("0.35"), None], pa.decimal128(6, 2)),
    "share": [0.5, float("nan"), None],
    "Height": [7, None, 9],
    "day": pa.array([dt.date(2025, 1, 2)] * 3),
}


@pytest.mark.parametrize("bad", few(1, [False, True]))
@pytest.mark.parametrize("extra", ["ignore", "keep"])
def test_the_words_of_files_apply_to_parquet(lab: PipelineHarness, extra: str, bad: bool) -> None:
    """A bad row makes the object be read row by row, with the same result for the others."""
    lab.file("raw/things.sql", WORDS.replace("EXTRA", extra).replace("POSITION", "  position: row_number"))
    more = [float("inf")] if bad else []
    columns = {**WORDED, "share": [0.5, float("nan"), None, *more]}
    if bad:
        columns = {name: pa.concat_arrays([pa.array(v), pa.array(v)[:1]]) for name, v in WORDED.items()}
        columns |= {"No.": [1, 2, 3, 4], "share": [0.5, float("nan"), None, float("inf")]}
    outcome = load(lab, parquet(columns))
    assert (outcome.held, outcome.rows) == (False, 3)
    kept = "extra_fields" if extra == "keep" else "null"
    rows = lab.rows(
        f"select n, weight, share::text, color, note, row_number, origin, {kept} from raw.things order by n"
    )
    fields = [{"Height": height, "day": "2025-01-02"} if extra == "keep" else None for height in ("7", None, "9")]
    assert rows == [
        (1, Decimal("0.2"), "0.5", None, None, 1, KEY, fields[0]),
        (2, Decimal("0.4"), "NaN", None, None, 2, KEY, fields[1]),
        (3, None, None, None, None, 3, KEY, fields[2]),
    ]
    assert lab.rows("select line, column_name, value from ops.quarantine") == ([(4, "share", "inf")] if bad else [])


def test_a_column_that_is_due_later_or_not_at_all_is_told(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", WORDS.replace("EXTRA", "hold").replace("POSITION", ""))
    known = {name: WORDED[name] for name in ("No.", "weight", "share")}
    assert problem(lab, parquet({**known, "color": ["red"] * 3})) == (
        "it has the column 'color' before 2025-03-02, from which day on it should: correct since"
    )
    assert problem(lab, parquet({**known, "Height": [1, 2, 3]})) == (
        "its columns are No., weight, share, Height, not No., weight, share, note (unknown 'Height')"
    )
    lab.file("raw/things.sql", WORDS.replace("EXTRA", "keep").replace("POSITION", ""))
    assert problem(lab, parquet({**known, "parts": [{"a": 1}] * 3})) == (
        "its column 'parts' is struct<a: int64>, which cannot be kept as text: write extra: ignore"
    )
    lab.put(
        KEY.replace(str(DAY), str(NEXT)), parquet({**known, "color": ["red", None, "blue"], "note": ["a", "b", "c"]})
    )
    assert not lab.verify("raw.things", NEXT).held
    assert not lab.build("raw.things", NEXT).held
    assert lab.rows("select n, color, note from raw.things order by n") == [
        (1, "red", "a"),
        (2, None, "b"),
        (3, "blue", "c"),
    ]


LINES = """\
/* @asset
description: Lines of orders.
owner: team:tests
grain: [order_id, line]
storage: partitions
source:
  object: raw/lines/load_date={load_date}/lines.FORMAT
  format: FORMAT
columns:
  order_id: {type: integer, description: Order.}
  line: {type: smallint, description: "Line of the order, from 1."}
  note: {type: text, description: Any text.}
@end */
"""
ORDERS = 3_000


def _lines(groups: Sequence[Sequence[int]], **options: Any) -> bytes:
    """Return a Parquet file with a row group for each list of orders, which have three lines each."""
    body = io.BytesIO()
    schema = pa.schema({"order_id": pa.int32(), "line": pa.int16(), "note": pa.string()})
    with pq.ParquetWriter(body, schema, **options) as writer:
        for orders in groups:
            rows = [(order, line, None if order % 7 else f"note {order}") for order in orders for line in (1, 2, 3)]
            columns = list(zip(*rows, strict=True))
            writer.write_table(pa.table(columns, schema=schema) if rows else schema.empty_table())
    return body.getvalue()


def _checksum(lab: PipelineHarness, kind: str, body: bytes, **changes: Any) -> tuple[str, list[tuple[Any, ...]]]:
    """Build the lines from an object of a format, and return the checksum and the partitions of the load_date."""
    lab.file("raw/lines.sql", LINES.replace("FORMAT", kind))
    lab.put(f"raw/lines/load_date={DAY}/lines.{kind}", body)
    assert not lab.verify("raw.lines").held
    outcome = lab.build("raw.lines", **changes)
    assert (outcome.held, outcome.rows) == (False, 3 * ORDERS)
    slices = lab.rows(
        "select min(order_id), max(order_id) from raw.lines where load_date = '2025-03-01' group by tableoid order by 1"
    )
    return outcome.checksum, slices


def test_row_groups_are_sliced_in_the_order_of_their_keys(lab: PipelineHarness) -> None:
    text = "order_id,line,note\n" + "".join(
        f"{order},{line},{'' if order % 7 else f'note {order}'}\n" for order in range(ORDERS) for line in (1, 2, 3)
    )
    checksum, _ = _checksum(lab, "csv", text.encode())
    thousands = [range(1000), range(1000, 2000), range(2000, 3000)]
    four = {"writers": 2}
    rising = _lines(thousands)
    four["slice_bytes"] = ORDERS * 3 * 3 * 5 // 4 + 1
    assert _checksum(lab, "parquet", rising) == (checksum, [(0, 2999)])
    quarters = [(0, 749), (750, 1499), (1500, 2249), (2250, 2999)]
    found, slices = _checksum(lab, "parquet", rising, **four)
    assert (found, [low for low, _ in slices]) == (checksum, [0, *(slices[n][1] + 1 for n in range(3))])
    assert len(slices) == len(quarters)
    # The groups are in no order, and their keys do not overlap.
    found, slices = _checksum(lab, "parquet", _lines(thousands[::-1]), **four)
    assert (found, len(slices)) == (checksum, 4)
    # Without statistics, or with keys in no order at all, it is one part.
    assert _checksum(lab, "parquet", _lines(thousands[::-1], write_statistics=False), **four) == (checksum, [(0, 2999)])
    mixed = [*range(0, ORDERS, 2), *range(1, ORDERS, 2)]
    assert _checksum(lab, "parquet", _lines([mixed]), **four) == (checksum, [(0, 2999)])


def test_batches_are_small_whatever_the_row_groups_are(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_object, "BATCH", 5_000)
    sizes: list[int] = []
    batches = parquet_object.ParquetObject.batches

    def watched(self: parquet_object.ParquetObject, start: int, end: int) -> Any:
        for batch in batches(self, start, end):
            sizes.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(parquet_object.ParquetObject, "batches", watched)
    _checksum(lab, "parquet", _lines([range(ORDERS)]))
    assert sum(sizes) == 3 * ORDERS
    assert max(sizes) < 2_000


def test_each_load_date_has_its_own_object(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW)
    assert not load(lab, parquet(things())).held
    lab.put(KEY.replace(str(DAY), str(NEXT)), parquet(things(thing_id=[3, 4])))
    assert not lab.verify("raw.things", NEXT).held
    assert not lab.build("raw.things", NEXT).held
    assert lab.rows("select load_date, thing_id from raw.things order by 1, 2") == [
        (DAY, 1),
        (DAY, 2),
        (NEXT, 3),
        (NEXT, 4),
    ]
