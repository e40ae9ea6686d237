"""A Parquet object: its footer, compared with the columns of the table, and its rows between two places.

Places are row numbers, in the order in which the row groups are read.
"""

import json
import tempfile
from collections.abc import Callable, Collection, Iterator
from datetime import date
from itertools import accumulate, pairwise

import pyarrow as pa
import pyarrow.compute as pc

from kpi_assets.model import excerpt
from kpi_assets.model.records import Record
from kpi_assets.model.table import Table
from kpi_assets.sources.extra_fields import extra_json
from kpi_assets.sources.formats.base import NOTHING, Cut, Instead, OpenObject, UnreadableError
from kpi_assets.sources.formats.parquet.copy_mode import ParquetCopy
from kpi_assets.sources.formats.parquet.file import opened, read_batches, write_again
from kpi_assets.sources.formats.parquet.layout import layout_of
from kpi_assets.sources.formats.parquet.values import texts
from kpi_assets.sources.local_copy import LocalCopy
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.signatures import other_format

MAGIC = b"PAR1"
BATCH = 2 << 20  # bytes of the values of one batch, as estimated from the footer
MOST_ROWS = 8_192  # of one batch: more are not faster, and take memory in each writer
FIELD = 5  # bytes of a short field of CSV, with its comma


class _NotUtf8:
    """In place of a value that is no text."""


_Field = str | None | _NotUtf8


