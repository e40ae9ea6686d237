"""The days of the shop that exports whole tables: sizes, references, changes, what is dirty, and each fault."""

import csv
import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.errors import UserError
from kpi_assets.samples import GENERATORS
from kpi_assets.samples.storefront.catalog import listed_products
from kpi_assets.samples.storefront.faults import COLUMNS, CUSTOMERS, ITEMS, PRODUCTS, TRANSACTIONS
from kpi_assets.samples.storefront.generator import FIRST, LAST, Storefront
from kpi_assets.samples.storefront.people import listed_customers
from kpi_assets.samples.storefront.size import Size
from kpi_assets_tests.examples import few

Row = dict[str, str]

TUESDAY = date(2025, 1, 7)
KEYS = {CUSTOMERS: "customer_id", PRODUCTS: "product_id", TRANSACTIONS: "transaction_id", ITEMS: "item_id"}
FAULTS = GENERATORS["storefront"].faults
FORMATS = {
    CUSTOMERS: r"C\d{6},[A-Z][a-z]+,[A-Z][-'A-Za-z]+,[a-z]+\.[-a-z]+\d+@example\.com,555-\d{3}-\d{4},"
    r"[^,\"]+,[^,\"]+,[A-Za-z ]+,(18-24|25-34|35-44|45-54|55-64|65\+)",
    PRODUCTS: r'P\d{4},"[A-Z][A-Za-z ]+, ([A-Z][a-z]+|12"")",[A-Z][a-z]+,[A-Z][A-Za-z ]+,([^,"]+|"Fox ""27"""),'
    r"\d+\.\d\d,\d+\.\d\d,\d+,S0\d\d",
    TRANSACTIONS: r"T\d{7},C\d{6},202[45]-\d\d-\d\d,(Credit Card|Debit Card|PayPal|Cash|Bank Transfer),\d+\.\d\d",
    ITEMS: r"I\d{8},T\d{7},P\d{4},[1-6],\d+\.\d\d,(0|5|10|15|20|30),\d+\.\d\d",
}


def write(
    out: Path,
    *,
    load_date: date = TUESDAY,
    orders: int = 4000,
    days: int = 1,
    seed: int = 7,
    faults: Sequence[str] = (),
    is_dirty: bool = False,
) -> dict[str, int]:
    return Storefront(days, is_dirty).write(out, load_date=load_date, orders=orders, seed=seed, faults=faults)


def key(file: str, load_date: date = TUESDAY) -> str:
    return f"staging/{file.partition('.')[0]}/load_date={load_date}/{file}"


def rows_of(folder: Path, file: str, load_date: date = TUESDAY) -> list[Row]:
    text = (folder / key(file, load_date)).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def by_id(folder: Path, file: str, load_date: date = TUESDAY) -> dict[str, Row]:
    return {row[KEYS[file]]: row for row in rows_of(folder, file, load_date)}


def lines_of(folder: Path, file: str, load_date: date = TUESDAY) -> list[str]:
    return (folder / key(file, load_date)).read_text(encoding="utf-8").splitlines()


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def line_total(item: Row) -> Decimal:
    share = 1 - Decimal(item["discount_percentage"]) / 100
    exact = int(item["quantity"]) * Decimal(item["unit_price"]) * share
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Tuesday of 4,000 orders without anything dirty."""
    folder = tmp_path_factory.mktemp("clean")
    write(folder)
    return folder


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty days without anything dirty."""
    folder = tmp_path_factory.mktemp("month")
    write(folder, load_date=FIRST, days=30)
    return folder


# --- sizes, formats and references


def test_a_shop_has_the_sizes_that_follow_from_its_orders(tmp_path: Path) -> None:
    rows = write(tmp_path, load_date=FIRST, orders=10_000, is_dirty=True)
    assert rows == {key(file, FIRST): len(rows_of(tmp_path, file, FIRST)) for file in COLUMNS}
    assert list(rows.values()) == [1109, 554, 10_020, 32_343]


