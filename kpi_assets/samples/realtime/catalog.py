"""What the shop sells, from which warehouses, to whom, and through which channels.

Belongs here: everything that does not change while the shop runs. Not here: what happens in it (world.py).
"""

from dataclasses import dataclass

WAREHOUSES = ("AMS", "LYO")
CHANNELS = ("web", "app", "marketplace")
CHANNEL_SHARES = (0.55, 0.35, 0.10)
PRODUCTS = 60
FIRST_CUSTOMER, CUSTOMERS = 10_001, 50_000
# Of ten customers, six pay in EUR, three in GBP and one in USD: a customer has one currency.
CURRENCIES = ("EUR", "EUR", "EUR", "EUR", "EUR", "EUR", "GBP", "GBP", "GBP", "USD")
UNCOUNTED_ONE_IN = 40  # places of the stock that nobody ever counts


@dataclass(frozen=True)
class Product:
    """A product; `cents` is its price in any currency."""

    number: int
    cents: int

    @property
    def sku(self) -> str:
        """The number as the stock knows it."""
        return f"SKU-{self.number:04}"


CATALOG = tuple(Product(number, 199 + 100 * (number * 37 % 120)) for number in range(1, PRODUCTS + 1))


def currency_of(customer: int) -> str:
    """Return the currency in which a customer pays."""
    return CURRENCIES[customer * 7 % len(CURRENCIES)]


def is_counted(product: Product, warehouse: str) -> bool:
    """Return whether anybody ever counts the pieces of a product in a warehouse."""
    return (product.number + len(CATALOG) * WAREHOUSES.index(warehouse)) % UNCOUNTED_ONE_IN != 0
