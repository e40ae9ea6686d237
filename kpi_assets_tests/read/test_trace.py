"""From a row of any table down to the records that it comes from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UsageError, UserError
from kpi_assets.model.records import Record
from kpi_assets.read import origin
from kpi_assets.read.trace import SHOWN, Step, add_origins, parse_key, trace_rows
from kpi_assets_tests.carry_on import CarryingPipeline
from kpi_assets_tests.lookback import RECENT, labels
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

SALES = """\
/* @asset
description: Sales as delivered.
owner: team:tests
grain: [shop, sold_on, price]
source: {object: "raw/sales/load_date={load_date}/sales.csv", format: csv}
quarantine: {rows: 2}
columns:
  shop: {type: text, description: Shop.}
  sold_on: {type: date, description: Day.}
  price: {type: "numeric(8,2)", description: Price.}
  pieces: {type: integer, description: Pieces; NULL if nobody counted.}
@end */
"""
BY_SHOP = """\
/* @asset
description: Sales by shop.
owner: team:tests
grain: [shop]
columns:
  shop: {type: text, description: Shop.}
  lines: {type: bigint, description: Lines.}
  pieces: {type: bigint, description: "Pieces, NULL if nobody counted."}
@end */
select shop, count(*) as lines, sum(pieces) as pieces
from raw.sales
where load_date = %(load_date)s and price > 1
group by shop
"""


def traced(lab: PipelineHarness, name: str, *words: str, day: date | None = None) -> Step:
    table = lab.pipeline().table(name)
    with lab.session() as session:
        step = trace_rows(session, lab.pipeline(), table, parse_key(table, words), day, place="here")
        add_origins(session, lab.store, step, _unwatched)
    return step


@contextmanager
def _unwatched(_title: str, _size: int) -> Iterator[Callable[[int], None]]:
    yield lambda _done: None


def found(step: Step) -> list[tuple[int, str]]:
    """Return the line and the record of each row."""
    return [(row.origin.line, row.origin.record) for row in step.rows if row.origin]


@pytest.fixture
def sales(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/sales.sql", SALES)
    lab.file("marts/by_shop.sql", BY_SHOP)
    return lab


def build(lab: PipelineHarness, body: str, day: date = DAY) -> None:
    lab.put(f"raw/sales/load_date={day}/sales.csv", body.encode())
    lab.build("raw.sales", day)
    lab.build("marts.by_shop", day)


HEADER = "shop,sold_on,price,pieces\n"
TWO_LINES = '"Corner\nshop, 3/4"" pipes",2025-03-01,1.50,'


def test_a_record_with_line_ends_and_quotes_is_found_as_values_of_its_types(sales: PipelineHarness) -> None:
    # The second record is set aside, and has the grain of the third; 1.5 is 1.50.
    build(sales, f"{HEADER}{TWO_LINES}2\nMill,2025-03-01,1.5,many\nMill,2025-03-01,1.5,7\nMill,2025-03-01,1.00,1\n")
    step = traced(sales, "marts.by_shop", "Mill")
    assert (step.counts, [row.values for row in step.rows]) == (
        {DAY: 1},
        [{"shop": "Mill", "lines": "1", "pieces": "7"}],
    )
    assert step.computed == {"lines": "COUNT(*)", "pieces": "SUM(sales.pieces)"}
    [raw] = step.sources
    assert (str(raw.table.relation), raw.by, raw.count, raw.notes) == ("raw.sales", ["shop"], 1, [])
    assert found(raw) == [(5, "Mill,2025-03-01,1.5,7")]
    assert raw.rows[0].origin is not None
    assert raw.rows[0].origin.object == f"s3://{sales.bucket}/raw/sales/load_date={DAY}/sales.csv"

    [raw] = traced(sales, "marts.by_shop", 'shop=Corner\nshop, 3/4" pipes').sources
    assert found(raw) == [(2, f"{TWO_LINES}2")]
    # A raw row by some of its grain, and by values that are written in another way.
    step = traced(sales, "raw.sales", "price=1.500", "sold_on=1 March 2025")
    assert found(step) == [(2, f"{TWO_LINES}2"), (5, "Mill,2025-03-01,1.5,7")]


JSON_SALES = """\
/* @asset
description: Sales as JSON.
owner: team:tests
grain: [record_no]
source: {object: "raw/sales/load_date={load_date}/sales.json", format: json, position: record_no, whole: raw_data}
quarantine: {rows: 2}
columns:
  shop: {type: text, description: Shop.}
  pieces: {type: integer, description: Pieces.}
@end */
"""
OF_JSON = """\
/* @asset
description: Sales with what was received.
owner: team:tests
grain: [record_no]
columns:
  record_no: {type: bigint, description: Number of the record.}
  shop: {type: text, description: Shop.}
  raw_data: {type: json, description: What was received.}
@end */
select record_no, shop, raw_data
from raw.sales
where load_date = %(load_date)s and pieces > 1
"""


def test_a_row_of_json_is_followed_to_its_record(lab: PipelineHarness) -> None:
    """PostgreSQL compares no values of json, which are in both tables."""
    lab.file("raw/sales.sql", JSON_SALES)
    lab.file("marts/received.sql", OF_JSON)
    records = ['{"shop": "Mill", "pieces": "many"}', '{"shop": "Mill", "pieces": [2]}', '{"pieces": 2, "shop": "Mill"}']
    lab.put(f"raw/sales/load_date={DAY}/sales.json", f"[{', '.join(records)}]".encode())
    lab.build("raw.sales")
    lab.build("marts.received")
    [raw] = traced(lab, "marts.received", "record_no=3").sources
    assert (raw.by, raw.count, found(raw)) == (["record_no", "shop", "raw_data"], 1, [(3, records[2])])
    assert raw.rows[0].origin is not None
    assert raw.rows[0].origin.place == "record"
    assert raw.rows[0].values["raw_data"] == records[2]


def test_only_the_first_rows_are_read_and_all_are_counted(
    sales: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "BATCH", 7)
    lines = [f"Mill,2025-03-01,{n}.25,{n}\n" for n in range(1, 200)]
    build(sales, HEADER + "".join(reversed(lines)))
    [raw] = traced(sales, "marts.by_shop", "Mill").sources
    assert (raw.count, len(raw.rows)) == (199, SHOWN)
    assert found(raw) == [(201 - n, f"Mill,2025-03-01,{n}.25,{n}") for n in range(1, SHOWN + 1)]


def test_an_object_that_was_replaced_or_removed_is_named(sales: PipelineHarness) -> None:
    build(sales, f"{HEADER}Mill,2025-03-01,2.00,1\n")
    key = f"raw/sales/load_date={DAY}/sales.csv"
    sales.put(key, f"{HEADER}Mill,2025-03-01,3.00,1\n".encode())
    for what in ("was replaced", "is not there any more"):
        [raw] = traced(sales, "marts.by_shop", "Mill").sources
        assert (raw.count, found(raw)) == (1, [])
        assert raw.notes == [
            f"s3://{sales.bucket}/{key} {what} since it was loaded, so the records of its rows cannot be shown"
        ]
        sales.s3.delete_object(Bucket=sales.bucket, Key=key)


def test_a_window_without_a_load_date_of_a_table_is_said(sales: PipelineHarness) -> None:
    prices = SALES.replace("raw/sales/load_date={load_date}/sales.csv", "raw/prices/{load_date}.csv")
    sales.file("raw/prices.sql", prices.replace("format: csv", "format: csv, every: monday"))
    joined = "from raw.sales as s left join raw.prices as p on p.shop = s.shop"
    window = "and p.load_date between %(window_start)s and %(load_date)s"
    header = BY_SHOP.partition("select ")[0].replace("grain: [shop]", "grain: [shop]\nlookback: {days: 2, rows: all}")
    select = f"select s.shop, count(p.shop) as lines, sum(p.pieces) as pieces {joined} {window}"
    sales.file("marts/by_shop.sql", f"{header}{select} where s.load_date = %(load_date)s group by s.shop\n")
    build(sales, f"{HEADER}Mill,2025-03-01,2.00,1\n")
    raw = {str(each.table.relation): each for each in traced(sales, "marts.by_shop", "Mill").sources}
    assert (raw["raw.sales"].count, raw["raw.sales"].notes) == (1, [])
    assert (raw["raw.prices"].count, raw["raw.prices"].notes) == (
        0,
        ["none of its load_dates was read when the rows above were built"],
    )


def test_what_was_published_again_or_by_an_earlier_file_is_said(sales: PipelineHarness) -> None:
    build(sales, f"{HEADER}Mill,2025-03-01,2.00,1\n")
    sales.put(
        f"raw/sales/load_date={DAY}/sales.csv", f"{HEADER}Mill,2025-03-01,2.00,1\nMill,2025-03-01,4.00,1\n".encode()
    )
    sales.build("raw.sales")
    sales.file("marts/by_shop.sql", BY_SHOP.replace("price > 1", "price > 3"))
    step = traced(sales, "marts.by_shop", "Mill")
    assert step.notes == ["it was built by an earlier version of its file, and is followed by what the file says now"]
    [raw] = step.sources
    assert raw.notes == [f"published again since the rows above were built, so its rows may be others: {DAY}"]
    assert found(raw) == [(3, "Mill,2025-03-01,4.00,1")]


@pytest.mark.usefixtures("looks_back")
def test_over_a_window_the_rows_that_count_are_found_in_their_load_dates(shop: TwoSourcePipeline) -> None:
    first = shop.day
    days = [first + timedelta(days=n) for n in range(3)]
    bodies = (labels(t1="heavy", t2="heavy"), labels(t1="light", t3="heavy"), labels(t4="light"))
    for day, body in zip(days, bodies, strict=True):
        shop.land(day, labels=body)
        shop.run(day)
    step = traced(shop, "marts.recent", "heavy", day=days[2])
    [raw] = step.sources
    assert (step.rows[0].values["things"], raw.counts) == ("2", {days[0]: 1, days[1]: 1})
    assert [(row.load_date, row.origin and row.origin.line) for row in raw.rows] == [(days[0], 3), (days[1], 3)]
    [raw] = traced(shop, "marts.recent", "light", day=days[2]).sources
    assert [row.values["thing_id"] for row in raw.rows] == ["1", "4"]
    assert RECENT.count("lookback: 3") == 1


def test_the_record_of_one_of_several_objects_is_found(sales: PipelineHarness) -> None:
    sales.file("raw/sales.sql", SALES.replace("sales.csv", "part-*.csv"))
    for n in (1, 2):
        sales.put(f"raw/sales/load_date={DAY}/part-{n}.csv", f"{HEADER}Mill,2025-03-01,{n}.50,1\n".encode())
    sales.build("raw.sales")
    sales.build("marts.by_shop")
    [raw] = traced(sales, "marts.by_shop", "Mill").sources
    assert [row.origin and (row.origin.object.rpartition("/")[2], row.origin.line) for row in raw.rows] == [
        ("part-1.csv", 2),
        ("part-2.csv", 2),
    ]


@pytest.mark.nightly
def test_a_large_object_is_compared_in_batches(sales: PipelineHarness) -> None:
    source = origin._Source(sales.pipeline().table("raw.sales"), "sales.csv")
    records = (Record(n, "", ["Mill", "2025-03-01", str(n), None]) for n in range(1, 100_000))
    batches = origin._batches(records, origin._Filter(source, [["Mill", "2025-03-01", "1.00"]]))
    sizes = [len(batch) for batch in batches]
    assert sum(sizes) == 99_999
    assert max(sizes) == sizes[0] == origin.BATCH == 5000
    # Of a key of whole numbers and texts, no record is sent to Postgres that is not meant.
    records = (Record(n, "", [f"Mill {n}", "2025-03-01", "1.00", None]) for n in range(1, 100_000))
    [[found]] = origin._batches(records, origin._Filter(source, [["Mill 77", "2025-03-01", "1.00"]]))
    assert found.record.line == 77


def test_a_table_of_which_nothing_is_passed_on_is_followed_by_its_join(shop: TwoSourcePipeline) -> None:
    things = b"thing_id,name,weight\n1,anvil,20.50\n2,feather,0.10\n3,safe,90.00\n"
    shop.land(things=things, labels=labels(t1="heavy", t2="light", t3="heavy"))
    shop.run()
    step = traced(shop, "marts.heavy", "heavy", day=shop.day)
    weighed, raw = step.sources
    assert (str(weighed.table.relation), weighed.by, weighed.count) == ("marts.weighed", ["thing_id"], 2)
    assert found(raw) == [(2, "1,heavy"), (4, "3,heavy")]
    assert found(weighed.sources[0]) == [(2, "1,anvil,20.50"), (4, "3,safe,90.00")]


def test_wrong_keys_are_refused(sales: PipelineHarness) -> None:
    build(sales, f"{HEADER}Mill,2025-03-01,2.00,1\n")
    for words, error, sentence in (
        (["Mil"], UserError, r"^marts\.by_shop of 2025-03-01 has no row with shop=Mil: correct the key\.$"),
        (
            ["lines=many"],
            UsageError,
            r"^'many' is not a value of 'lines' of marts\.by_shop, which is bigint: correct it",
        ),
        (["Mill", "2"], UsageError, r"^2 values were given, and the grain of marts\.by_shop has 1 column \(shop\)"),
        (["shop=a", "shop=b"], UsageError, "^The column 'shop' is given twice"),
        (["shop=a", "city=b"], UsageError, r"^marts\.by_shop has no column 'city': it has shop, lines, pieces\.$"),
    ):
        with pytest.raises(error, match=sentence):
            traced(sales, "marts.by_shop", *words)
    with pytest.raises(UserError, match=r"^marts\.by_shop of 2025-03-02 is not published in here"):
        traced(sales, "marts.by_shop", "Mill", day=date(2025, 3, 2))


def test_a_table_that_carries_on_is_followed_to_its_load_date_before(stack: Stack, tmp_path: Path) -> None:
    """Not further: a year of load_dates would be a tree of a year. A note says how to go on."""
    with CarryingPipeline.open(stack, tmp_path) as shop:
        assert isinstance(shop, CarryingPipeline)
        shop.stock()
        for number, things in ((1, (1, 2)), (2, (2, 3)), (4, (1, 2))):
            shop.publish(number, *things)
        step = traced(shop, "marts.seen", "2", day=shop.at(4))
        assert [row.values for row in step.rows] == [{"thing_id": "2", "first_on": str(shop.at(1)), "times": "3"}]
        before, labels = step.sources
        assert (str(before.table.relation), list(before.by), before.counts) == (
            "marts.seen",
            ["thing_id"],
            {shop.at(2): 1},
        )
        assert [row.values["times"] for row in before.rows] == ["2"]
        assert before.notes == [f"what they come from is shown by `kpi trace` with --load-date {shop.at(2)}"]
        assert before.sources == ()
        assert found(labels) == [(3, "2,heavy")]
        [first, labels] = traced(shop, "marts.seen", "2", day=shop.at(1)).sources
        assert (first.count, first.notes) == (0, ["none of its load_dates was read when the rows above were built"])
        assert found(labels) == [(3, "2,heavy")]
