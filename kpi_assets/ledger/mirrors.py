"""Mirrors: what `main` of a table on the lake shows of each load_date, as far as builds have moved it.

So a build knows which load_dates lag without asking the engine, and what is left on the lake of a table that the ledger
does not publish any more. Who moves `main` holds locks.lake_lock meanwhile.
Not here: moving it (materialize/in_lake.py), and what the ledger names (places.py).
"""

from collections.abc import Iterable
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.model.lake import Snapshot
from kpi_assets.model.names import Relation

_LAGGING = """
select coalesce(p.asset, m.asset), load_date, p.place
from (select * from ops.published where asset = any(%(assets)s) and place is not null) as p
full join (select * from ops.mirrors where asset = any(%(assets)s)) as m using (asset, load_date)
where m.place is null or p.place is distinct from m.place
order by 1, 2
"""


def lagging(connection: Connection[Any], relation: Relation) -> dict[date, Snapshot | None]:
    """Return the load_dates of which `main` may not show what readers of the ledger see; None is to be taken out."""
    return lagging_of(connection, [relation]).get(relation, {})


def lagging_of(
    connection: Connection[Any], relations: Iterable[Relation]
) -> dict[Relation, dict[date, Snapshot | None]]:
    """Return the lagging load_dates of each table that has one."""
    found: dict[Relation, dict[date, Snapshot | None]] = {}
    for asset, day, place in connection.execute(_LAGGING, {"assets": [*map(str, relations)]}).fetchall():
        found.setdefault(Relation.parse(asset), {})[day] = Snapshot.parse(place) if place else None
    return found


def begin_change(connection: Connection[Any], relation: Relation, load_date: date) -> None:
    """Record that `main` is about to be changed: until that ends, nobody knows what it shows of the load_date."""
    connection.execute(
        "insert into ops.mirrors (asset, load_date) values (%s, %s) "
        "on conflict (asset, load_date) do update set place = null, changed_at = clock_timestamp()",
        [str(relation), load_date],
    )


def end_change(connection: Connection[Any], relation: Relation, load_date: date, shown: Snapshot | None) -> None:
    """Record what `main` shows of a load_date now; None if it has no row of it any more."""
    if shown is None:
        connection.execute("delete from ops.mirrors where (asset, load_date) = (%s, %s)", [str(relation), load_date])
        return
    connection.execute(
        "update ops.mirrors set place = %s, changed_at = clock_timestamp() where (asset, load_date) = (%s, %s)",
        [str(shown), str(relation), load_date],
    )


def forget(connection: Connection[Any], relation: Relation) -> None:
    """Record that the lake has no table of this name any more."""
    connection.execute("delete from ops.mirrors where asset = %s", [str(relation)])


def is_on_lake(connection: Connection[Any], relation: Relation) -> bool:
    """Whether the lake may have rows of a table: published ones, or what `main` still shows of it."""
    found = connection.execute(
        "select exists (select 1 from ops.mirrors where asset = %(asset)s) "
        "or exists (select 1 from ops.published where asset = %(asset)s and place is not null)",
        {"asset": str(relation)},
    ).fetchone()
    assert found is not None
    return bool(found[0])
