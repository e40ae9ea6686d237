"""The products of the shop as each Monday's file lists them: some are new, some are gone, and prices change.

Belongs here: everything in products.json. What a Monday lists depends on the seed and on that Monday alone.
Not here: how the file is written (files.py), and who buys what (orders.py, events.py).
"""

import json
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from kpi_assets.samples.draws import Draws
from kpi_assets.samples.products import BRANDS, CATEGORIES

OPENING = date(2024, 12, 30)  # a Monday: before it, the shop lists what it lists on that day
FIRST_PRODUCTS = 240
NEW_A_WEEK = 2
PRICE_OF_WEEKS = 52  # the weeks among whose changes of prices the latest is looked for

# The streams of random numbers that name products and prices.
NAMES, LIFETIMES, PRICES = range(3)

STYLES = ("Classic", "Large", "Small", "Blue", "Travel", "Winter", "Heirloom", "2nd Edition")


@dataclass(frozen=True)
class Product:
    """A product as a Monday's file lists it."""

    number: int
    name: str
    category: str
    brand: str
    cents: int

    @property
    def record(self) -> bytes:
        """The record of the file, without a line feed."""
        price = f"{self.cents // 100}.{self.cents % 100:02}"
        fields = {"product_id": self.number, "product_name": self.name, "category": self.category, "brand": self.brand}
        text = json.dumps(fields, ensure_ascii=False)
        return f'{text[:-1]}, "current_price": {price}}}'.encode()


def monday_of(day: date) -> date:
    """The latest Monday on or before a day."""
    return day - timedelta(days=day.weekday())


def listed(monday: date, seed: int) -> list[Product]:
    """The products of a Monday's file, by product_id."""
    week = max(0, (monday - OPENING).days // 7)
    count = FIRST_PRODUCTS + NEW_A_WEEK * week
    numbers = np.arange(1, count + 1)
    launched = np.maximum(0, (numbers - FIRST_PRODUCTS - 1) // NEW_A_WEEK + 1)
    # One product in four is given up within a year.
    draw = Draws(seed, LIFETIMES).uint32(count).astype(np.int64)
    there = (draw % 4 > 0) | (week < launched + 2 + draw // 4 % 50)
    cents = _cents(count, week, launched, seed)
    names = Draws(seed, NAMES).uint32(count).tolist()
    return [_product(number, names[number - 1], int(cents[number - 1])) for number in numbers[there].tolist()]


def _cents(count: int, week: int, launched: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """The prices in cents: each product's own, changed by up to a sixth in one week of eight."""
    own = 199 + 100 * (Draws(seed, PRICES).uint32(count).astype(np.int64) % 120)
    cents: npt.NDArray[np.int64] = own.copy()
    open_ = np.ones(count, dtype=bool)
    for earlier in range(week, max(0, week - PRICE_OF_WEEKS), -1):
        draw = Draws(seed, PRICES, earlier).uint32(count).astype(np.int64)
        changes = open_ & (draw % 8 == 0) & (launched < earlier)
        cents[changes] = (own * (100 + draw // 8 % 33 - 16) // 100)[changes]
        open_ &= ~changes
    return cents


def _product(number: int, draw: int, cents: int) -> Product:
    category, kinds = list(CATEGORIES.items())[draw % len(CATEGORIES)]
    kind = kinds.split(", ")[draw // 8 % 5]
    brand = BRANDS[draw // 40 % len(BRANDS)]
    style = STYLES[draw // 320 % len(STYLES)]
    return Product(number, f"{brand} {kind}, {style}", category, brand, cents)
