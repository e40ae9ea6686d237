"""The definitions of relations: names and columns as SQL, and what Postgres' catalog says of them.

Belongs here: text and look-ups that every module of this package shares. Not here: what a published table needs
(tables.py, kinds/), and a build's own table (candidates.py).
"""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.errors import UserError
from kpi_assets.model import excerpt
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Table

# What DROP and COMMENT call a relation, by its relkind; tables and partitioned tables are both called table.
_OBJECT_TYPES = {"v": "view", "m": "materialized view", "f": "foreign table"}


class DefinitionError(UserError):
    """A file's SQL does not do in this database what its header says."""


def identifier(relation: Relation) -> sql.Identifier:
    """A relation's name as SQL."""
    return sql.Identifier(*relation)


def object_type(relkind: str) -> sql.SQL:
    """What DROP and COMMENT call a relation of this relkind: `table`, `view` or another type of Postgres."""
    return sql.SQL(_OBJECT_TYPES.get(relkind, "table"))


def column_definitions(table: Table) -> sql.Composable:
    """The columns of a table as its header declares them, load_date first."""
    declared = [(LOAD_DATE, "date"), *((name, column.type) for name, column in table.header.columns.items())]
    return sql.SQL(", ").join(
        # The type comes from header.py's allow-list.
        sql.SQL("{} ").format(sql.Identifier(name)) + sql.SQL(type_)
        for name, type_ in declared
    )


def renamed(columns: Mapping[str, str]) -> sql.Composable:
    """A SELECT's list of columns (name -> name in the table that is read), each under its name."""
    return sql.SQL(", ").join(
        sql.SQL("{} as {}").format(sql.Identifier(there), sql.Identifier(name)) for name, there in columns.items()
    )


def types_of(connection: Connection[Any], relation: Relation) -> dict[str, str]:
    """The columns of a relation in the database and their types, in order; empty where there is no such relation."""
    return dict(
        connection.execute(
            "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute as a "
            "where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped order by a.attnum",
            [identifier(relation).as_string(connection)],
        ).fetchall()
    )


def relkind_of(connection: Connection[Any], relation: Relation) -> str | None:
    """The relkind of a relation in Postgres' pg_class; None where there is no such relation."""
    row = connection.execute(
        "select relkind::text from pg_class where oid = to_regclass(%s)", [identifier(relation).as_string(connection)]
    ).fetchone()
    return row[0] if row else None


def owner_of(connection: Connection[Any], relation: Relation) -> str | None:
    """The role to which a relation belongs; None where there is no such relation."""
    row = connection.execute(
        "select pg_get_userbyid(relowner) from pg_class where oid = to_regclass(%s)",
        [identifier(relation).as_string(connection)],
    ).fetchone()
    return row[0] if row else None


def one_line(error: psycopg.Error) -> str:
    """What Postgres said, as a part of a sentence."""
    return excerpt.cut(" ".join(str(error).split()), excerpt.MESSAGE)
