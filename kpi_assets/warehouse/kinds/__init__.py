"""The storage kinds in Postgres: one strategy for each name in model/kinds.py that stores load_dates or views there.

Belongs here: the registry, and finding out how an existing table is stored. Not here: the strategies themselves
(strategy.py has their interface), and live views (live_views.py).
"""

from typing import Any

from psycopg import Connection

from kpi_assets.model.names import Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse.ddl import relkind_of
from kpi_assets.warehouse.kinds.history import History
from kpi_assets.warehouse.kinds.partitions import Partitions
from kpi_assets.warehouse.kinds.rows import Rows
from kpi_assets.warehouse.kinds.strategy import StorageStrategy
from kpi_assets.warehouse.kinds.view import View

STRATEGIES: dict[str, StorageStrategy] = {
    strategy.name: strategy for strategy in (Rows(), Partitions(), View(), History())
}


def strategy_of(table: Table) -> StorageStrategy:
    """Return the strategy of the storage kind that a table's file declares; a table on the lake has none."""
    return STRATEGIES[table.storage.name]


def stored_strategy(connection: Connection[Any], relation: Relation, declared: str = "") -> StorageStrategy | None:
    """Return the strategy with which a relation is stored; None if it does not exist or no strategy recognizes it.

    If several strategies recognize it, return the one named `declared`, or else the last, which refines the others.
    """
    relkind = relkind_of(connection, relation)
    if relkind is None:
        return None
    found = [each for each in STRATEGIES.values() if each.recognizes(connection, relation, relkind)]
    return next((each for each in found if each.name == declared), found[-1] if found else None)
