"""Computes the measures of KPIs from the rows that readers are shown.

Belongs here: the SELECT of all measures of one load_date, the refresh after a header was changed, and what becomes of a
measure that cannot be computed: it has no value, and the build warns of it. A number that is missing misleads nobody; a
KPI that is held for one of its tiles would keep all its other numbers from readers.
Not here: what a measure is (model/measure.py), and recording its values (ledger/kpi_values.py).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.pq import TransactionStatus
from pydantic import SecretStr

from kpi_assets.ledger import kpi_values, publishes
from kpi_assets.ledger.kpi_values import Shown, Value
from kpi_assets.ledger.locks import lock_publish
from kpi_assets.materialize.context import Progress
from kpi_assets.materialize.retry import LOCK_TIMEOUT, retry_on_lock
from kpi_assets.model.measure import Measure
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.provision import role_of
from kpi_assets.warehouse.views import for_readers

REFRESH_TIMEOUT = 600.0  # seconds for which a refresh waits for other sessions
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


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did for one load_date of a KPI: nothing, if it was published again meanwhile."""

    table: Table
    load_date: date
    values: int
    warnings: Sequence[str] = ()


def find_outdated(connection: Connection[Any], table: Table) -> list[Shown]:
    """Return the publishes that readers see of a KPI and whose values lack, or are of an older version, by load_date.

    Each is returned once, as its first row of the ledger.
    """
    versions = {name: measure.version for name, measure in measures_of(table).items()}
    if not versions:
        return []
    by_publish: dict[int, list[Shown]] = {}
    for each in kpi_values.shown(connection, table.relation):
        by_publish.setdefault(each.publish_id, []).append(each)
    return [
        rows[0]
        for rows in by_publish.values()
        if versions != {row.measure: row.measure_version for row in rows if row.measure in versions}
    ]


def refresh(
    server: SecretStr,
    pipeline: Pipeline,
    table: Table,
    outdated: Sequence[Shown],
    on_progress: Progress,
    timeout: float = REFRESH_TIMEOUT,
) -> Iterator[Refreshed]:
    """Compute the values of outdated publishes of a KPI, in their order.

    Each load_date is a transaction of its own, in which nothing can be published into the table. Superseded publishes
    keep what was shown. Raises WarehouseError if other sessions hold the table for longer than `timeout` seconds.
    """
    role = role_of(pipeline.layer(table.relation))
    with connect(server, pipeline.name, f"measures {table.relation}", role=role) as connection:
        for shown in outdated:
            yield retry_on_lock(partial(_refresh, connection, table, shown), "refreshed", on_progress, timeout)


def _refresh(connection: Connection[Any], table: Table, shown: Shown) -> Refreshed:
    with connection.transaction():
        connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        for relation in dict.fromkeys((table.origin.relation, table.relation)):  # in the order of a publish
            lock_publish(connection, relation)
        now = publishes.current(connection, [table.relation], shown.load_date).get(table.relation)
        if now is None or now.publish_id != shown.publish_id:
            return Refreshed(table, shown.load_date, 0)
        computed = of_published(connection, table, shown.load_date)
        kpi_values.record(connection, computed.of_publish(shown.publish_id), refreshed=True)
    return Refreshed(table, shown.load_date, len(computed.values), computed.warnings)


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
    in_transaction = connection.info.transaction_status is TransactionStatus.INTRANS
    with connection.transaction() if in_transaction else nullcontext():
        [row] = connection.execute(sql.SQL("select {} from {}").format(wanted, source)).fetchall()
    return list(row)