@pytest.mark.parametrize("orders", [1, 2, 19, 199, 200, 201])
def test_a_small_shop_is_whole(tmp_path: Path, orders: int) -> None:
    write(tmp_path, load_date=FIRST, orders=orders)
    transactions = rows_of(tmp_path, TRANSACTIONS, FIRST)
    assert len(transactions) == orders
    assert {row["transaction_id"] for row in rows_of(tmp_path, ITEMS, FIRST)} <= {
        row["transaction_id"] for row in transactions
    }
    assert min(row["transaction_date"] for row in transactions) >= "2024-06-16"


def test_the_same_words_give_the_same_bytes_whatever_is_written_beside_them(clean: Path, tmp_path: Path) -> None:
    write(tmp_path, load_date=FIRST, days=3)
    days, alone = digests(tmp_path), digests(clean)
    assert alone.items() <= days.items()
    assert (len(days), len(set(days.values()))) == (12, 12)
    write(tmp_path / "other", seed=8)
    assert set(alone.values()) & set(digests(tmp_path / "other").values()) == set()


def test_the_bytes_are_the_same_on_every_machine(tmp_path: Path) -> None:
    write(tmp_path, is_dirty=True)
    assert digests(tmp_path) == {
        key(CUSTOMERS): "f28629925dfb63379da2f6b5bda03f0420ca7477ad8152febe05aca9a3b60aac",
        key(PRODUCTS): "d228b9bbe60f631fa3a506b334c15e1872347b9484cfed52457d0a04d52910c7",
        key(TRANSACTIONS): "9305d47b897c2d13f3bfe7f38630958015aef0d9d35c61a89dc726a9a6f3e200",
        key(ITEMS): "c297b8d449c277cd5461a49bd5f9a5240ff293e1c7a66ff72395d6a13de2e1ec",
    }


@pytest.mark.parametrize("file", COLUMNS)
def test_every_clean_record_has_its_format_and_an_id_of_its_own(clean: Path, file: str) -> None:
    header, *lines = lines_of(clean, file)
    assert header == ",".join(COLUMNS[file])
    assert [line for line in lines if not re.fullmatch(FORMATS[file], line)] == []
    ids = [row[KEYS[file]] for row in rows_of(clean, file)]
    assert ids == sorted(set(ids))


def test_prices_totals_and_references_agree_in_clean_files(clean: Path) -> None:
    customers, products, items = by_id(clean, CUSTOMERS), by_id(clean, PRODUCTS), rows_of(clean, ITEMS)
    assert [row for row in products.values() if not 0 < Decimal(row["cost"]) < Decimal(row["price"])] == []
    assert [item for item in items if Decimal(item["line_total"]) != line_total(item)] == []
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for item in items:
        totals[item["transaction_id"]] += Decimal(item["line_total"])
    transactions = by_id(clean, TRANSACTIONS)
    assert set(totals) <= set(transactions)
    assert {name: Decimal(row["total_amount"]) for name, row in transactions.items()} == {
        name: totals[name] for name in transactions
    }
    today = {name for name, row in transactions.items() if row["transaction_date"] == str(TUESDAY)}
    bought = [item for item in items if item["transaction_id"] in today and item["product_id"] in products]
    assert [item for item in bought if item["unit_price"] != products[item["product_id"]]["price"]] == []
    assert len(bought) > 50
    gone = [item for item in items if item["product_id"] not in products]
    nobody = [row for row in transactions.values() if row["customer_id"] not in customers]
    assert 0 < len(gone) < len(items) / 50
    assert 0 < len(nobody) < len(transactions) / 50


# --- what changes from day to day


def changes(month: Path, file: str) -> list[tuple[int, int, Counter[str]]]:
    """Of each day after the first: what came, what went, and how often which column changed."""
    days = [by_id(month, file, FIRST + timedelta(days=number)) for number in range(30)]
    return [
        (
            len(set(new) - set(old)),
            len(set(old) - set(new)),
            Counter(
                name for each in set(old) & set(new) for name in COLUMNS[file] if old[each][name] != new[each][name]
            ),
        )
        for old, new in pairwise(days)
    ]


