"""The products of the shop as a day's products.csv lists them: prices, costs and brands change, and some are gone.

Belongs here: everything in products.csv but what is dirty in it, and the price of any product on any day.
Not here: who buys what (sales.py).
"""

from collections.abc import Iterator

import numpy as np

from kpi_assets.samples.products import BRANDS, CATEGORIES
from kpi_assets.samples.storefront.changes import draw, is_there, times_changed
from kpi_assets.samples.storefront.size import Days, Numbers, Size

# The streams of random numbers that name products and their changes.
NAMES, OWN_PRICES, PRICES, COSTS, BRANDINGS, STOCKS, SUPPLIES, FATES = range(200, 208)

STYLES = ("Classic", "Large", "Small", "Blue", "Travel", "Winter", "Heirloom", '12"')
SUPPLIERS, NEXT_SUPPLIER, NEXT_BRAND = 40, 7, 3  # a change never leads to the same


def listed_products(size: Size, day: int, seed: int) -> Numbers:
    """The numbers of the products that are listed on a day."""
    numbers = np.arange(int(size.products(np.array(day))))
    return numbers[is_there(day, size.day_of_product(numbers), draw(len(numbers), seed, FATES))]


def prices(numbers: Numbers, day: Days | int, seed: int) -> Numbers:
    """The price of each product on its day in cents: 80 to 120 per cent of its own, and another after each change."""
    count = int(numbers.max(initial=-1)) + 1
    own, pace = draw(count, seed, OWN_PRICES)[numbers], draw(count, seed, PRICES)[numbers]
    per_cent = 80 + (own // 150 + 17 * times_changed(day, pace, 60, 180)) % 41
    cents: Numbers = _own_cents(own) * per_cent // 100
    return cents


def products(numbers: Numbers, day: int, seed: int) -> Iterator[list[str]]:
    """The fields of products on a day."""
    count = int(numbers.max(initial=-1)) + 1

    def drawn(stream: int) -> Numbers:
        return draw(count, seed, stream)[numbers]

    name, own, pace, stock, supply = (drawn(each) for each in (NAMES, OWN_PRICES, COSTS, STOCKS, SUPPLIES))
    cost_per_cent = 40 + (own // 150 + 7 * times_changed(day, pace, 120, 300)) % 23
    columns = (
        numbers,
        name,
        name // 320 + NEXT_BRAND * times_changed(day, drawn(BRANDINGS), 400, 1_200),
        prices(numbers, day, seed),
        _own_cents(own) * cost_per_cent // 100,
        (stock + 37 * times_changed(day, stock, 20, 60)) % 500,
        (supply + NEXT_SUPPLIER * times_changed(day, supply, 900, 1_800)) % SUPPLIERS,
    )
    for number, named, brand, price, cost, pieces, supplier in zip(*(each.tolist() for each in columns), strict=True):
        category, kinds = list(CATEGORIES.items())[named % len(CATEGORIES)]
        kind = kinds.split(", ")[named // 8 % 5]
        yield [
            f"P{number + 1:04}",
            f"{kind}, {STYLES[named // 40 % len(STYLES)]}",
            category,
            kind,
            BRANDS[brand % len(BRANDS)],
            f"{price // 100}.{price % 100:02}",
            f"{cost // 100}.{cost % 100:02}",
            str(pieces),
            f"S{supplier + 1:03}",
        ]


def _own_cents(own: Numbers) -> Numbers:
    return 499 + 100 * (own % 150)
