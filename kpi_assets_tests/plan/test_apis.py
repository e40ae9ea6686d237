"""The plan of objects that an API gives: from when they can be had, what is asked for, and what is late."""

from datetime import date, timedelta

import pytest

from kpi_assets.materialize import fetch
from kpi_assets.model.calendar import named
from kpi_assets_tests.sales_api import RAW, SalesPipeline

SHOPS = ("north", "south")
DAILY = """\
/* @asset
description: Prices, which somebody lands.
owner: team:tests
grain: [sale_id]
source: {object: "raw/prices/{load_date}.csv", format: csv}
columns:
  sale_id: {type: integer, description: Sale.}
@end */
"""
WEEKLY = (
    RAW.replace("SHOP", "north")
    .replace("raw/north/{load_date:year=%Y/month=%m/day=%d}/sales_data.json", "raw/catalog/{load_date}.json")
    .replace("  format: json\n", "  format: json\n  every: monday\n  carried_days: 13\n")
)
TODAY = WEEKLY.replace('    query: {day: "{load_date}"}\n', "")


def due(sales: SalesPipeline, now: str = "") -> bool:
    return sales.status(sales.day, now).is_due(rebuild_on_sql_change=False)


def test_from_the_hours_after_its_end_a_load_date_is_new_until_it_is_published(sales: SalesPipeline) -> None:
    day, after = sales.day, sales.day + timedelta(days=1)
    missing = f"None of its 2 objects lies on S3; their APIs are asked from {after} 02:00 UTC."
    assert sales.verdict(day, f"{after}T01:59") == ("missing", missing)
    assert not due(sales, f"{after}T01:59")
    new = "0 of its 2 objects landed, APIs are asked for the others; nothing of it is published."
    assert sales.verdict(day, f"{after}T02:00") == ("new", new)
    assert due(sales, f"{after}T02:00")
    assert sales.api.asked == [], "a plan asks nothing"
    sales.run(day)
    assert sales.verdict(day) == ("published", "All 3 tables are up to date with S3 and the SQL.")


def test_the_hours_are_a_word_of_automation(sales: SalesPipeline) -> None:
    sales.words("automation: {fetch_after_hours: 0.5}\n")
    after = sales.day + timedelta(days=1)
    assert sales.verdict(sales.day, f"{after}T00:29")[1].endswith(f"their APIs are asked from {after} 00:30 UTC.")
    assert sales.verdict(sales.day, f"{after}T00:30")[0] == "new"


def test_a_load_date_whose_api_fails_is_failed_with_its_error_and_the_same_run_is_due(sales: SalesPipeline) -> None:
    before = sales.status(sales.day).input_fingerprint
    sales.api.down = {"south"}
    error = sales.run(sales.day)["raw.south_sales"]
    assert sales.verdict(sales.day) == ("failed", f"s3.south_sales failed: {error}")
    assert due(sales)
    assert sales.status(sales.day).input_fingerprint == before, "so that the pauses of the sensor grow"
    sales.api.down = set()
    sales.run(sales.day)
    assert sales.verdict(sales.day)[0] == "published"


def test_a_replaced_object_of_an_api_makes_a_load_date_stale(sales: SalesPipeline) -> None:
    sales.run(sales.day)
    sales.put(sales.key("south", sales.day), b'{"data": [{"sale_id": 1, "amount": "1.00"}], "total": 1}')
    stale = sales.status(sales.day)
    assert stale.reason == f"Replaced since it was read: {sales.key('south', sales.day)}."
    sales.api.down = {"south"}
    assert set(sales.run(sales.day).values()) == {"published"}
    assert sales.rows(f"select count(*) from marts.all_sales where load_date = '{sales.day}'") == [(4,)]


def test_an_object_that_expired_after_it_was_published_is_not_asked_for_by_itself(sales: SalesPipeline) -> None:
    sales.run(sales.day)
    sales.s3.delete_object(Bucket=sales.bucket, Key=sales.key("north", sales.day))
    assert sales.verdict(sales.day)[0] == "published"


def test_what_somebody_lands_is_awaited_as_ever(sales: SalesPipeline) -> None:
    sales.file("raw/prices.sql", DAILY)
    day, after = sales.day, sales.day + timedelta(days=1)
    both = f"raw.north_sales, raw.south_sales are asked from {after} 02:00 UTC."
    assert sales.verdict(day, f"{day}T12:00") == (
        "missing",
        f"None of its 3 objects lies on S3; the APIs of {both}",
    )
    assert sales.verdict(day) == ("missing", "None of its 3 objects lies on S3.")
    sales.put(f"raw/prices/{day}.csv", b"sale_id\n1\n")
    lacks = [f"{sales.key(shop, day)} (the API {shop} is asked for it from {after} 02:00 UTC)" for shop in SHOPS]
    incomplete = f"1 of its 3 objects landed; lacking: {', '.join(lacks)}."
    assert sales.verdict(day, f"{day}T12:00") == ("incomplete", incomplete)
    new = "1 of its 3 objects landed, APIs are asked for the others; nothing of it is published."
    assert sales.verdict(day) == ("new", new)


def test_a_load_date_is_not_late_before_its_apis_are_asked(sales: SalesPipeline) -> None:
    sales.file("raw/prices.sql", DAILY)
    sales.file("raw/others.sql", DAILY.replace("prices", "others"))
    day = date(2099, 3, 1)  # so that what lands now has been there for long
    sales.put(f"raw/prices/{day}.csv", b"sale_id\n1\n")
    assert sales.status(day, f"{day}T12:00").state == "late", "the others should be there"
    (sales.folder / "raw/others.sql").unlink()
    assert sales.status(day, f"{day}T12:00").state == "incomplete"
    assert sales.status(day, "2099-03-02T02:00").state == "new"


