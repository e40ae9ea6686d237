"""The storage kinds in Postgres: one object for each name in model/kinds.py, and which of them a table has.

Belongs here: the registry, and asking the database in which way a table is stored. Not here: what a kind does
(strategy.py says what is asked of each).
"""

from typing import Any

from psycopg import Connection

from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.warehouse.ddl import relkind_of
from kpi_assets.warehouse.kinds.partitions import Partitions
from kpi_assets.warehouse.kinds.rows import Rows
from kpi_assets.warehouse.kinds.strategy import StorageStrategy
from kpi_assets.warehouse.kinds.view import View

STRATEGIES: dict[str, StorageStrategy] = {strategy.name: strategy for strategy in (Rows(), Partitions(), View())}


def strategy_of(table: Table) -> StorageStrategy:
    """The strategy of the kind that a table's file declares."""
    return STRATEGIES[table.storage.name]


def stored_strategy(connection: Connection[Any], relation: Relation, declared: str = "") -> StorageStrategy | None:
    """The strategy in whose way a relation of the database is stored; None where it is not there, or made by others.

    Where several recognize it, the one with the name `declared` is meant, or else the last: it refines those before it.
    """
    relkind = relkind_of(connection, relation)
    if relkind is None:
        return None
    found = [each for each in STRATEGIES.values() if each.recognizes(connection, relation, relkind)]
    return next((each for each in found if each.name == declared), found[-1] if found else None)
