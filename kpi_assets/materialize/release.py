"""`release: together`: readers are shown a load_date once all of its KPIs are published, and all of them at once.

The last KPI of a load_date releases it in the transaction of its publish. What was released may be published again, KPI
by KPI: a restatement is not held back.

Belongs here: when a load_date is released. Not here: the record of it (ledger/releases.py), and what is shown instead
(read/).
"""

from collections.abc import Collection
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import publishes, releases
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline


def release(connection: Connection[Any], pipeline: Pipeline, published: Collection[Relation], load_date: date) -> None:
    """Release a load_date if all of its KPIs are published. Call it in the transaction of a publish, at its end.

    `published` are the tables and views that the transaction publishes.
    """
    if pipeline.config.release and any(each in published for each in pipeline.kpis_due(load_date)):
        releases.await_turn(connection, load_date)
        _release(connection, pipeline, load_date)


def catch_up(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Release the newest load_date of which all KPIs are published, or show all if the file does not say `together`.

    So it is when the word is written or taken out, and when a KPI is dropped or its file is removed.
    """
    shown = releases.newest(connection)
    if not pipeline.config.release:
        if shown is not None:
            releases.end_all(connection)
        return
    names = [str(relation) for relation, table in pipeline.tables.items() if table.header.kpi]
    rows = connection.execute(
        "select distinct load_date from ops.published where asset = any(%s) "
        "and load_date > coalesce(%s::date, '-infinity') order by load_date desc",
        [names, shown],
    ).fetchall()
    for (load_date,) in rows:
        with connection.transaction():
            releases.await_turn(connection, load_date)
            if _release(connection, pipeline, load_date):
                return


def _release(connection: Connection[Any], pipeline: Pipeline, load_date: date) -> bool:
    """Release a load_date if all of its KPIs are published, and return whether they are."""
    due = pipeline.kpis_due(load_date)
    current = publishes.current(connection, due, load_date)
    if not due or any(relation not in current for relation in due):
        return False
    releases.record(connection, load_date, {relation: current[relation].publish_id for relation in due})
    return True
