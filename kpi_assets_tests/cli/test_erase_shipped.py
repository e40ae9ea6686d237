"""`kpi erase` on the shipped pipelines: a person is gone, and the KPIs are those of the objects without that person."""

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from kpi_assets.embedded.stack import Stack
from kpi_assets.simulators.api import RETAILERS, SIMULATED
from kpi_assets_tests import test_ecommerce_oracle, test_retail_oracle, test_storefront_oracle
from kpi_assets_tests.cli.command import SQL, CliHarness
from kpi_assets_tests.retail_apis import Retailers
from kpi_assets_tests.template import give_up_durability

pytestmark = pytest.mark.nightly  # each builds two load_dates of a whole pipeline three times
WORDS = ("--request", "REQ-1", "--reason", "asked to be erased by letter", "--by", "ana")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliHarness]:
    """A home of its own, because the shipped pipelines are built in it under their names."""
    folder = tmp_path_factory.mktemp("persons")
    with Stack(folder / "home") as stack:
        give_up_durability(SecretStr(stack.environment()["KPI_POSTGRES_URL"]))
        yield CliHarness(stack, folder)
    shutil.rmtree(folder)


@dataclass
class Shop:
    """A shipped pipeline in that home, alone in its tree, with two load_dates."""

    kpi: CliHarness
    name: str
    days: tuple[date, date]
    folder: Path  # of its tree, and of what a test writes

    def __post_init__(self) -> None:
        shutil.copytree(SQL / self.name, self.folder / "sql" / self.name)
        self.kpi.stack.make_bucket(self.bucket)

    @property
    def bucket(self) -> str:
        return f"kpi-{self.name}"

    def __call__(self, *words: object, code: int = 0) -> str:
        return self.kpi(*words, code=code, KPI_SQL_DIR=str(self.folder / "sql")).out

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query in its database."""
        return self.kpi.rows(query, database=self.name)

    def land(self, orders: int, *more: object) -> None:
        """Write samples of both load_dates, and land and build them."""
        words = ("--load-date", self.days[0], "--days", 2, "--orders", orders, *more)
        files = self.folder / "landed"
        self("sample", self.name, *words, "--out", files)
        self("land", self.name, "--from", files)
        self.build()

    def build(self) -> None:
        self("backfill", self.name, "--from", self.days[0], "--to", self.days[1])

    def objects(self) -> dict[str, bytes]:
        """Return the deliveries as they lie on S3, by key."""
        listed = self.kpi.s3.list_objects_v2(Bucket=self.bucket)["Contents"]
        keys = [each["Key"] for each in listed if not each["Key"].startswith(("erasures/", "decisions/"))]
        return {key: self.kpi.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def erase(self, kind: str, person: str) -> dict[str, tuple[int, int, int]]:
        """Erase a person; return the records before, those about the person, and those after, by object."""
        ids = self.folder / "ids.txt"
        ids.write_text(person)
        given = ("erase", self.name, kind, "--ids", ids, *WORDS)
        counted = re.search(r"--yes ([0-9]+)", self(*given, "--dry-run"))
        assert counted
        assert "through erasure 1" in " ".join(self(*given, "--yes", counted[1]).split())
        self("erase", self.name, "--verify", 1, "--ids", ids)
        body = self.kpi.s3.get_object(Bucket=self.bucket, Key="erasures/0001.receipt.json")["Body"].read()
        found = json.loads(body)["objects"]
        assert sum(each["erased"] for each in found) == int(counted[1])
        return {each["key"]: (each["records_before"], each["erased"], each["records_after"]) for each in found}

    def accounted(self, table: str, day: date) -> str:
        """Return how the records of the latest build of a raw table are accounted for."""
        [(message,)] = self.rows(
            "select r.message from ops.data_quality_results as r join ops.pipeline_runs as b on b.id = r.build_id "
            f"where r.check_name = 'rows_accounted' and r.table_name = '{table}' and b.load_date = '{day}' "
            "order by r.id desc limit 1"
        )
        return str(message)

    def checksums(self) -> list[tuple[Any, ...]]:
        """Return the checksums of what readers see of the KPIs."""
        return self.rows(
            "select asset, load_date, checksum from ops.published "
            "where split_part(asset, '.', 2) like any (array['kpi%', 'agg%']) order by 1, 2"
        )

    def deliver_again(self, key: str, body: bytes) -> None:
        """Let the source deliver an object as it was, and build what follows."""
        self.kpi.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        self.build()


def written(folder: Path, objects: Mapping[str, bytes]) -> Path:
    """Write objects below a folder under their keys, as the oracles read them."""
    for key, body in objects.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(body)
    return folder


def records_of(body: bytes, person: str, column: str) -> int:
    """Count the records of a CSV that are about a person."""
    return sum(row[column] == person for row in csv.DictReader(io.StringIO(body.decode())))


def test_a_customer_of_the_storefront(home: CliHarness, tmp_path: Path) -> None:
    """The customer is gone, and the sales stay as those of nobody whom an export ever had."""
    monday = test_storefront_oracle.MONDAY
    shop = Shop(home, "storefront", (monday, monday + timedelta(days=1)), tmp_path)
    shop.land(300)
    before, revenue = shop.objects(), "select load_date, sum(revenue) from warehouse.agg_daily_sales group by 1"
    earned = sorted(shop.rows(revenue))
    [(customer,)] = shop.rows(
        "select customer_id from warehouse.agg_customer_lifetime where is_current order by transactions desc, 1 limit 1"
    )

    done = shop.erase("customer", customer)

    for day in shop.days:
        people, sales = (f"staging/{name}/load_date={day}/{name}.csv" for name in ("customers", "transactions"))
        of_person = records_of(before[people], customer, "customer_id")
        assert done[people][0] - of_person == done[people][2]
        assert done[people][1] == of_person > 0
        assert done[sales][1] == records_of(before[sales], customer, "customer_id") > 0
        assert done[sales][0] == done[sales][2], "the sales stay"
        records = done[people][2]
        assert shop.accounted("staging.customers", day) == (
            f"{records:,} records in the object = {records:,} loaded + 0 in quarantine + 0 erased"
        )
    after = shop.objects()
    assert {key for key, body in after.items() if body != before[key]} == {*done}
    assert customer.encode() not in b"".join(after.values())
    test_storefront_oracle.assert_equal(shop, written(tmp_path / "after", after), shop.days)
    assert sorted(shop.rows(revenue)) == earned
    assert shop.rows("select count(*) from warehouse.fact_sales where is_current and customer_sk is null") > [(0,)]

    kpis, day = shop.checksums(), shop.days[1]
    key = f"staging/customers/load_date={day}/customers.csv"
    shop.deliver_again(key, before[key])
    total, gone, left = done[key]
    assert shop.accounted("staging.customers", day) == (
        f"{total:,} records in the object = {left:,} loaded + 0 in quarantine + {gone} erased"
    )
    assert shop.checksums() == kpis


def test_a_user_of_the_online_shop(home: CliHarness, tmp_path: Path) -> None:
    """Orders and events of the user are gone, and so is what was carried on of them from day to day."""
    monday = test_ecommerce_oracle.MONDAY
    shop = Shop(home, "ecommerce", (monday, monday + timedelta(days=1)), tmp_path)
    shop.land(200, "--events", 800)
    before = shop.objects()
    [(user,)] = shop.rows(
        f"select user_id from warehouse.dim_user where load_date = '{shop.days[1]}' and orders > 1 and events > 1 "
        "order by orders desc, user_id limit 1"
    )

    done = shop.erase("user", str(user))

    assert all(total - gone == left and gone for total, gone, left in done.values())
    after = shop.objects()
    assert {key for key, body in after.items() if body != before[key]} == {*done}
    for day in shop.days:
        orders, events = json.loads(before[f"orders/{day}/orders.json"]), before[f"events/{day}/events.csv"]
        assert done.get(f"orders/{day}/orders.json", (0, 0))[1] == sum(order["user_id"] == user for order in orders)
        assert done.get(f"events/{day}/events.csv", (0, 0))[1] == records_of(events, str(user), "user_id")
    test_ecommerce_oracle.assert_equal(shop, written(tmp_path / "after", after), shop.days)
    assert shop.rows(f"select from warehouse.dim_user where user_id = {user}") == []

    kpis, key = shop.checksums(), next(key for key in done if key.startswith("orders/"))
    shop.deliver_again(key, before[key])
    total, gone, left = done[key]
    assert shop.accounted("raw.orders_json", date.fromisoformat(key.split("/")[1])) == (
        f"{total:,} records in the object = {left:,} loaded + 0 in quarantine + {gone} erased"
    )
    assert shop.checksums() == kpis


@dataclass
class RetailShop(Shop):
    """The retailers of the home, whose databases are filled with what the objects say."""

    asked: Retailers | None = None


def told(body: bytes, name: str) -> list[dict[str, Any]]:
    """Return the records of an object: the answers of an API, one after another."""
    text, at, found = body.decode(), 0, list[dict[str, Any]]()
    decoder = json.JSONDecoder(parse_float=Decimal)
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        page, at = decoder.raw_decode(text, at)
        found += page[{"retailer_1": "data", "retailer_2": "transactions", "retailer_3": "results"}[name]]
    return found


def test_a_customer_of_a_retailer(home: CliHarness, tmp_path: Path) -> None:
    """One retailer told the customer's sales; the other two are as they were."""
    first = date(2025, 7, 1)
    shop = RetailShop(home, "retail", (first, first + timedelta(days=1)), tmp_path)
    shop("sample", "retail", "--load-date", first, "--days", 2, "--orders", 30)
    shop.build()
    before = shop.objects()
    [(customer,)] = shop.rows(
        "select customer_id from raw.retailer_1_sales where customer_id is not null "
        "group by 1 order by count(distinct load_date) desc, count(*) desc, 1 limit 1"
    )

    done = shop.erase("customer_of_retailer_1", customer)

    after = shop.objects()
    assert {key for key, body in after.items() if body != before[key]} == {*done}
    for key, (total, gone, left) in done.items():
        assert len(told(before[key], "retailer_1")) == total
        assert sum(each["customer_id"] == customer for each in told(before[key], "retailer_1")) == gone > 0
        assert len(told(after[key], "retailer_1")) == left == total - gone
    sessions = {
        name: psycopg.connect(home.url(each.database), autocommit=True)
        for name, each in SIMULATED.items()
        if each in RETAILERS
    }
    shop.asked = Retailers("", SecretStr(""), {}, sessions)
    try:
        for name in sessions:
            for day in shop.days:
                key = f"raw/{name}/{day:year=%Y/month=%m/day=%d}/sales_data.json"
                shop.asked.put(name, day, told(after[key], name))
        test_retail_oracle.assert_equal(shop, shop.days)
    finally:
        for session in sessions.values():
            session.close()

    kpis, key = shop.checksums(), next(iter(done))
    shop.deliver_again(key, before[key])
    total, gone, left = done[key]
    day = next(day for day in shop.days if f"{day:day=%d}" in key)
    assert shop.accounted("raw.retailer_1_sales", day) == (
        f"{total:,} records in the object = {left:,} loaded + 0 in quarantine + {gone} erased"
    )
    assert shop.checksums() == kpis