# Of thirty days: how many came, how many went, and how often each column changed.
IN_A_MONTH: dict[str, tuple[int, int, dict[str, int]]] = {
    CUSTOMERS: (37, 5, {"city": 103, "state": 103, "country": 87, "phone": 27, "age_group": 9, "last_name": 7}),
    PRODUCTS: (37, 7, {"stock_quantity": 180, "price": 59, "cost": 34, "supplier_id": 7, "brand": 7}),
    TRANSACTIONS: (580, 0, {"total_amount": 79, "payment_method": 5}),
    ITEMS: (1879, 36, {"quantity": 43, "line_total": 43}),
}


@pytest.mark.parametrize("file", few(1, COLUMNS))
def test_about_one_in_a_hundred_records_changes_each_day(month: Path, file: str) -> None:
    found = changes(month, file)
    columns: Counter[str] = sum((each for _, _, each in found), Counter())
    assert (sum(came for came, _, _ in found), sum(went for _, went, _ in found), columns) == IN_A_MONTH[file]


def test_customers_and_products_that_went_come_back(month: Path) -> None:
    for file, returned in ((CUSTOMERS, 3), (PRODUCTS, 4)):
        days = [set(by_id(month, file, FIRST + timedelta(days=number))) for number in range(30)]
        seen: set[str] = set()
        back = 0
        for old, new in pairwise(days):
            seen |= old
            back += len((new - old) & seen)
        assert back == returned


@pytest.mark.parametrize("listed", [listed_customers, listed_products])
def test_who_comes_back_was_away_for_ten_days(listed: Callable[[Size, int, int], Any]) -> None:
    days = [set(listed(Size(4000), day, 7).tolist()) for day in range(140)]
    gone: dict[int, int] = {}  # number -> the first day without it
    away = []
    for day, (old, new) in enumerate(pairwise(days), start=1):
        gone |= dict.fromkeys(old - new, day)
        away += [day - gone.pop(number) for number in new - old if number in gone]
    assert set(away) == {10}
    assert len(away) > 20


def test_a_transaction_comes_on_time_or_some_days_late_and_stays(month: Path) -> None:
    known = by_id(month, TRANSACTIONS, FIRST)
    late = 0
    for number in range(1, 30):
        day = FIRST + timedelta(days=number)
        today = by_id(month, TRANSACTIONS, day)
        assert set(known) <= set(today)
        dates = [date.fromisoformat(today[name]["transaction_date"]) for name in set(today) - set(known)]
        assert len(dates) == 20
        assert {(day - each).days for each in dates} <= {0, 1, 2, 3, 4, 5}
        late += sum(each < day for each in dates)
        known = today
    assert late == 7


def test_the_last_day_is_written_and_its_ids_have_their_width(tmp_path: Path) -> None:
    write(tmp_path, load_date=LAST, orders=200)
    assert [line for line in lines_of(tmp_path, ITEMS, LAST)[1:] if not re.match(r"I\d{8},T\d{7},P\d{4},", line)] == []


# --- what is dirty, and faults

# Of each fault of records: the columns that differ from the clean record, whether the values are as the fault says, and
# how many records of the dirty Tuesday have it.
Judge = Callable[[Row, Row], bool]


def amounts(name: str, row: Row) -> Decimal:
    return Decimal(row[name])


