"""The bytes of an object as a file that the library reads, and its errors as sentences."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
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


def write_again(
    file: pq.ParquetFile,
    groups: Sequence[int],
    gone: Collection[int],
    values: Mapping[str, Mapping[int, str | None]],
    target: BinaryIO,
) -> None:
    """Write a file without the rows of these numbers, which count from 1 in the order of `groups`.

    `values` are other values of columns, by the number of the row.
    """
    first = [file.metadata.row_group(0)] if file.metadata.num_row_groups else []
    columns = [group.column(number) for group in first for number in range(group.num_columns)]
    packed = {
        column.path_in_schema: "none" if column.compression == "UNCOMPRESSED" else column.compression.lower()
        for column in columns
    }
    starts, before = dict[int, int](), 0
    for group in groups:
        starts[group] = before
        before += file.metadata.row_group(group).num_rows
    with pq.ParquetWriter(target, file.schema_arrow, compression=packed or "none") as writer:
        for group in range(file.metadata.num_row_groups):
            with _explained(f"its row group {group}"):
                rows = file.read_row_group(group, use_threads=False)
                for name, others in values.items():
                    rows = _with(rows, name, {n - starts[group] - 1: value for n, value in others.items()})
            kept = [starts[group] + number + 1 not in gone for number in range(rows.num_rows)]
            writer.write_table(rows if all(kept) else rows.filter(pa.array(kept, pa.bool_())), max(rows.num_rows, 1))


def _with(rows: pa.Table, name: str, others: Mapping[int, str | None]) -> pa.Table:
    """Return rows with other values in one column, by the place of the row."""
    column, place = rows.column(name), rows.schema.names.index(name)
    mask = pa.array([number in others for number in range(rows.num_rows)], pa.bool_())
    texts = pa.array([others.get(number) for number in range(rows.num_rows)], pa.string())
    return rows.set_column(place, rows.schema.field(place), pc.if_else(mask, texts.cast(column.type), column))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n", 1)[0].rstrip(".")
        raise UnreadableError(f"{what} cannot be read ({reason}): land it again from its source") from None
