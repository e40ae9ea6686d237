"""storage: rows. One table holds the rows of all load_dates, and an index finds those of one."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.model.query import digest
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.kinds.strategy import StoredRows
from kpi_assets.warehouse.shape import Published


class Rows(StoredRows):
    """A publish deletes the rows of the load_date and inserts those of the candidate."""

    name = "rows"

    def ensure(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> Sequence[str]:
        unneeded = super().ensure(connection, table, load_date, others)
        _ensure_key(connection, table)
        return unneeded

    def publish(self, connection: Connection[Any], candidate: Candidate) -> None:
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


def _ensure_key(connection: Connection[Any], table: Table) -> None:
    """Create the index that finds the rows of a load_date and keeps their key unique.

    Load_dates that were published with another grain may have duplicate keys. Then the index is not unique until they
    are built again. The audit proves the key of every build anyway.
    """
    wanted = [LOAD_DATE, *table.header.grain]
    name = identifier(table.relation).as_string(connection)
    indexes = connection.execute(
        "select i.indexrelid::regclass::text, i.indisunique, (select array_agg(a.attname::text order by k.n) "
        "from unnest(i.indkey) with ordinality as k (attnum, n) "
        "inner join pg_attribute as a on i.indrelid = a.attrelid and k.attnum = a.attnum) "
        "from pg_index as i where i.indrelid = %s::regclass",
        [name],
    ).fetchall()
    if [columns for _, is_unique, columns in indexes if is_unique] == [wanted]:
        return
    for index, is_unique, columns in indexes:
        if is_unique or columns == wanted:
            connection.execute(sql.SQL("drop index {}").format(sql.SQL(index)))
    key = sql.SQL(", ").join(sql.Identifier(column) for column in wanted)
    statement = "create {unique} index {name} on {table} ({key})"
    # The name has a blank, so that it cannot be the name of a table.
    index = sql.Identifier(f"{table.relation.table} {digest(*wanted)}")
    words = {"name": index, "table": identifier(table.relation), "key": key}
    try:
        with connection.transaction():
            connection.execute(sql.SQL(statement).format(unique=sql.SQL("unique"), **words))
    except psycopg.errors.UniqueViolation:
        connection.execute(sql.SQL(statement).format(unique=sql.SQL(""), **words))
