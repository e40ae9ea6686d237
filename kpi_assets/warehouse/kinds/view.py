"""storage: view: the table is a view of columns of one other table, and stores nothing."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier, renamed
from kpi_assets.warehouse.kinds.strategy import StorageStrategy
from kpi_assets.warehouse.shape import Published
from kpi_assets.warehouse.views import put_view


class View(StorageStrategy):
    """It shows a load_date as soon as its origin has it, so that a publish of it makes or replaces the view alone."""

    name = "view"

    def ensure(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> Sequence[str]:
        relation, columns = table.origin
        query = sql.SQL("select {}, {} from {}").format(
            sql.Identifier(LOAD_DATE), renamed(columns), identifier(relation)
        )
        put_view(connection, table, table.relation, query)
        return ()

    def publish(self, connection: Connection[Any], candidate: Candidate) -> None:
        """Nothing: there is no candidate."""

    def remove(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Nothing: the rows go with those of the origin."""

    def publish_swaps(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> bool:
        return False

    def find_lost(self, connection: Connection[Any], relation: Relation, load_dates: Collection[date]) -> set[date]:
        """None, while the view is there: what it shows is looked for in its origin."""
        return set()

    def preview_from(self, candidate: Candidate) -> sql.Composable:
        relation, columns = candidate.table.origin
        return sql.SQL("(select {} from {} where {} = {})").format(
            renamed(columns), identifier(relation), sql.Identifier(LOAD_DATE), sql.Literal(candidate.load_date)
        )

    def size(self, connection: Connection[Any], candidate: Candidate) -> int:
        return 0
