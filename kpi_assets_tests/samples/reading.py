"""Write samples for tests, and read them with Python's csv module, independently of the generator."""

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from kpi_assets.samples import GENERATORS

DAY = date(2024, 1, 15)
ORDERS, LINES, PRODUCTS = "orders.csv", "order_products__prior.csv", "products.csv"
FILES = {ORDERS, LINES, PRODUCTS, "aisles.csv", "departments.csv"}


@dataclass(frozen=True)
class Sample:
    folder: Path
    rows: dict[str, int]

    def content(self, file: str) -> bytes:
        return (self.folder / file).read_bytes()

    def records(self, file: str) -> list[bytes]:
        """Return the lines of a file as bytes, the header first."""
        return self.content(file).removesuffix(b"\n").split(b"\n")

    def read(self, file: str) -> list[dict[str, str]]:
        with (self.folder / file).open(encoding="utf-8", newline="") as opened:
            return list(csv.DictReader(opened, strict=True))

    def digests(self) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.folder.iterdir()}


def write(
    folder: Path,
    *,
    load_date: date = DAY,
    orders: int = 1000,
    seed: int = 7,
    faults: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Sample:
    rows = GENERATORS["instacart"].write(
        folder, load_date=load_date, orders=orders, seed=seed, faults=faults, progress=progress
    )
    return Sample(folder, rows)


def reorders(sample: Sample) -> list[str]:
    """Return the expected `reordered` of each line, computed from the orders and products of all lines."""
    order = {row["order_id"]: (row["user_id"], int(row["order_number"])) for row in sample.read(ORDERS)}
    lines = [(order[row["order_id"]], row["product_id"]) for row in sample.read(LINES)]
    first: dict[tuple[str, str], int] = {}
    for (user, number), product in lines:
        first[user, product] = min(number, first.get((user, product), number))
    return ["1" if first[user, product] < number else "0" for (user, number), product in lines]
