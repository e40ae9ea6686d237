"""CSV in UTF-8 by RFC 4180, with a header line that names the table's columns.

header.py checks the first line, copy_modes.py prepares the bytes for COPY, proof.py proves on the way that they follow
the rules, cut.py finds the places to cut for slices, and records.py reads the records one by one.
"""

from collections.abc import Iterable, Iterator

from kpi_assets.model.format_kinds import CSV
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.records import Record
from kpi_assets.sources.formats.base import Cut, Format, Types
from kpi_assets.sources.formats.csv.copy_modes import PLAIN, QUOTED
from kpi_assets.sources.formats.csv.cut import find_cuts
from kpi_assets.sources.formats.csv.header import HEADER_LIMIT, header_problem
from kpi_assets.sources.formats.csv.records import read_records
from kpi_assets.sources.store import Store


class CsvFormat(Format):
    """The format `csv`."""

    kind = CSV
    start_size = HEADER_LIMIT
    copy_modes = (PLAIN, QUOTED)

    def check_start(self, start: bytes, types: Types) -> str:
        """Compare the first line with the columns of the table."""
        return header_problem(start, list(types))

    def find_cuts(self, store: Store, manifest: Manifest, column: int, count: int) -> list[Cut] | None:
        """Find records with another key than the record before."""
        return find_cuts(store, manifest, column, count)

    def records(self, blocks: Iterable[bytes], types: Types) -> Iterator[Record]:
        """Read the records strictly by RFC 4180."""
        return read_records(blocks, list(types))
