"""Recovery: closes the incidents of the load_dates that have been published since, or that are due no more."""

from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import incidents
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.monitoring import freshness


def close_recovered(connection: Connection[Any], pipeline: Pipeline) -> list[date]:
    """Close the incidents of each load_date that has been published since; return these load_dates, one recovery each.

    A load_date counts as published when all tables of the pipeline are, and the latest build of each table and object
    was a success; only what is due on it counts. A late KPI has recovered when it is fresh again. The incidents of a
    load_date on which nothing is due, since the calendar was changed, are closed without a recovery. It is safe to call
    this repeatedly, and cheap if no incident is open.
    """
    with connection.transaction():
        incidents.await_turn(connection)
        # Only statements after await_turn see what the transaction before this one changed.
        if not incidents.lock_open(connection, pipeline.name):
            return []
        days = incidents.open_load_dates(connection, pipeline.name)
        incidents.close_undue(connection, pipeline.name, [day for day in days if not pipeline.is_due(day)])
        late = [str(found.relation) for found in freshness.late(connection, pipeline)]
        return incidents.close_whole(connection, pipeline, late)
