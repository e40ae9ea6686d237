"""The copy mode of Parquet: the rows in COPY's binary format where that is simple, or else as CSV."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from io import BytesIO
from typing import Protocol

import pyarrow as pa
import pyarrow.csv
from pyarrow import types

from kpi_assets.sources.extra_fields import extra_json
from kpi_assets.sources.formats.base import NO_SETTINGS, CopyMode, UnprovenError
from kpi_assets.sources.formats.parquet import binary
from kpi_assets.sources.formats.parquet.layout import Layout
from kpi_assets.sources.formats.parquet.values import known, texts

# Values of these types need no quotes, so COPY can read them as text, which is a third faster.
_UNQUOTED = (types.is_integer, types.is_boolean, types.is_floating, types.is_decimal, types.is_date)


class Rows(Protocol):
    """The rows of an object."""

    @property
    def layout(self) -> Layout:
        """The columns that are read, in the order in which the batches have them."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of the object."""

    def batches(self, start: int, end: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows between two places. Raises UnreadableError."""


class ParquetCopy(CopyMode):
    """The only mode: binary rows if all columns have a fixed size, or else CSV."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def stream(self, start: int, end: int) -> "ParquetStream":
        """Return the rows between two places."""
        layout = self._rows.layout
        is_fixed = not layout.extra and binary.is_fixed([each.target.type for each in layout.filled])
        kind = BinaryStream if is_fixed else CsvStream
        return kind(self._rows, start, end)


class ParquetStream(ABC):
    """Rows on their way to COPY."""

    options: str
    settings = NO_SETTINGS
    waited = 0.0  # the object is in a local file

    def __init__(self, rows: Rows, start: int, end: int) -> None:
        self._rows, self._start, self._end = rows, start, end
        self.columns = rows.layout.columns
        self._targets = [each.target for each in rows.layout.filled]
        self.records = 0

    @property
    def done(self) -> int:
        """Rows so far."""
        return self.records

    def __iter__(self) -> Iterator[bytes]:
        yield self._begin()
        for batch in self._rows.batches(self._start, self._end):
            try:
                text = self._written([*self._prepared(batch), *self._extra(batch)])
            except pa.ArrowException:  # a value is no text, does not fit, or would be rounded
                raise UnprovenError from None
            self.records += batch.num_rows
            yield text
        yield self._finish()

    def _prepared(self, batch: pa.RecordBatch) -> list[pa.Array]:
        columns = zip(batch.columns, self._targets, strict=False)
        return [known(values.type).prepare(values, target) for values, target in columns]

    def _extra(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """Return the column for the fields that are no columns, if there are any."""
        names = self._rows.layout.extra
        if not names:
            return []
        rows = zip(*(texts(batch.column(name), "text") for name in names), strict=True)
        return [pa.array([extra_json(zip(names, row, strict=True)) for row in rows], pa.large_string())]

    def _begin(self) -> bytes:
        return b""

    def _finish(self) -> bytes:
        return b""

    @abstractmethod
    def _written(self, columns: list[pa.Array]) -> bytes:
        """Return the bytes of prepared rows."""


class BinaryStream(ParquetStream):
    """Rows in COPY's binary format."""

    options = binary.OPTIONS

    def _begin(self) -> bytes:
        return binary.START

    def _finish(self) -> bytes:
        return binary.END

    def _written(self, columns: list[pa.Array]) -> bytes:
        return binary.rows(columns, [target.type for target in self._targets])


class CsvStream(ParquetStream):
    """Rows as CSV, written by the library."""

    def __init__(self, rows: Rows, start: int, end: int) -> None:
        super().__init__(rows, start, end)
        found = [rows.schema.field(name).type for name in rows.layout.names]
        is_plain = not rows.layout.extra and all(any(is_type(each) for is_type in _UNQUOTED) for each in found)
        self.options = "format text, delimiter ',', null ''" if is_plain else "format csv"
        self._style = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none" if is_plain else "needed")

    def _written(self, columns: list[pa.Array]) -> bytes:
        text = BytesIO()
        pyarrow.csv.write_csv(pa.RecordBatch.from_arrays(columns, self.columns), text, self._style)
        return text.getvalue()