FOUND: dict[str, tuple[set[str], Judge, int]] = {
    "name-in-capitals": ({"first_name", "last_name"}, lambda row, was: row["last_name"] == was["last_name"].upper(), 3),
    "name-in-small-letters": (
        {"first_name", "last_name"},
        lambda row, was: row["first_name"] == was["first_name"].lower(),
        3,
    ),
    "blanks-around-name": (
        {"first_name", "last_name"},
        lambda row, was: row["last_name"] == f"  {was['last_name']} ",
        3,
    ),
    "missing-first-name": ({"first_name"}, lambda row, _: not row["first_name"], 2),
    "missing-city": ({"city", "state"}, lambda row, _: not row["city"] and not row["state"], 2),
    "missing-age-group": ({"age_group"}, lambda row, _: not row["age_group"], 2),
    "missing-email": ({"email"}, lambda row, _: not row["email"], 2),
    "email-in-capitals": ({"email"}, lambda row, was: row["email"] == was["email"].upper(), 2),
    "email-without-at": ({"email"}, lambda row, was: row["email"] == was["email"].replace("@", "") != "", 2),
    "duplicate-customer": (set(), lambda row, was: True, 2),
    "conflicting-customer": ({"city", "state"}, lambda row, _: row["city"] == "Atlantis", 2),
    "customer-without-id": ({"customer_id"}, lambda row, _: not row["customer_id"], 2),
    "blanks-around-product-name": ({"name"}, lambda row, was: row["name"] == f"  {was['name']} ", 2),
    "zero-price": ({"price"}, lambda row, _: row["price"] == "0.00", 2),
    "negative-price": ({"price"}, lambda row, was: row["price"] == f"-{was['price']}", 1),
    "missing-price": ({"price"}, lambda row, _: not row["price"], 1),
    "cost-above-price": ({"cost"}, lambda row, _: amounts("cost", row) == amounts("price", row) + 5, 1),
    "cost-equals-price": ({"cost"}, lambda row, _: row["cost"] == row["price"], 1),
    "missing-category": ({"category"}, lambda row, _: not row["category"], 1),
    "missing-brand": ({"brand"}, lambda row, _: not row["brand"], 0),
    "missing-supplier": ({"supplier_id"}, lambda row, _: not row["supplier_id"], 1),
    "negative-stock": ({"stock_quantity"}, lambda row, _: row["stock_quantity"] == "-1", 1),
    "duplicate-product": (set(), lambda row, was: True, 1),
    "conflicting-product": ({"price"}, lambda row, _: row["price"] == "1000.00", 1),
    "product-without-id": ({"product_id"}, lambda row, _: not row["product_id"], 1),
    "price-in-words": ({"price"}, lambda row, _: row["price"] == "twelve", 0),
    "unknown-payment-method": ({"payment_method"}, lambda row, _: row["payment_method"] == "Seashells", 9),
    "missing-payment-method": ({"payment_method"}, lambda row, _: not row["payment_method"], 8),
    "future-date": (
        {"transaction_date"},
        lambda row, was: row["transaction_date"] == was["transaction_date"].replace("202", "212", 1),
        8,
    ),
    "missing-date": ({"transaction_date"}, lambda row, _: not row["transaction_date"], 8),
    "unknown-customer": ({"customer_id"}, lambda row, _: row["customer_id"] == "C000000", 8),
    "missing-customer": ({"customer_id"}, lambda row, _: not row["customer_id"], 8),
    "wrong-total": (
        {"total_amount"},
        lambda row, was: amounts("total_amount", row) == amounts("total_amount", was) + 10,
        8,
    ),
    "duplicate-transaction": (set(), lambda row, was: True, 8),
    "transaction-without-id": ({"transaction_id"}, lambda row, _: not row["transaction_id"], 8),
    "zero-quantity": ({"quantity"}, lambda row, _: row["quantity"] == "0", 14),
    "negative-quantity": ({"quantity"}, lambda row, _: row["quantity"] == "-1", 13),
    "discount-above-100": ({"discount_percentage"}, lambda row, _: row["discount_percentage"] == "120", 14),
    "negative-discount": ({"discount_percentage"}, lambda row, _: row["discount_percentage"] == "-5", 13),
    "wrong-line-total": ({"line_total"}, lambda row, _: amounts("line_total", row) == line_total(row) + 1, 13),
    "unknown-product": ({"product_id"}, lambda row, _: row["product_id"] == "P0000", 13),
    "unknown-transaction": ({"transaction_id"}, lambda row, _: row["transaction_id"] == "T0000000", 13),
    "duplicate-item": (set(), lambda row, was: True, 13),
    "item-without-id": ({"item_id"}, lambda row, _: not row["item_id"], 13),
}
OF_FILES = {
    *("swapped-columns", "truncated-customers", "missing-customers", "missing-column", "missing-products"),
    *("missing-transactions", "truncated-items", "missing-items"),
}


