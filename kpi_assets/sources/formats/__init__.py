"""The registry of the formats of objects.

A new format needs its declaration in model/format_kinds.py, a module or package beside csv/, and an entry here; no
other module names a format. Not here: the interface (base.py), and recognizing objects of a wrong format
(sources/signatures.py).
"""

from kpi_assets.model.table import Table
from kpi_assets.sources.formats.base import Format
from kpi_assets.sources.formats.csv import CsvFormat
from kpi_assets.sources.formats.json import JsonFormat
from kpi_assets.sources.formats.parquet import ParquetFormat

FORMATS: dict[str, Format] = {each.kind.name: each for each in (CsvFormat(), ParquetFormat(), JsonFormat())}


def format_of(table: Table) -> Format:
    """Return the format of a table's object."""
    return FORMATS[table.format.name]
