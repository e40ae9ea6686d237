"""CSV in the dialect that a header declares: by default UTF-8 by RFC 4180, with a header line that names the columns.

grammar.py has the characters of a dialect and encoding.py its encodings; layout.py compares the first lines with the
columns; copy_modes.py chooses how COPY reads the bytes, proof.py proves on the way that they follow the rules, and
rewrite.py writes records again; cut.py finds the places to cut for slices, records.py reads the records one by one, and
taken_out.py gives the bytes without some of them.
"""

from collections.abc import Collection, Iterator
from datetime import date

from kpi_assets.model.format_kinds import CSV
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.records import Record
from kpi_assets.model.table import Table
from kpi_assets.sources.formats.base import Cut, Format, Instead, UnreadableError
from kpi_assets.sources.formats.csv.copy_modes import Part, modes
from kpi_assets.sources.formats.csv.cut import find_cuts
from kpi_assets.sources.formats.csv.encoding import UTF8, is_bytewise, line_ends
from kpi_assets.sources.formats.csv.layout import HEADER_LIMIT, Layout, layout_of
from kpi_assets.sources.formats.csv.records import read_records
from kpi_assets.sources.formats.csv.taken_out import without
from kpi_assets.sources.formats.packable import PackableObject
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.store import Store


class CsvObject(PackableObject):
    """A CSV whose header line was compared with the columns of the table."""

    def __init__(self, content: ObjectBytes, table: Table, load_date: date) -> None:
        super().__init__(content, table)
        try:
            self._layout = layout_of(self._start(HEADER_LIMIT), self._dialect, load_date)
        except UnreadableError as error:
            self._layout = Layout(self._dialect, str(error))
        self.problem = self._layout.problem
        if not self.problem:
            self.copy_modes = modes(lambda: self._content, self._layout)

    @property
    def layout(self) -> Layout:
        """How its lines are cut into fields, and which columns these fill."""
        return self._layout

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
        return find_cuts(self._content.head, self.size, numbers[key], count, layout.grammar)

    def records(self) -> Iterator[Record]:
        """Read the records strictly by the rules of the dialect."""
        part = Part(self._content.read(), self._layout, at_start=True, is_whole=True)
        return read_records(part.blocks, self._layout)

    def _without(self, gone: Collection[int], instead: Instead) -> Iterator[bytes]:
        return without(self._content.read(), self._layout, gone, instead)

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
