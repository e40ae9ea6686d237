"""The generator of synthetic days of an online shop: orders, events, and the products of each Monday.

Belongs here: valid arguments, and which files there are. Not here: the content of the files (files.py), and numpy,
which only writing needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from kpi_assets.errors import UserError
from kpi_assets.samples.ecommerce.faults import EVENTS, FAULTS, ORDERS, PRODUCTS, Planted, chosen
from kpi_assets.samples.writing import extra, show, whole

MOST_ORDERS, MOST_EVENTS, MOST_DAYS = 999_999, 9_999_999, 366  # ids have 6 and 7 digits for them
EVENTS_FOR_AN_ORDER = 8


@dataclass(frozen=True)
class Ecommerce:
    """Writes `days` load_dates with `events` events each, by default eight for each order."""

    events: int | None = None
    days: int = 1
    default_orders = 20_000
    faults = FAULTS

    def sized(self, *, events: int | None, days: int | None) -> "Ecommerce":
        """The generator of so many events a day, and of so many days."""
        return replace(self, events=events, days=days or 1)

    def write(
        self,
        out: Path,
        *,
        load_date: date,
        orders: int,
        seed: int,
        faults: Sequence[str] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, int]:
        """Write the files of load_date and the days after it below `out`; return their paths there -> data records.

        These are `orders/<date>/orders.json` and `events/<date>/events.csv` for each day, and
        `products/<date>/products.json` for each Monday, beginning with that on or before load_date. A file depends on
        its date, the seed, and the numbers of orders and events. The faults are those of load_date, and of the first
        products. The files appear when all are complete, in place of those of an earlier run. UserError: an unknown or
        impossible fault, a number out of its limits, a negative seed, a folder that cannot be written to.
        """
        planted = chosen(load_date, faults)
        events = EVENTS_FOR_AN_ORDER * orders if self.events is None else self.events
        self._check(load_date, orders, events, seed)
        with extra():
            from kpi_assets.samples.ecommerce import catalog, files  # noqa: PLC0415 (brings numpy)

        dates = [load_date + timedelta(days=number) for number in range(self.days)]
        mondays = sorted({catalog.monday_of(day) for day in dates})
        days = [files.Day(day, orders, events, seed, planted if day == load_date else Planted(day)) for day in dates]
        keys = [files.key_of(PRODUCTS, monday) for monday in mondays]
        keys += [files.key_of(file, day) for day in dates for file in (ORDERS, EVENTS)]
        with whole(out) as partial:
            rows: dict[str, int] = {}
            for monday in mondays:
                of_monday = planted if monday == mondays[0] else Planted(monday)
                rows |= files.write_products(partial, monday, seed, of_monday)
            for done, day in enumerate(days, start=1):
                rows |= files.write_day(partial, day)
                if progress:
                    progress(done * orders // len(days), orders)
            show(partial, out, keys, rows)
        return rows

    def _check(self, load_date: date, orders: int, events: int, seed: int) -> None:
        if not 1 <= orders <= MOST_ORDERS:
            raise UserError(f"A day of {orders:,} orders cannot be made: ask for 1 to {MOST_ORDERS:,} orders.")
        if not orders <= events <= MOST_EVENTS:
            raise UserError(
                f"A day of {orders:,} orders and {events:,} events cannot be made: ask for {orders:,} to "
                f"{MOST_EVENTS:,} events, since an order has its purchase."
            )
        if not 1 <= self.days <= MOST_DAYS:
            raise UserError(f"{self.days} days cannot be made at once: ask for 1 to {MOST_DAYS} days.")
        if (date.max - load_date).days < self.days:
            raise UserError(f"There are no {self.days} days from {load_date} on: begin earlier.")
        if seed < 0:
            raise UserError(f"The seed {seed} is negative: choose 0 or more.")
