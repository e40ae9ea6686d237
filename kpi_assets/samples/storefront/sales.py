"""The transactions of the shop and their items, as a day's files list them.

Belongs here: who bought what and when, what came late, was corrected or returned. Not here: how a file is written
(files.py), and what is dirty in it (faults.py).
"""

from dataclasses import dataclass, replace

import numpy as np

from kpi_assets.samples.draws import Draws, spread
from kpi_assets.samples.storefront.catalog import prices
from kpi_assets.samples.storefront.changes import draw
from kpi_assets.samples.storefront.size import Days, Numbers, Size

# The streams of random numbers that name transactions, their items, and what becomes of them.
BUYERS, LATENESS, METHODS, BASKETS, GOODS, MORE_GOODS, QUANTITIES, DISCOUNTS, ITEM_FATES = range(300, 309)

PAYMENT_METHODS = ("Credit Card", "Debit Card", "PayPal", "Cash", "Bank Transfer")
METHOD_SHARES = (45, 22, 18, 9, 6)
BASKET_SHARES = (12, 22, 24, 20, 13, 9)  # of 1 to 6 items
QUANTITY_SHARES = (58, 24, 10, 5, 3)  # of 1 to 5 pieces
DISCOUNT_PER_CENTS, DISCOUNT_SHARES = (0, 5, 10, 15, 20, 30), (70, 10, 8, 5, 4, 3)

ONE_LATE_IN, MOST_DAYS_LATE = 100, 5
ONE_METHOD_CORRECTED_IN, ONE_QUANTITY_CORRECTED_IN, MOST_DAYS_UNTIL_CORRECTED = 100, 50, 7
ONE_RETURNED_IN, DAYS_UNTIL_RETURNED = 50, (3, 27)


@dataclass(frozen=True)
class Sales:
    """The transactions that were exported on a day, and their items: equally long arrays of each."""

    transaction: Numbers
    customer: Numbers
    made: Days  # the day on which it was made, which may be days before it came
    method: Numbers  # an index into PAYMENT_METHODS
    total: Numbers  # in cents, of the items that are there
    item: Numbers
    of: Numbers  # the transaction of an item
    product: Numbers
    quantity: Numbers
    price: Numbers  # in cents, of a piece
    discount: Numbers  # in per cent
    line: Numbers  # in cents

    def with_items(self, count: int) -> "Sales":
        """The same with the first items only."""
        names = ("item", "of", "product", "quantity", "price", "discount", "line")
        return replace(self, **{name: getattr(self, name)[:count] for name in names})


def exported(size: Size, day: int, seed: int) -> Sales:
    """What the shop exports on a day. A returned item is no longer there, and its transaction costs less."""
    number = np.arange(size.transactions(day))
    came = size.day_of_transaction(number)
    baskets = _choose(range(1, 7), BASKET_SHARES, len(number), seed, BASKETS)
    of = np.repeat(number, baskets)
    item = np.arange(len(of))
    fate = draw(len(item), seed, ITEM_FATES)
    first, last = DAYS_UNTIL_RETURNED
    returned = came[of] + first + (fate >> 8) % (last - first + 1)
    stays = (fate % ONE_RETURNED_IN != 0) | (day < returned)
    of, item, fate = of[stays], item[stays], fate[stays]

    made = came - _days_late(len(number), seed)
    product = _goods(size, int(baskets.sum()), seed, item, made[of])
    price = prices(product, made[of], seed)
    quantity = _choose(range(1, 6), QUANTITY_SHARES, int(baskets.sum()), seed, QUANTITIES)[item]
    quantity += _waits(fate, ONE_QUANTITY_CORRECTED_IN, came[of], day)
    discount = _choose(DISCOUNT_PER_CENTS, DISCOUNT_SHARES, int(baskets.sum()), seed, DISCOUNTS)[item]
    line = (quantity * price * (100 - discount) + 50) // 100
    return Sales(
        transaction=number,
        customer=draw(len(number), seed, BUYERS) * size.customers(made) >> 32,
        made=made,
        method=_methods(len(number), seed, came, day),
        total=np.rint(np.bincount(of, weights=line, minlength=len(number))).astype(np.int64),
        item=item,
        of=of,
        product=product,
        quantity=quantity,
        price=price,
        discount=discount,
        line=line,
    )


def _choose(values: range | tuple[int, ...], shares: tuple[int, ...], count: int, *stream: int) -> Numbers:
    return Draws(*stream).choose(spread(np.array(values, dtype=np.int64), shares), count)


def _days_late(count: int, seed: int) -> Days:
    drawn = draw(count, seed, LATENESS)
    return np.where(drawn % ONE_LATE_IN == 0, drawn // ONE_LATE_IN % MOST_DAYS_LATE + 1, 0)


def _goods(size: Size, items: int, seed: int, item: Numbers, made: Days) -> Numbers:
    """The product of each item, of which few sell well and most now and then."""
    skewed = (Draws(seed, GOODS).uint32(items).astype(np.uint64) * Draws(seed, MORE_GOODS).uint32(items)) >> np.uint64(
        32
    )
    product: Numbers = skewed.astype(np.int64)[item] * size.products(made) >> 32
    return product


def _methods(count: int, seed: int, came: Days, day: int) -> Numbers:
    """The payment methods, a few of which are wrong in the first days and corrected then."""
    method = _choose(range(len(PAYMENT_METHODS)), METHOD_SHARES, count, seed, METHODS)
    fate = draw(count, seed, METHODS, 1)
    corrected: Numbers = (method + _waits(fate, ONE_METHOD_CORRECTED_IN, came, day)) % len(PAYMENT_METHODS)
    return corrected


def _waits(fate: Numbers, one_in: int, came: Days, day: int) -> Numbers:
    """1 for what is to be corrected on a later day, else 0."""
    corrected = came + 1 + (fate >> 8) % MOST_DAYS_UNTIL_CORRECTED
    waits: Numbers = ((fate % one_in == 1) & (day < corrected)).astype(np.int64)
    return waits
