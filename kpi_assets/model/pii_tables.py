"""The personal columns of the tables of a pipeline: each inherits those of the tables that it reads.

Belongs here: finding them in build order, what a KPI and a question may not do with them, and masking what a build of a
table set aside. Not here: how a SELECT passes a personal column on, and masking a row (pii.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlglot import exp

from kpi_assets.model.aggregate import one_value_columns
from kpi_assets.model.column_reads import columns_read
from kpi_assets.model.names import Relation
from kpi_assets.model.pii import MASKED, Pii, Read, declared, inherited, masked_json
from kpi_assets.model.query import Query
from kpi_assets.model.strict_yaml import Problems
from kpi_assets.model.table import Table

_MEND = "compute it without the column, or write `pii: none` at the column if it is about no person"


def with_pii(tables: Mapping[Relation, Table], problems: Problems) -> dict[Relation, Table]:
    """Return tables, which are in build order, with their personal columns; add what they may not do with them."""
    found: dict[Relation, Table] = {}
    for relation, table in tables.items():
        found[relation] = made = replace(table, pii=_pii_of(table, found))
        for line, problem in _problems_of_kpi(made):
            problems.add(made.path, line, problem)
        if made.header.readers and not made.pii.personal:
            problems.add(
                made.path, 1, f"readers: {made.header.readers}: {relation} has no personal column: take it out"
            )
    return found


def _pii_of(table: Table, known: Mapping[Relation, Table]) -> Pii:
    header = table.header
    personal = declared(header.columns, header.source.whole if header.source else None)
    read = {
        relation: Read([*known[relation].header.readable], known[relation].pii.personal)
        for relation in table.mentions
        if relation in known
    }
    if not any(each.personal for each in read.values()):
        read = {}
    if table.query and (read or personal):
        personal = inherited(table.query, header.columns, personal, read)
    if header.history and any(name in personal for name in header.grain):
        personal = {**personal, header.history.surrogate_key: "id"}
    return Pii(personal, [*header.readable], read)


def _problems_of_kpi(table: Table) -> Iterator[tuple[int, str]]:
    """Yield (line, problem) for each place at which a KPI shows values of its personal columns to all its readers."""
    kpi, personal = table.header.kpi, table.pii.personal
    if kpi is None:
        return
    for axis in ("x", "y"):
        name = getattr(kpi.chart, axis)
        if name in personal:
            yield table.line_of(name), f"kpi.chart.{axis}: {name!r} is personal, and a chart shows it: {_MEND}"
    for name in (each for each in kpi.dimensions or () if each in personal):
        yield table.line_of(name), f"kpi.dimensions: {name!r} is personal, and readers choose its values: {_MEND}"
    for measure, words in kpi.measures.items():
        for name in one_value_columns(words.value):
            if name in personal:
                yield (
                    table.line_of(name),
                    f"kpi.measures.{measure}: {name!r} is personal, and min and max give the value of one person: "
                    f"{_MEND}",
                )


def personal_reads(query: Query, tables: Mapping[Relation, Table]) -> Iterator[tuple[int, str]]:
    """Yield (line, problem) for each personal column that a SELECT for readers names, and for each star over some."""
    read = {relation: tables[relation].pii.personal for relation in query.mentions if relation in tables}
    read = {relation: personal for relation, personal in read.items() if personal}
    if not read:
        return
    places = [table for table in query.tree.find_all(exp.Table) if Relation(table.db, table.name) in read]
    rows = {table.alias_or_name for table in places}
    certain = {id(column): relation for relation, column in columns_read(query.tree)}
    for column in query.tree.find_all(exp.Column):
        if id(column) in certain:
            wrong = column.name in read.get(certain[id(column)], ())
        elif column.table:
            wrong = column.table in rows and (
                column.is_star or any(column.name in personal for personal in read.values())
            )
        else:
            wrong = column.name in rows or any(column.name in personal for personal in read.values())
        if wrong:
            name = column.sql("postgres")
            what = f"reads {name}, which has personal values, and readers may not read them"
            yield query.line_at(column), f"{what}: read a table that counts them, or one that says `pii: none`"
    if any(isinstance(star.parent, exp.Select) for star in query.tree.find_all(exp.Star)):
        names = ", ".join(str(relation) for relation in read)
        yield query.line, f"reads all columns by *, and {names} has personal ones: name the columns that are read"


def masked_bad_row(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of a record or row that was set aside, by the names of its columns in ops.quarantine.

    A record that cannot be read is masked as a whole, and so is its value, since nobody knows which field is which. Of
    a row, the personal values are.
    """
    if not table.pii.personal:
        return dict(row)
    is_row, pii = not table.header.is_raw, table.pii
    shown = dict(row)
    for name in (each for each in row if row[each] is not None):
        if name == "value" or (name in ("record", "corrected") and not is_row):
            shown[name] = MASKED
        elif name == "reason":
            shown[name] = pii.shown_reason(row[name])
        elif name in ("record", "corrected", "key", "which") and is_row:
            shown[name] = masked_json(row[name], pii)
    return shown
