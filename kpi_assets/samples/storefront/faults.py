"""What is dirty in the shop's files by itself, and the faults that can be planted besides.

Belongs here: the names of the faults, what they do to which file, and which records are dirty on every day. A fault of
records hits one in the middle of its file, or as many as are asked for (`negative-price=30`), and none that is dirty
already. Not here: numpy, because the command line lists the faults.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from kpi_assets.errors import UsageError, UserError
from kpi_assets.samples.csv_file import Edit
from kpi_assets.samples.named_faults import counted

CUSTOMERS, PRODUCTS = "customers.csv", "products.csv"
TRANSACTIONS, ITEMS = "transactions.csv", "transaction_items.csv"
HEADERS = {
    CUSTOMERS: "customer_id,first_name,last_name,email,phone,city,state,country,age_group",
    PRODUCTS: "product_id,name,category,sub_category,brand,price,cost,stock_quantity,supplier_id",
    TRANSACTIONS: "transaction_id,customer_id,transaction_date,payment_method,total_amount",
    ITEMS: "item_id,transaction_id,product_id,quantity,unit_price,discount_percentage,line_total",
}
COLUMNS = {file: header.split(",") for file, header in HEADERS.items()}
UNKNOWN_CUSTOMER, UNKNOWN_PRODUCT, UNKNOWN_TRANSACTION = "C000000", "P0000", "T0000000"  # numbers begin with 1

# Of so many records, each usual fault of the file hits one.
DIRTY_ONE_IN = {CUSTOMERS: 200, PRODUCTS: 200, TRANSACTIONS: 500, ITEMS: 1_000}

Record = dict[str, str]  # column -> text
Change = Callable[[Record], list[Record]]  # a record -> the records that replace it


def put(**values: str) -> Change:
    """The change that puts texts into columns."""
    return lambda record: [record | values]


def edit_text(change: Callable[[str], str], *columns: str) -> Change:
    """The change that edits the texts of columns."""
    return lambda record: [record | {column: change(record[column]) for column in columns}]


def twice(record: Record) -> list[Record]:
    """A record and its duplicate."""
    return [record, record]


def add(amount: str, column: str, *, to: str | None = None) -> Change:
    """The change that makes an amount larger; `to` is the column that it is added to, if not the same."""
    return lambda record: [record | {column: str(Decimal(record[to or column]) + Decimal(amount))}]


def conflicting_customer(record: Record) -> list[Record]:
    """A customer who stands there twice: with an old address, then with the one that holds."""
    return [record | {"city": "Atlantis", "state": "Atlantis"}, record]


def conflicting_product(record: Record) -> list[Record]:
    """A product that stands there twice: at 1000.00, then at the price that holds."""
    return [record | {"price": "1000.00"}, record]


def a_century_late(record: Record) -> list[Record]:
    """A transaction whose year is typed wrong."""
    day = record["transaction_date"]
    return [record | {"transaction_date": f"{int(day[:4]) + 100}{day[4:]}"}]


def swapped_place(record: Record) -> list[Record]:
    """A customer whose city and state have changed places."""
    return [record | {"city": record["state"], "state": record["city"]}]


def without_supplier(record: Record) -> list[Record]:
    """A product whose record lacks its last column."""
    return [{column: text for column, text in record.items() if column != "supplier_id"}]


@dataclass(frozen=True)
class Fault:
    """A fault: what it does to its file, and the change of a record if it has one.

    `hits` says what it hits: `some` records, of which a few are so on every day; those `asked` for, and no others;
    `all` records; the file, which is `truncated`; or the whole file, which is `missing`.
    """

    file: str
    what: str
    change: Change | None = None
    hits: Literal["some", "asked", "all", "truncated", "missing"] = "some"


FAULTS_BY_NAME: dict[str, Fault] = {
    "name-in-capitals": Fault(
        CUSTOMERS, "a customer's names are in capitals", edit_text(str.upper, "first_name", "last_name")
    ),
    "name-in-small-letters": Fault(
        CUSTOMERS, "a customer's names are in small letters", edit_text(str.lower, "first_name", "last_name")
    ),
    "blanks-around-name": Fault(
        CUSTOMERS, "blanks stand around a customer's names", edit_text("  {} ".format, "first_name", "last_name")
    ),
    "missing-first-name": Fault(CUSTOMERS, "a customer has no first_name", put(first_name="")),
    "missing-city": Fault(CUSTOMERS, "a customer has no city and no state", put(city="", state="")),
    "missing-age-group": Fault(CUSTOMERS, "a customer has no age_group", put(age_group="")),
    "missing-email": Fault(CUSTOMERS, "a customer has no email", put(email="")),
    "email-in-capitals": Fault(CUSTOMERS, "a customer's email is in capitals", edit_text(str.upper, "email")),
    "email-without-at": Fault(
        CUSTOMERS, "a customer's email has no @", edit_text(lambda text: text.replace("@", ""), "email")
    ),
    "duplicate-customer": Fault(CUSTOMERS, "one customer stands there twice, letter by letter", twice),
    "conflicting-customer": Fault(
        CUSTOMERS, "one customer stands there twice, first with the city Atlantis", conflicting_customer
    ),
    "customer-without-id": Fault(CUSTOMERS, "a customer has no customer_id", put(customer_id="")),
    "swapped-columns": Fault(
        CUSTOMERS, "city and state change places in all records, not in the header", swapped_place, hits="all"
    ),
    "truncated-customers": Fault(CUSTOMERS, "the file ends after a third of its records", hits="truncated"),
    "missing-customers": Fault(CUSTOMERS, "the file is not written", hits="missing"),
    "blanks-around-product-name": Fault(
        PRODUCTS, "blanks stand around a product's name", edit_text("  {} ".format, "name")
    ),
    "zero-price": Fault(PRODUCTS, "a product has the price 0.00", put(price="0.00")),
    "negative-price": Fault(PRODUCTS, "a product has a price below 0", edit_text("-{}".format, "price")),
    "missing-price": Fault(PRODUCTS, "a product has no price", put(price="")),
    "cost-above-price": Fault(PRODUCTS, "a product costs 5.00 more than its price", add("5.00", "cost", to="price")),
    "cost-equals-price": Fault(PRODUCTS, "a product costs as much as its price", add("0.00", "cost", to="price")),
    "missing-category": Fault(PRODUCTS, "a product has no category", put(category="")),
    "missing-brand": Fault(PRODUCTS, "a product has no brand", put(brand="")),
    "missing-supplier": Fault(PRODUCTS, "a product has no supplier_id", put(supplier_id="")),
    "negative-stock": Fault(PRODUCTS, "a product has a stock_quantity of -1", put(stock_quantity="-1")),
    "duplicate-product": Fault(PRODUCTS, "one product stands there twice, letter by letter", twice),
    "conflicting-product": Fault(PRODUCTS, "one product stands there twice, first at 1000.00", conflicting_product),
    "product-without-id": Fault(PRODUCTS, "a product has no product_id", put(product_id="")),
    "price-in-words": Fault(PRODUCTS, "a product has the price twelve", put(price="twelve"), hits="asked"),
    "missing-column": Fault(
        PRODUCTS, "header and records lack the last column, supplier_id", without_supplier, hits="all"
    ),
    "missing-products": Fault(PRODUCTS, "the file is not written", hits="missing"),
    "unknown-payment-method": Fault(
        TRANSACTIONS, "a transaction has the payment_method Seashells", put(payment_method="Seashells")
    ),
    "missing-payment-method": Fault(TRANSACTIONS, "a transaction has no payment_method", put(payment_method="")),
    "future-date": Fault(TRANSACTIONS, "a transaction is dated 100 years too late", a_century_late),
    "missing-date": Fault(TRANSACTIONS, "a transaction has no transaction_date", put(transaction_date="")),
    "unknown-customer": Fault(
        TRANSACTIONS,
        f"a transaction has a customer_id that is not in {CUSTOMERS}",
        put(customer_id=UNKNOWN_CUSTOMER),
    ),
    "missing-customer": Fault(TRANSACTIONS, "a transaction has no customer_id", put(customer_id="")),
    "wrong-total": Fault(
        TRANSACTIONS, "a transaction's total_amount is 10.00 more than its items cost", add("10.00", "total_amount")
    ),
    "duplicate-transaction": Fault(TRANSACTIONS, "one transaction stands there twice, letter by letter", twice),
    "transaction-without-id": Fault(TRANSACTIONS, "a transaction has no transaction_id", put(transaction_id="")),
    "missing-transactions": Fault(TRANSACTIONS, "the file is not written", hits="missing"),
    "zero-quantity": Fault(ITEMS, "an item has the quantity 0", put(quantity="0")),
    "negative-quantity": Fault(ITEMS, "an item has the quantity -1", put(quantity="-1")),
    "discount-above-100": Fault(ITEMS, "an item has a discount_percentage of 120", put(discount_percentage="120")),
    "negative-discount": Fault(ITEMS, "an item has a discount_percentage of -5", put(discount_percentage="-5")),
    "wrong-line-total": Fault(ITEMS, "an item's line_total is 1.00 more than it costs", add("1.00", "line_total")),
    "unknown-product": Fault(
        ITEMS, f"an item has a product_id that is not in {PRODUCTS}", put(product_id=UNKNOWN_PRODUCT)
    ),
    "unknown-transaction": Fault(
        ITEMS,
        f"an item has a transaction_id that is not in {TRANSACTIONS}",
        put(transaction_id=UNKNOWN_TRANSACTION),
    ),
    "duplicate-item": Fault(ITEMS, "one item stands there twice, letter by letter", twice),
    "item-without-id": Fault(ITEMS, "an item has no item_id", put(item_id="")),
    "truncated-items": Fault(ITEMS, "the file ends after a third of its records", hits="truncated"),
    "missing-items": Fault(ITEMS, "the file is not written", hits="missing"),
}
FAULTS = {name: f"{fault.file}: {fault.what}" for name, fault in FAULTS_BY_NAME.items()}
COUNTED = ("some", "asked")  # what faults hit that take a number of records


def usual(file: str, seed: int) -> dict[int, Change]:
    """The changes of the records that are dirty on every day: by the remainder of their number by DIRTY_ONE_IN."""
    one_in = DIRTY_ONE_IN[file]
    changes = [
        each.change for each in FAULTS_BY_NAME.values() if each.file == file and each.hits == "some" and each.change
    ]
    step = one_in // len(changes)
    return {(seed + place * step) % one_in: change for place, change in enumerate(changes)}


@dataclass(frozen=True)
class Planted:
    """The faults of one load_date: how many records each of them hits."""

    counts: Mapping[str, int] = field(default_factory=dict)

    def hits(self, file: str, what: str) -> bool:
        """Whether a fault hits what is named of a file, such as `truncated`."""
        return any(FAULTS_BY_NAME[name].file == file and FAULTS_BY_NAME[name].hits == what for name in self.counts)

    def changes(self, file: str, room: int) -> list[Change]:
        """The changes of single records of a file, one for each. UserError if it has fewer clean records than that."""
        found = [
            change
            for name, count in self.counts.items()
            if (fault := FAULTS_BY_NAME[name]).file == file and fault.hits in COUNTED and (change := fault.change)
            for _ in range(count)
        ]
        if len(found) > room:
            raise UserError(
                f"{file} has {room} clean records for the {len(found)} faults asked of them: ask for more orders."
            )
        return found

    def changes_of_all(self, file: str) -> list[Change]:
        """The changes that hit each record of a file, one after the other."""
        faults = [FAULTS_BY_NAME[name] for name in self.counts]
        return [each.change for each in faults if each.file == file and each.hits == "all" and each.change]

    def header(self, file: str) -> list[str]:
        """The names in the header of a file: those of the columns that its records have."""
        names = dict.fromkeys(COLUMNS[file], "")
        for change in self.changes_of_all(file):
            [names] = change(names)
        return list(names)


def edit(columns: Sequence[str], changes: Sequence[Change]) -> Edit:
    """The edit of a CSV record that makes changes one after the other."""

    def edited(line: bytes) -> list[bytes]:
        records = [dict(zip(columns, next(csv.reader([line.decode()])), strict=True))]
        for change in changes:
            records = [after for before in records for after in change(before)]
        return [csv_line(record.values()) for record in records]

    return edited


def csv_line(fields: Iterable[str]) -> bytes:
    """The fields as a CSV record without its line feed, quoted only where it is needed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue().encode()


def chosen(names: Sequence[str]) -> Planted:
    """The faults of these names, each with the number of its records behind `=`, 1 without.

    UsageError for one that is unknown, and for two that cannot both be planted.
    """
    counts = counted("Storefront", names, FAULTS_BY_NAME, lambda name: FAULTS_BY_NAME[name].hits in COUNTED)
    for name in counts:
        file = FAULTS_BY_NAME[name].file
        others = [other for other in counts if other != name and FAULTS_BY_NAME[other].file == file]
        if FAULTS_BY_NAME[name].hits == "missing" and others:
            raise UsageError(f"The fault {name} leaves no {file} for {others[0]} to be planted in: choose one of them.")
    return Planted(counts)
