"""The generator of synthetic Instacart deliveries: five CSV files of one load_date, of any number of orders.

Belongs here: valid arguments. Not here: the content of the files (files.py), and numpy, which only writing needs.
"""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from kpi_assets.errors import UsageError, UserError
from kpi_assets.samples.instacart.faults import FAULTS, chosen
from kpi_assets.samples.writing import extra, show, whole

LIMIT = 99_999_999  # ids are written in at most 8 digits


class Instacart:
    """Writes orders, their lines, products, aisles and departments."""

    faults: dict[str, str] = FAULTS
    default_orders = 20_000

    def sized(self, *, events: int | None, days: int | None) -> "Instacart":
        """The generator itself: a load_date has no events, and each is written into a folder of its own."""
        if events is not None or days not in {None, 1}:
            option = "--days" if events is None else "--events"
            raise UsageError(f"The samples of instacart have no {option}: leave it out.")
        return self

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
        """Write the five files with exactly `orders` orders into `out`; return file name -> data records.

        The same arguments give the same bytes. The products depend on `seed` and `orders` alone: load_dates share
        them. At 3,421,083 orders the sizes are those of the published dataset. The files appear when all of them are
        complete, in place of those of an earlier run. UserError: an unknown or impossible fault, fewer orders than
        1, a negative seed, a folder that cannot be written to.
        """
        planted = chosen(faults)
        if not 1 <= orders <= LIMIT:
            raise UserError(f"A sample of {orders:,} orders cannot be made: ask for 1 to {LIMIT:,} orders.")
        if seed < 0:
            raise UserError(f"The seed {seed} is negative: choose 0 or more.")
        with extra():
            from kpi_assets.samples.instacart import files  # noqa: PLC0415 (brings numpy)

        with whole(out) as partial:
            rows = files.write_files(
                partial,
                load_date=load_date,
                count=orders,
                seed=seed,
                faults=planted,
                progress=progress or (lambda *_: None),
            )
            show(partial, out, files.COLUMNS, rows)
        return rows
