"""Who reads a history is stale when a load_date of it, up to its own, has other rows than those that it read."""

from collections.abc import Iterator

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.drop import drop_table
from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.names import Relation
from kpi_assets_tests.cities import CITIES, CUSTOMERS, MADE, TOTAL, CitiesPipeline
from kpi_assets_tests.pipeline_harness import failed

BEHIND = ("inputs", ("marts.cities",))


@pytest.fixture(scope="module")
def opened(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CitiesPipeline]:
    with CitiesPipeline.open(stack, tmp_path_factory.mktemp("pipeline")) as shop:
        assert isinstance(shop, CitiesPipeline)
        yield shop


@pytest.fixture
def shop(opened: CitiesPipeline) -> CitiesPipeline:
    """Three load_dates, with a gap of one between each two of them, of a customer who moved once."""
    shop = opened.stock()
    for number, city in ((1, "Kyiv"), (3, "Lviv"), (5, "Lviv")):
        shop.publish(number, ann=city)
    assert shop.stale() == {}
    return shop


def marks(shop: CitiesPipeline, number: int) -> dict[str, int]:
    [(inputs,)] = shop.rows(
        f"select inputs from ops.published where asset = 'marts.cities' and load_date = '{shop.at(number)}'"
    )
    return dict(inputs)


def last_publish(shop: CitiesPipeline) -> int:
    [(last,)] = shop.rows("select max(publish_id) from ops.publishes where asset = 'marts.customers'")
    return int(last)


def test_a_build_records_the_history_of_its_load_date_and_one_mark(shop: CitiesPipeline) -> None:
    up_to, last = f"marts.customers@..{shop.at(5)}", last_publish(shop)
    assert marks(shop, 5) == {"marts.customers": last, up_to: last}
    shop.deliver(3, ann="Lviv")
    shop.again(5, "marts.cities")
    assert marks(shop, 5) == {"marts.customers": last, up_to: last_publish(shop)}
    assert shop.cities(5) == [("Kyiv", 1, 0), ("Lviv", 1, 1)]


def test_nothing_is_stale_when_everything_is_replayed_with_the_same_rows(shop: CitiesPipeline) -> None:
    for number, city in ((5, "Lviv"), (1, "Kyiv"), (3, "Lviv")):
        shop.deliver(number, ann=city)
    assert shop.stale() == {}


def test_a_load_date_between_makes_only_later_readers_stale_and_they_heal(shop: CitiesPipeline) -> None:
    shop.publish(4, ann="Odesa")
    assert shop.stale() == {5: BEHIND}
    [status] = shop.plan(shop.at(5), shop.at(5))
    assert status.reason == "Built from rows that were replaced since: marts.cities."
    assert status.is_due(rebuild_on_sql_change=False)
    shop.again(5, "marts.cities")
    assert shop.cities(5) == [("Kyiv", 1, 0), ("Lviv", 2, 1), ("Odesa", 1, 0)]
    assert shop.stale() == {}


def test_a_load_date_between_counts_also_if_no_version_differs(shop: CitiesPipeline) -> None:
    shop.publish(2, ann="Kyiv")
    assert shop.stale() == {3: BEHIND, 5: BEHIND}, "nothing was read of load_date 2"


def test_an_old_load_date_that_is_replaced_makes_it_and_later_readers_stale(shop: CitiesPipeline) -> None:
    shop.deliver(3, ann="Odesa")
    assert shop.stale() == {3: BEHIND, 5: BEHIND}
    for number in (3, 5):
        shop.again(number, "marts.cities")
    assert shop.cities(1) == [("Kyiv", 1, 1)]
    assert shop.cities(5) == [("Kyiv", 1, 0), ("Lviv", 1, 1), ("Odesa", 1, 0)]


def test_a_reader_is_stale_when_a_number_gets_another_scale_because_that_makes_other_versions(
    shop: CitiesPipeline,
) -> None:
    """Equal numbers leave the checksum of any other table as it is, but here a surrogate key is gone."""
    for name in MADE[:2]:
        shop.drop(name)
    numbers = CUSTOMERS.replace("city: {type: text", "city: {type: numeric").replace(
        ", city from", ", city::numeric from"
    )
    shop.file("marts/customers.sql", numbers)
    shop.file(
        "marts/cities.sql", CITIES.replace("select city,", "select city::text,").replace("by city", "by city::text")
    )
    for number, city in ((1, "1.0"), (3, "1.00"), (5, "1.00")):
        shop.publish(number, ann=city)
    assert shop.cities(5) == [("1.0", 1, 0), ("1.00", 1, 1)]
    shop.deliver(1, ann="1.00")
    assert shop.rows("select count(*) from marts.customers") == [(1,)]
    assert shop.stale() == {1: BEHIND, 3: BEHIND, 5: BEHIND}
    context = shop.context()
    assert failed(recheck(context, context.pipeline.table("marts.customers"), shop.at(1))) == {}


def test_nothing_is_stale_once_the_rows_are_put_back(shop: CitiesPipeline) -> None:
    shop.deliver(3, ann="Odesa")
    shop.deliver(3, ann="Kharkiv")
    shop.deliver(3, ann="Lviv")
    assert shop.stale() == {}


def test_a_reader_that_was_built_meanwhile_is_stale_once_the_rows_are_put_back(shop: CitiesPipeline) -> None:
    shop.deliver(3, ann="Odesa")
    shop.again(5, "marts.cities")
    assert shop.stale() == {3: BEHIND}
    shop.deliver(3, ann="Lviv")
    assert shop.stale() == {5: BEHIND}


