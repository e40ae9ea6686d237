"""The lineage of what readers are shown of a load_date, as the tests of this room ask for it."""

from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger.publishes import current
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.lineage import Lineage, read_lineage


def shown_lineage(connection: Connection[Any], pipeline: Pipeline, name: str, load_date: date) -> Lineage:
    """Return the lineage of the publish of a load_date that readers are shown. Raises KeyError if there is none."""
    relation = pipeline.table(name).relation
    published = current(connection, [relation], load_date)[relation]
    return read_lineage(connection, pipeline, published.publish_id)
