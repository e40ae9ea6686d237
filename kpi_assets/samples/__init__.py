"""Data generators of pipelines: files like the real deliveries, and the databases of simulated APIs.

What they make is correct or has a planted fault. Belongs here: the interfaces of generators, and which pipeline has
which. Not here: landing what was written (sources/), and what the APIs answer (simulators/). Importing this package
must not import numpy: the command line does it on every start, and only `write` and `fill` need it.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from kpi_assets.samples.ecommerce.generator import Ecommerce
from kpi_assets.samples.ecommerce.products_api import ProductsApi
from kpi_assets.samples.instacart.generator import Instacart
from kpi_assets.samples.realtime.faults import Message
from kpi_assets.samples.realtime.generator import Realtime
from kpi_assets.samples.retail.generator import Retail
from kpi_assets.samples.storefront.generator import Storefront


class Generator(Protocol):
    """What makes the samples of a pipeline."""

    @property
    def faults(self) -> dict[str, str]:
        """Each fault that can be planted: its name, and one line that says what it does to what."""
        ...

    @property
    def default_orders(self) -> int:
        """How many orders a sample has if nobody asks for a number."""
        ...


class FileGenerator(Generator, Protocol):
    """Writes a pipeline's files of a load_date, or of several."""

    def sized(self, *, events: int | None, days: int | None) -> "FileGenerator":
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


class ApiGenerator(Generator, Protocol):
    """Fills the databases of a pipeline's simulated APIs with a load_date, or with several."""

    @property
    def apis(self) -> Sequence[str]:
        """The names of the APIs."""
        ...

    def sized(self, *, events: int | None, days: int | None) -> "ApiGenerator":
        """Return the generator of so many load_dates, as that of files does."""
        ...

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
        """Put what the APIs have of the load_dates in the place of what they had; return the records by API.

        `server` is the embedded PostgreSQL, which must have the databases. The same arguments give the same rows. A
        request that cannot be met raises UserError and leaves the databases as they were.
        """
        ...


class StreamGenerator(Generator, Protocol):
    """Makes the messages of a pipeline's streams as they happen."""

    def messages(
        self, opening: datetime, rate: float, *, seed: int, faults: Sequence[str] = (), pace: float = 1
    ) -> Iterator[Message]:
        """Return what is sent from an instant on, for ever, with so many events a second.

        `pace` says how much quicker than in life things go. A request that cannot be met raises UserError.
        """
        ...


GENERATORS: dict[str, FileGenerator] = {
    "instacart": Instacart(),
    "ecommerce": Ecommerce(),
    "storefront": Storefront(),
    "realtime": Realtime(),
}
API_GENERATORS: dict[str, ApiGenerator] = {"ecommerce": ProductsApi(), "retail": Retail()}
STREAM_GENERATORS: dict[str, StreamGenerator] = {"realtime": Realtime()}
