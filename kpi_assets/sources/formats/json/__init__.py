"""JSON in any of its shapes: an array of records, records one after another, or documents around a list of records.

reader.py finds the records, and keeps their letters; value.py scans one value; layout.py says which field fills which
column; object.py reads an object record by record; copy_mode.py gives it to COPY in batches, whose columns columns.py
writes; taken_out.py gives the bytes without some records.
"""

from datetime import date

from kpi_assets.model.format_kinds import JSON
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.table import Table
from kpi_assets.sources.formats.base import Format
from kpi_assets.sources.formats.json.object import JsonObject
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.store import Store


class JsonFormat(Format):
    """The format `json`."""

    kind = JSON

    def open(self, store: Store, manifest: Manifest, table: Table, load_date: date) -> JsonObject:
        """Read the first bytes."""
        return JsonObject(ObjectBytes(store, manifest), table, load_date)
