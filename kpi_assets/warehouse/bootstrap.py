"""Making a pipeline's database ready: the database itself, its schemas, and who may do what there. Safe to repeat.

Three roles of the whole server, to be granted to logins:
  kpi_loader   makes and replaces the tables of the raw layer.
  kpi_builder  makes and replaces those of the other layers; reads raw, and its builds.
  kpi_reader   reads the schemas that pipeline.yaml lists as readers, and ops.
The first two write what ops records, and delete nothing there. A build acts as the role of its table's layer: so the
table belongs to the role, any login that has the role can replace it, and a marts file cannot touch a raw table.
Not here: the tables, which come with their first publish (tables.py), and the ops schema's content (ops/schema.py).
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import Connection, sql
from pydantic import SecretStr

from kpi_assets.model.pipeline import Layer
from kpi_assets.warehouse.connection import WarehouseError, connect, may_act_as, own_database

BUILDS = "builds"  # the schema in which every build lies, attached to its table once it is published
LOADER, BUILDER, READER = "kpi_loader", "kpi_builder", "kpi_reader"
MAKERS = (LOADER, BUILDER)
_LOCK = "select pg_advisory_xact_lock(hashtext('kpi roles'))"


def role_of(layer: Layer) -> str:
    """The role under which the tables of a layer are made."""
    return LOADER if layer == "raw" else BUILDER


def ensure_database(server: SecretStr, database: str) -> None:
    """Create the database where it is missing. Raises WarehouseError where the user may not."""
    with connect(server, own_database(server), "bootstrap") as connection:
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
                f'have an administrator run `kpi bootstrap`, or `create database "{database}" owner <that user>`.'
            ) from None


def ensure_schemas(connection: Connection[Any], schemas: Iterable[str]) -> None:
    """Create the given schemas, ops and builds; nobody else may create anything in the database."""
    for schema in (*schemas, "ops", BUILDS):
        connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))


def owns_database(connection: Connection[Any]) -> bool:
    """Whether this session's user may make schemas and grant rights in the database."""
    found = connection.execute(
        "select 1 from pg_database where datname = current_database() and pg_has_role(datdba, 'usage')"
    ).fetchone()
    return found is not None


def missing_schemas(connection: Connection[Any], schemas: Iterable[str]) -> list[str]:
    """Those of the given schemas, ops and builds that the database lacks."""
    rows = connection.execute(
        "select name from unnest(%s::text[]) as name where to_regnamespace(quote_ident(name)) is null",
        [[*schemas, "ops", BUILDS]],
    ).fetchall()
    return [name for (name,) in rows]


def ensure_roles(server: SecretStr, reader_password: SecretStr | None = None) -> None:
    """Make the three roles; with a password, kpi_reader may log in.

    A user without the right to create roles leaves that to an administrator. Roles belong to the whole server, and two
    sessions must not change one at once: all take turns in the database that they have in common.
    """
    with connect(server, own_database(server), "bootstrap") as connection, connection.transaction():
        connection.execute(_LOCK)
        for role in (*MAKERS, READER):
            if not _exists(connection, role):
                with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                    connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
                    if not may_act_as(connection, role):  # who may create roles has them only once they are granted
                        connection.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))
        if reader_password is not None:
            _set_password(connection, READER, reader_password)


def ensure_login(server: SecretStr, login: str, password: SecretStr | None) -> None:
    """Make a login that has kpi_loader and kpi_builder, or give them to the one that is there, and set its password.

    Raises WarehouseError where the user of `server` may not.
    """
    name = sql.Identifier(login)
    with connect(server, own_database(server), "bootstrap") as connection:
        try:
            with connection.transaction():
                connection.execute(_LOCK)
                if not _exists(connection, login):
                    connection.execute(sql.SQL("create role {} login").format(name))
                if password is not None:
                    _set_password(connection, login, password)
                connection.execute(sql.SQL("grant {}, {} to {}").format(*map(sql.Identifier, MAKERS), name))
        except psycopg.errors.InsufficientPrivilege as error:
            raise WarehouseError(
                f"The login {login!r} cannot be made or given its roles ({str(error).splitlines()[0]}): "
                "KPI_ADMIN_POSTGRES_URL must name a user who may create roles, and who made these."
            ) from None


def ensure_use(server: SecretStr, database: str, login: str) -> None:
    """Let a login make tables of its own in a database, and nobody who was not let in by name."""
    words = {"database": sql.Identifier(database), "login": sql.Identifier(login)}
    with connect(server, database, "bootstrap") as connection, connection.transaction():
        for statement in (
            "revoke all on database {database} from public",
            "grant connect, temporary on database {database} to {login}",
            "grant usage, create on schema public to {login}",
        ):
            connection.execute(sql.SQL(statement).format(**words))


