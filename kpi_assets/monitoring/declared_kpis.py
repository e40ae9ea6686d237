"""Which KPIs the files of a pipeline declare, when each is due, and what it is made of.

Not here: recording it (ledger/kpis.py), and which KPIs are late now (freshness.py).
"""

from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import kpis
from kpi_assets.ledger.kpis import DeclaredKpi
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.monitoring.freshness import due


def declared(connection: Connection[Any], pipeline: Pipeline, table: Table, latest: date | None) -> DeclaredKpi:
    """Return what is recorded of a KPI whose latest published load_date is given."""
    until = due(connection, pipeline, table, latest).by
    growing = {str(each.relation) for each in pipeline.tables.values() if pipeline.streams_of(each)}
    made_of, freshness = pipeline.made_of[table.relation], table.header.freshness
    final = table.header.kpi.final if table.header.kpi else None
    return DeclaredKpi(
        table.relation,
        latest,
        until,
        made_of,
        [name for name in made_of if name in growing],
        freshness.within_minutes if freshness else None,
        final.after_days if final else None,
        final.by if final else None,
    )


def record_declared(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Record all KPIs of a pipeline as its files declare them now."""
    tables = [table for table in pipeline.tables.values() if table.header.kpi]
    latest = kpis.latest(connection, [table.relation for table in tables]) if tables else {}
    kpis.replace_all(
        connection, [declared(connection, pipeline, table, latest.get(table.relation)) for table in tables]
    )