def found(before: Path, after: Path, file: str) -> Counter[str]:
    """The faults in a file that are not in the clean one before it. Each record that differs has exactly one."""
    old, new = rows_of(before, file), rows_of(after, file)
    counts: Counter[str] = Counter()
    place = 0  # of the next clean record
    for row, following in zip(new, [*new[1:], {}], strict=True):
        if place < len(old) and row == old[place]:
            place += 1
            continue
        was = old[place - 1] if place and row == old[place - 1] else old[place]
        differing = {name for name in COLUMNS[file] if row[name] != was[name]}
        place += bool(differing) and following != was  # else the clean record stands beside it
        [fault] = [
            name
            for name, (columns, judge, _) in FOUND.items()
            if FAULTS[name].startswith(f"{file}: ") and columns == differing and judge(row, was)
        ]
        counts[fault] += 1
    assert place == len(old)
    return counts


@pytest.mark.parametrize("file", COLUMNS)
def test_the_dirty_records_of_a_day_are_counted_exactly(clean: Path, tmp_path: Path, file: str) -> None:
    write(tmp_path, is_dirty=True)
    wanted = {name: count for name, (_, _, count) in FOUND.items() if FAULTS[name].startswith(f"{file}: ") and count}
    assert found(clean, tmp_path, file) == wanted


def test_what_is_dirty_stays_dirty_and_nothing_else_changes_by_it(month: Path, tmp_path: Path) -> None:
    write(tmp_path, load_date=FIRST, days=2, is_dirty=True)
    dirty = [{row["customer_id"] for row in rows_of(tmp_path, CUSTOMERS, FIRST) if not row["city"]}]
    dirty += [{row["customer_id"] for row in rows_of(tmp_path, CUSTOMERS, TUESDAY) if not row["city"]}]
    assert dirty[0] == dirty[1] != set()


@pytest.mark.parametrize("file", COLUMNS)
def test_faults_of_records_hit_as_many_as_are_asked_for_and_nothing_else(
    clean: Path, tmp_path: Path, file: str
) -> None:
    faults = [name for name in FOUND if FAULTS[name].startswith(f"{file}: ")]
    for names, count in (([faults[0]], 1), ([f"{name}=3" for name in faults], 3)):
        write(tmp_path, faults=names)
        assert found(clean, tmp_path, file) == {name.partition("=")[0]: count for name in names}
        assert {path for path, digest in digests(tmp_path).items() if digests(clean)[path] != digest} == {key(file)}


def test_faults_of_a_day_are_planted_besides_what_is_dirty_and_on_the_first_day_only(
    clean: Path, tmp_path: Path
) -> None:
    write(tmp_path, days=2, is_dirty=True, faults=["cost-above-price=5", "zero-price", "unknown-product=40"])
    assert found(clean, tmp_path, PRODUCTS)["cost-above-price"] == FOUND["cost-above-price"][2] + 5
    assert found(clean, tmp_path, PRODUCTS)["zero-price"] == FOUND["zero-price"][2] + 1
    assert found(clean, tmp_path, ITEMS)["unknown-product"] == FOUND["unknown-product"][2] + 40
    wednesday = TUESDAY + timedelta(days=1)
    write(tmp_path / "next", load_date=wednesday, is_dirty=True)
    assert digests(tmp_path / "next").items() <= digests(tmp_path).items()


