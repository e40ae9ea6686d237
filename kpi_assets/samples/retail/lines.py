"""How each retailer tells its sales: its fields, numbers and forms, as lines in the text format of COPY.

Belongs here: columns and their formats. Not here: what was sold (sales.py), and planted faults (faults.py).
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date

import numpy as np

from kpi_assets.samples.retail.catalog import Product
from kpi_assets.samples.retail.sales import Numbers, Sales
from kpi_assets.samples.text_columns import Texts, records, texts

BLOCK = 1 << 15  # lines that are made at a time
NULL = b"\\N"
TAB, END = b"\t", b"\n"

DISCOUNTS = np.array([0, 0, 0, 0, 0, 5, 10, 10, 15, 20])  # per cent
PAYMENT_METHODS = ("card", "card", "card", "cash", "voucher", "invoice")
TAX_PER_CENT = np.array([19, 7, 19, 19, 19, 19, 19, 19])  # by the remainder of the product's number
PROMOTIONS = (*[NULL.decode()] * 6, "SUMMER", "WEEKEND-10")
WITHOUT_MEMBER_ONE_IN = 20
SHIPPING_CENTS = np.array([0, 0, 0, 0, 395, 495, 495, 990])
WARRANTY_MONTHS, RETURN_DAYS = np.array([0, 6, 12, 24, 36]), np.array([14, 14, 30, 30, 60, 90])
SUPPLIERS = 12


def blocks(retailer: int, sales: Sales, products: Sequence[Product], day: date) -> Iterator[bytes]:
    """The lines of a retailer (0 to 2), with the day in front."""
    for start in range(0, len(sales), BLOCK):
        yield _FORMS[retailer](sales[start : start + BLOCK], products, day)


def _retailer_1(sales: Sales, products: Sequence[Product], day: date) -> bytes:
    count, cents = len(sales), _of(products, "cents")[sales.product]
    discount = DISCOUNTS[sales.draw % len(DISCOUNTS)]
    total = (sales.quantity * cents * (100 - discount) + 50) // 100  # half a cent is rounded up
    return records(
        _same(f"{day}\tA{day:%y%m%d}-", count),
        _number("%06d", sales.sale, TAB),
        _same(f"{day}\tC", count),
        _number("%07d", sales.customer, TAB),
        texts("S%02d\t", range(100))[sales.store],
        *_product(products, sales, "SKU-%05d\t"),
        _plain(sales.quantity, TAB),
        *_money(cents, TAB),
        *_money(total, TAB),
        _plain(discount, TAB),
        texts("%s\n", PAYMENT_METHODS)[sales.draw // 16 % len(PAYMENT_METHODS)],
    )


def _retailer_2(sales: Sales, products: Sequence[Product], day: date) -> bytes:
    count, cents = len(sales), _of(products, "cents")[sales.product]
    amount = sales.quantity * cents
    tax = (amount * TAX_PER_CENT[sales.product % len(TAX_PER_CENT)] + 50) // 100
    member = np.where(
        sales.draw % WITHOUT_MEMBER_ONE_IN == 0, NULL + TAB, np.char.add((sales.customer + 100_000).astype("S12"), TAB)
    )
    return records(
        _same(f"{day}\t2{day:%Y%m%d}", count),
        _number("%06d", sales.sale, TAB),
        _same(f"{day}\t", count),
        member,
        _plain(sales.store + 400, TAB),
        *_product(products, sales, "7%05d\t"),
        _plain(sales.quantity, TAB),
        *_money(cents, TAB),
        *_money(amount, TAB),
        *_money(tax, TAB),
        _plain(amount // 100, TAB),
        texts("%s\t", PROMOTIONS)[sales.draw // 32 % len(PROMOTIONS)],
        _plain(sales.draw // 256 % 40 + 1, END),
    )


def _retailer_3(sales: Sales, products: Sequence[Product], day: date) -> bytes:
    count, cents = len(sales), _of(products, "cents")[sales.product]
    clock = texts(f"{day}T%02d:%02d:%02dZ\t", [(s // 3600, s // 60 % 60, s % 60) for s in sales.second.tolist()])
    number = _of(products, "number")[sales.product]
    return records(
        _same(f"{day}\tsale_{day:%Y%j}_", count),
        _number("%06d", sales.sale, TAB),
        clock,
        _same("b-", count),
        _plain(sales.customer, TAB),
        texts("out%d\t", range(200))[sales.store + 10],
        *_product(products, sales, "P%d.3\t"),
        _plain(sales.quantity, TAB),
        *_money(cents, TAB),
        *_money(sales.quantity * cents, TAB),
        *_money(SHIPPING_CENTS[sales.draw % len(SHIPPING_CENTS)], TAB),
        _plain(WARRANTY_MONTHS[number % len(WARRANTY_MONTHS)], TAB),
        _plain(RETURN_DAYS[number % len(RETURN_DAYS)], TAB),
        _plain(number % SUPPLIERS + 1, END),
    )


_FORMS: tuple[Callable[[Sales, Sequence[Product], date], bytes], ...] = (_retailer_1, _retailer_2, _retailer_3)


def _of(products: Sequence[Product], name: str) -> Numbers:
    return np.array([getattr(product, name) for product in products], dtype=np.int64)


def _product(products: Sequence[Product], sales: Sales, code: str) -> tuple[Texts, ...]:
    """Code, name and category, which have neither a tab nor a backslash."""
    found = [code % product.number + f"{product.name}\t{product.category}\t" for product in products]
    return (np.array([each.encode() for each in found], dtype=np.bytes_)[sales.product],)


def _same(text: str, count: int) -> Texts:
    return np.full(count, text.encode())


def _number(form: str, numbers: Numbers, end: bytes) -> Texts:
    return texts(f"{form}{end.decode()}", numbers.tolist())


def _plain(numbers: Numbers, end: bytes) -> Texts:
    return np.char.add(numbers.astype("S12"), end)


def _money(cents: Numbers, end: bytes) -> tuple[Texts, Texts]:
    """Amounts with two decimals, each with what stands behind it."""
    return (cents // 100).astype("S12"), texts(f".%02d{end.decode()}", range(100))[cents % 100]
