"""How large the shop is on a day: its customers, products and transactions are numbered from 0 as they come.

Belongs here: what follows from the number of orders on the opening day alone. Not here: what any of them is like.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from kpi_assets.samples.storefront.generator import FIRST

OPENING = FIRST  # day 0, the first whose tables were exported
DAYS_BEFORE = 200  # on which the transactions of day 0 were made
ORDERS_FOR_A_CUSTOMER, ORDERS_FOR_A_PRODUCT = 9, 18
FEWEST, MOST_PRODUCTS = 20, 5_000  # customers and products on day 0
DAYS_OF_GROWTH = 500  # until there are twice as many customers and products

Days = npt.NDArray[np.int64]  # days since the opening
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Size:
    """A shop of so many transactions on its opening day."""

    orders: int

    @property
    def orders_a_day(self) -> int:
        """The transactions that come each day."""
        return max(1, self.orders // DAYS_BEFORE)

    @property
    def first_customers(self) -> int:
        """The customers of day 0."""
        return max(FEWEST, self.orders // ORDERS_FOR_A_CUSTOMER)

    @property
    def first_products(self) -> int:
        """The products of day 0."""
        return max(FEWEST, min(MOST_PRODUCTS, self.orders // ORDERS_FOR_A_PRODUCT))

    def transactions(self, day: int) -> int:
        """The transactions up to a day."""
        return self.orders + self.orders_a_day * day

    def day_of_transaction(self, number: Numbers) -> Days:
        """The day on which each transaction came."""
        before = number * DAYS_BEFORE // self.orders - (DAYS_BEFORE - 1)
        return np.where(number < self.orders, before, (number - self.orders) // self.orders_a_day + 1)

    def customers(self, day: Days) -> Numbers:
        """The customers who had come by each day, whether they are still there or not."""
        return _grown(self.first_customers, day)

    def products(self, day: Days) -> Numbers:
        """The products that were listed by each day, whether they still are or not."""
        return _grown(self.first_products, day)

    def day_of_customer(self, number: Numbers) -> Days:
        """The day on which each customer came; those of the opening on day 0."""
        return _came(self.first_customers, number)

    def day_of_product(self, number: Numbers) -> Days:
        """The day on which each product was listed first; those of the opening on day 0."""
        return _came(self.first_products, number)


def day_of(load_date: date) -> int:
    """The number of a day."""
    return (load_date - OPENING).days


def date_of(day: int) -> date:
    """The date of a day."""
    return OPENING + timedelta(days=day)


def _a_day(first: int) -> int:
    return max(1, first // DAYS_OF_GROWTH)


def _grown(first: int, day: Days) -> Numbers:
    grown: Numbers = first + _a_day(first) * np.maximum(day, 0)
    return grown


def _came(first: int, number: Numbers) -> Days:
    return np.where(number < first, 0, (number - first) // _a_day(first) + 1)
