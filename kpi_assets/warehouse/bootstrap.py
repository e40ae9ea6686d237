"""Making a pipeline's database ready: the database itself, its schemas, and who may read what. Safe to repeat.

Not here: the tables, which come with their first publish (tables.py), and the ops schema's content (ops/schema.py).
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import Connection, sql
from pydantic import SecretStr

from kpi_assets.warehouse.connection import WarehouseError, connect

BUILDS = "builds"  # the schema in which every build lies, attached to its table once it is published
READER = "kpi_reader"


def ensure_database(server: SecretStr, maintenance_database: str, database: str) -> None:
    """Create the database where it is missing. Raises WarehouseError where the user may not."""
    with connect(server, maintenance_database, "bootstrap") as connection:
        found = connection.execute("select 1 from pg_database where datname = %s", [database]).fetchone()
        if found:
            return
        try:
            connection.execute(
                sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(database))
            )
        except psycopg.errors.DuplicateDatabase:
            pass  # another process was first
        except psycopg.errors.UniqueViolation:
            pass  # the same, in the same instant
        except psycopg.errors.InsufficientPrivilege:
            raise WarehouseError(
                f"The database {database!r} does not exist and the user of KPI_POSTGRES_URL may not create it: "
                f"have an administrator run `create database {database} owner <that user>`."
            ) from None


def ensure_schemas(connection: Connection[Any], schemas: Iterable[str]) -> None:
    """Create the given schemas, ops and builds; nobody else may create anything in the database."""
    for schema in (*schemas, "ops", BUILDS):
        connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))


def ensure_reader_role(server: SecretStr, maintenance_database: str, password: SecretStr | None = None) -> None:
    """Make the role kpi_reader; with a password it may log in.

    A user without the right to create roles leaves that to an administrator. Roles belong to the whole server, and two
    sessions must not change one at once: all take turns in the database that they have in common.
    """
    reader = sql.Identifier(READER)
    with connect(server, maintenance_database, "bootstrap") as connection, connection.transaction():
        connection.execute("select pg_advisory_xact_lock(hashtext('kpi reader'))")
        if not connection.execute("select 1 from pg_roles where rolname = %s", [READER]).fetchone():
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(sql.SQL("create role {} nologin").format(reader))
        if password is not None:
            connection.execute(
                sql.SQL("alter role {} login password {}").format(reader, sql.Literal(password.get_secret_value()))
            )


def ensure_reader(connection: Connection[Any], schemas: Iterable[str], readers: Collection[str]) -> bool:
    """Let the role kpi_reader read ops and, of the pipeline's schemas, the given ones; returns whether it exists.

    Everybody else is shut out, whether or not the role exists.
    """
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("revoke all on database {} from public").format(database))
    if not connection.execute("select 1 from pg_roles where rolname = %s", [READER]).fetchone():
        return False
    reader = sql.Identifier(READER)
    connection.execute(sql.SQL("grant connect, temporary on database {} to {}").format(database, reader))
    for schema in (*schemas, "ops"):
        verb, to = ("grant", "to") if schema in {*readers, "ops"} else ("revoke", "from")
        words = {"verb": sql.SQL(verb), "to": sql.SQL(to), "schema": sql.Identifier(schema), "reader": reader}
        for statement in (
            "{verb} usage on schema {schema} {to} {reader}",
            "{verb} select on all tables in schema {schema} {to} {reader}",
            "alter default privileges in schema {schema} {verb} select on tables {to} {reader}",
        ):
            connection.execute(sql.SQL(statement).format(**words))
    return True
