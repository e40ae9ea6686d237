"""The releases of a pipeline that shows its KPIs together, ops.releases: the load_dates of which all are published.

Readers are shown the load_dates up to the newest release; without any, all that are published.
Not here: which KPIs a load_date has, and when it is released (materialize/release.py).
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from kpi_assets.ledger import locks
from kpi_assets.model.names import Relation


def newest(connection: Connection[Any], as_of: datetime | None = None) -> date | None:
    """Return the newest load_date that readers are shown, now or as of an instant; None if nothing limits them."""
    [[found]] = connection.execute(
        "select max(load_date) from ops.releases where released_at <= %(at)s::timestamptz "
        "and (ended_at is null or ended_at > %(at)s::timestamptz)",
        {"at": as_of.isoformat() if as_of else "infinity"},
    ).fetchall()
    return found if isinstance(found, date) else None


def await_turn(connection: Connection[Any], load_date: date) -> None:
    """Wait for the publishes of other KPIs of a load_date; the last of them must see all others."""
    locks.await_turn(connection, f"release {load_date.isoformat()}")


def record(connection: Connection[Any], load_date: date, publishes: Mapping[Relation, int]) -> None:
    """Record that a load_date is shown; nothing, if it is shown already. Call it in the transaction that shows it."""
    connection.execute(
        "insert into ops.releases (load_date, publishes) values (%s, %s) on conflict (load_date) do update "
        "set released_at = clock_timestamp(), publishes = excluded.publishes, ended_at = null "
        "where releases.ended_at is not null",
        [load_date, Jsonb({str(relation): publish_id for relation, publish_id in publishes.items()})],
    )


def end_all(connection: Connection[Any]) -> None:
    """Record that KPIs are not shown together any more."""
    connection.execute("update ops.releases set ended_at = clock_timestamp() where ended_at is null")
