"""The days of the shop: counts, formats, references, the funnel, Mondays, and each fault beside files without."""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.errors import UserError
from kpi_assets.samples import GENERATORS
from kpi_assets.samples.csv_file import Edit
from kpi_assets.samples.ecommerce.catalog import OPENING, listed
from kpi_assets.samples.ecommerce.generator import Ecommerce
from kpi_assets.samples.json_file import write_array

MONDAY, WEDNESDAY = date(2025, 6, 2), date(2025, 6, 4)
FUNNEL = ("page_view", "view_product", "add_to_cart", "checkout", "purchase")
FAULTS = GENERATORS["ecommerce"].faults
RECORDS_PER_FAULT = {"duplicate-id": 2, "conflicting-id": 2, "duplicate-event": 2, "conflicting-event": 2}


def write(
    out: Path,
    *,
    load_date: date = WEDNESDAY,
    orders: int = 400,
    events: int | None = None,
    days: int = 1,
    seed: int = 7,
    faults: Sequence[str] = (),
) -> dict[str, int]:
    return Ecommerce(events, days).write(out, load_date=load_date, orders=orders, seed=seed, faults=faults)


def key(file: str, load_date: date) -> str:
    return f"{file.partition('.')[0]}/{load_date}/{file}"


def orders_of(folder: Path, load_date: date = WEDNESDAY) -> list[dict[str, Any]]:
    return list(json.loads((folder / key("orders.json", load_date)).read_bytes(), parse_float=Decimal))


def products_of(folder: Path, monday: date = MONDAY) -> list[dict[str, Any]]:
    return list(json.loads((folder / key("products.json", monday)).read_bytes(), parse_float=Decimal)["products"])


