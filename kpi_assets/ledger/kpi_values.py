"""The values of KPIs, ops.kpi_values: what readers were shown of each measure, by publish.

Not here: computing them (materialize/measures.py), and reading them with all that is known of a KPI (read/kpis.py).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from kpi_assets.model.names import Relation


@dataclass(frozen=True)
class Value:
    """One row of ops.kpi_values."""

    publish_id: int
    measure: str
    measure_version: str
    value: Decimal | None


@dataclass(frozen=True)
class Shown:
    """A value that readers are shown now; `measure` and what follows are None if the publish has no value at all."""

    load_date: date
    publish_id: int
    published_at: datetime
    measure: str | None
    measure_version: str | None
    value: Decimal | None
    lacks: list[str]


def record(connection: Connection[Any], values: Sequence[Value], *, refreshed: bool = False) -> None:
    """Record values, inside the transaction that shows them to readers; a value that was recorded is replaced."""
    if values:
        connection.execute(
            "insert into ops.kpi_values (publish_id, measure, measure_version, value, refreshed_at) "
            "select v.*, case when %s then clock_timestamp() end "
            "from unnest(%s::bigint[], %s::text[], %s::text[], %s::numeric[]) as v "
            "on conflict (publish_id, measure) do update set "
            "measure_version = excluded.measure_version, value = excluded.value, refreshed_at = excluded.refreshed_at",
            [
                refreshed,
                [each.publish_id for each in values],
                [each.measure for each in values],
                [each.measure_version for each in values],
                [each.value for each in values],
            ],
        )


def copy(connection: Connection[Any], publish_id: int, restored: int) -> int:
    """Record for a publish the values of the one that it restores, and return how many there are."""
    return connection.execute(
        "insert into ops.kpi_values (publish_id, measure, measure_version, value) "
        "select %s, measure, measure_version, value from ops.kpi_values where publish_id = %s",
        [publish_id, restored],
    ).rowcount


def of_publishes(connection: Connection[Any], publish_ids: Collection[int]) -> dict[int, dict[str, Decimal | None]]:
    """Return the values that are recorded of publishes, by measure."""
    found: dict[int, dict[str, Decimal | None]] = {}
    for publish_id, measure, value in connection.execute(
        "select publish_id, measure, value from ops.kpi_values where publish_id = any(%s) order by measure",
        [list(publish_ids)],
    ):
        found.setdefault(publish_id, {})[measure] = value
    return found


def shown(connection: Connection[Any], relation: Relation, load_dates: Collection[date] | None = None) -> list[Shown]:
    """Return what is recorded of the publishes of a KPI that readers see, by load_date; by default of all."""
    with connection.cursor(row_factory=class_row(Shown)) as cursor:
        return cursor.execute(
            "select p.load_date, p.publish_id, p.published_at, v.measure, v.measure_version, v.value, p.lacks "
            "from ops.published as p left join ops.kpi_values as v using (publish_id) "
            "where p.asset = %(asset)s and (%(load_dates)s::date[] is null or p.load_date = any(%(load_dates)s)) "
            "order by p.load_date, v.measure",
            {"asset": str(relation), "load_dates": None if load_dates is None else list(load_dates)},
        ).fetchall()
