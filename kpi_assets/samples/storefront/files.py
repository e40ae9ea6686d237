"""The files of a day of the shop: four CSV files, each the whole table as exported on that day.

Belongs here: columns, formats, keys of the files. Not here: what happened in the shop (people.py, catalog.py,
sales.py), and which values are wrong (faults.py).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from kpi_assets.samples.csv_file import Edit, write_csv
from kpi_assets.samples.storefront.catalog import listed_products, products
from kpi_assets.samples.storefront.faults import (
    COLUMNS,
    CUSTOMERS,
    DIRTY_ONE_IN,
    ITEMS,
    PRODUCTS,
    TRANSACTIONS,
    Planted,
    csv_line,
    edit,
    usual,
)
from kpi_assets.samples.storefront.people import customers, listed_customers
from kpi_assets.samples.storefront.sales import PAYMENT_METHODS, Sales, exported
from kpi_assets.samples.storefront.size import Numbers, Size, date_of, day_of
from kpi_assets.samples.text_columns import Texts, records, texts

BLOCK = 1 << 15  # records written at a time


@dataclass(frozen=True)
class Export:
    """One load_date to be written below a folder: how large the shop is, and the faults in its files."""

    folder: Path
    load_date: date
    size: Size
    seed: int
    planted: Planted
    is_dirty: bool

    def write(self) -> dict[str, int]:
        """Write the four files; return their paths below the folder -> records written."""
        day = day_of(self.load_date)
        people, goods = listed_customers(self.size, day, self.seed), listed_products(self.size, day, self.seed)
        sales = exported(self.size, day, self.seed)
        if self.planted.hits(CUSTOMERS, "truncated"):
            people = people[: len(people) // 3]
        if self.planted.hits(ITEMS, "truncated"):
            sales = sales.with_items(len(sales.item) // 3)
        return {
            **self._write(CUSTOMERS, people, line_blocks(customers(people, day, self.seed))),
            **self._write(PRODUCTS, goods, line_blocks(products(goods, day, self.seed))),
            **self._write(TRANSACTIONS, sales.transaction, transaction_blocks(sales)),
            **self._write(ITEMS, sales.item, item_blocks(sales)),
        }

    def _write(self, file: str, numbers: Numbers, blocks: Iterable[bytes]) -> dict[str, int]:
        """Write the file of the things of these numbers."""
        if self.planted.hits(file, "missing"):
            return {}
        key = key_of(file, self.load_date)
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        header = csv_line(self.planted.header(file)) + b"\n"
        return {key: write_csv(path, header, blocks, self._edits(file, numbers))}

    def _edits(self, file: str, numbers: Numbers) -> dict[int, Edit]:
        """Which records are dirty on every day, which have a fault, and how; the faults are in the middle."""
        dirty = usual(file, self.seed) if self.is_dirty else {}
        remainders = numbers % DIRTY_ONE_IN[file]
        changes = {
            int(place): [change]
            for remainder, change in dirty.items()
            for place in np.flatnonzero(remainders == remainder)
        }
        clean = np.flatnonzero(~np.isin(remainders, list(dirty)))
        asked = self.planted.changes(file, len(clean))
        start = min(len(clean) // 2, len(clean) - len(asked))
        changes |= {int(place): [change] for place, change in zip(clean[start:], asked, strict=False)}
        of_all = self.planted.changes_of_all(file)
        if of_all:
            changes = {place: [*changes.get(place, []), *of_all] for place in range(len(numbers))}
        return {place: edit(COLUMNS[file], each) for place, each in changes.items()}


def key_of(file: str, load_date: date) -> str:
    """The path of a file below the folder, which is the key of its object."""
    return f"staging/{file.partition('.')[0]}/load_date={load_date}/{file}"


def line_blocks(rows: Iterable[list[str]]) -> Iterator[bytes]:
    """The records of customers.csv or products.csv, each with a line feed behind it."""
    yield b"".join(csv_line(row) + b"\n" for row in rows)


def transaction_blocks(sales: Sales) -> Iterator[bytes]:
    """The records of transactions.csv."""
    methods = texts("%s,", PAYMENT_METHODS)
    first = int(sales.made.min(initial=0))
    days = texts("%s,", [date_of(day) for day in range(first, int(sales.made.max(initial=0)) + 1)])
    for start in range(0, len(sales.transaction), BLOCK):
        some = slice(start, start + BLOCK)
        yield records(
            _ids("T%07d,", sales.transaction[some]),
            _ids("C%06d,", sales.customer[some]),
            days[sales.made[some] - first],
            methods[sales.method[some]],
            *_money(sales.total[some], b"\n"),
        )


def item_blocks(sales: Sales) -> Iterator[bytes]:
    """The records of transaction_items.csv."""
    numbers = texts("%d,", range(101))  # pieces and per cents
    for start in range(0, len(sales.item), BLOCK):
        some = slice(start, start + BLOCK)
        yield records(
            _ids("I%08d,", sales.item[some]),
            _ids("T%07d,", sales.of[some]),
            _ids("P%04d,", sales.product[some]),
            numbers[sales.quantity[some]],
            *_money(sales.price[some], b","),
            numbers[sales.discount[some]],
            *_money(sales.line[some], b"\n"),
        )


def _ids(form: str, numbers: Numbers) -> Texts:
    return texts(form, (numbers + 1).tolist())


def _money(cents: Numbers, end: bytes) -> tuple[Texts, Texts]:
    """Amounts with two decimals, each with what stands behind it."""
    return (cents // 100).astype("S12"), texts(f".%02d{end.decode()}", range(100))[cents % 100]
