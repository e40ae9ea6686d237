"""CSV in the dialect that a header declares: by default UTF-8 by RFC 4180, with a header line that names the columns.

grammar.py has the characters of a dialect and encoding.py its encodings; layout.py compares the first lines with the
columns; copy_modes.py chooses how COPY reads the bytes, proof.py proves on the way that they follow the rules, and
rewrite.py writes records again; cut.py finds the places to cut for slices, and records.py reads the records one by one.
"""

from collections.abc import Callable, Iterator
from datetime import date

from kpi_assets.model.format_kinds import CSV
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.pipeline import Table
from kpi_assets.model.records import Record
from kpi_assets.sources import compression
from kpi_assets.sources.formats.base import Cut, Format, OpenObject, UnreadableError
from kpi_assets.sources.formats.csv.copy_modes import Content, Part, modes
from kpi_assets.sources.formats.csv.cut import find_cuts
from kpi_assets.sources.formats.csv.encoding import UTF8, is_bytewise, line_ends
from kpi_assets.sources.formats.csv.layout import HEADER_LIMIT, Layout, layout_of
from kpi_assets.sources.formats.csv.records import read_records
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.store import Store
from kpi_assets.sources.unpacked import Unpacked


class CsvObject(OpenObject):
    """A CSV whose header line was compared with the columns of the table."""

    def __init__(self, content: ObjectBytes, table: Table, load_date: date) -> None:
        super().__init__(content)
        self._dialect = table.dialect
        self._unpacked: Unpacked | None = None
        try:
            self._layout = self._read_layout(load_date)
        except UnreadableError as error:
            self._layout = Layout(self._dialect, str(error))
        self.problem = self._layout.problem
        if not self.problem:
            self.copy_modes = modes(lambda: self._content, self._layout)

    def _read_layout(self, load_date: date) -> Layout:
        kind = self._dialect.compression
        start = compression.start_of(self.bytes, kind, HEADER_LIMIT) if kind else self.bytes.head(HEADER_LIMIT)
        return layout_of(start, self._dialect, load_date)

    @property
    def _content(self) -> Content:
        if not self._dialect.compression:
            return self.bytes
        assert self._unpacked is not None, "prepare() is called first"
        return self._unpacked

    @property
    def size(self) -> int:
        """The number of bytes, unpacked."""
        return self._content.size

    @property
    def text_size(self) -> int:
        """The number of bytes, unpacked."""
        return self.size

    def prepare(self, on_bytes: Callable[[int], None]) -> None:
        """Unpack the object."""
        if self._dialect.compression:
            self._unpacked = Unpacked(compression.unpack(self.bytes, self._dialect.compression, on_bytes))

    def close(self) -> None:
        """Remove the unpacked bytes."""
        super().close()
        if self._unpacked is not None:
            self._unpacked.close()

    def may_be_cut_off(self) -> bool:
        """Return whether the last record has no line end. The end of a packed object is not known."""
        if self._dialect.compression:
            return False
        tail = self.bytes.head(4, max(self.bytes.size - 4, 0))
        return not tail.endswith(line_ends(self._dialect.encoding))

    def find_cuts(self, key: str, count: int) -> list[Cut] | None:
        """Find records with another key than the record before. Only text whose bytes are characters can be cut."""
        layout = self._layout
        if self._dialect.encoding != UTF8 and not is_bytewise(self._dialect.encoding):
            return None
        numbers = {each.column: number for number, each in enumerate(layout.fields) if each is not None}
        if key not in numbers:
            return None
        head = self.bytes.head if self._unpacked is None else self._unpacked.head
        return find_cuts(head, self.size, numbers[key], count, layout.grammar)

    def records(self) -> Iterator[Record]:
        """Read the records strictly by the rules of the dialect."""
        part = Part(self._content.read(), self._layout, at_start=True, is_whole=True)
        return read_records(part.blocks, self._layout)

    def read_again(self, text: str) -> Record:
        """Read a record whose text was corrected by decision."""
        found = list(read_records(iter([text.encode()]), self._layout))
        return found[0] if len(found) == 1 else Record(0, text, None, f"it is {len(found)} records")


class CsvFormat(Format):
    """The format `csv`."""

    kind = CSV

    def open(self, store: Store, manifest: Manifest, table: Table, load_date: date) -> CsvObject:
        """Read the header line."""
        return CsvObject(ObjectBytes(store, manifest), table, load_date)
