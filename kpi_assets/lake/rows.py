"""The way of a result from the engine into a table of Postgres: Arrow's batches become blocks of CSV for COPY.

One batch is in memory at a time. A result that one client should not carry is refused.
Not here: the table that takes the rows (warehouse/candidates.py), and when that is done (materialize/).
"""

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from kpi_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS = "format csv"  # of COPY: a NULL is an empty field, and an empty text is in quotes


class TooManyRowsError(UserError):
    """A result has more rows than one client should copy into Postgres."""


def csv_blocks(
    batches: Iterable["pa.Table"], most: int, what: str, on_rows: Callable[[int], None] = lambda _: None
) -> Iterator[bytes]:
    """Yield the rows of batches as CSV. Raises TooManyRowsError above so many rows; `what` is the table, for people."""
    from pyarrow import csv  # noqa: PLC0415  an extra

    options, rows = csv.WriteOptions(include_header=False, quoting_style="needed"), 0
    for batch in batches:
        rows += batch.num_rows
        if rows > most:
            raise TooManyRowsError(
                f"{what} has more than {most:,} rows, which one client would copy into Postgres: aggregate it further, "
                "or write storage: lake in its header."
            )
        block = io.BytesIO()
        csv.write_csv(batch, block, options)
        yield block.getvalue()
        on_rows(rows)
