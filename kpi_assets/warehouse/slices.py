"""Slices in the database: sub-partitions of one load_date, each a table that one writer has filled.

Not here: filling the slices, and the decision to slice a table (materialize/).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.slices import Slice, slices_at
from kpi_assets.model.table import Table
from kpi_assets.warehouse.candidates import Candidate, in_slice
from kpi_assets.warehouse.ddl import column_definitions, identifier, renamed, types_of
from kpi_assets.warehouse.kinds.partitions import partitions_of
from kpi_assets.warehouse.provision import BUILDS

_BOUND = re.compile(r"FOR VALUES FROM \((?:MINVALUE|'?(-?\d+)'?)\) TO \((?:MAXVALUE|'?-?\d+'?)\)")


def assemble(connection: Connection[Any], candidate: Candidate, slices: Sequence[Slice]) -> None:
    """Create the candidate and attach its slices, which are filled and have a constraint on their range."""
    key = sql.Identifier(candidate.table.header.grain[0])
    with connection.transaction():
        connection.execute(
            sql.SQL("create table {} ({}) partition by range ({})").format(
                candidate.name, column_definitions(candidate.table), key
            )
        )
        for part in candidate.cut(slices):
            assert part.slice is not None
            low, high = (
                sql.SQL(none) if end is None else sql.Literal(end)
                for none, end in (("minvalue", part.slice.low), ("maxvalue", part.slice.high))
            )
            connection.execute(
                sql.SQL("alter table {} attach partition {} for values from ({}) to ({})").format(
                    candidate.name, part.name, low, high
                )
            )


@dataclass(frozen=True)
class Stored:
    """The place where a published load_date is stored. `columns` maps names in the SELECT to names in the partition."""

    load_date: date
    partition: Relation
    columns: Mapping[str, str]
    leaves: Mapping[Slice, Relation]  # empty if the load_date is not sliced

    @property
    def slices(self) -> list[Slice]:
        """The slices of the load_date, in order."""
        return list(self.leaves)

    def read(self, column: str, part: Slice) -> sql.Composable:
        """Return the rows whose `column` lies in a slice, as a subquery.

        A stored slice is read without a condition, because its constraint guarantees the load_date and the key range.
        """
        leaf, key = self.leaves.get(part), sql.Identifier(self.columns[column])
        where = sql.SQL("") if leaf else sql.SQL(" where {}").format(in_slice(part, key))
        return sql.SQL("(select {} as {}, {} from {}{})").format(
            sql.Literal(self.load_date),
            sql.Identifier(LOAD_DATE),
            renamed(self.columns),
            identifier(leaf or self.partition),
            where,
        )


def find_stored(connection: Connection[Any], named: Table, relation: Relation, load_date: date) -> Stored | None:
    """Find where a load_date of `relation`, the origin of `named`, is stored.

    Return None if it is not published, or if this role may read only the table as a whole: `kpi bootstrap` grants no
    rights on partitions that existed before.
    """
    for partition in partitions_of(connection, relation, load_date):
        if not _may_read(connection, partition):
            continue
        columns = named.origin.columns
        if named.storage.stores_rows:  # includes columns that it keeps for other load_dates
            columns = {name: name for name in types_of(connection, partition) if name != LOAD_DATE}
        found = connection.execute(
            "select c.relname, pg_get_expr(c.relpartbound, c.oid) from pg_inherits as i inner join pg_class as c "
            "on i.inhrelid = c.oid where i.inhparent = %s::regclass",
            [identifier(partition).as_string(connection)],
        ).fetchall()
        lows = {Relation(BUILDS, name): _BOUND.fullmatch(bound) for name, bound in found}
        leaves = {int(match[1]) if match[1] else None: leaf for leaf, match in lows.items() if match}
        parts = slices_at(sorted(low for low in leaves if low is not None)) if leaves else []
        return Stored(load_date, partition, columns, {part: leaves[part.low] for part in parts})
    return None


def _may_read(connection: Connection[Any], relation: Relation) -> bool:
    name = identifier(relation).as_string(connection)
    return connection.execute("select has_table_privilege(%s, 'select')", [name]).fetchone() == (True,)


def even_slices(connection: Connection[Any], partition: Relation, key: str, count: int) -> list[Slice]:
    """Return about equal slices of a table by its key, from its statistics; none if there are too few statistics."""
    row = connection.execute(
        "select histogram_bounds::text::bigint[] from pg_stats "
        "where schemaname = %s and tablename = %s and attname = %s",
        [*partition, key],
    ).fetchone()
    bounds = row[0] if row and row[0] else []
    cuts = sorted({bounds[len(bounds) * number // count] for number in range(1, count)}) if len(bounds) > count else []
    return slices_at(cuts) if cuts else []
