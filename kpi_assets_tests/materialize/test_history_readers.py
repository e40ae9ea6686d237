"""Tables that read a history: which versions they see, what they record of it, and what they refuse to read."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import locks
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.names import Relation
from kpi_assets_tests.cities import CITIES, CUSTOMERS, CitiesPipeline
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.pipeline_harness import failed
from kpi_assets_tests.warehouse.history_harness import surrogate_key

SALES = """\
/* @asset
description: Sales as delivered, all so far.
owner: team:tests
grain: [sale_id]
source: {object: "raw/sales/load_date={load_date}/sales.csv", format: csv}
columns:
  sale_id: {type: integer, description: Sale.}
  customer_id: {type: text, description: Customer.}
  sold_on: {type: date, description: Day of the sale.}
@end */
"""
SOLD = """\
/* @asset
description: Sales with the version of the customer that held on their day.
owner: team:tests
grain: [sale_id]
storage: partitions
columns:
  sale_id: {type: integer, description: Sale.}
  customer_sk: {type: bigint, description: Version of the customer.}
  city: {type: text, description: City of the customer then.}
  is_current: {type: boolean, description: Whether the customer has it still.}
checks:
  foreign_key: {customer_sk: marts.customers.customer_sk}
  reconcile: {source: raw.sales}
@end */
select
    s.sale_id,
    c.customer_sk,
    c.city,
    c.is_current
from raw.sales as s
left join marts.customers as c
    on c.customer_id = s.customer_id
    and s.sold_on between c.effective_date and coalesce(c.end_date, 'infinity')
