"""Raw Parquet on an engine: its own reader has the rows, and each value must be one of its column as it is.

Nothing is rounded, cut or guessed. An object with a value that its column does not hold is read by nobody: the engine
tells how many records have one, and none of them gets a line in the quarantine.
Not here: CSV (raw_text.py), and sessions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from kpi_assets.lake import object_names
from kpi_assets.lake.sql_text import constant, name_of, quoted
from kpi_assets.model.column_types import base_of
from kpi_assets.model.table import Table


@dataclass(frozen=True)
class RawParquet:
    """One Parquet object of a table, whose footer was compared with the columns."""

    table: Table
    filled: Mapping[str, str]  # column of the table -> column of the object
    path: str  # as the engine names the object
    object_key: str
    size: int  # rows, by the footer

    def refusal(self) -> str:
        """Return why an engine cannot read an object of this name; empty if it can."""
        if found := object_names.problem(self.object_key):
            return found
        if self.table.source.position:
            return "an engine does not number the records of Parquet: take source.position out"
        return ""

    def count(self) -> str:
        """Return the SELECT of one row: how many records there are, and how many have a value that does not fit."""
        return f"select count(*), count_if(not ({self._fits})) from {self._from}"

    def problem(self, records: int, bad: int) -> str:
        """Return why no record can be loaded; empty if all are there and all fit."""
        if records != self.size:
            return (
                f"the engine read {records:,} records, and the footer of the object says {self.size:,}: build it again"
            )
        if bad:
            return (
                f"{bad:,} of {records:,} records have a value that its column does not hold as it is: correct the "
                "types of the columns, or the object"
            )
        return ""

    def rows(self) -> str:
        """Return the SELECT of all records: the columns of the table in order, in the types of the engine."""
        columns = []
        for name, type_ in self.table.types.items():
            value = self._value(name) if name in self.filled else "null"
            if name == self.table.source.object_key:
                value = constant(self.object_key)
            columns.append(f"cast({value} as {name_of(type_)}) as {quoted(name)}")
        return f"select {', '.join(columns)} from {self._from}"

    @property
    def _from(self) -> str:
        return f"parquet.{quoted(self.path)}"

    def _value(self, name: str) -> str:
        return quoted(self.filled[name])

    @cached_property
    def _fits(self) -> str:
        """The condition that each value of a record is one of its column."""
        return " and ".join(f"({self._one_fits(name)})" for name in self.filled) or "true"

    def _one_fits(self, name: str) -> str:
        type_, value = self.table.types[name], self._value(name)
        if base_of(type_) == "text":
            text = f"cast({value} as string)"
            return f"{value} is null or (is_valid_utf8({text}) and instr({text}, chr(0)) = 0)"
        found = f"try_cast({value} as {name_of(type_)}) = {value}"
        if type_.startswith(("date", "timestamp")):  # readers of a database cannot show others
            found += f" and year({value}) between 1 and 9999"
        return f"{value} is null or coalesce({found}, false)"
