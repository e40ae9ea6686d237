"""Deletes from the schema ops what later builds of a load_date that grows have made superfluous.

The roles that build may not delete there, so functions of the schema do it, which delete nothing else
(migrations/0019_upkeep.sql and 0020_grown.sql say what stays, and why).
Not here: when it is done (materialize/upkeep.py), and the retention of rows (publishes.py).
"""

from collections.abc import Collection
from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.model.names import Relation


def prune_growth(
    connection: Connection[Any],
    relations: Collection[Relation],
    load_dates: Collection[date],
    *,
    older_than: timedelta = timedelta(),
) -> None:
    """Delete the publishes, values, builds and results of tables that nobody needs any more.

    Only what was superseded at least `older_than` ago is deleted. A publish stays if it is the last one of its
    load_date, if readers saw it for an hour, or if something that stays was made from it. All batches stay, and
    everything that was set aside.
    """
    names = [str(relation) for relation in relations]
    connection.execute("select ops.prune_growth(%s, %s, %s)", [names, list(load_dates), older_than])


def prune_batches(connection: Connection[Any], relation: Relation, before: date) -> None:
    """Merge the batches of load_dates before a day that are closed: few stay, with the counts of all."""
    connection.execute("select ops.prune_batches(%s, %s)", [str(relation), before])


def prune_stream_objects(connection: Connection[Any], relation: Relation, load_date: date) -> None:
    """Delete the objects of a load_date that is closed, but the first and the last of each partition."""
    connection.execute("select ops.prune_stream_objects(%s, %s)", [str(relation), load_date])
