"""The generator of synthetic days of a shop that exports its whole tables each day.

Belongs here: valid arguments, and which files there are. Not here: the content of the files (files.py), and numpy,
which only writing needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from kpi_assets.errors import UsageError, UserError
from kpi_assets.samples.storefront.faults import COLUMNS, FAULTS, Planted, chosen
from kpi_assets.samples.writing import extra, show, whole

FIRST, LAST = date(2025, 1, 6), date(2033, 12, 31)
MOST_ORDERS, MOST_DAYS = 500_000, 366  # at most 9 million transactions on the last day: ids have 7 digits for them


@dataclass(frozen=True)
class Storefront:
    """Writes `days` load_dates, by default with some dirty values on each of them."""

    days: int = 1
    is_dirty: bool = True
    default_orders = 20_000
    faults = FAULTS

    def sized(self, *, events: int | None, days: int | None) -> "Storefront":
        """The generator of so many days."""
        if events is not None:
            raise UsageError("The samples of storefront have no --events: leave it out.")
        return replace(self, days=days or 1)

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

        These are `staging/<table>/load_date=<date>/<table>.csv` of customers, products, transactions and
        transaction_items: each the whole table. `orders` are the transactions of the first day of the shop, which
        has a customer for nine of them and a product for eighteen; each day brings some more of all. A file depends
        on its date, the seed and `orders`, and the faults are those of load_date. The files appear when all are
        complete, in place of those of an earlier run. UserError: an unknown or impossible fault, a number out of its
        limits, a load_date on which there is no shop, a negative seed, a folder that cannot be written to.
        """
        planted = chosen(faults)
        self._check(load_date, orders, seed)
        with extra():
            from kpi_assets.samples.storefront import files, size  # noqa: PLC0415 (brings numpy)

        dates = [load_date + timedelta(days=number) for number in range(self.days)]
        keys = [files.key_of(file, day) for day in dates for file in COLUMNS]
        with whole(out) as partial:
            rows: dict[str, int] = {}
            for done, day in enumerate(dates, start=1):
                of_day = planted if day == load_date else Planted()
                rows |= files.Export(partial, day, size.Size(orders), seed, of_day, self.is_dirty).write()
                if progress:
                    progress(done * orders // len(dates), orders)
            show(partial, out, keys, rows)
        return rows

    def _check(self, load_date: date, orders: int, seed: int) -> None:
        if not 1 <= orders <= MOST_ORDERS:
            raise UserError(f"A shop of {orders:,} orders cannot be made: ask for 1 to {MOST_ORDERS:,} orders.")
        if not 1 <= self.days <= MOST_DAYS:
            raise UserError(f"{self.days} days cannot be made at once: ask for 1 to {MOST_DAYS} days.")
        if load_date < FIRST or (LAST - load_date).days < self.days - 1:
            days = f"{self.days} days from {load_date} on" if self.days > 1 else f"the day {load_date}"
            raise UserError(f"The shop has no files of {days}: it has them from {FIRST} to {LAST}.")
        if seed < 0:
            raise UserError(f"The seed {seed} is negative: choose 0 or more.")