def events_of(folder: Path, load_date: date = WEDNESDAY) -> list[dict[str, str]]:
    text = (folder / key("events.csv", load_date)).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Wednesday of 400 orders without faults."""
    folder = tmp_path_factory.mktemp("day")
    write(folder)
    return folder


def test_a_day_has_exactly_the_requested_records_and_the_products_of_its_monday(day: Path, tmp_path: Path) -> None:
    rows = write(tmp_path / "again")
    assert set(digests(day)) == set(rows)
    assert list(rows.values()) == [len(products_of(day)), len(orders_of(day)), len(events_of(day))] == [265, 400, 3200]


@pytest.mark.parametrize(("orders", "events"), [(1, 1), (2, 9), (100, 100), (100, 400), (100, 799), (333, 5000)])
def test_each_number_of_orders_and_events_is_met(tmp_path: Path, orders: int, events: int) -> None:
    write(tmp_path, orders=orders, events=events)
    found = events_of(tmp_path)
    assert (len(orders_of(tmp_path)), len(found)) == (orders, events)
    on_time = sum(order["timestamp"].startswith(str(WEDNESDAY)) for order in orders_of(tmp_path))
    assert sum(event["event_type"] == "purchase" for event in found) == on_time


def test_the_same_words_give_the_same_bytes_whatever_is_written_beside_them(day: Path, tmp_path: Path) -> None:
    write(tmp_path, load_date=WEDNESDAY - timedelta(days=1), days=3)
    week, alone = digests(tmp_path), digests(day)
    assert alone.items() <= week.items()
    assert len(week) == 7
    assert len(set(week.values())) == 7
    write(tmp_path / "other", seed=8)
    assert set(alone.values()) & set(digests(tmp_path / "other").values()) == set()


def test_the_bytes_are_the_same_on_every_machine(day: Path) -> None:
    assert digests(day) == {
        "products/2025-06-02/products.json": "d1283c34570bd70c3e0620a10d1eadd44bc555bb843322ee7cde26356b6877d8",
        "orders/2025-06-04/orders.json": "890fc181759c8b1e8a87cc9a01577f39454313b1fbdda3741fb6e9cc982908b8",
        "events/2025-06-04/events.csv": "99ac7667cc18cd8d7e986bf25f1f928c3995f91fdd7336f8f1a05203f02f6512",
    }


def test_every_record_has_its_format(day: Path) -> None:
    first, *lines, last, end = (day / key("orders.json", WEDNESDAY)).read_text().split("\n")
    assert (first, last, end) == ("[", "]", "")
    order = re.compile(
        r'\{"order_id": 20250604\d{6}, "user_id": [1-9]\d*, "product_id": [1-9]\d*, "quantity": [1-5], '
        r'"price": \d+\.\d\d, "timestamp": "2025-0[56]-\d\dT\d\d:\d\d:\d\dZ", '
        r'"status": "(?:paid|cancelled|refunded|pending)"\},?'
    )
    assert [line for line in lines if not order.fullmatch(line)] == []
    header, *rows = (day / key("events.csv", WEDNESDAY)).read_text().splitlines()
    assert header == "event_id,user_id,product_id,event_type,event_ts"
    event = re.compile(
        r"20250604\d{7},[1-9]\d*,(?:,(?:page_view|checkout)|[1-9]\d*,(?:view_product|add_to_cart|purchase)),"
        r"2025-06-04T\d\d:\d\d:\d\dZ"
    )
    assert [row for row in rows if not event.fullmatch(row)] == []
    for product in products_of(day):
        assert list(product) == ["product_id", "product_name", "category", "brand", "current_price"]
        assert product["current_price"] > 1
        assert product["current_price"].as_tuple().exponent == -2


def test_ids_are_unique_and_every_product_is_listed_at_its_price(day: Path) -> None:
    prices = {product["product_id"]: product["current_price"] for product in products_of(day)}
    orders, events = orders_of(day), events_of(day)
    assert len({order["order_id"] for order in orders}) == len(orders)
    assert len({event["event_id"] for event in events}) == len(events)
    assert [order for order in orders if prices[order["product_id"]] != order["price"]] == []
    assert {int(event["product_id"]) for event in events if event["product_id"]} <= set(prices)
    assert len(prices) == 265


def test_orders_are_as_in_a_shop(day: Path) -> None:
    orders = orders_of(day)
    statuses = Counter(order["status"] for order in orders)
    assert 320 < statuses["paid"] < 370
    assert min(statuses[status] for status in ("cancelled", "refunded", "pending")) >= 5
    late = [order["timestamp"] for order in orders if not order["timestamp"].startswith(str(WEDNESDAY))]
    assert len(late) == 2
    assert all("2025-05-30" <= timestamp < "2025-06-04" for timestamp in late)


def test_purchases_are_the_orders_and_few_sessions_come_so_far(day: Path) -> None:
    orders, events = orders_of(day), events_of(day)
    bought = [(order["user_id"], order["product_id"], order["timestamp"]) for order in orders]
    purchases = [
        (int(event["user_id"]), int(event["product_id"]), event["event_ts"])
        for event in events
        if event["event_type"] == "purchase"
    ]
    assert sorted(purchases) == sorted(each for each in bought if each[2].startswith(str(WEDNESDAY)))
    assert [event["event_ts"] for event in events] == sorted(event["event_ts"] for event in events)
    users = [{event["user_id"] for event in events if event["event_type"] == step} for step in FUNNEL]
    sizes = [len(each) for each in users]
    assert sizes == sorted(sizes, reverse=True)
    assert users[4] <= users[3] & users[2] & users[0]
    assert sizes[0] > 2 * sizes[4]


def test_users_come_back_on_other_days(tmp_path: Path) -> None:
    write(tmp_path, days=7)
    users = [{order["user_id"] for order in orders_of(tmp_path, WEDNESDAY + timedelta(days=n))} for n in range(7)]
    counts = Counter(user for each in users for user in each)
    assert sum(count > 1 for count in counts.values()) > 150


def test_mondays_list_new_products_drop_others_and_change_prices(tmp_path: Path) -> None:
    rows = write(tmp_path, days=20, orders=20)
    mondays = [date(2025, 6, 2), date(2025, 6, 9), date(2025, 6, 16), date(2025, 6, 23)]
    assert [name for name in rows if name.startswith("products")] == [key("products.json", each) for each in mondays]
    first, last = (
        {each["product_id"]: each for each in products_of(tmp_path, day)} for day in (mondays[0], mondays[3])
    )
    assert sorted(set(last) - set(first)) == [285, 286, 287, 288, 289, 290]
    assert len(set(first) - set(last)) == 2
    both = set(first) & set(last)
    changed = [number for number in both if first[number]["current_price"] != last[number]["current_price"]]
    assert 50 < len(changed) < 150
    assert [number for number in both if first[number]["product_name"] != last[number]["product_name"]] == []


def test_before_the_opening_the_first_products_are_listed() -> None:
    assert listed(OPENING - timedelta(days=700), 1) == listed(OPENING, 1)
    assert [product.number for product in listed(OPENING, 1)] == list(range(1, 241))


# --- faults


def lines_of(folder: Path, file: str) -> list[bytes]:
    load_date = MONDAY if file == "products.json" else WEDNESDAY
    return [line.removesuffix(b",") for line in (folder / key(file, load_date)).read_bytes().splitlines()]


def difference(before: list[bytes], after: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the records that are only in one of two files."""
    old, new = Counter(before), Counter(after)
    return list((old - new).elements()), list((new - old).elements())


