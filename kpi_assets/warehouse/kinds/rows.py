"""storage: rows. One table holds the rows of all load_dates, and its primary key finds those of one."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse import keys
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.kinds.strategy import StoredRows
from kpi_assets.warehouse.shape import Published
from kpi_assets.warehouse.versions import Compared


class Rows(StoredRows):
    """A publish deletes the rows of the load_date and inserts those of the candidate."""

    name = "rows"

    def ensure(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> Sequence[str]:
        is_new = not types_of(connection, table.relation)
        unneeded = super().ensure(connection, table, load_date, others)
        if is_new:
            keys.create(connection, table)
        else:
            keys.ensure(connection, table)
        return unneeded

    def prove(self, connection: Connection[Any], table: Table) -> None:
        keys.prove(connection, table)

    def declare(self, connection: Connection[Any], table: Table) -> None:
        keys.declare(connection, table)

    def publish(self, connection: Connection[Any], candidate: Candidate, compared: Compared | None = None) -> None:
        columns = sql.SQL(", ").join(sql.Identifier(column) for column in (LOAD_DATE, *candidate.table.columns))
        self.remove(connection, candidate.table, candidate.load_date)
        connection.execute(
            sql.SQL("insert into {} ({columns}) select {columns} from {}").format(
                identifier(candidate.table.relation), candidate.name, columns=columns
            )
        )
        connection.execute(sql.SQL("drop table {}").format(candidate.name))

    def remove(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        connection.execute(
            sql.SQL("delete from {} where {} = {}").format(
                identifier(table.relation), sql.Identifier(LOAD_DATE), sql.Literal(load_date)
            )
        )

    def recognizes(self, connection: Connection[Any], relation: Relation, relkind: str) -> bool:
        return relkind == self.kind.relkind and LOAD_DATE in types_of(connection, relation)
