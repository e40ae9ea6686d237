"""CSV in UTF-8 by RFC 4180, with a header line that names the table's columns.

Belongs here: all that is known of CSV. header.py checks the first line, copy_modes.py prepares the bytes for COPY while
proof.py proves them, cut.py finds places for slices, records.py reads the records one by one.
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
    """The format."""

    kind = CSV
    start_size = HEADER_LIMIT
    copy_modes = (PLAIN, QUOTED)

    def check_start(self, start: bytes, types: Types) -> str:
        """Compare the first line with the columns."""
        return header_problem(start, list(types))

    def find_cuts(self, store: Store, manifest: Manifest, column: int, count: int) -> list[Cut] | None:
        """Look for records that begin with another key than the one before."""
        return find_cuts(store, manifest, column, count)

    def records(self, blocks: Iterable[bytes], types: Types) -> Iterator[Record]:
        """Read by the grammar."""
        return read_records(blocks, list(types))
