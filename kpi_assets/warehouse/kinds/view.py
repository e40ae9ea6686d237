"""storage: view. The table is a view of columns of one other table, its origin, and stores no rows."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier, renamed
from kpi_assets.warehouse.kinds.strategy import StorageStrategy
from kpi_assets.warehouse.shape import Published
from kpi_assets.warehouse.versions import Compared
from kpi_assets.warehouse.views import put_view


class View(StorageStrategy):
    """A view has the load_dates of its origin, so a publish only creates or replaces the view itself."""

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

    def publish(self, connection: Connection[Any], candidate: Candidate, compared: Compared | None = None) -> None:
        """Do nothing: there is no candidate."""

    def remove(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Do nothing: the rows are removed with those of the origin."""

    def publish_swaps(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> bool:
        return False

    def find_lost(self, connection: Connection[Any], relation: Relation, load_dates: Collection[date]) -> set[date]:
        """Return none: lost rows are found in the origin."""
        return set()

    def preview_from(self, candidate: Candidate) -> sql.Composable:
        relation, columns = candidate.table.origin
        return sql.SQL("(select {} from {} where {} = {})").format(
            renamed(columns), identifier(relation), sql.Identifier(LOAD_DATE), sql.Literal(candidate.load_date)
        )

    def size(self, connection: Connection[Any], candidate: Candidate) -> int:
        return 0