where s.load_date = %(load_date)s
"""


@pytest.fixture(scope="module")
def opened(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CitiesPipeline]:
    with CitiesPipeline.open(stack, tmp_path_factory.mktemp("pipeline")) as shop:
        assert isinstance(shop, CitiesPipeline)
        yield shop


@pytest.fixture
def shop(opened: CitiesPipeline) -> CitiesPipeline:
    shop = opened.stock()
    shop.drop("marts.sold")
    for name in ("raw/sales.sql", "marts/sold.sql", "marts/people.sql"):
        (shop.folder / name).unlink(missing_ok=True)
    return shop


def sell(shop: CitiesPipeline, number: int, *sold_on: int) -> None:
    """Publish the sales to Ann of some days in a load_date."""
    shop.file("raw/sales.sql", SALES)
    shop.file("marts/sold.sql", SOLD)
    lines = ["sale_id,customer_id,sold_on", *(f"{on},ann,{shop.at(on)}" for on in sold_on), ""]
    shop.put(shop.key("sales", shop.at(number)), "\n".join(lines).encode())
    assert not shop.build("raw.sales", shop.at(number)).held


def sold(shop: CitiesPipeline, number: int) -> list[tuple[Any, ...]]:
    of_day = f"where load_date = '{shop.at(number)}' order by 1"
    return shop.rows(f"select sale_id, customer_sk, city, is_current from marts.sold {of_day}")


def error(shop: CitiesPipeline, name: str, number: int) -> str:
    with pytest.raises(UpstreamError) as caught:
        shop.build(name, shop.at(number))
    return str(caught.value)


# ---- which versions are read


def test_a_fact_joins_the_version_of_the_day_and_never_depends_on_a_later_load_date(shop: CitiesPipeline) -> None:
    for number, city in ((1, "Kyiv"), (3, "Lviv"), (5, "Kyiv")):
        shop.deliver(number, ann=city)
    sell(shop, 3, 1, 2, 3)
    sell(shop, 5, 1, 2, 3, 4, 5)
    first = shop.again(3, "marts.sold")
    kyiv, lviv, again = (surrogate_key('"ann"', shop.at(number)) for number in (1, 3, 5))
    assert sold(shop, 3) == [(1, kyiv, "Kyiv", False), (2, kyiv, "Kyiv", False), (3, lviv, "Lviv", True)]
    shop.again(5, "marts.sold")
    assert [(sale, key, current) for sale, key, _, current in sold(shop, 5)] == [
        (1, kyiv, False),
        (2, kyiv, False),
        (3, lviv, False),
        (4, lviv, False),
        (5, again, True),
    ]
    shop.deliver(4, ann="Odesa")
    shop.deliver(6, bob="Odesa")
    assert shop.again(3, "marts.sold").checksum == first.checksum
    assert failed(recheck(shop.context(), shop.pipeline().table("marts.sold"), shop.at(3))) == {}


def test_the_versions_known_on_a_day_are_those_of_the_load_dates_up_to_it(shop: CitiesPipeline) -> None:
    """Whatever came later, a SELECT sees the history that ends on its load_date, with what is added to it."""
    rng = random.Random(5)
    spec = "{surrogate_key: customer_sk, max_changed: 1, adds: {updated_at: {type: date, value: "
    spec += "'coalesce(end_date + 1, effective_date)', description: Last change.}}}"
    shop.file("marts/customers.sql", CUSTOMERS.replace("{surrogate_key: customer_sk, max_changed: 1}", spec))
    said = {
        number: {name: rng.choice(["Kyiv", "Lviv"]) for name in ("ann", "bob", "eve") if rng.random() < 0.7}
        for number in (1, 2, 4, 5, 7)
    }
    columns = "customer_sk, customer_id, city, effective_date, end_date, is_current, updated_at"
    read = shop.pipeline().table("marts.customers").history_read
    assert read is not None
    known = {}
    for number, cities in said.items():
        shop.deliver(number, **cities)
        known[number] = shop.rows(f"select {columns} from marts.customers order by customer_id, effective_date")
    with shop.session() as session:
        for number, versions in known.items():
            parameters = {"load_date": shop.at(number)}
            query = f"select {columns} from {read.versions} as k where load_date = %(load_date)s"
            assert session.execute(f"{query} order by customer_id, effective_date", parameters).fetchall() == versions
            of_day = f"select customer_id, city from {read.rows} as r"
            assert dict(session.execute(of_day, parameters).fetchall()) == said[number]


def test_a_table_that_is_built_in_slices_reads_the_whole_history_in_each(shop: CitiesPipeline) -> None:
    for number, city in ((1, "Kyiv"), (3, "Lviv")):
        shop.deliver(number, ann=city)
    sell(shop, 3, 1, 2, 3)
    shop.file("raw/sales.sql", SALES.replace("grain:", "storage: partitions\ngrain:"))
    shop.drop("raw.sales")
    shop.build("raw.sales", shop.at(3))
    whole = shop.again(3, "marts.sold")
    sliced = shop.again(3, "marts.sold", slice_bytes=1, writers=2)
    partition = "select inhrelid from pg_inherits where inhparent = 'marts.sold'::regclass"
    assert shop.rows(f"select count(*) from pg_inherits where inhparent in ({partition})") == [(2,)]
    assert sliced.checksum == whole.checksum


def test_checks_and_rules_read_what_was_known(shop: CitiesPipeline) -> None:
    shop.deliver(3, ann="Kyiv")
    shop.deliver(5, bob="Kyiv")
    people = """\
        /* @asset
        description: Customers that sales name.
        owner: team:tests
        grain: [customer_id]
        quarantine: {rows: 5, rules: {foreign_key: {customer_id: marts.customers.customer_id}}}
        columns:
          customer_id: {type: text, description: Customer.}
        checks:
          reconcile: {source: marts.customers, counted: count(*) - 1, dropped: {gone: customer_id = 'ann'}}
          named: {bad_rows: "select * from {this} where customer_id not in (select customer_id from marts.customers)"}
        @end */
        select 'ann' as customer_id union all select 'bob' union all select 'eve'
        """
    shop.file("marts/people.sql", people)
    outcome = shop.again(5, "marts.people")
    assert outcome.rows == 2
    assert outcome.set_aside is not None
    assert outcome.set_aside.out == 1
    said = {result.name: result.message for result in outcome.results}["reconcile"]
    assert said.startswith("1 rows of marts.customers = 1 here + "), "only Bob is a row of the load_date"
    aside = shop.build("marts.people", shop.at(3)).set_aside
    assert aside is not None
    assert aside.out == 2, "on load_date 3, Bob was not known"


# ---- what a build records and refuses


def hash_of(shop: CitiesPipeline, number: int) -> str:
    return shop.again(number, "marts.cities").manifest_hash


def test_the_manifest_hash_covers_each_load_date_up_to_that_of_the_build(shop: CitiesPipeline) -> None:
    for number in (1, 3, 5):
        shop.deliver(number, ann="Kyiv")
    before = hash_of(shop, 3)
    shop.deliver(5, ann="Lviv")
    shop.again(1, "marts.customers")
    assert hash_of(shop, 3) == before, "of what came later, and of the same object again"
    shop.deliver(1, ann="Lviv")
    changed = hash_of(shop, 3)
    shop.deliver(2, ann="Lviv")
    assert len({before, changed, hash_of(shop, 3)}) == 3


def test_the_history_of_the_load_date_must_be_published_first(shop: CitiesPipeline) -> None:
    shop.deliver(1, ann="Kyiv")
    day = shop.at(2)
    assert error(shop, "marts.cities", 2) == (
        f"marts.cities of {day} cannot be built: marts.customers of that load_date must be published first; build that."
    )


def test_nothing_is_read_of_load_dates_that_lack_a_column(shop: CitiesPipeline) -> None:
    for number in (1, 3):
        shop.deliver(number, ann="Kyiv")
    text = CUSTOMERS.replace(
        "  city: {type: text, description: City.}\n",
        "  city: {type: text, description: City.}\n  letters: {type: integer, description: Letters of the city.}\n",
    )
    shop.file(
        "marts/customers.sql", text.replace("customer_id, city from", "customer_id, city, length(city) as letters from")
    )
    shop.again(3, "marts.customers")
    shop.again(3, "marts.cities")
    shop.file("marts/cities.sql", CITIES.replace("count(*) as versions", "sum(letters) as versions"))
    day, first = shop.at(3), shop.at(1)
    assert error(shop, "marts.cities", 3) == (
        f"marts.cities of {day} cannot be built: it reads marts.customers of all load_dates up to its own, of which "
        f"some from {first} to {first} were published before the column 'letters' became what its file declares now; "
        f"`kpi backfill {shop.name} --from {first} --to {first} --select marts.customers` builds these again."
    )
    shop.again(1, "marts.customers")
    shop.again(3, "marts.cities")
    assert shop.cities(3) == [("Kyiv", 4, 1)]


def test_nothing_is_read_if_the_versions_of_an_earlier_load_date_are_gone(shop: CitiesPipeline) -> None:
    shop.deliver(1, ann="Kyiv")
    shop.deliver(3, bob="Kyiv")
    with shop.session() as session:
        session.execute("delete from marts.customers where customer_id = 'ann'")
    gone = shop.at(1)
    assert error(shop, "marts.cities", 3) == (
        f"marts.cities of {shop.at(3)} cannot be built: the rows of marts.customers of {gone} are gone from the "
        f"database; `kpi run {shop.name} --load-date {gone}` makes them again."
    )


def test_a_published_history_and_its_reader_are_rechecked(shop: CitiesPipeline) -> None:
    for number, city in ((1, "Kyiv"), (3, "Lviv")):
        shop.publish(number, ann=city)
    context = shop.context()
    for name in ("marts.customers", "marts.cities"):
        found = recheck(context, context.pipeline.table(name), shop.at(1))
        assert failed(found) == {}
        assert "as_published" in {result.name for result in found}
    with shop.session() as session:
        session.execute("update marts.customers set city = 'Odesa' where effective_date = %s", [shop.at(1)])
    [wrong] = failed(recheck(context, context.pipeline.table("marts.customers"), shop.at(1))).values()
    assert wrong.message == "the rows differ from what was published: somebody changed them; run it again"


# ---- builds at the same time


def test_while_a_reader_builds_only_later_load_dates_are_published(shop: CitiesPipeline) -> None:
    for number in (1, 3, 5):
        shop.deliver(number, ann="Kyiv")
    relation, waiting = Relation("marts", "customers"), threading.Event()

    def on_progress(phase: str, done: int, total: int) -> None:
        if "reader" in phase:
            waiting.set()

    context = shop.prepared(on_progress=on_progress, publish_timeout=30)
    table = context.pipeline.table("marts.customers")
    with shop.session() as reader, ThreadPoolExecutor(1) as pool:
        locks.lock_against_publishes(reader, relation, shop.at(3))
        assert not build(context, table, shop.at(5)).held
        waits = pool.submit(build, context, table, shop.at(1))
        assert waiting.wait(PATIENCE)
        assert not waits.done()
        locks.unlock(reader, f"publish {relation} up to {shop.at(3)}")
        assert not waits.result(30).held


HISTORY_OF_CITIES = """\
/* @asset
description: Cities and their history.
owner: team:tests
grain: [city]
storage: history
history: {surrogate_key: city_sk, max_changed: 1}
columns:
  city: {type: text, description: City.}
  customers: {type: bigint, description: How many ever lived there.}
@end */
select city, count(distinct customer_id) as customers from marts.customers group by city
"""
READS_BOTH = """\
/* @asset
description: Versions of both histories.
owner: team:tests
grain: [what]
columns:
  what: {type: text, description: What is counted.}
  versions: {type: bigint, description: How many.}
@end */
select 'customers' as what, count(*) as versions from marts.customers
union all
select 'cities' as what, count(*) as versions from marts.cities
"""


def test_builds_that_read_and_write_two_histories_at_once_all_end_and_heal(shop: CitiesPipeline) -> None:
    """A build never waits for a lock while it keeps another one from what it needs."""
    shop.file("marts/cities.sql", HISTORY_OF_CITIES)
    shop.file("marts/total.sql", READS_BOTH)
    rng, numbers = random.Random(3), range(1, 6)
    said = {number: {name: rng.choice(["Kyiv", "Lviv"]) for name in ("ann", "bob")} for number in numbers}
    for number, cities in said.items():
        shop.deliver(number, **cities)
        for name in ("marts.cities", "marts.total"):
            shop.again(number, name)
    wanted = shop.rows(f"select * from marts.total where load_date >= '{shop.at(1)}' order by 1, 2")
    context = shop.prepared()
    jobs = [(name, number) for name in ("marts.customers", "marts.cities", "marts.total") for number in numbers] * 2
    rng.shuffle(jobs)

    def run(job: tuple[str, int]) -> bool:
        return build(context, context.pipeline.table(job[0]), shop.at(job[1])).held

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(run, jobs, timeout=PATIENCE))
    assert shop.stale() == {}
    assert shop.rows(f"select * from marts.total where load_date >= '{shop.at(1)}' order by 1, 2") == wanted
