"""The formats of objects: one object for each, which holds all that verifying and loading has to know of it.

Belongs here: the registry. A format is added by its declaration in model/format_kinds.py, a module or package beside
csv/, and its line here; nothing else names one. Not here: the interface (base.py), and what is no format but a wrong
object (sources/signatures.py).
"""

from kpi_assets.model.pipeline import Table
from kpi_assets.sources.formats.base import Format
from kpi_assets.sources.formats.csv import CsvFormat

FORMATS: dict[str, Format] = {each.kind.name: each for each in (CsvFormat(),)}


def format_of(table: Table) -> Format:
    """The format of the object of a table that has one."""
    return FORMATS[table.format.name]
