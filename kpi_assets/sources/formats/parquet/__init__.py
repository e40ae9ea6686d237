"""Parquet, read by the library of the format's own project, and given to COPY as CSV.

The object is copied to a temporary file first, because its parts are read in any order. object.py reads the footer and
the rows, layout.py compares the columns, values.py has the types and values of a column, copy_mode.py and binary.py
write the rows for COPY, and file.py opens the bytes.
"""

from datetime import date

from kpi_assets.errors import UserError
from kpi_assets.model.format_kinds import PARQUET
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.table import Table
from kpi_assets.sources.formats.base import Format, OpenObject
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.store import Store


class ParquetFormat(Format):
    """The format `parquet`."""

    kind = PARQUET

    def open(self, store: Store, manifest: Manifest, table: Table, load_date: date) -> OpenObject:
        """Read the footer. Raises UserError if the library is not installed."""
        try:
            # Imported when it is needed: it takes 90 MB of memory, and pipelines without Parquet do not need it.
            from kpi_assets.sources.formats.parquet.object import ParquetObject  # noqa: PLC0415
        except ModuleNotFoundError as error:
            if error.name != "pyarrow":
                raise
            raise UserError(
                f"{table.relation} reads Parquet, and the package pyarrow is not installed: install kpi_assets with "
                "its extra, as in pip install 'kpi_assets[parquet]'."
            ) from None
        return ParquetObject(ObjectBytes(store, manifest), table, load_date)
