"""Which columns of published tables kpi_reader may read: all, or all but the personal ones.

A right on a whole table covers columns that are added later, too. So kpi_reader has none on a table with personal
columns, but one on each of the other columns. kpi_pii_reader reads all of them.

Belongs here: the rights on the tables and views of a schema for readers. Not here: the rights on schemas, the rights
that new tables get, and those on ops (provision.py).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import Relation
from kpi_assets.model.pii import Pii
from kpi_assets.model.table import Table
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.provision import READER

# What kpi_reader was granted itself on the relations of the schemas that it may use, and no more than its name says.
_GRANTED = """
select
    n.nspname, c.relname, columns.every, columns.granted,
    exists (select 1 from aclexplode(c.relacl) as g where g.grantee = r.oid and g.privilege_type = 'SELECT')
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
inner join pg_roles as r on r.rolname = %(reader)s
cross join lateral (
    select
        array_agg(a.attname::text order by a.attnum) as every,
        coalesce(array_agg(a.attname::text order by a.attnum) filter (where exists (
            select 1 from aclexplode(a.attacl) as g where g.grantee = r.oid and g.privilege_type = 'SELECT'
        )), '{}') as granted
    from pg_attribute as a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
) as columns
where
    n.nspname = any(%(schemas)s) and (%(names)s::text[] is null or c.relname = any(%(names)s))
    and c.relkind in ('r', 'p', 'v', 'm', 'f') and columns.every is not null
    and has_schema_privilege(r.oid, n.oid, 'usage')
order by 1, 2
"""


@dataclass(frozen=True)
class _Rights:
    """What kpi_reader may read of a relation: all of it, or these columns."""

    relation: Relation
    every: Sequence[str]
    granted: Sequence[str]
    is_whole: bool

    def lacking(self, pii: Pii) -> tuple[list[str], list[str]]:
        """Return the columns that it may read and should not, and those that it should and may not."""
        may = {*(self.every if self.is_whole else self.granted)}
        hidden = [name for name in self.every if pii.hides(name)]
        return [name for name in hidden if name in may], [n for n in self.every if n not in hidden and n not in may]


def ensure(connection: Connection[Any], table: Table) -> None:
    """Give kpi_reader the right to read a published table and its views, without its personal columns.

    Call this in the transaction that changes the table, at its end: a new relation can be read as a whole, and a new
    column of a table with personal columns not at all. It does nothing if the schema is not one for readers.
    """
    known = _known([table])
    for rights in _granted(connection, [table.relation.schema], [relation.table for relation in known]):
        _change(connection, rights, known[rights.relation])


def ensure_all(connection: Connection[Any], tables: Iterable[Table], schemas: Collection[str]) -> None:
    """Give kpi_reader these rights on all tables and views of the schemas for readers.

    Of a table that no file describes any more, it keeps the columns that it may read.
    """
    known = _known(tables)
    for rights in _granted(connection, schemas):
        if rights.relation in known or not rights.granted:
            _change(connection, rights, known.get(rights.relation, Pii()))


def find_mismatches(connection: Connection[Any], tables: Iterable[Table], schemas: Collection[str]) -> Iterator[str]:
    """Yield a sentence, without its end, for each table of which kpi_reader may read too many columns, or too few."""
    known = _known(tables)
    for rights in _granted(connection, schemas):
        if rights.relation in known:
            much, few = rights.lacking(known[rights.relation])
            if much:
                yield f"{READER} may read personal columns of {rights.relation} ({', '.join(much)})"
            if few:
                yield f"{READER} may not read columns of {rights.relation} ({', '.join(few)})"


def unreadable(connection: Connection[Any], relation: Relation) -> frozenset[str]:
    """Return the columns of a relation that this session may not read; none if it does not exist."""
    rows = connection.execute(
        "select a.attname from pg_attribute as a inner join pg_class as c on a.attrelid = c.oid "
        "inner join pg_namespace as n on c.relnamespace = n.oid where (n.nspname, c.relname) = (%s, %s) "
        "and a.attnum > 0 and not a.attisdropped and not has_column_privilege(c.oid, a.attnum, 'select')",
        [*relation],
    ).fetchall()
    return frozenset(name for (name,) in rows)


def without(connection: Connection[Any], relation: Relation, columns: Collection[str]) -> sql.Composable:
    """Return the rows of a relation with NULL in these columns, as a subquery for FROM without an alias."""
    shown = (
        sql.SQL("null::{} as {}").format(sql.SQL(type_), sql.Identifier(name))
        if name in columns
        else sql.Identifier(name)
        for name, type_ in types_of(connection, relation).items()
    )
    return sql.SQL("(select {} from {})").format(sql.SQL(", ").join(shown), identifier(relation))


def _known(tables: Iterable[Table]) -> Mapping[Relation, Pii]:
    """Return the relations that tables have in the database, each with the columns that are hidden in it."""
    found: dict[Relation, Pii] = {}
    for table in tables:
        found[table.relation] = table.pii
        if table.header.kpi:
            found[table.latest_view] = table.pii  # that of an earlier version may show them
        if table.header.readers:
            found[table.masked_view] = Pii()
    return found


def _granted(
    connection: Connection[Any], schemas: Collection[str], names: Sequence[str] | None = None
) -> list[_Rights]:
    """Return the rights on the relations of these schemas; only on those with these names, if some are given."""
    words = {"reader": READER, "schemas": [*schemas], "names": names}
    rows = connection.execute(_GRANTED, words).fetchall()
    return [_Rights(Relation(schema, name), *rest) for schema, name, *rest in rows]


def _change(connection: Connection[Any], rights: _Rights, pii: Pii) -> None:
    """Change what kpi_reader may read of a relation, if it is not what it should be."""
    shown = [name for name in rights.every if not pii.hides(name)]
    by_column = len(shown) < len(rights.every)
    much, few = rights.lacking(pii)
    if not much and not few and (by_column or not rights.granted):
        return
    words = {"on": identifier(rights.relation), "reader": sql.Identifier(READER)}
    if rights.is_whole or rights.granted:  # it takes those on columns away, too
        connection.execute(sql.SQL("revoke select on {on} from {reader}").format(**words))
    which = sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Identifier, shown))) if by_column else sql.SQL("")
    if shown:
        connection.execute(sql.SQL("grant select{which} on {on} to {reader}").format(which=which, **words))
