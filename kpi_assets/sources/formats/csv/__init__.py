"""CSV in UTF-8 by RFC 4180, with a header line that names the table's columns.

header.py checks the first line, copy_modes.py prepares the bytes for COPY, proof.py proves on the way that they follow
the rules, cut.py finds the places to cut for slices, and records.py reads the records one by one.
"""

from collections.abc import Iterator
from datetime import date

from kpi_assets.model.format_kinds import CSV
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.pipeline import Table
from kpi_assets.model.records import Record
from kpi_assets.sources.formats.base import Cut, Format, OpenObject
from kpi_assets.sources.formats.csv.copy_modes import modes
from kpi_assets.sources.formats.csv.cut import find_cuts
from kpi_assets.sources.formats.csv.header import HEADER_LIMIT, header_problem
from kpi_assets.sources.formats.csv.records import read_records
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.store import Store


class CsvObject(OpenObject):
    """A CSV whose header line was compared with the columns of the table."""

    def __init__(self, content: ObjectBytes, table: Table) -> None:
        super().__init__(content)
        self._columns = table.columns
        self.problem = header_problem(content.head(HEADER_LIMIT), self._columns)
        self.copy_modes = modes(content, table.types)

    def may_be_cut_off(self) -> bool:
        """Return whether the last record has no line end."""
        return self.bytes.head(1, self.size - 1) != b"\n"

    def find_cuts(self, key: str, count: int) -> list[Cut] | None:
        """Find records with another key than the record before."""
        return find_cuts(self.bytes, self._columns.index(key), count)

    def records(self) -> Iterator[Record]:
        """Read the records strictly by RFC 4180."""
        return read_records(self.bytes.read(), self._columns)


class CsvFormat(Format):
    """The format `csv`."""

    kind = CSV

    def open(self, store: Store, manifest: Manifest, table: Table, load_date: date) -> CsvObject:  # noqa: ARG002
        """Read the header line."""
        return CsvObject(ObjectBytes(store, manifest), table)
