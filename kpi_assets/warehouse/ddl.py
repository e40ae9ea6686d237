"""The definitions of relations: their names and columns as SQL, and lookups in Postgres' catalog.

Belongs here: SQL and lookups that every module of this package shares. Not here: published tables (tables.py, kinds/),
and candidates (candidates.py).
"""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.errors import UserError
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.table import Table

# The word for a relation in DROP and COMMENT, by its relkind; tables and partitioned tables are both called table.
_OBJECT_TYPES = {"v": "view", "m": "materialized view", "f": "foreign table"}


class DefinitionError(UserError):
    """A file's SQL does not match its header, or the database does not allow what the file declares."""


def identifier(relation: Relation) -> sql.Identifier:
    """Return a relation's name as SQL."""
    return sql.Identifier(*relation)


def object_type(relkind: str) -> sql.SQL:
    """Return the word for a relation of this relkind in DROP and COMMENT: `table`, `view` or another type."""
    return sql.SQL(_OBJECT_TYPES.get(relkind, "table"))


def column_definitions(table: Table) -> sql.Composable:
    """Return the column definitions of a table as its header declares them, load_date first."""
    declared = [(LOAD_DATE, "date"), *((name, column.type) for name, column in table.header.columns.items())]
    return sql.SQL(", ").join(
        # The type is safe as SQL: it comes from the allow-list of model/column.py.
        sql.SQL("{} ").format(sql.Identifier(name)) + sql.SQL(type_)
        for name, type_ in declared
    )


def renamed(columns: Mapping[str, str]) -> sql.Composable:
    """Return a SELECT list of `columns` (name -> name in the table that is read)."""
    return sql.SQL(", ").join(
        sql.SQL("{} as {}").format(sql.Identifier(there), sql.Identifier(name)) for name, there in columns.items()
    )


def types_of(connection: Connection[Any], relation: Relation) -> dict[str, str]:
    """Return the columns of a relation in the database and their types, in order; empty if it does not exist."""
    return dict(
        connection.execute(
            "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute as a "
            "where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped order by a.attnum",
            [identifier(relation).as_string(connection)],
        ).fetchall()
    )


def relkind_of(connection: Connection[Any], relation: Relation) -> str | None:
    """Return the relkind of a relation from pg_class; None if it does not exist."""
    row = connection.execute(
        "select relkind::text from pg_class where oid = to_regclass(%s)", [identifier(relation).as_string(connection)]
    ).fetchone()
    return row[0] if row else None


def owner_of(connection: Connection[Any], relation: Relation) -> str | None:
    """Return the role that owns a relation; None if it does not exist."""
    row = connection.execute(
        "select pg_get_userbyid(relowner) from pg_class where oid = to_regclass(%s)",
        [identifier(relation).as_string(connection)],
    ).fetchone()
    return row[0] if row else None


def lock_if_free(connection: Connection[Any], *relations: Relation) -> bool:
    """Take the strongest lock on relations if nobody uses them, and return whether it was taken; never wait for it."""
    try:
        with connection.transaction():
            names = sql.SQL(", ").join(map(identifier, relations))
            connection.execute(sql.SQL("lock table {} in access exclusive mode nowait").format(names))
    except psycopg.errors.LockNotAvailable:
        return False
    return True
