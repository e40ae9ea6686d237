"""Recovery: closes the incidents of the load_dates that have been published since."""

from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import incidents
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.monitoring import freshness


def close_recovered(connection: Connection[Any], pipeline: Pipeline) -> list[date]:
    """Close the incidents of each load_date that has been published since; return these load_dates, one recovery each.

    A load_date counts as published when all tables of the pipeline are, and the latest build of each table and object
    was a success. A late KPI has recovered when it is fresh again. It is safe to call this repeatedly, and cheap if
    no incident is open.
    """
    with connection.transaction():
        incidents.await_turn(connection)
        # Only statements after await_turn see what the transaction before this one changed.
        if not incidents.lock_open(connection, pipeline.name):
            return []
        late = [str(found.relation) for found in freshness.late(connection, pipeline)]
        return incidents.close_whole(connection, pipeline, late)
