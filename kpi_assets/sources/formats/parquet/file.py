"""The bytes of an object as a file that the library reads, and its errors as sentences."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from kpi_assets.sources.any_order import AnyOrder, AsFile
from kpi_assets.sources.formats.base import UnreadableError

BUFFER = 256 << 10  # bytes of a column that are read at once


@contextmanager
def opened(content: AnyOrder) -> Iterator[pq.ParquetFile]:
    """Open the bytes of an object. Raises UnreadableError."""
    with _explained("its footer"), pq.ParquetFile(pa.PythonFile(AsFile(content), "r"), buffer_size=BUFFER) as file:
        file.schema_arrow.names  # noqa: B018  raises UnicodeDecodeError if a name is not UTF-8
        yield file


def read_batches(file: pq.ParquetFile, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group, with the columns in this order."""
    found = file.iter_batches(rows, [group], list(columns), use_threads=False)
    batches = iter(found)
    while True:
        with _explained(f"its row group {group}"):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch.select(list(columns))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n", 1)[0].rstrip(".")
        raise UnreadableError(f"{what} cannot be read ({reason}): land it again from its source") from None
