"""The sales of a retailer on a day: which customer bought what in which store, one to three products each.

Belongs here: what happened. Not here: how a retailer tells it (lines.py).
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from kpi_assets.samples.draws import Draws, spread
from kpi_assets.samples.retail.catalog import OPENING, week_of

PRODUCT_SHARES = (45, 35, 20)  # of sales with 1 to 3 products
QUANTITY_SHARES = (62, 22, 9, 4, 3)  # of 1 to 5 pieces
HOUR_SHARES = (0, 0, 0, 0, 0, 0, 0, 1, 12, 30, 44, 52, 55, 48, 46, 50, 58, 66, 60, 34, 12, 2, 0, 0)
FIRST_STORES, WEEKS_FOR_A_STORE = 8, 13
CUSTOMERS_FOR_A_SALE, FEWEST_CUSTOMERS, NEW_CUSTOMERS_A_DAY = 10, 500, 3
CUSTOMERS_FOR_A_REGULAR, REGULARS_OF_TEN = 20, 3

SALES = 10  # the stream of random numbers of a day; those of the catalog are below it

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sales:
    """What was sold: arrays with an entry a product of a sale, in the sequence of the day.

    `sale`, `customer` and `store` are from 1 on, `product` is an index into the listed products, and `draw` has 32
    random bits, the same for all products of a sale, for what only one of the retailers tells.
    """

    sale: Numbers
    customer: Numbers
    store: Numbers
    product: Numbers
    quantity: Numbers
    second: Numbers
    draw: Numbers

    def __len__(self) -> int:
        return len(self.sale)

    def first(self, sales: int) -> "Sales":
        """Return the first sales alone."""
        return self[: int(np.searchsorted(self.sale, sales, side="right"))]

    def __getitem__(self, some: slice) -> "Sales":
        return Sales(**{name: each[some] for name, each in vars(self).items()})


def draw_sales(retailer: int, count: int, products: int, day: date, seed: int) -> Sales:
    """Draw `count` sales of a retailer (0 to 2) with so many listed products."""
    draws = Draws(seed, retailer, SALES, day.toordinal())
    customers = max(FEWEST_CUSTOMERS, CUSTOMERS_FOR_A_SALE * count)
    customers += NEW_CUSTOMERS_A_DAY * max(0, (day - OPENING).days)
    stores = FIRST_STORES + week_of(day) // WEEKS_FOR_A_STORE
    items = draws.choose(spread(np.arange(1, 4), PRODUCT_SHARES), count)
    customer, store = _draw_customers(count, customers, draws), _below(stores, count, draws) + 1
    hours = draws.choose(spread(np.arange(24), HOUR_SHARES), count)
    second = np.sort(hours * 3600 + draws.uint32(count) % 3600)
    bits = draws.uint32(count).astype(np.int64)
    place = np.arange(items.sum()) - np.repeat(np.cumsum(items) - items, items)  # of a product in its sale
    return Sales(
        sale=np.repeat(np.arange(1, count + 1), items),
        customer=np.repeat(customer, items),
        store=np.repeat(store, items),
        product=_draw_products(count, products, draws)[np.repeat(np.arange(count), items), place],
        quantity=draws.choose(spread(np.arange(1, 6), QUANTITY_SHARES), len(place)),
        second=np.repeat(second, items),
        draw=np.repeat(bits, items),
    )


def _draw_customers(count: int, customers: int, draws: Draws) -> Numbers:
    """Draw customers from 1 on. One in twenty is a regular, and three sales in ten are to regulars."""
    is_regular = draws.uint32(count) % 10 < REGULARS_OF_TEN
    room = np.where(is_regular, customers // CUSTOMERS_FOR_A_REGULAR, customers)
    found: Numbers = (draws.uint32(count).astype(np.int64) * room >> 32) + 1
    return found


def _draw_products(count: int, products: int, draws: Draws) -> Numbers:
    """Draw three different products for each sale; few of them sell well and most now and then."""
    ranks = np.arange(products)
    first = draws.choose(spread(ranks, 1.0 / (ranks.astype(np.float64) + 20.0)), count)
    second = _below(products - 1, count, draws)
    third = (second + 1 + _below(products - 2, count, draws)) % (products - 1)
    return np.stack([first, (first + 1 + second) % products, (first + 1 + third) % products], axis=1)


def _below(limit: int, count: int, draws: Draws) -> Numbers:
    """Draw numbers from 0 to limit - 1."""
    found: Numbers = draws.uint32(count).astype(np.int64) * limit >> 32
    return found