class ParquetObject(OpenObject):
    """A Parquet object whose footer was compared with the columns of the table."""

    def __init__(self, content: ObjectBytes, table: Table, load_date: date) -> None:
        super().__init__(content)
        self.table = table
        self._copy: LocalCopy | None = None
        self.problem = _frame_problem(content)
        if self.problem:
            return
        try:
            with opened(content) as file:
                self._footer, self.schema = file.metadata, file.schema_arrow
        except UnreadableError as error:
            self.problem = str(error)
            return
        self.layout = layout_of(self.schema, table, load_date)
        self.problem = self.layout.problem
        self._groups = list(range(self._footer.num_row_groups))  # in the order in which they are read
        self.copy_modes = (ParquetCopy(self),)

    @property
    def size(self) -> int:
        """The number of rows, by the footer."""
        return int(self._footer.num_rows)

    @property
    def text_size(self) -> int:
        """The unpacked bytes by the footer, or more where they are packed as numbers of repeated values."""
        groups = (self._footer.row_group(group) for group in self._groups)
        return max(sum(int(group.total_byte_size) for group in groups), self.size * len(self.layout.names) * FIELD)

    def prepare(self, on_bytes: Callable[[int], None]) -> None:
        """Copy the object to a temporary file."""
        name = f"s3://{self.manifest.bucket}/{self.manifest.key}"
        self._copy = LocalCopy.of(self.bytes.read(), name, on_bytes)

    def close(self) -> None:
        """Remove the temporary file."""
        super().close()
        if self._copy is not None:
            self._copy.close()

    def find_cuts(self, key: str, count: int) -> list[Cut] | None:
        """Find rows with a greater key than the row before; the row groups are read in the order of their keys."""
        name = next((each.name for each in self.layout.filled if each.column == key), None)
        if name is None:
            return None
        column = self.schema.names.index(name)
        statistics = [self._footer.row_group(group).column(column).statistics for group in self._groups]
        if all(each is not None and each.has_min_max for each in statistics):
            self._groups.sort(key=lambda group: statistics[group].min)
        found = [self._cut_after(name, self.size * number // count) for number in range(1, count)]
        cuts = [cut for cut in found if cut]
        rising = all(one < other for (_, one), (_, other) in pairwise(cuts))
        return cuts if len(cuts) == len(found) and rising else None

    def _cut_after(self, name: str, place: int) -> Cut | None:
        """Return the first row after `place`, in the same row group, with a greater key than the row before."""
        [(group, start, _)] = self._parts(place, place + 1)
        with opened(self._local) as file:
            keys = file.read_row_group(group, columns=[name], use_threads=False).column(0).combine_chunks()[start:]
        differ = pc.index(pc.greater(keys[1:], keys[:-1]), True).as_py()
        return None if differ < 0 else (place + differ + 1, keys[differ + 1].as_py())

    def _parts(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (row group, first row, row after the last row) for the rows between two places."""
        rows = [self._footer.row_group(group).num_rows for group in self._groups]
        for group, count, after in zip(self._groups, rows, accumulate(rows), strict=True):
            first, last = max(start - (after - count), 0), min(end - (after - count), count)
            if first < last:
                yield group, first, last

    @property
    def _local(self) -> LocalCopy:
        assert self._copy is not None, "prepare() is called first"
        return self._copy

    def batches(self, start: int, end: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows between two places. Raises UnreadableError, also if they are fewer than the footer says."""
        with opened(self._local) as file:
            for group, first, last in self._parts(start, end):
                size = self._footer.row_group(group).total_byte_size
                rows = self._footer.row_group(group).num_rows
                most = max(1, min(MOST_ROWS, BATCH * rows // max(size, 1)))
                place = 0
                for batch in read_batches(file, group, self.layout.names, most):
                    part = batch.slice(max(first - place, 0), max(last - max(first, place), 0))
                    place += batch.num_rows
                    if part.num_rows:
                        yield part
                    if place >= last:
                        break
                else:
                    raise UnreadableError(
                        f"its row group {group} has {place} rows, and its footer says {rows}: land it again from its "
                        "source"
                    )

    def records(self) -> Iterator[Record]:
        """Read the rows one by one. The line of a record is its number."""
        types = [*(each.target.type for each in self.layout.filled), *("text" for _ in self.layout.extra)]
        number = 0
        for batch in self.batches(0, self.size):
            columns = [_texts_of(*each) for each in zip(batch.columns, types, strict=True)]
            for fields in zip(*columns, strict=True):
                number += 1
                yield self._record(number, dict(zip(self.layout.names, fields, strict=True)))

    def without(self, gone: Collection[int], instead: Instead = NOTHING) -> Iterator[bytes]:
        """Write the other rows again: the same schema and row groups, each column packed as it was."""
        names = {each.column: each.name for each in self.layout.filled}
        values = {
            names[column]: {number: of[column] for number, of in instead.items() if column in of}
            for column in {each for of in instead.values() for each in of if each in names}
        }
        with tempfile.TemporaryFile(prefix="kpi-") as file:
            with opened(self._local) as original:
                write_again(original, self._groups, frozenset(gone), values, file)
            file.seek(0)
            while block := file.read(BATCH):
                yield block

    def read_again(self, text: str) -> Record:
        """Read a record whose text was corrected by decision: a JSON object of texts, as a bad record is shown."""
        try:
            row = json.loads(text)
        except ValueError:
            row = None
        names = self.layout.names
        if not isinstance(row, dict) or not all(value is None or isinstance(value, str) for value in row.values()):
            return Record(0, text, None, "it is not a JSON object whose values are texts or null")
        if missing := [name for name in names if name not in row]:
            return Record(0, text, None, f"it has no column {missing[0]!r}")
        return self._record(0, row)

    def _record(self, number: int, row: dict[str, _Field]) -> Record:
        """Make a record of a row. Its text is a JSON object of texts."""
        values = {name: text for name, text in row.items() if not isinstance(text, _NotUtf8)}
        text = excerpt.cut(json.dumps(values, ensure_ascii=False), excerpt.RECORD)
        if len(values) < len(row):
            wrong = next(name for name in row if name not in values)
            return Record(number, text, None, f"its column {wrong!r} is not UTF-8")
        if any("\x00" in (value or "") for value in values.values()):
            return Record(number, text, None, "it contains a NUL byte")
        filled = {each.column: values[each.name] for each in self.layout.filled}
        fields = [filled.get(column) for column in self.table.dialect.columns]
        if self.table.dialect.extra == "keep":
            extra = ((name, values[name]) for name in self.layout.extra)
            fields.append(extra_json(extra) if self.layout.extra else None)
        return Record(number, text, fields)


def _texts_of(values: pa.Array, type_: str) -> list[_Field]:
    """Return the values of one column as texts."""
    try:
        return list(texts(values, type_))
    except pa.ArrowException:
        return [_text_of(values.slice(number, 1), type_) for number in range(len(values))]


def _text_of(value: pa.Array, type_: str) -> _Field:
    try:
        return next(texts(value, type_))
    except pa.ArrowException:
        return _NotUtf8()


def _frame_problem(content: ObjectBytes) -> str:
    """Return what is wrong with the first and the last bytes of an object; empty if it may be Parquet."""
    start = content.head(4096)
    if not start.startswith(MAGIC):
        return other_format(start, "Parquet") or "it does not begin as Parquet does: land the Parquet file itself"
    if content.head(4, max(content.size - 4, 0)) != MAGIC:
        return "it does not end as Parquet does, so it was cut off: land it again from its source"
    return ""
