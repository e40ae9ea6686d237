"""The layout of a Parquet object: which of its columns fill which columns of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import pyarrow as pa

from kpi_assets.model import excerpt
from kpi_assets.model.dialect import Field
from kpi_assets.model.names import EXTRA_FIELDS
from kpi_assets.model.table import Table
from kpi_assets.sources.formats.parquet.values import Target, misfit, reading_of


class Filled(NamedTuple):
    """A column of the table, and the column of the object that fills it."""

    column: str
    name: str
    target: Target


@dataclass(frozen=True)
class Layout:
    """What is read of an object; if `problem` is not empty, nothing else is known."""

    problem: str = ""
    filled: Sequence[Filled] = ()
    extra: Sequence[str] = ()  # the columns of the object that are kept as JSON

    @property
    def columns(self) -> list[str]:
        """The columns of the table that are filled."""
        return [each.column for each in self.filled] + [EXTRA_FIELDS] * bool(self.extra)

    @property
    def names(self) -> list[str]:
        """The columns of the object that are read."""
        return [*(each.name for each in self.filled), *self.extra]


def layout_of(schema: pa.Schema, table: Table, load_date: date) -> Layout:
    """Compare the columns of an object with those of its table."""
    names: list[str] = schema.names
    due = [each for each in table.dialect.fields if each.since is None or each.since <= load_date]
    if problem := _difference(names, table, due):
        return Layout(problem)
    filled = []
    for each in due:
        if each.name in names:
            column = table.header.columns[each.column]
            target = Target(column.type, tuple(column.allow or ()), bool(column.round))
            if problem := misfit(schema.field(each.name).type, target):
                return Layout(f"its column {each.name!r} {problem}")
            filled.append(Filled(each.column, each.name, target))
    known = {each.name for each in due}
    extra = [name for name in names if name not in known] if table.dialect.extra == "keep" else []
    for name in extra:
        if reading_of(found := schema.field(name).type) is None:
            return Layout(f"its column {name!r} is {found}, which cannot be kept as text: write extra: ignore")
    return Layout("", filled, extra)


def _difference(names: Sequence[str], table: Table, due: Sequence[Field]) -> str:
    """Return how the names of the columns differ from those of the fields; empty if they do not."""
    known, extra = [each.name for each in due], table.dialect.extra
    missing = [each.name for each in due if each.name not in names and not each.optional]
    unknown = [name for name in names if name not in known] if extra == "hold" else []
    early = next((each for each in table.dialect.fields if each not in due and each.name in unknown), None)
    if early is not None:
        return f"it has the column {early.name!r} before {early.since}, from which day on it should: correct since"
    twice = sorted({name for name in (names if extra == "keep" else known) if list(names).count(name) > 1})
    parts = [
        f"{what} {excerpt.cut(', '.join(map(repr, which)))}"
        for what, which in (("missing", missing), ("unknown", unknown), ("twice", twice))
        if which
    ]
    if not parts:
        return ""
    return f"its columns are {excerpt.cut(', '.join(names))}, not {', '.join(known)} ({'; '.join(parts)})"
