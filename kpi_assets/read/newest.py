"""The newest load_date of a pipeline that readers are shown, which says where the last weeks begin.

Not here: what is shown of it (kpis.py).
"""

from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import releases
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.kpis import kpi_tables


def newest_load_date(connection: Connection[Any], pipeline: Pipeline) -> date | None:
    """Return the newest load_date of which a KPI of the pipeline is shown; None if there is none."""
    names = [str(table.relation) for table in kpi_tables(pipeline)]
    [[found]] = connection.execute(
        "select max(load_date) from ops.published where asset = any(%s) and load_date <= %s",
        [names, releases.newest(connection) or date.max],
    ).fetchall()
    return found if isinstance(found, date) else None
