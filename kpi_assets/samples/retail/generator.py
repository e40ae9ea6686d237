"""The generator of synthetic days of three retailers: it fills the databases of their simulated APIs.

Belongs here: valid arguments, and filling. Not here: what the lines hold (lines.py), and numpy, which only filling
needs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from pydantic import SecretStr

from kpi_assets.errors import UsageError, UserError
from kpi_assets.samples.retail.faults import FEW, RETAILER_NAMES, Planted, listed_faults, planted
from kpi_assets.samples.writing import extra
from kpi_assets.simulators import databases
from kpi_assets.simulators.api import RETAILERS
from kpi_assets.simulators.faults import api_faults, split_api_faults

MOST_ORDERS, MOST_DAYS = 999_999, 366  # ids have 6 digits for a day's sales


@dataclass(frozen=True)
class Retail:
    """Fills `days` load_dates of each retailer."""

    days: int = 1
    apis = RETAILER_NAMES
    default_orders = 300

    @property
    def faults(self) -> dict[str, str]:
        """The faults of records, and those of the APIs."""
        return {**listed_faults(), **api_faults(RETAILER_NAMES)}

    def sized(self, *, events: int | None, days: int | None) -> "Retail":
        """The generator of so many days."""
        if events is not None:
            raise UsageError("The samples of retail have no --events: leave it out.")
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
        """Fill the databases with the sales of load_date and the days after it; return the records by API.

        Each retailer has `orders` sales a day, of one to three products, which depend on the day, the seed and
        `orders`; they take the place of those that the day had. Faults of records are those of load_date. Faults of an
        API take the place of those that it had. UserError: an unknown or impossible fault, a number out of its limits,
        a negative seed.
        """
        of_apis, of_records = split_api_faults(faults, RETAILER_NAMES)
        plans = planted(of_records)
        self._check(load_date, orders, seed)
        for plan in plans:
            plan.check_room(orders)
        rows = {}
        for number, (api, plan) in enumerate(zip(RETAILERS, plans, strict=True)):
            with databases.connect(server, api.database) as connection:
                databases.replace_faults(connection, of_apis[api.name])
                rows[api.name] = 0
                for later in range(self.days):
                    day = load_date + timedelta(days=later)
                    lines = day_lines(number, day, orders, seed, Planted(api, {}) if later else plan)
                    rows[api.name] += databases.replace_day(connection, api, day, lines)
                    if progress:
                        progress((number * self.days + later + 1) * orders // (len(RETAILERS) * self.days), orders)
                databases.end_filling(connection, api)
        return rows

    def _check(self, load_date: date, orders: int, seed: int) -> None:
        if not 1 <= orders <= MOST_ORDERS:
            raise UserError(f"A day of {orders:,} orders cannot be made: ask for 1 to {MOST_ORDERS:,} orders.")
        if not 1 <= self.days <= MOST_DAYS:
            raise UserError(f"{self.days} days cannot be made at once: ask for 1 to {MOST_DAYS} days.")
        if (date.max - load_date).days < self.days + 30:
            raise UserError(f"There are no {self.days} days from {load_date} on: begin earlier.")
        if seed < 0:
            raise UserError(f"The seed {seed} is negative: choose 0 or more.")


def day_lines(retailer: int, day: date, orders: int, seed: int, plan: Planted) -> Iterator[bytes]:
    """The lines of a retailer's day (0 to 2), with the planned faults."""
    with extra():
        from kpi_assets.samples.retail import catalog, lines, sales  # noqa: PLC0415 (brings numpy)

    products = catalog.listed(retailer, day, seed)
    found = sales.draw_sales(retailer, orders, len(products), day, seed)
    if plan.hits("none"):
        found = found.first(0)
    elif plan.hits("few"):
        found = found.first(orders // FEW)
    return plan.edited(lines.blocks(retailer, found, products, day), len(found))
