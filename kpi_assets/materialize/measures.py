"""Computes the measures of KPIs from the rows that readers are shown.

Belongs here: the SELECT of all measures of one load_date, and what becomes of a measure that cannot be computed: it has
no value, and the build warns of it. A number that is missing misleads nobody; a KPI that is held for one of its tiles
would keep all its other numbers from readers.
Not here: what a measure is (model/measure.py), and recording its values (ledger/kpi_values.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.ledger.kpi_values import Value
from kpi_assets.model.measure import Measure
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.views import for_readers

# What the expression of a measure may raise; an error of the session or the server is raised.
_ERRORS = (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)


@dataclass(frozen=True)
class Computed:
    """The measures of one KPI and load_date, and a sentence for each that could not be computed."""

    table: Table
    values: Mapping[str, Decimal | None] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    def of_publish(self, publish_id: int) -> list[Value]:
        """Return the rows of the ledger for a publish of these values."""
        versions = {name: measure.version for name, measure in measures_of(self.table).items()}
        return [Value(publish_id, name, versions[name], value) for name, value in self.values.items()]


def measures_of(table: Table) -> Mapping[str, Measure]:
    """Return the measures of a table; none if it is no KPI."""
    return table.header.kpi.measures if table.header.kpi else {}


def of_candidate(connection: Connection[Any], pipeline: Pipeline, candidate: Candidate) -> list[Computed]:
    """Compute the KPIs that a publish of a candidate shows: of the table itself, and of the views that show it."""
    table, day = candidate.table, candidate.load_date
    views = [pipeline.tables[relation] for relation in pipeline.views_of(table.relation)]
    found = list[Computed]()
    if table.header.kpi:
        rows = candidate.name if table.storage.stores_rows else _renamed(table, _rows_of(table, day))
        found.append(_compute(connection, table, day, rows, table.columns))
    found += [
        _compute(connection, view, day, _renamed(view, candidate.name), view.columns)
        for view in (views if table.storage.stores_rows else ())
        if view.header.kpi
    ]
    return found


def of_published(connection: Connection[Any], table: Table, load_date: date) -> Computed:
    """Compute the measures of a KPI from the published rows of a load_date."""
    rows = _rows_of(table, load_date)
    if table.storage.stores_rows:
        return _compute(connection, table, load_date, rows, types_of(connection, table.relation))
    return _compute(connection, table, load_date, _renamed(table, rows), table.columns)


def _rows_of(table: Table, load_date: date) -> sql.Composable:
    """Return the published rows of a table, or of the one that a view shows, for FROM."""
    return sql.SQL("(select * from {} as s where s.{} = {})").format(
        identifier(table.origin.relation), sql.Identifier(LOAD_DATE), sql.Literal(load_date)
    )


def _renamed(view: Table, rows: sql.Composable) -> sql.Composable:
    """Return rows of the origin of a view under the names of the view, for FROM."""
    names = (
        sql.SQL("o.{} as {}").format(sql.Identifier(there), sql.Identifier(name))
        for name, there in {LOAD_DATE: LOAD_DATE, **view.origin.columns}.items()
    )
    return sql.SQL("(select {} from {} as o)").format(sql.SQL(", ").join(names), rows)


def _compute(
    connection: Connection[Any], table: Table, load_date: date, rows: sql.Composable, columns: Collection[str]
) -> Computed:
    """Compute all measures in one SELECT; only if it fails, each in one of its own."""
    measures = measures_of(table)
    source = sql.SQL("{} as r where {}").format(rows, for_readers(columns))
    if not measures:
        return Computed(table)
    try:
        values = dict(zip(measures, _select(connection, table, measures, source), strict=True))
        reasons: dict[str, str] = {}
    except _ERRORS:
        values, reasons = {}, {}
        for name in measures:
            try:
                [values[name]] = _select(connection, table, [name], source)
            except _ERRORS as error:
                values[name], reasons[name] = None, error.diag.message_primary or type(error).__name__
    for name, value in values.items():
        if value is not None and not value.is_finite():
            values[name], reasons[name] = None, f"it is {'not a number' if value.is_nan() else 'infinite'}"
    warnings = [
        f"{table.path}: the measure {name} of {table.relation} has no value for {load_date} ({reason}): "
        "correct its `value` if it should have one."
        for name, reason in reasons.items()
    ]
    return Computed(table, values, warnings)


def _select(connection: Connection[Any], table: Table, names: Iterable[str], source: sql.Composable) -> Sequence[Any]:
    """Return the values of measures. In a transaction, an error leaves it as it was."""
    wanted = sql.SQL(", ").join(sql.SQL(table.header.measure_sql(name)) for name in names)
    with connection.transaction():
        [row] = connection.execute(sql.SQL("select {} from {}").format(wanted, source)).fetchall()
    return list(row)
