"""The rows behind a number: filtered by dimensions, in order, in pages, and the same as `kpi show` prints."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UsageError, UserError
from kpi_assets.ledger import publishes
from kpi_assets.model.names import Relation
from kpi_assets.read.breakdown import Breakdown, Filter, bars_before, dimensions_of, read_breakdown
from kpi_assets.read.rows import read_rows
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot
from kpi_assets.warehouse.provision import READER
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS, PipelineHarness

SOLD = """\
/* @asset
description: Things by name.
owner: team:tests
grain: [thing_id]
kpi: {chart: {x: name, y: weight}, dimensions: [name, weight]}
min_volume: {column: orders, at_least: 5}
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
  orders: {type: bigint, description: Orders.}
@end */
select thing_id, name, weight, thing_id::bigint as orders
from raw.things
where load_date = %(load_date)s
"""
ROWS = b"thing_id,name,weight\n3,few,1.00\n5,anvil,20.50\n6,feather,\n7,'; drop table,9.10\n8,anvil,100.00\n"
ALL = [("5", "anvil", "20.50"), ("6", "feather", None), ("7", "'; drop table", "9.10"), ("8", "anvil", "100.00")]


@pytest.fixture(scope="module")
def sold(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("sold")) as lab:
        lab.file("raw/things.sql", RAW_THINGS)
        lab.file("marts/sold.sql", SOLD)
        for day, body in ((DAY, ROWS), (NEXT, ROWS.replace(b"20.50", b"21.50"))):
            lab.put_things(body, day)
            lab.build("raw.things", day)
            lab.build("marts.sold", day)
        yield lab


def rows(lab: PipelineHarness, load_date: date | None = DAY, **words: Any) -> Breakdown:
    pipeline = lab.pipeline()
    with (
        connect(lab.server, lab.name, "test", role=READER, read_only=True) as connection,
        one_snapshot(connection, LEDGER_ALONE),
    ):
        return read_breakdown(connection, pipeline, pipeline.table("marts.sold"), load_date, **words)


def names(found: Breakdown) -> list[tuple[str | None, ...]]:
    return [tuple(row[:3]) for row in found.rows]


def test_all_rows_are_those_of_kpi_show(sold: PipelineHarness) -> None:
    found = rows(sold)
    with sold.session() as session:
        table = sold.pipeline().table("marts.sold")
        shown = read_rows(session, sold.pipeline(), table, DAY, place="the test")
    assert (found.columns, found.types, found.rows, found.total) == (
        shown.columns,
        shown.types,
        shown.rows,
        shown.shown,
    )
    assert (names(found), found.left_out, found.load_date) == (ALL, 1, DAY)
    assert rows(sold, None).load_date == NEXT


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([Filter("name", ["anvil"])], ["5", "8"]),
        ([Filter("name", ["anvil", "feather"])], ["5", "6", "8"]),
        ([Filter("name", ["anvil"], "ne")], ["6", "7"]),
        ([Filter("weight", ["20.5"])], ["5"]),
        ([Filter("weight", ["20.5"], "ne")], ["6", "7", "8"]),
        ([Filter("weight", ["9.1"], "gt")], ["5", "8"]),
        ([Filter("weight", ["9.1"], "ge")], ["5", "7", "8"]),
        ([Filter("weight", ["20.50"], "lt"), Filter("name", ["anvil"])], []),
        ([Filter("weight", ["20.50"], "le"), Filter("name", ["anvil"])], ["5"]),
        ([Filter("name", ["'; drop table"])], ["7"]),
        ([Filter("name", ["anvil' or '1'='1"])], []),
        ([Filter("name", ["few"])], []),
    ],
)
def test_filters(sold: PipelineHarness, filters: list[Filter], expected: list[str]) -> None:
    found = rows(sold, filters=filters)
    assert ([row[0] for row in found.rows], found.total) == (expected, len(expected))
    assert found.left_out == (filters[0].values == ["few"] or (filters[0].operator == "ne" and len(expected) > 1))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            {"filters": [Filter("thing_id", ["5"])]},
            "by 'thing_id': its dimensions are name, weight.",
        ),
        (
            {"filters": [Filter("weight", ["heavy"])]},
            "'heavy' is not a value of 'weight' of marts.sold, which is",
        ),
        ({"filters": [Filter("name", ["a\0"])]}, "is not a value of 'name' of marts.sold, which is text: correct it."),
        ({"filters": [Filter("weight", ["1", "2"], "lt")]}, "The filter weight.lt takes one value: give one."),
        (
            {"order": [("is_low_volume", "asc")]},
            "by 'is_low_volume': its columns are thing_id, name, ",
        ),
    ],
)
def test_what_cannot_be_asked(sold: PipelineHarness, words: dict[str, Any], error: str) -> None:
    with pytest.raises(UsageError) as raised:
        rows(sold, **words)
    assert error in str(raised.value)


def test_order_and_pages(sold: PipelineHarness) -> None:
    found = rows(sold, order=[("weight", "desc")])
    assert [row[0] for row in found.rows] == ["8", "5", "7", "6"]
    page = rows(sold, order=[("name", "desc")], limit=2, offset=1)
    assert ([row[0] for row in page.rows], page.total, page.left_out) == (["5", "8"], 4, 1)
    assert rows(sold, offset=4).rows == []
    assert rows(sold, offset=4).total == 4


def test_rows_that_are_gone(sold: PipelineHarness) -> None:
    publish = rows(sold).publish_id
    with pytest.raises(UserError, match=rf"^The rows of publish {publish} of marts\.sold of {NEXT} cannot be shown: "):
        rows(sold, NEXT, publish_id=publish)
    with pytest.raises(UserError, match=r"^marts\.sold of 2025-04-01 is not published in the warehouse"):
        rows(sold, date(2025, 4, 1))


def test_bars_of_another_load_date(sold: PipelineHarness) -> None:
    table = sold.pipeline().table("marts.sold")
    with sold.session() as session:
        # Two rows are called anvil, and few has too little volume.
        assert bars_before(session, table, DAY, ["anvil", "feather", "few", "'; drop table", None]) == {
            "feather": None,
            "'; drop table": "9.10",
        }
        assert bars_before(session, table, date(2025, 4, 1), ["feather"]) == {}
        assert bars_before(session, table, DAY, []) == {}


def test_dimensions(sold: PipelineHarness) -> None:
    assert dimensions_of(sold.pipeline().table("marts.sold")) == ["name", "weight"]
    sold.file("marts/other.sql", SOLD.replace(", dimensions: [name, weight]", ""))
    assert dimensions_of(sold.pipeline().table("marts.other")) == ["thing_id"]
    (sold.folder / "marts" / "other.sql").unlink()


def test_rows_that_retention_dropped(sold: PipelineHarness) -> None:
    with sold.session() as session, session.transaction(force_rollback=True):
        publishes.record_drop(session, [Relation("marts", "sold")], DAY)
        with pytest.raises(UserError, match=r"were dropped by"):
            read_breakdown(session, sold.pipeline(), sold.pipeline().table("marts.sold"), DAY)
        assert bars_before(session, sold.pipeline().table("marts.sold"), DAY, ["feather"]) == {}


def test_rows_of_a_schema_that_is_not_for_readers(sold: PipelineHarness) -> None:
    with sold.session() as session:
        session.execute("revoke select on marts.sold from kpi_reader")
    try:
        with pytest.raises(UserError, match=r"^Readers may not see the rows of marts\.sold: add marts to readers in "):
            rows(sold)
    finally:
        with sold.session() as session:
            session.execute("grant select on marts.sold to kpi_reader")
