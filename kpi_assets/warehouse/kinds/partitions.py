"""storage: partitions. Each load_date is a partition of its own, which was the candidate of a build."""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.alter import match_columns
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.kinds.strategy import StoredRows
from kpi_assets.warehouse.provision import BUILDS
from kpi_assets.warehouse.versions import Compared

# The load_dates of a partitioned table. The bound of each partition is that one date.
_PARTITIONS = """
select substring(pg_get_expr(c.relpartbound, c.oid) from '\\d{4,}-\\d\\d-\\d\\d')::date
from pg_inherits as i inner join pg_class as c on i.inhrelid = c.oid where i.inhparent = %s::regclass
"""


class Partitions(StoredRows):
    """A publish drops the partition of the load_date and attaches the candidate instead. No row is copied.

    Rows that are kept are a partition that was detached.
    """

    name = "partitions"
    create = sql.SQL(f"create table {{}} ({{}}) partition by list ({LOAD_DATE})")

    def publish(self, connection: Connection[Any], candidate: Candidate, compared: Compared | None = None) -> None:
        self.remove(connection, candidate.table, candidate.load_date)
        match_columns(connection, candidate, types_of(connection, candidate.table.relation))
        for leaf in candidates.leaves(connection, candidate):
            connection.execute(sql.SQL("alter table {} reset (autovacuum_enabled)").format(identifier(leaf)))
        connection.execute(
            sql.SQL("alter table {} attach partition {} for values in ({})").format(
                identifier(candidate.table.relation), candidate.name, sql.Literal(candidate.load_date)
            )
        )

    def add(self, connection: Connection[Any], candidate: Candidate) -> int:
        """Add the rows of a candidate to those of its load_date, drop it, and return the bytes of the partition.

        It takes as long as the rows are many. No reader waits.
        """
        [partition] = partitions_of(connection, candidate.table.relation, candidate.load_date)
        key, columns = candidate.table.header.grain, (LOAD_DATE, *candidate.table.columns)
        connection.execute(
            sql.SQL("insert into {} ({columns}) select {columns} from {} order by {}").format(
                identifier(partition),
                candidate.name,
                sql.SQL(", ").join(map(sql.Identifier, key)),
                columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            )
        )
        candidates.drop(connection, candidate.relation)
        row = connection.execute(
            "select pg_total_relation_size(%s::regclass)", [identifier(partition).as_string(connection)]
        ).fetchone()
        return int(row[0]) if row else 0

    def keep(self, connection: Connection[Any], kept: Candidate, types: Mapping[str, str]) -> int:
        """Detach the partition, which keeps its columns and its constraint, so that it is attached again at once."""
        for old in _detach(connection, kept.table.relation, kept.load_date):
            if old != kept.relation:
                connection.execute(
                    sql.SQL("alter table {} rename to {}").format(identifier(old), sql.Identifier(kept.relation.table))
                )
        return candidates.size_of(connection, kept)

    def remove(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        for old in _detach(connection, table.relation, load_date):
            connection.execute(sql.SQL("drop table {}").format(identifier(old)))

    def removal_swaps(self, connection: Connection[Any], table: Table, load_date: date) -> bool:
        is_there = types_of(connection, table.relation)
        return bool(is_there and partitions_of(connection, table.relation, load_date))

    def find_lost(self, connection: Connection[Any], relation: Relation, load_dates: Collection[date]) -> set[date]:
        name = identifier(relation).as_string(connection)
        return set(load_dates) - {day for (day,) in connection.execute(_PARTITIONS, [name])}


def _detach(connection: Connection[Any], relation: Relation, load_date: date) -> list[Relation]:
    """Detach the partition of a load_date, and return it as a list of one or none."""
    name, found = identifier(relation), partitions_of(connection, relation, load_date)
    for old in found:
        # Take the strongest lock at once: two sessions that upgrade their locks step by step could deadlock.
        connection.execute(sql.SQL("lock table {} in access exclusive mode").format(name))
        connection.execute(sql.SQL("alter table {} detach partition {}").format(name, identifier(old)))
    return found


def partitions_of(connection: Connection[Any], relation: Relation, load_date: date) -> list[Relation]:
    """Return the partition of a load_date of a partitioned table, as a list of one or none."""
    rows = connection.execute(
        "select c.relname from pg_inherits as i inner join pg_class as c on i.inhrelid = c.oid "
        "where i.inhparent = %s::regclass and pg_get_expr(c.relpartbound, c.oid) = %s",
        [identifier(relation).as_string(connection), f"FOR VALUES IN ('{load_date.isoformat()}')"],
    ).fetchall()
    return [Relation(BUILDS, name) for (name,) in rows]
