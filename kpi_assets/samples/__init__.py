"""Data generators, one per pipeline: files like the real deliveries, correct or with a planted fault.

Belongs here: the interface of a generator, and which pipeline has which. Not here: landing what was written (sources/).
Importing this package must not import numpy: the command line does it on every start, and only `write` needs it.
"""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Protocol

from kpi_assets.samples.ecommerce.generator import Ecommerce
from kpi_assets.samples.instacart.generator import Instacart
from kpi_assets.samples.storefront.generator import Storefront


class Generator(Protocol):
    """Writes a pipeline's files of a load_date, or of several."""

    @property
    def faults(self) -> dict[str, str]:
        """Each fault that `write` can plant: its name, and one line that says what it does to which file."""
        ...

    def sized(self, *, events: int | None, days: int | None) -> "Generator":
        """Return the generator of so many events a load_date and so many load_dates; None is its default.

        UsageError if the pipeline has no such number.
        """
        ...

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
        """Write the pipeline's files into the folder `out`, made if missing; return their paths there -> data records.

        The same arguments give the same bytes. `progress` is called with (orders done, all orders).
        A request that cannot be met raises UserError and leaves the folder's files as they were.
        """
        ...


GENERATORS: dict[str, Generator] = {"instacart": Instacart(), "ecommerce": Ecommerce(), "storefront": Storefront()}
