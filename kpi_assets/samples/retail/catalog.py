"""What each retailer sells on a day: some products are new, some are renamed, and prices change from week to week.

Belongs here: products and what they cost. What a retailer lists depends on the retailer, the seed and the week alone.
Not here: who buys what (sales.py), and how it is told (lines.py).
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from kpi_assets.samples.draws import Draws
from kpi_assets.samples.products import BRANDS, CATEGORIES

OPENING = date(2025, 6, 30)  # a Monday: before it, the retailers list what they list in its week
FIRST_PRODUCTS = 150
NEW_A_WEEK = 1
PRICE_OF_WEEKS = 52  # the weeks among whose changes of prices the latest is looked for
RENAMED_ONE_IN = 128  # of the products, each week

# The streams of random numbers that name products and prices.
NAMES, PRICES, RENAMED = range(3)

STYLES = ("Classic", "Large", "Small", "Blue", "Travel", "Winter", "Heirloom", "2nd Edition")
# What the categories are called by each of the retailers, in the sequence of CATEGORIES.
CATEGORY_NAMES = (
    ("Audio", "Books", "Clothing", "Garden", "Kitchen", "Office", "Sports", "Toys"),
    ("HIFI", "BOOKS & MEDIA", "FASHION", "OUTDOOR", "HOUSEHOLD", "STATIONERY", "SPORTSWEAR", "GAMES"),
    ("audio", "print", "textiles", "garden-and-patio", "home.kitchen", "home.office", "leisure", "children"),
)


@dataclass(frozen=True)
class Product:
    """A product as a retailer lists it; numbers are from 1 on."""

    number: int
    name: str
    category: str
    cents: int


def week_of(day: date) -> int:
    """The week of a day, 0 for that of OPENING and for all before."""
    return max(0, (day - OPENING).days // 7)


def listed(retailer: int, day: date, seed: int) -> list[Product]:
    """The products of a retailer (0 to 2) on a day, by number."""
    week = week_of(day)
    count = FIRST_PRODUCTS + NEW_A_WEEK * week
    names = Draws(seed, retailer, NAMES).uint32(count).tolist()
    cents = _cents(retailer, count, week, seed).tolist()
    renamings = _renamings(retailer, count, week, seed).tolist()
    return [_product(retailer, number, *each) for number, each in enumerate(zip(names, renamings, cents, strict=True))]


def _cents(retailer: int, count: int, week: int, seed: int) -> npt.NDArray[np.int64]:
    """The prices in cents: each product's own, changed by up to a sixth in one week of eight."""
    own = 199 + 100 * (Draws(seed, retailer, PRICES).uint32(count).astype(np.int64) % 120)
    cents: npt.NDArray[np.int64] = own.copy()
    open_ = np.ones(count, dtype=bool)
    for earlier in range(week, max(0, week - PRICE_OF_WEEKS), -1):
        draw = Draws(seed, retailer, PRICES, earlier).uint32(count).astype(np.int64)
        changes = open_ & (draw % 8 == 0)
        cents[changes] = (own * (100 + draw // 8 % 33 - 16) // 100)[changes]
        open_ &= ~changes
    return cents


def _renamings(retailer: int, count: int, week: int, seed: int) -> npt.NDArray[np.int64]:
    """How often each product has been renamed up to a week."""
    times = np.zeros(count, dtype=np.int64)
    for earlier in range(1, week + 1):
        times += Draws(seed, retailer, RENAMED, earlier).uint32(count) % RENAMED_ONE_IN == 0
    return times


def _product(retailer: int, index: int, draw: int, renamings: int, cents: int) -> Product:
    category = draw % len(CATEGORIES)
    kind = list(CATEGORIES.values())[category].split(", ")[draw // 8 % 5]
    brand = BRANDS[draw // 40 % len(BRANDS)]
    style = STYLES[(draw // 320 + renamings) % len(STYLES)]
    return Product(index + 1, f"{brand} {kind}, {style}", CATEGORY_NAMES[retailer][category], cents)
