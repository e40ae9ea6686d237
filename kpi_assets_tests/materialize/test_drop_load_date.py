"""One load_date is taken out of a stored table: its rows, its place in the ledger, and what waited because of it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UserError
from kpi_assets.ledger import publishes
from kpi_assets.ledger.locks import build_lock, run_lock, try_lock
from kpi_assets.materialize.drop import PublishedLoadDate, drop_load_date, find_objects, published_load_date
from kpi_assets.model.names import Relation
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.cities import CitiesPipeline
from kpi_assets_tests.materialize.test_views import SHOWN
from kpi_assets_tests.pipeline_harness import DOUBLED, RAW_THINGS
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

THINGS = Relation("raw", "things")
LEDGER = (
    "select asset, count(*), count(superseded_at), count(removed_at) from ops.publishes "
    "where load_date = '{}' group by asset order by 1"
)


def found_of(shop: TwoSourcePipeline, name: str) -> PublishedLoadDate:
    """Return the published load_date of the shop of one table."""
    pipeline = shop.pipeline()
    with shop.session() as session:
        return published_load_date(session, pipeline, pipeline.table(name), shop.day, place="the test")


def drop(shop: TwoSourcePipeline, name: str, found: PublishedLoadDate | None = None) -> PublishedLoadDate:
    """Take the load_date of the shop out of one table."""
    dropped = found or found_of(shop, name)
    drop_load_date(shop.context(), dropped, timeout=0.3)
    return dropped


def _forget(shop: TwoSourcePipeline) -> None:
    """Drop raw.things, so that it can be stored in another way."""
    with shop.session() as session:
        session.execute("drop table if exists raw.things cascade")


@pytest.fixture
def two_days(shop: TwoSourcePipeline, request: pytest.FixtureRequest) -> Iterator[TwoSourcePipeline]:
    """A shop with two published load_dates, whose raw.things is stored in this way and shown by a view."""
    shop.file(
        "raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {getattr(request, 'param', 'partitions')}\ngrain:")
    )
    shop.file("stg/things.sql", SHOWN)
    _forget(shop)
    for day in (shop.day, shop.next):
        shop.land(day)
        assert set(shop.run(day).values()) == {"published"}
    yield shop
    _forget(shop)


@pytest.mark.parametrize("two_days", ["rows", "partitions"], indirect=True)
def test_a_load_date_is_taken_out_and_the_others_stay(two_days: TwoSourcePipeline) -> None:
    shop = two_days
    found = drop(shop, "raw.things")
    assert str(found) == f"raw.things of {shop.day} (2 rows)"
    assert found.views == [Relation("stg", "things")]
    assert [str(each) for each in found.readers] == [f"marts.weighed ({shop.day}, 1 rows)"]
    count = "select count(*) filter (where load_date = '{}'), count(*) filter (where load_date = '{}') from "
    for name in ("raw.things", "stg.things"):
        assert shop.rows(count.format(shop.day, shop.next) + name) == [(0, 2)]
    assert shop.rows(LEDGER.format(shop.day)) == [
        ("marts.heavy", 1, 0, 0),
        ("marts.weighed", 1, 0, 0),
        ("raw.labels", 1, 0, 0),
        ("raw.things", 1, 1, 1),
        ("stg.things", 1, 1, 1),
    ]
    assert shop.rows(LEDGER.format(shop.next) + " limit 1") == [("marts.heavy", 1, 0, 0)]
    with shop.session() as session:
        assert publishes.dropped(session, [THINGS], shop.day) == []
        assert publishes.latest_up_to(session, THINGS, shop.day) != shop.day
        assert publishes.latest_up_to(session, THINGS, shop.next + timedelta(days=1)) == shop.next


def test_the_plan_says_that_it_was_never_built_and_a_build_gives_the_same_rows(two_days: TwoSourcePipeline) -> None:
    shop = two_days
    before = shop.rows(f"select asset, rows, checksum from ops.published where load_date = '{shop.day}' order by 1")
    assert find_objects(shop.store, shop.pipeline(), shop.pipeline().table("marts.weighed"), shop.day) == ["s3.things"]
    assert find_objects(shop.store, shop.pipeline(), shop.pipeline().table("marts.heavy"), shop.day) == [
        "s3.labels",
        "s3.things",
    ]
    drop(shop, "marts.weighed")
    status = shop.status()
    assert (status.state, status.reason) == ("stale", "Never built for this load_date: marts.weighed.")
    assert not status.is_due(rebuild_on_sql_change=False)
    drop(shop, "raw.things")
    status = shop.status()
    assert (status.state, status.stale_reason) == ("new", "objects")
    assert status.reason == "All 2 objects landed; not published: raw.things."
    assert status.is_due(rebuild_on_sql_change=False)
    assert set(shop.run().values()) == {"published"}
    after = shop.rows(f"select asset, rows, checksum from ops.published where load_date = '{shop.day}' order by 1")
    assert after == before
    assert shop.status().state == "published"


def test_what_is_not_there_or_was_published_again_is_not_dropped(shop: TwoSourcePipeline) -> None:
    shop.land()
    with pytest.raises(UserError, match=rf"^raw\.labels of {shop.day} is not published in the test: there is nothing"):
        found_of(shop, "raw.labels")
    shop.build("raw.labels", shop.day)
    found = found_of(shop, "raw.labels")
    shop.build("raw.labels", shop.day)
    with pytest.raises(UserError, match=rf"^raw\.labels of {shop.day} was published again meanwhile: drop it"):
        drop(shop, "raw.labels", found)
    assert shop.rows(f"select count(*) from raw.labels where load_date = '{shop.day}'") == [(1,)]
    drop(shop, "raw.labels")
    with pytest.raises(UserError, match="there is nothing to drop"):
        found_of(shop, "raw.labels")


@pytest.mark.nightly
def test_a_run_and_a_reader_are_waited_for(two_days: TwoSourcePipeline) -> None:
    shop = two_days
    found = found_of(shop, "raw.things")
    for lock in (run_lock(shop.day), build_lock(THINGS, shop.day)):
        with shop.session() as session:
            assert try_lock(session, lock)
            with pytest.raises(UserError, match=rf"^A run of {shop.day} is in progress \(process \d+ .*let it end"):
                drop(shop, "raw.things", found)
    with shop.session() as session, session.transaction():
        session.execute("lock table raw.things in share mode")
        with pytest.raises(WarehouseError, match="so it was not dropped"):
            drop(shop, "raw.things", found)
    assert shop.rows(f"select count(*) from raw.things where load_date = '{shop.day}'") == [(2,)]
    drop(shop, "raw.things", found)
    assert shop.rows(f"select count(*) from raw.things where load_date = '{shop.day}'") == [(0,)]


def test_a_held_build_of_the_load_date_goes_with_it(two_days: TwoSourcePipeline) -> None:
    shop = two_days
    opened = f"select count(*) from ops.alerts where closed_at is null and load_date = '{shop.day}'"
    shop.land(things=DOUBLED, labels=None)
    assert shop.run()["raw.things"] == "held"
    candidates = (
        f"select relname from pg_class where relname like 'raw\\_\\_things\\_\\_{shop.day:%Y%m%d}%' and relkind = 'r'"
    )
    assert len(shop.rows(candidates + " and relnamespace = 'builds'::regnamespace")) >= 1
    assert shop.rows(opened) == [(1,)]
    drop(shop, "raw.things")
    assert shop.rows(candidates) == []
    assert shop.rows(opened) == [(0,)]


@pytest.mark.usefixtures("looks_back")
def test_a_window_without_the_load_date_is_stale_until_it_is_built_without_it(shop: TwoSourcePipeline) -> None:
    days = [shop.day + timedelta(days=number) for number in range(3)]
    for day in days:
        shop.land(day)
        assert set(shop.run(day).values()) == {"published"}
    drop(shop, "raw.labels")

    def stale() -> list[tuple[str | None, tuple[str, ...]]]:
        return [(each.stale_reason, each.tables_to_build) for each in shop.plan(days[1], days[2])]

    assert stale() == [("inputs", ("marts.recent",))] * 2
    for day in days[1:]:
        shop.build("marts.recent", day)
    assert stale() == [(None, ())] * 2
    shop.build("raw.labels", days[0])
    assert stale() == [("window", ("marts.recent",))] * 2


def test_a_load_date_is_taken_out_of_a_history_and_its_readers_are_stale(stack: Stack, tmp_path: Path) -> None:
    with CitiesPipeline.open(stack, tmp_path) as shop:
        assert isinstance(shop, CitiesPipeline)
        shop.stock()
        for number, city in ((1, "Kyiv"), (3, "Lviv"), (5, "Kyiv")):
            shop.publish(number, ann=city)
        pipeline, day = shop.pipeline(), shop.at(3)
        with shop.session() as session:
            found = published_load_date(session, pipeline, pipeline.table("marts.customers"), day, place="here")
        assert [str(each) for each in found.readers] == [
            f"marts.cities (2 load_dates from {day} to {shop.at(5)}, 4 rows)"
        ]
        versions = "select city, effective_date, end_date from marts.customers order by 2"
        before = shop.rows(versions)
        drop_load_date(shop.context(), found)
        assert shop.rows(versions) == [("Kyiv", shop.at(1), None)]
        assert shop.stale()[5] == ("inputs", ("marts.cities",))
        [found_day] = shop.plan(day, day)
        assert found_day.reason == (
            "Built from rows that were replaced since: marts.cities. Never built for this load_date: marts.customers."
        )
        assert 1 not in shop.stale()
        shop.again(3, "marts.customers")
        assert shop.rows(versions) == before
        assert shop.stale() == {}
