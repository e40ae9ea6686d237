"""The database of the shop's simulated API: the products of each Monday, as products.json has them.

Belongs here: filling it. Not here: numpy, which only filling needs, and the products themselves (catalog.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from pydantic import SecretStr

from kpi_assets.errors import UserError
from kpi_assets.samples.ecommerce.faults import Planted, chosen
from kpi_assets.samples.ecommerce.generator import MOST_DAYS
from kpi_assets.samples.writing import extra
from kpi_assets.simulators import databases
from kpi_assets.simulators.api import PRODUCTS
from kpi_assets.simulators.faults import api_faults, split_api_faults


@dataclass(frozen=True)
class ProductsApi:
    """Fills the lists of products of `days` load_dates."""

    days: int = 1
    apis = (PRODUCTS.name,)
    default_orders = 20_000
    faults = api_faults(apis)

    def sized(self, *, events: int | None, days: int | None) -> "ProductsApi":  # noqa: ARG002
        """The generator of so many days; the number of events does not matter here."""
        return replace(self, days=days or 1)

    def fill(
        self,
        server: SecretStr,
        *,
        load_date: date,
        orders: int,
        seed: int,
        faults: Sequence[str] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, int]:
        """Fill the list of each Monday, beginning with that on or before load_date; return the records by API.

        A list depends on its Monday and the seed alone, so it has the products of the orders and events that are
        written with the same seed. Faults of products.json are those of the first list; faults of orders and events do
        nothing here. Faults of the API take the place of those that it had. UserError: an unknown fault, a negative
        seed, a number of days out of its limits.
        """
        of_apis, others = split_api_faults(faults, self.apis)
        planted = chosen(load_date, others)
        if seed < 0:
            raise UserError(f"The seed {seed} is negative: choose 0 or more.")
        if not 1 <= self.days <= MOST_DAYS:
            raise UserError(f"{self.days} days cannot be made at once: ask for 1 to {MOST_DAYS} days.")
        with extra():
            from kpi_assets.samples.ecommerce import catalog, files  # noqa: PLC0415 (brings numpy)

        mondays = sorted({catalog.monday_of(load_date + timedelta(days=number)) for number in range(self.days)})
        with databases.connect(server, PRODUCTS.database) as connection:
            databases.replace_faults(connection, of_apis[PRODUCTS.name])
            rows = 0
            for monday in mondays:
                of_monday = planted if monday == mondays[0] else Planted(monday)
                lines = files.product_lines(monday, seed, of_monday)
                rows += databases.replace_day(connection, PRODUCTS, monday, lines)
            databases.end_filling(connection, PRODUCTS)
        if progress:
            progress(orders, orders)
        return {PRODUCTS.name: rows}
