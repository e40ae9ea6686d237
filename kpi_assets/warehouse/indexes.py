"""The indexes of published tables that their files declare: created, changed and dropped at a publish.

Creating an index does not wait for readers. Dropping one does, so it is left for a later publish while the table is
read. A partition brings its own, built before it is published, and Postgres makes them parts of the table's.
Belongs here: the indexes of the word `indexes`. Not here: the index of the key (kinds/, candidates.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import Relation
from kpi_assets.model.query import digest
from kpi_assets.model.table import Table
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier, lock_if_free

_LONGEST = 63  # letters of a name in Postgres
# The indexes of a relation whose names are made here: (name, columns).
_DECLARED = """
select c.relname, array(
    select a.attname::text from unnest(i.indkey) with ordinality as k (attnum, n)
    inner join pg_attribute as a on i.indrelid = a.attrelid and k.attnum = a.attnum order by k.n
)
from pg_index as i inner join pg_class as c on i.indexrelid = c.oid
where i.indrelid = %s::regclass and c.relname ~ %s
"""
_NAMED_HERE = " (index [a-z0-9_]+|[0-9a-f]{16} index)$"


def name_of(relation: Relation, word: str) -> str:
    """Return the name of an index of a table, made of the names of both; with a blank, so no table can have it."""
    name = f"{relation.table} index {word}"
    return name if len(name) <= _LONGEST else f"{relation.table} {digest(word)} index"


def declare(connection: Connection[Any], table: Table) -> None:
    """Give a published table the indexes that its file declares, and drop those that it no longer declares.

    Call this at the end of a publish: the lock that a drop takes keeps readers out until the transaction ends.
    """
    wanted = {name_of(table.relation, word): columns for word, columns in table.header.indexes.items()}
    found = _find(connection, table.relation)
    outdated = [name for name, columns in found.items() if wanted.get(name) != columns]
    kept = {*found} - {*outdated}
    if outdated and lock_if_free(connection, table.relation):
        for name in outdated:
            connection.execute(sql.SQL("drop index {}").format(sql.Identifier(table.relation.schema, name)))
    elif outdated:
        kept |= {*outdated}
    for name, columns in wanted.items():
        if name not in kept:
            _create(connection, table.relation, name, columns)


def build(connection: Connection[Any], candidate: Candidate) -> None:
    """Build the declared indexes on a candidate that is to become a partition, or on one of its slices."""
    if not candidate.table.storage.sliceable:
        return
    for word, columns in candidate.table.header.indexes.items():
        _create(connection, candidate.relation, f"{digest(candidate.relation.table, word)} index", columns)


def _find(connection: Connection[Any], relation: Relation) -> Mapping[str, Sequence[str]]:
    return dict(connection.execute(_DECLARED, [identifier(relation).as_string(connection), _NAMED_HERE]).fetchall())


def _create(connection: Connection[Any], relation: Relation, name: str, columns: Sequence[str]) -> None:
    connection.execute(
        sql.SQL("create index {} on {} ({})").format(
            sql.Identifier(name), identifier(relation), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
    )