CHANGED = {
    "negative-price": (r'"price": -\d', 1),
    "zero-quantity": (r'"quantity": 0,', 1),
    "duplicate-id": (r"", 0),
    "conflicting-id": (r'"quantity": [2-6],', 0),
    "future-timestamp": (r'"timestamp": "2025-07-04T12:00:00Z"', 1),
    "very-late": (r'"timestamp": "2025-05-26T12:00:00Z"', 1),
    "unknown-product": (r'"product_id": 2000000000,', 1),
    "null-user": (r'"user_id": null,', 1),
    "unknown-status": (r'"status": "shipped"\}', 1),
    "wrong-type": (r'"quantity": "two",', 1),
    "bad-json": (r'"quantity": two,', 1),
    "unknown-field": (r', "coupon": "WELCOME"\}', 1),
    "missing-field": (r'"quantity": \d, "timestamp"', 1),
    "duplicate-event": (r"", 0),
    "conflicting-event": (r",(purchase|checkout),", 0),
    "unknown-event-type": (r",swipe,", 1),
    "unknown-event-product": (r",2000000000,", 1),
    "null-event-user": (r"^\d+,,", 1),
    "future-event": (r",2025-07-04T12:00:00Z$", 1),
    "negative-product-price": (r'"current_price": -\d', 1),
    "product-without-name": (r'"product_name": null,', 1),
    "conflicting-product": (r'"current_price": 1.00\}', 0),
}


@pytest.mark.parametrize("fault", CHANGED)
def test_a_fault_of_records_changes_as_many_as_are_asked_for_and_nothing_else(
    day: Path, tmp_path: Path, fault: str
) -> None:
    pattern, old_records = CHANGED[fault]
    file = FAULTS[fault].partition(":")[0]
    for count, name in ((1, fault), (3, f"{fault}=3")):
        rows = write(tmp_path, faults=[name])
        changed = {path for path, digest in digests(tmp_path).items() if digests(day)[path] != digest}
        assert changed == {path for path in rows if path.endswith(file)}
        old, new = difference(lines_of(day, file), lines_of(tmp_path, file))
        assert (len(old), len(new)) == (count * old_records, count)
        assert [line for line in new if not re.search(pattern, line.decode())] == []


def test_faults_of_a_whole_file(day: Path, tmp_path: Path) -> None:
    whole = (day / key("orders.json", WEDNESDAY)).read_bytes()

    def orders_with(fault: str) -> bytes:
        write(tmp_path, faults=[fault])
        return (tmp_path / key("orders.json", WEDNESDAY)).read_bytes()

    assert orders_with("field-gone") == re.sub(rb', "quantity": \d', b"", whole)
    assert orders_with("no-orders") == b"[\n\n]\n"
    cut = orders_with("truncated-array")
    assert whole.startswith(cut)
    assert re.search(rb'\n\{"order_id": 20250604000400[^}]*$', cut)
    for fault, file in (("missing-orders", "orders"), ("missing-events", "events"), ("missing-products", "products")):
        assert set(digests(day)) - set(write(tmp_path, faults=[fault])) == {
            path for path in digests(day) if file in path
        }
        assert not list((tmp_path / file).rglob("*.*"))