@pytest.mark.nightly
def test_only_load_dates_up_to_its_own_count_for_a_reader(shop: CitiesPipeline) -> None:
    """It was built while a load_date was put back between two corrections, and a later one was corrected."""
    shop.deliver(1, ann="Odesa")
    shop.deliver(5, ann="Odesa")
    shop.deliver(1, ann="Kyiv")
    shop.again(3, "marts.cities")
    shop.deliver(1, ann="Odesa")
    shop.deliver(1, ann="Kyiv")
    shop.deliver(5, ann="Lviv")
    assert shop.stale() == {}


@pytest.mark.nightly
def test_the_wave_stops_at_a_table_that_comes_out_the_same(shop: CitiesPipeline) -> None:
    shop.deliver(3, ann="Lviv", bob="Kyiv")
    shop.deliver(5, ann="Lviv")
    shop.file("marts/cities.sql", CITIES.replace("count(*) as versions", "1::bigint as versions"))
    shop.file("marts/total.sql", TOTAL)
    for number in (1, 3, 5):
        shop.again(number, "marts.cities")
        shop.again(number, "marts.total")
    assert shop.stale() == {}
    shop.deliver(1, ann="Kyiv", bob="Kyiv")
    both = ("inputs", ("marts.cities", "marts.total"))
    assert shop.stale() == {1: both, 3: both, 5: both}
    for number in (1, 3, 5):
        shop.again(number, "marts.cities")
    assert shop.stale() == {1: ("inputs", ("marts.total",))}, "only on load_date 1 there is another count"


def take_out(shop: CitiesPipeline, number: int) -> None:
    """Take a load_date out of the history, in the ledger."""
    with shop.session() as session:
        session.execute(
            "update ops.publishes set superseded_at = statement_timestamp(), removed_at = statement_timestamp() "
            "where asset = 'marts.customers' and load_date = %s",
            [shop.at(number)],
        )


def test_a_load_date_that_is_taken_out_makes_later_readers_stale_until_they_are_built(shop: CitiesPipeline) -> None:
    take_out(shop, 3)
    assert shop.stale()[5] == BEHIND
    shop.again(5, "marts.cities")
    assert 5 not in shop.stale(), "its mark is the same as before, but it was built after the load_date was taken out"
    shop.deliver(3, ann="Lviv")
    assert shop.stale() == {5: BEHIND}, "it was built without that load_date, and load_date 3 with the same rows"
    shop.again(5, "marts.cities")
    assert shop.stale() == {}


@pytest.mark.nightly
def test_a_load_date_that_was_taken_out_and_put_back_changes_nothing_for_who_read_it(shop: CitiesPipeline) -> None:
    take_out(shop, 1)
    shop.again(5, "marts.cities")
    take_out(shop, 3)
    assert shop.stale()[5] == BEHIND
    shop.deliver(3, ann="Lviv")
    assert 5 not in shop.stale(), "it was built without load_date 1, and with load_date 3"


@pytest.mark.nightly
def test_nothing_is_stale_once_a_dropped_history_is_filled_again(shop: CitiesPipeline) -> None:
    drop_table(shop.server, shop.name, Relation("marts", "customers"), lambda _phase, _done, _total: None)
    assert {number: reason for number, (reason, _) in shop.stale().items()} == dict.fromkeys((1, 3, 5), "inputs")
    for number, city in ((5, "Lviv"), (1, "Kyiv")):
        shop.deliver(number, ann=city)
    assert shop.stale()[5] == BEHIND
    assert 1 not in shop.stale()
    shop.deliver(3, ann="Lviv")
    assert shop.stale() == {}


@pytest.mark.nightly
def test_a_held_reader_is_built_again_once_the_history_has_other_rows(shop: CitiesPipeline) -> None:
    shop.file("marts/cities.sql", CITIES.replace("at_least: 0", "at_least: 3"))
    assert shop.build("marts.cities", shop.at(5)).held
    shop.file("marts/cities.sql", CITIES.replace("at_least: 0", "at_least: 3").replace("group by", "  group by"))
    [held] = shop.plan(shop.at(5), shop.at(5))
    assert held.state == "published", "what was published before is up to date"
    shop.drop("marts.cities")
    assert shop.build("marts.cities", shop.at(5)).held
    [held] = shop.plan(shop.at(5), shop.at(5))
    assert held.state == "held"
    shop.deliver(3, ann="Lviv")
    [held] = shop.plan(shop.at(5), shop.at(5))
    assert held.state == "held", "the same rows would be held again"
    shop.deliver(3, ann="Odesa")
    [released] = shop.plan(shop.at(5), shop.at(5))
    assert (released.state, released.stale_reason) == ("stale", "released")
    assert not shop.build("marts.cities", shop.at(5)).held


def test_a_history_whose_versions_are_gone_is_lost_and_built_again(shop: CitiesPipeline) -> None:
    with shop.session() as session:
        session.execute("delete from marts.customers where end_date is null")
    lost = [each.load_date for each in shop.plan(shop.at(1), shop.at(5)) if each.state == "lost"]
    assert lost == [shop.at(3), shop.at(5)]
    for number in (5, 3):
        shop.again(number, "marts.customers")
    assert shop.stale() == {}
    shop.again(5, "marts.cities")
    assert shop.cities(5) == [("Kyiv", 1, 0), ("Lviv", 1, 1)]