def ensure_grants(connection: Connection[Any], layers: Mapping[str, Layer], readers: Collection[str]) -> None:
    """Give the roles that exist what they need in this database, and take from kpi_reader what it no longer may.

    Everybody else is shut out, whether or not the roles exist.
    """
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("revoke all on database {} from public").format(database))
    roles = [role for role in (*MAKERS, READER) if _exists(connection, role)]
    for role in roles:
        connection.execute(
            sql.SQL("grant connect, temporary on database {} to {}").format(database, sql.Identifier(role))
        )
    makers = [role for role in MAKERS if may_act_as(connection, role)]
    for role in makers:
        _let_make(connection, role, [schema for schema, layer in layers.items() if role_of(layer) == role])
    if set(MAKERS) <= set(makers):
        # A slice is read where it lies. Only what will be made: builds come and go while this looks at those there are.
        connection.execute(
            sql.SQL("alter default privileges for role {} in schema {} grant select on tables to {}").format(
                *map(sql.Identifier, (LOADER, BUILDS, BUILDER))
            )
        )
    for schema, layer in layers.items():
        owner = role_of(layer) if role_of(layer) in makers else None
        if owner == LOADER and BUILDER in makers:
            _let_read(connection, BUILDER, schema, owner)
        if READER in roles:
            _let_read(connection, READER, schema, owner, allowed=schema in readers)
    if READER in roles:
        _let_read(connection, READER, "ops", None)


def _let_make(connection: Connection[Any], role: str, schemas: Collection[str]) -> None:
    """Let a role make tables in these schemas and record so; tables that others made there become its own."""
    words = {"role": sql.Identifier(role)}
    for schema in (*schemas, BUILDS):
        connection.execute(
            sql.SQL("grant usage, create on schema {schema} to {role}").format(schema=sql.Identifier(schema), **words)
        )
    for statement in (
        "grant usage on schema ops to {role}",
        "grant select, insert, update on all tables in schema ops to {role}",
        "revoke insert, update on ops.migrations from {role}",
        "grant usage on all sequences in schema ops to {role}",
    ):
        connection.execute(sql.SQL(statement).format(**words))
    found = connection.execute(
        "select n.nspname, c.relname, c.relkind = 'v' from pg_class as c "
        "inner join pg_namespace as n on c.relnamespace = n.oid where c.relkind in ('r', 'p', 'v') "
        "and c.relowner <> to_regrole(%(role)s) and pg_has_role(c.relowner, 'usage') "
        "and (n.nspname = any(%(schemas)s::text[]) or n.nspname = %(builds)s "
        "and exists (select 1 from unnest(%(schemas)s::text[]) as s where starts_with(c.relname, s || '__')))",
        {"role": role, "schemas": list(schemas), "builds": BUILDS},
    ).fetchall()
    for schema, name, is_view in found:
        kind = sql.SQL("view" if is_view else "table")
        connection.execute(sql.SQL("alter {} {} owner to {role}").format(kind, sql.Identifier(schema, name), **words))


def _let_read(connection: Connection[Any], role: str, schema: str, owner: str | None, *, allowed: bool = True) -> None:
    """Let a role read a schema's tables, also those that `owner` (else this user) will make there; or forbid it."""
    words = {
        "verb": sql.SQL("grant" if allowed else "revoke"),
        "to": sql.SQL("to" if allowed else "from"),
        "schema": sql.Identifier(schema),
        "role": sql.Identifier(role),
        "for_owner": sql.SQL("for role {}").format(sql.Identifier(owner)) if owner else sql.SQL(""),
    }
    for statement in (
        "{verb} usage on schema {schema} {to} {role}",
        "{verb} select on all tables in schema {schema} {to} {role}",
        "alter default privileges {for_owner} in schema {schema} {verb} select on tables {to} {role}",
    ):
        connection.execute(sql.SQL(statement).format(**words))


def _exists(connection: Connection[Any], role: str) -> bool:
    return connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone() is not None


def _set_password(connection: Connection[Any], role: str, password: SecretStr) -> None:
    """Set a password by its hash: the server may log the statement."""
    secret = connection.pgconn.encrypt_password(password.get_secret_value().encode(), role.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("alter role {} login password {}").format(sql.Identifier(role), sql.Literal(secret.decode()))
    )
