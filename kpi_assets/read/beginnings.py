"""From the versions of a history to the rows that made them: those of the load_dates on which the versions began.

Belongs here: these load_dates. Not here: what their rows come from (trace.py).
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

from psycopg import Connection, sql

from kpi_assets.ledger import publishes
from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.history import EFFECTIVE
from kpi_assets.model.names import LOAD_DATE, Relation

MOST = 31  # load_dates that are followed, since each is read by itself


class Beginnings(NamedTuple):
    """The rows that began versions, with load_date, as a subquery; their publishes; and what is not among them."""

    rows: sql.Composable
    published: Mapping[date, Publish]
    notes: list[str]


def find_beginnings(
    connection: Connection[Any], relation: Relation, versions: sql.Composable, columns: Iterable[str]
) -> Beginnings:
    """Return the rows with these columns that began the `versions`, which are a subquery without an alias."""
    effective = sql.Identifier(EFFECTIVE)
    query = sql.SQL("select distinct t.{} from {} as t order by 1 desc").format(effective, versions)
    days = [day for (day,) in connection.execute(query).fetchall()]
    followed = days[:MOST]
    rows = sql.SQL("(select t.{} as {}, {} from {} as t where t.{} >= {})").format(
        effective,
        sql.Identifier(LOAD_DATE),
        sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in columns),
        versions,
        effective,
        sql.Literal(followed[-1]),
    )
    between = publishes.current_between(connection, [relation], followed[-1], followed[0])
    notes = ["followed to the rows of the load_dates on which the versions began"]
    if len(days) > MOST:
        notes = [f"followed to the rows of the latest {MOST} of the {len(days):,} load_dates on which versions began"]
    return Beginnings(rows, {day: of[relation] for day, of in between.items() if day in followed}, notes)