# ---- a weekly object in a daily pipeline


@pytest.fixture
def monday(sales: SalesPipeline) -> date:
    """A Monday of a pipeline of daily prices, which somebody lands, and a weekly catalog, which an API gives."""
    for name in ("marts/all_sales", "raw/north_sales", "raw/south_sales"):
        (sales.folder / f"{name}.sql").unlink()
    sales.file("raw/prices.sql", DAILY)
    sales.file("raw/catalog.sql", WEEKLY)
    monday = next(day for n in range(3, 10) if (day := sales.day + timedelta(days=n)).weekday() == 0)
    for day in (monday, monday + timedelta(days=1)):
        sales.put(f"raw/prices/{day}.csv", b"sale_id\n1\n")
    return monday


def catalog(day: date) -> str:
    return f"raw/catalog/{day}.json"


OLD = b'{"data": [{"sale_id": 1, "amount": "1.00"}], "total": 1}'


def test_a_carried_object_is_read_until_its_successor_can_be_had_which_is_asked_for_then(
    sales: SalesPipeline, monday: date
) -> None:
    last, tuesday, lab = monday - timedelta(days=7), monday + timedelta(days=1), sales
    lab.put(catalog(last), OLD)
    fresh = "All 2 objects landed; nothing of it is published."
    assert lab.verdict(monday, f"{monday}T12:00") == ("new", fresh), "as the Monday is not over"
    assert lab.verdict(tuesday, f"{tuesday}T01:00") == ("new", fresh)
    asked = "1 of its 2 objects landed, APIs are asked for the others; nothing of it is published."
    assert lab.verdict(monday) == ("new", asked)
    assert lab.verdict(tuesday) == ("new", asked)
    assert lab.run(tuesday) == {"raw.catalog": "published", "raw.prices": "published"}
    assert lab.api.of("north") == [(str(monday), "1"), (str(monday), "2")]
    assert lab.verdict(tuesday)[0] == "published"
    assert lab.verdict(monday) == ("new", "All 2 objects landed; nothing of it is published.")
    lab.api.asked.clear()
    assert set(lab.run(monday).values()) == {"published"}
    assert lab.api.asked == [], "what is there is not asked for again"


def test_a_load_date_built_from_an_earlier_object_is_stale_once_its_own_can_be_had(
    sales: SalesPipeline, monday: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    sales.put(catalog(monday - timedelta(days=7)), OLD)
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "why_not_asked", lambda *_: "it is not over")
        assert set(sales.run(monday).values()) == {"published"}
    assert sales.verdict(monday, f"{monday}T23:00")[0] == "published"
    what = "Built from an earlier object, and an API is asked for the one that is due since:"
    assert sales.verdict(monday) == ("stale", f"{what} {catalog(monday)}.")
    assert sales.status(monday).is_due(rebuild_on_sql_change=False)
    sales.run(monday)
    assert sales.verdict(monday)[0] == "published"


def test_an_earlier_object_is_carried_while_the_api_fails_and_it_is_asked_again(
    sales: SalesPipeline, monday: date
) -> None:
    last = monday - timedelta(days=7)
    sales.api.down = {"north"}
    sales.put(catalog(last), OLD)
    sales.file("raw/catalog.sql", WEEKLY.replace("carried_days: 13", "carried_days: 6"))
    assert "north" in sales.run(monday)["raw.catalog"]
    assert sales.verdict(monday)[0] == "failed", "the earlier object is too old"

    sales.file("raw/catalog.sql", WEEKLY)
    assert set(sales.run(monday).values()) == {"published"}
    [(message,)] = sales.rows(
        "select message from ops.data_quality_results "
        f"where check_name = 'carried' and status <> 'pass' and load_date = '{monday}'"
    )
    assert message.startswith(f"s3://{sales.bucket}/{catalog(last)} is read, since that of {named(monday)}, has not ")
    assert "API north of" in message.partition("has not landed: ")[2], message
    what = "Built from an earlier object, and an API is asked for the one that is due since:"
    assert sales.verdict(monday) == ("stale", f"{what} {catalog(monday)}.")
    assert sales.status(monday).is_due(rebuild_on_sql_change=False), "after a pause, which grows"


def test_a_call_without_a_date_is_asked_from_its_day_until_the_next_one_begins(
    sales: SalesPipeline, monday: date
) -> None:
    sales.file("raw/catalog.sql", TODAY)
    last, following = monday - timedelta(days=7), monday + timedelta(days=7)
    asked = "1 of its 2 objects landed, APIs are asked for the others; nothing of it is published."
    lacks = f"1 of its 2 objects landed; lacking: {catalog(monday)} or {catalog(last)} of raw.catalog."
    assert sales.verdict(monday, f"{monday}T00:00") == ("new", asked)
    assert sales.verdict(monday, f"{following - timedelta(days=1)}T23:59") == ("new", asked)
    assert sales.verdict(monday, f"{following}T00:00") == ("incomplete", lacks)
    assert sales.run(monday) == {"raw.prices": "published", "raw.catalog": sales.run(monday)["raw.catalog"]}
    assert sales.api.asked == []
    place = f"s3://{sales.bucket}/{catalog(monday)}, s3://{sales.bucket}/{catalog(last)}".replace(", ", " and ")
    past = f"the API north tells only how things are at the time, and the time of {named(monday)} ended at {following}"
    assert sales.run(monday)["raw.catalog"] == (
        f"{place} are not there, and an object is carried for 13 days at most: {past} 00:00 UTC"
    )
    sales.put(catalog(last), OLD)
    carried = "All 2 objects landed; not published: raw.catalog."
    assert sales.verdict(monday, f"{following}T00:00") == ("new", carried), "carried, as ever"
