"""The faults that can be planted into a synthetic day of the shop, in otherwise correct files.

Belongs here: their names, and what they do to which file. A fault of a record hits one in the middle of its file, or as
many as are asked for (`negative-price=30`); several faults of one file hit different records.
Not here: numpy, because the command line lists the faults.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from kpi_assets.errors import UsageError, UserError
from kpi_assets.samples.csv_file import Edit
from kpi_assets.samples.named_faults import counted

ORDERS, EVENTS, PRODUCTS = "orders.json", "events.csv", "products.json"
UNKNOWN_PRODUCT = b"2000000000"  # an integer as it should be, that is never listed
FUTURE = timedelta(days=30)
VERY_LATE = timedelta(days=9)  # beyond the 7 days after which the pipeline warns
Change = Callable[[bytes, date], list[bytes]]  # a record and the load_date -> the records that replace it

_FIELD = rb'("%s": )("(?:[^"\\]|\\.)*"|[^,}]+)'


def value_of(record: bytes, name: str) -> bytes:
    """The text of a field of a JSON record."""
    match = re.search(_FIELD % name.encode(), record)
    assert match is not None
    return match[2]


def with_value(record: bytes, name: str, value: bytes) -> bytes:
    """A JSON record with another text as the value of a field."""
    return re.sub(_FIELD % name.encode(), lambda match: match[1] + value, record)


def without_field(record: bytes, name: str) -> bytes:
    """A JSON record that lacks a field, which is not its first."""
    return re.sub(b", " + _FIELD % name.encode(), b"", record)


def negative_price(record: bytes, _: date) -> list[bytes]:
    """An order with a price below 0."""
    return [with_value(record, "price", b"-" + value_of(record, "price"))]


def zero_quantity(record: bytes, _: date) -> list[bytes]:
    """An order of 0 pieces."""
    return [with_value(record, "quantity", b"0")]


def twice(record: bytes, _: date) -> list[bytes]:
    """A record and its duplicate."""
    return [record, record]


def conflicting_order(record: bytes, _: date) -> list[bytes]:
    """An order, and the same order_id again with a piece more."""
    return [record, with_value(record, "quantity", b"%d" % (int(value_of(record, "quantity")) + 1))]


def future_order(record: bytes, load_date: date) -> list[bytes]:
    """An order placed weeks after the load_date."""
    return [with_value(record, "timestamp", b'"%sT12:00:00Z"' % str(load_date + FUTURE).encode())]


def very_late_order(record: bytes, load_date: date) -> list[bytes]:
    """An order placed more than a week before the load_date."""
    return [with_value(record, "timestamp", b'"%sT12:00:00Z"' % str(load_date - VERY_LATE).encode())]


def unknown_product(record: bytes, _: date) -> list[bytes]:
    """An order of a product that no file has ever listed."""
    return [with_value(record, "product_id", UNKNOWN_PRODUCT)]


def null_user(record: bytes, _: date) -> list[bytes]:
    """An order of nobody."""
    return [with_value(record, "user_id", b"null")]


def unknown_status(record: bytes, _: date) -> list[bytes]:
    """An order in a status that the source did not announce."""
    return [with_value(record, "status", b'"shipped"')]


def bad_json(record: bytes, _: date) -> list[bytes]:
    """A record that is no JSON, so that nobody knows where it ends."""
    return [with_value(record, "quantity", b"two")]


def wrong_type(record: bytes, _: date) -> list[bytes]:
    """An order whose quantity is a word."""
    return [with_value(record, "quantity", b'"two"')]


def unknown_field(record: bytes, _: date) -> list[bytes]:
    """An order with a field that no other has."""
    return [record[:-1] + b', "coupon": "WELCOME"}']


def missing_field(record: bytes, _: date) -> list[bytes]:
    """An order without its price."""
    return [without_field(record, "price")]


def with_csv_field(number: int, value: bytes) -> Change:
    """The change that puts `value` into that field of a CSV record, counted from 0."""

    def change(record: bytes, _: date) -> list[bytes]:
        fields = record.split(b",")
        fields[number] = value
        return [b",".join(fields)]

    return change


def conflicting_event(record: bytes, load_date: date) -> list[bytes]:
    """An event, and the same event_id again with another type."""
    other = b"checkout" if b",purchase," in record else b"purchase"
    return [record, *with_csv_field(3, other)(record, load_date)]


def future_event(record: bytes, load_date: date) -> list[bytes]:
    """An event weeks after the load_date."""
    return with_csv_field(4, b"%sT12:00:00Z" % str(load_date + FUTURE).encode())(record, load_date)


def negative_product_price(record: bytes, _: date) -> list[bytes]:
    """A product with a price below 0."""
    return [with_value(record, "current_price", b"-" + value_of(record, "current_price"))]


def product_without_name(record: bytes, _: date) -> list[bytes]:
    """A product whose name is null."""
    return [with_value(record, "product_name", b"null")]


def conflicting_product(record: bytes, _: date) -> list[bytes]:
    """A product, and the same product_id again with another price."""
    return [record, with_value(record, "current_price", b"1.00")]


@dataclass(frozen=True)
class Fault:
    """A fault: what it does to its file, and for a fault of records the change of one of them."""

    file: str
    what: str
    change: Change | None = None


FAULTS_BY_NAME: dict[str, Fault] = {
    "negative-price": Fault(ORDERS, "an order has a price below 0", negative_price),
    "zero-quantity": Fault(ORDERS, "an order has 0 pieces", zero_quantity),
    "duplicate-id": Fault(ORDERS, "one order stands there twice, letter by letter", twice),
    "conflicting-id": Fault(ORDERS, "one order stands there twice, then with a piece more", conflicting_order),
    "future-timestamp": Fault(ORDERS, "an order was placed 30 days after the load_date", future_order),
    "very-late": Fault(ORDERS, "an order was placed 9 days before the load_date", very_late_order),
    "unknown-product": Fault(ORDERS, "an order has a product_id that is in no products file", unknown_product),
    "null-user": Fault(ORDERS, "an order has the user_id null", null_user),
    "unknown-status": Fault(ORDERS, "an order has the status shipped", unknown_status),
    "wrong-type": Fault(ORDERS, 'an order has the quantity "two"', wrong_type),
    "bad-json": Fault(ORDERS, "a record is no JSON: its quantity is two, without quotes", bad_json),
    "unknown-field": Fault(ORDERS, "an order has one field more, coupon", unknown_field),
    "missing-field": Fault(ORDERS, "an order lacks the field price", missing_field),
    "field-gone": Fault(ORDERS, "all orders lack the field quantity"),
    "truncated-array": Fault(ORDERS, "the file ends in the middle of its last record"),
    "no-orders": Fault(ORDERS, "the file is an array without records"),
    "missing-orders": Fault(ORDERS, "the file is not written"),
    "duplicate-event": Fault(EVENTS, "one event stands there twice, letter by letter", twice),
    "conflicting-event": Fault(EVENTS, "one event stands there twice, then of another type", conflicting_event),
    "unknown-event-type": Fault(EVENTS, "an event has the event_type swipe", with_csv_field(3, b"swipe")),
    "unknown-event-product": Fault(
        EVENTS, "an event has a product_id that is in no products file", with_csv_field(2, UNKNOWN_PRODUCT)
    ),
    "null-event-user": Fault(EVENTS, "an event has no user_id", with_csv_field(1, b"")),
    "future-event": Fault(EVENTS, "an event is of a day 30 days after the load_date", future_event),
    "missing-events": Fault(EVENTS, "the file is not written"),
    "negative-product-price": Fault(PRODUCTS, "a product has a current_price below 0", negative_product_price),
    "product-without-name": Fault(PRODUCTS, "a product has the product_name null", product_without_name),
    "conflicting-product": Fault(PRODUCTS, "one product stands there twice, then at 1.00", conflicting_product),
    "missing-products": Fault(PRODUCTS, "the file is not written, on a Monday or before it"),
}
FAULTS = {name: f"{fault.file}: {fault.what}" for name, fault in FAULTS_BY_NAME.items()}
WITHOUT_RECORDS = (
    "missing-orders",
    "no-orders",
    "missing-events",
    "missing-products",
)  # these leave no room for others


@dataclass(frozen=True)
class Planted:
    """The faults of one load_date: how many records each of them hits."""

    load_date: date
    counts: Mapping[str, int] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.counts

    def edits(self, file: str, room: int) -> dict[int, Edit]:
        """Which of the `room` records of a file are edited, and how, around the middle of the file.

        UserError when there are too few records.
        """
        changes = [
            change
            for name, count in self.counts.items()
            if (fault := FAULTS_BY_NAME[name]).file == file and (change := fault.change)
            for _ in range(count)
        ]
        if len(changes) > room:
            raise UserError(
                f"{file} has {room} records for the {len(changes)} faults asked of them: ask for more orders or events."
            )
        planted = [_edit(change, self.load_date) for change in changes]
        return dict(enumerate(planted, start=max(0, min(room // 2, room - len(planted)))))


def _edit(change: Change, load_date: date) -> Edit:
    return lambda record: change(record, load_date)


def chosen(load_date: date, names: Sequence[str]) -> Planted:
    """The faults of these names, each with the number of its records behind `=`, 1 without.

    UsageError for one that is unknown, and for two that cannot both be planted.
    """
    counts = counted("Ecommerce", names, FAULTS_BY_NAME, lambda name: bool(FAULTS_BY_NAME[name].change))
    for name in WITHOUT_RECORDS:
        file = FAULTS_BY_NAME[name].file
        others = [other for other in counts if other != name and FAULTS_BY_NAME[other].file == file]
        if name in counts and others:
            raise UsageError(f"The fault {name} leaves no {file} for {others[0]} to be planted in: choose one of them.")
    return Planted(load_date, counts)