def test_faults_of_all_records_and_of_whole_files(clean: Path, tmp_path: Path) -> None:
    def with_fault(fault: str, file: str) -> list[Row]:
        assert write(tmp_path, faults=[fault])[key(file)] == len(rows_of(tmp_path, file))
        return rows_of(tmp_path, file)

    customers, products, items = (rows_of(clean, file) for file in (CUSTOMERS, PRODUCTS, ITEMS))
    swapped = [row | {"city": row["state"], "state": row["city"]} for row in customers]
    assert with_fault("swapped-columns", CUSTOMERS) == swapped
    assert sum(row["city"] != row["state"] for row in customers) > len(customers) / 2
    assert with_fault("truncated-customers", CUSTOMERS) == customers[: len(customers) // 3]
    assert with_fault("truncated-items", ITEMS) == items[: len(items) // 3]
    for row in products:
        del row["supplier_id"]
    assert with_fault("missing-column", PRODUCTS) == products
    for fault, file in (
        ("missing-customers", CUSTOMERS),
        ("missing-products", PRODUCTS),
        ("missing-transactions", TRANSACTIONS),
        ("missing-items", ITEMS),
    ):
        assert set(digests(clean)) - set(write(tmp_path, faults=[fault])) == {key(file)}
        assert not (tmp_path / key(file)).exists()


def test_a_fault_of_records_and_one_of_the_file_can_be_planted_together(clean: Path, tmp_path: Path) -> None:
    write(tmp_path, faults=["missing-column", "zero-price=2"])
    header, *lines = lines_of(tmp_path, PRODUCTS)
    assert header == ",".join(COLUMNS[PRODUCTS][:-1])
    assert sum(",0.00," in line for line in lines) == 2
    write(tmp_path, faults=["truncated-items", "zero-quantity=2"])
    third = len(rows_of(clean, ITEMS)) // 3
    items = rows_of(tmp_path, ITEMS)
    assert (len(items), sum(row["quantity"] == "0" for row in items)) == (third, 2)


def test_every_fault_is_tested_and_described_with_its_file() -> None:
    assert len(FAULTS) >= 20
    assert set(FAULTS) == {*FOUND, *OF_FILES}
    assert {text.partition(": ")[0] for text in FAULTS.values()} == set(COLUMNS)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"faults": ["dow_9"]}, f"Storefront has no fault 'dow_9': choose from {', '.join(FAULTS)}."),
        (
            {"faults": ["truncated-items=2"]},
            "The fault 'truncated-items=2' cannot be planted: give a whole number from 1 behind the name of a fault of "
            "records, such as negative-price=30.",
        ),
        (
            {"faults": ["zero-price=0"]},
            "The fault 'zero-price=0' cannot be planted: give a whole number from 1 behind the name of a fault of "
            "records, such as negative-price=30.",
        ),
        (
            {"faults": ["zero-price", "missing-products"]},
            "The fault missing-products leaves no products.csv for zero-price to be planted in: choose one of them.",
        ),
        (
            {"faults": ["missing-city=10", "missing-email=12"], "orders": 40},
            "customers.csv has 21 clean records for the 22 faults asked of them: ask for more orders.",
        ),
        ({"orders": 0}, "A shop of 0 orders cannot be made: ask for 1 to 500,000 orders."),
        ({"days": 367}, "367 days cannot be made at once: ask for 1 to 366 days."),
        (
            {"load_date": FIRST - timedelta(days=1)},
            "The shop has no files of the day 2025-01-05: it has them from 2025-01-06 to 2033-12-31.",
        ),
        (
            {"load_date": LAST, "days": 2},
            "The shop has no files of 2 days from 2033-12-31 on: it has them from 2025-01-06 to 2033-12-31.",
        ),
        ({"seed": -1}, "The seed -1 is negative: choose 0 or more."),
    ],
)
def test_what_cannot_be_written_is_refused_and_changes_nothing(
    tmp_path: Path, words: dict[str, Any], sentence: str
) -> None:
    write(tmp_path, orders=40)
    before = digests(tmp_path)
    with pytest.raises(UserError) as refused:
        write(tmp_path, **words)
    assert str(refused.value) == sentence
    assert digests(tmp_path) == before


def test_a_shop_has_no_number_of_events() -> None:
    with pytest.raises(UserError, match=r"^The samples of storefront have no --events: leave it out\.$"):
        Storefront().sized(events=3, days=None)
    assert Storefront().sized(events=None, days=7) == Storefront(days=7)