def test_every_fault_is_tested_and_described_with_its_file() -> None:
    whole = {"field-gone", "truncated-array", "no-orders", "missing-orders", "missing-events", "missing-products"}
    assert set(FAULTS) == {*CHANGED, *whole}
    assert {text.partition(": ")[0] for text in FAULTS.values()} == {"orders.json", "events.csv", "products.json"}


def test_several_faults_hit_different_records_of_the_first_day_only(day: Path, tmp_path: Path) -> None:
    faults = [name for name in CHANGED if FAULTS[name].startswith("orders.json")]
    write(tmp_path, faults=[f"{name}=2" for name in faults], days=2)
    old, new = difference(lines_of(day, "orders.json"), lines_of(tmp_path, "orders.json"))
    assert (len(old), len(new)) == (22, 26)
    write(tmp_path / "next", load_date=WEDNESDAY + timedelta(days=1))
    assert digests(tmp_path / "next").items() <= digests(tmp_path).items()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"faults": ["dow_9"]}, f"Ecommerce has no fault 'dow_9': choose from {', '.join(FAULTS)}."),
        (
            {"faults": ["no-orders=2"]},
            "The fault 'no-orders=2' cannot be planted: give a whole number from 1 behind the name of a fault of "
            "records, such as negative-price=30.",
        ),
        (
            {"faults": ["null-user=none"]},
            "The fault 'null-user=none' cannot be planted: give a whole number from 1 behind the name of a fault of "
            "records, such as negative-price=30.",
        ),
        (
            {"faults": ["null-user", "missing-orders"]},
            "The fault missing-orders leaves no orders.json for null-user to be planted in: choose one of them.",
        ),
        (
            {"faults": ["null-user=30", "wrong-type=11"], "orders": 40},
            "orders.json has 40 records for the 41 faults asked of them: ask for more orders or events.",
        ),
        ({"orders": 0}, "A day of 0 orders cannot be made: ask for 1 to 999,999 orders."),
        (
            {"events": 399},
            "A day of 400 orders and 399 events cannot be made: ask for 400 to 9,999,999 events, since an order has "
            "its purchase.",
        ),
        ({"days": 367}, "367 days cannot be made at once: ask for 1 to 366 days."),
        ({"load_date": date.max, "days": 2}, "There are no 2 days from 9999-12-31 on: begin earlier."),
        ({"seed": -1}, "The seed -1 is negative: choose 0 or more."),
    ],
)
def test_what_cannot_be_written_is_refused_and_changes_nothing(
    tmp_path: Path, words: dict[str, Any], sentence: str
) -> None:
    write(tmp_path)
    before = digests(tmp_path)
    with pytest.raises(UserError) as refused:
        write(tmp_path, **words)
    assert str(refused.value) == sentence
    assert digests(tmp_path) == before


def test_an_array_is_valid_whatever_the_blocks_and_edits_are(tmp_path: Path) -> None:
    twice: Edit = lambda record: [record, record]  # noqa: E731
    gone: Edit = lambda _: []  # noqa: E731
    for blocks in ([b"1\n2\n3\n"], [b"1\n", b"2\n3\n"], [b"1\n", b"2\n", b"3\n"]):
        for edits, wanted in (({}, [1, 2, 3]), ({0: twice}, [1, 1, 2, 3]), ({0: gone}, [2, 3]), ({2: gone}, [1, 2])):
            written = write_array(tmp_path / "array", blocks, edits)
            assert json.loads((tmp_path / "array").read_bytes()) == wanted
            assert written == len(wanted)
