"""Slices in the database: sub-partitions of one load_date, each a table that was filled by a writer of its own.

Not here: who fills them, and when a table is cut at all (build/).
"""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import Relation
from kpi_assets.model.slices import Slice, slices_at
from kpi_assets.warehouse.candidates import Candidate, column_definitions, identifier
from kpi_assets.warehouse.tables import partitions_of

_BOUND = re.compile(r"FOR VALUES FROM \((?:MINVALUE|'?(-?\d+)'?)\) TO \((?:MAXVALUE|'?-?\d+'?)\)")


def assemble(connection: Connection[Any], candidate: Candidate, slices: Sequence[Slice]) -> None:
    """Make the candidate of its slices, which are filled and have promised their ranges."""
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


def of_published(connection: Connection[Any], relation: Relation, load_date: date) -> list[Slice]:
    """The slices of a published load_date; empty where it is not cut."""
    for partition in partitions_of(connection, relation, load_date):
        bounds = connection.execute(
            "select pg_get_expr(c.relpartbound, c.oid) from pg_inherits as i inner join pg_class as c "
            "on i.inhrelid = c.oid where i.inhparent = %s::regclass",
            [identifier(partition).as_string(connection)],
        ).fetchall()
        matches = [_BOUND.fullmatch(bound) for (bound,) in bounds]
        cuts = sorted(int(match[1]) for match in matches if match and match[1])
        return slices_at(cuts) if cuts else []
    return []
