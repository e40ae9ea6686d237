"""The copy mode of Parquet: the rows as CSV, written by the library."""

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Protocol

import pyarrow as pa
import pyarrow.csv
from pyarrow import types

from kpi_assets.sources.formats.base import NO_SETTINGS, CopyMode, UnprovenError
from kpi_assets.sources.formats.parquet.values import reading_of

# Values of these types need no quotes, so COPY can read them as text, which is a third faster.
_UNQUOTED = (types.is_integer, types.is_boolean, types.is_floating, types.is_decimal, types.is_date)


class Rows(Protocol):
    """The rows of an object."""

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns of the table that they fill: name -> type of Postgres."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of the object."""

    def batches(self, start: int, end: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows between two places. Raises UnreadableError."""


class ParquetCopy(CopyMode):
    """The only mode: the rows as CSV."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def stream(self, start: int, end: int) -> "ParquetStream":
        """Return the rows between two places."""
        return ParquetStream(self._rows, start, end)


class ParquetStream:
    """Rows as CSV for COPY."""

    settings = NO_SETTINGS
    waited = 0.0  # the object is in a local file

    def __init__(self, rows: Rows, start: int, end: int) -> None:
        self._rows, self._start, self._end = rows, start, end
        self.columns = list(rows.columns)
        self.records = 0
        found = [rows.schema.field(name).type for name in self.columns]
        is_plain = all(any(is_type(each) for is_type in _UNQUOTED) for each in found)
        self.options = "format text, delimiter ',', null ''" if is_plain else "format csv"
        self._style = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none" if is_plain else "needed")

    @property
    def done(self) -> int:
        """Rows so far."""
        return self.records

    def __iter__(self) -> Iterator[bytes]:
        declared = list(self._rows.columns.values())
        for batch in self._rows.batches(self._start, self._end):
            columns = [_prepared(values, type_) for values, type_ in zip(batch.columns, declared, strict=True)]
            text = BytesIO()
            pyarrow.csv.write_csv(pa.RecordBatch.from_arrays(columns, self.columns), text, self._style)
            self.records += batch.num_rows
            yield text.getvalue()


def _prepared(values: pa.Array, type_: str) -> pa.Array:
    reading = reading_of(values.type)
    assert reading is not None, "the columns were compared"
    try:
        return reading.prepare(values, type_)
    except pa.ArrowException:  # a value is no text, or would be rounded
        raise UnprovenError from None
