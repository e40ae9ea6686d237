"""What is stored of the load_dates that the ledger calls published: whether it is there, and what it sums up to.

Belongs here: looking at the stored rows. Not here: what the ledger says of them (ledger/publishes.py), and what follows
where the two differ (plan/, materialize/recheck.py, doctor/).
"""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.warehouse.candidates import identifier
from kpi_assets.warehouse.checksum import checksum_of

_KINDS = {"r": "rows", "p": "partitions", "v": "view"}
# The load_dates of a partitioned table, of which each is a partition whose bound is that one date.
_PARTITIONS = """
select substring(pg_get_expr(c.relpartbound, c.oid) from '\\d{4,}-\\d\\d-\\d\\d')::date
from pg_inherits as i inner join pg_class as c on i.inhrelid = c.oid where i.inhparent = %s::regclass
"""


def lost(connection: Connection[Any], table: Table, load_dates: Collection[date]) -> set[date]:
    """Those of the load_dates, published with at least one row, of which nothing is stored any more.

    What a view shows lies in its table: of a view, all are lost or none. No row is read but by an index.
    """
    name = identifier(table.relation)
    row = connection.execute(
        "select relkind::text from pg_class where oid = to_regclass(%s)", [name.as_string(connection)]
    ).fetchone()
    kind = _KINDS.get(row[0]) if row else None
    if kind is None:
        return set(load_dates)
    if kind == "view" or not load_dates:
        return set()
    if kind == "partitions":
        return set(load_dates) - {day for (day,) in connection.execute(_PARTITIONS, [name.as_string(connection)])}
    missing = sql.SQL("select d.day from unnest(%s::date[]) as d (day) where not exists ({})").format(
        sql.SQL("select 1 from {} as t where t.{} = d.day").format(name, sql.Identifier(LOAD_DATE))
    )
    return {day for (day,) in connection.execute(missing, [list(load_dates)])}


def rows_and_checksum(
    connection: Connection[Any], relation: Relation, load_date: date, columns: Mapping[str, str]
) -> tuple[int, str]:
    """The rows that are stored of a load_date, and their checksum over the columns with which they were published."""
    row = connection.execute(
        sql.SQL("select count(*), {} from {} where {} = {}").format(
            sql.SQL(checksum_of(columns)), identifier(relation), sql.Identifier(LOAD_DATE), sql.Literal(load_date)
        )
    ).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])
