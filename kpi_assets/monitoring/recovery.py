"""Recovery: closes the incidents of the load_dates that have been published since."""

from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import incidents
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.monitoring import freshness


def close_recovered(connection: Connection[Any], pipeline: Pipeline) -> list[date]:
    """Close the incidents of each load_date that has been published since, with one recovery each; returns those.

    A load_date is published when all tables of the pipeline are, and the latest build of each table and each object
    came to a good end. A KPI that was late has recovered when it is fresh. Safe to repeat, and cheap where no incident
    is open.
    """
    with connection.transaction():
        incidents.await_turn(connection)
        # The load_dates are looked at by the statements after the one that waits for its turn, which see its changes.
        if not incidents.lock_open(connection, pipeline.name):
            return []
        late = [str(found.relation) for found in freshness.late(connection, pipeline)]
        return incidents.close_whole(connection, pipeline, late)
