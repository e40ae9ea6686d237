"""Provisions a pipeline's database: the database itself, its schemas, and the grants of its roles. Safe to repeat.

There are six roles for the whole server, to be granted to logins:
  kpi_loader    creates and replaces the tables of the raw layer; alone may read by which hashes persons were erased.
  kpi_builder   creates and replaces the tables of the other layers; reads the raw layer and its builds.
  kpi_reader    reads the schemas that pipeline.yaml lists as readers, without the personal columns of their tables
                (reader_rights.py), and the columns of ops without delivered values.
  kpi_pii_reader  reads the same, and the personal columns.
  kpi_reviewer  reads all of ops: quarantined records, samples of bad rows, and errors that quote them.
  kpi_decider   reads all of ops, and writes what people rule on builds.
The first two roles write to all of ops but the rulings, and delete nothing there but locks. A build acts as the role of
its table's layer. So the table belongs to the role, any login that has the role can replace it, and a marts file cannot
change a raw table.
Not here: the tables, which their first publish creates (tables.py), and the tables of ops (ledger/schema.py).
"""

import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import Connection, sql
from pydantic import SecretStr

from kpi_assets.model.kinds import STORAGES
from kpi_assets.model.ops_relations import FOR_READERS
from kpi_assets.model.pipeline_config import Layer
from kpi_assets.warehouse.connection import WarehouseError, connect, may_act_as, own_database

BUILDS = "builds"  # the schema of all candidates, also of those that are published as partitions
LOADER, BUILDER, READER, REVIEWER = "kpi_loader", "kpi_builder", "kpi_reader", "kpi_reviewer"
DECIDER, PII_READER = "kpi_decider", "kpi_pii_reader"
MAKERS = (LOADER, BUILDER)
OF_PRODUCT = (*MAKERS, READER)  # what the login of KPI_POSTGRES_URL needs: `kpi serve` acts as kpi_reader
READER_CONNECTIONS = 50  # of the 100 connections of the embedded server; the others are for runs
ROLES = (*MAKERS, READER, PII_READER, REVIEWER, DECIDER)
# Errors of one of two sessions that change the same role at the same time; it must try again.
_CONFLICTS = (psycopg.errors.InternalError_, psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject)
_ATTEMPTS = 20


def role_of(layer: Layer) -> str:
    """Return the role that creates the tables of a layer."""
    return LOADER if layer == "raw" else BUILDER


def has_database(server: SecretStr, database: str) -> bool:
    """Return whether the server has a database. Raises WarehouseError."""
    with connect(server, own_database(server), "look", read_only=True) as connection:
        return _has_database(connection, database)


def _has_database(connection: Connection[Any], database: str) -> bool:
    return connection.execute("select 1 from pg_database where datname = %s", [database]).fetchone() is not None


def ensure_database(server: SecretStr, database: str) -> None:
    """Create the database if it is missing. Raises WarehouseError if the user may not create it."""
    with connect(server, own_database(server), "bootstrap") as connection:
        if _has_database(connection, database):
            return
        try:
            connection.execute(
                sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(database))
            )
            revoke = sql.SQL("revoke all on database {} from public").format(sql.Identifier(database))
            _retry_on_conflict(connection, lambda session: session.execute(revoke))  # ensure_roles revokes it too
        except psycopg.errors.DuplicateDatabase:
            pass  # another process created it first
        except psycopg.errors.UniqueViolation:
            pass  # another process created it at the same moment
        except psycopg.errors.InsufficientPrivilege:
            raise WarehouseError(
                f"The database {database!r} does not exist and the user of KPI_POSTGRES_URL may not create it: "
                f'have an administrator run `kpi bootstrap`, or `create database "{database}" owner <that user>`.'
            ) from None


def ensure_schemas(connection: Connection[Any], schemas: Iterable[str]) -> None:
    """Create the given schemas, ops and builds if they are missing."""
    for schema in (*schemas, "ops", BUILDS):
        connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))


def owns_database(connection: Connection[Any]) -> bool:
    """Return whether this session's user may create schemas and grant rights in the database."""
    found = connection.execute(
        "select 1 from pg_database where datname = current_database() and pg_has_role(datdba, 'usage')"
    ).fetchone()
    return found is not None


def missing_schemas(connection: Connection[Any], schemas: Iterable[str]) -> list[str]:
    """Return those of the given schemas, ops and builds that the database lacks."""
    rows = connection.execute(
        "select name from unnest(%s::text[]) as name where to_regnamespace(quote_ident(name)) is null",
        [[*schemas, "ops", BUILDS]],
    ).fetchall()
    return [name for (name,) in rows]


def ensure_roles(server: SecretStr, reader_password: SecretStr | None = None) -> None:
    """Create the roles. On the embedded server, `reader_password` is given, so that kpi_reader may log in.

    There, also revoke the right of PUBLIC to connect to any database. If the user may not create roles, that is left to
    an administrator.
    """

    def create(connection: Connection[Any]) -> None:
        for role in ROLES:
            if not _exists(connection, role):
                with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                    connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
                    if not may_act_as(connection, role):  # creating a role does not always grant it
                        connection.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))
        if reader_password is not None:
            _set_password(connection, READER, reader_password)
            _limit_connections(connection, READER, READER_CONNECTIONS)
            for database in open_databases(connection):
                connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(database)))

    with connect(server, own_database(server), "bootstrap") as connection:
        _retry_on_conflict(connection, create)


def open_databases(connection: Connection[Any]) -> list[str]:
    """Return the databases to which PUBLIC may connect."""
    rows = connection.execute(
        "select datname from pg_database where datallowconn and has_database_privilege('public', oid, 'connect') "
        "order by 1"
    ).fetchall()
    return [name for (name,) in rows]


def _retry_on_conflict(connection: Connection[Any], change: Callable[[Connection[Any]], object]) -> None:
    """Change roles in a transaction; try again if another session changed them at the same time.

    A lock cannot prevent that: roles belong to the whole server, which has no lock that only administrators may take.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with connection.transaction():
                change(connection)
        except _CONFLICTS:
            if attempt + 1 == _ATTEMPTS:
                raise
            time.sleep(random.uniform(0.01, 0.1))  # noqa: S311  not a secret
        else:
            return


def ensure_login(server: SecretStr, login: str, password: SecretStr | None, roles: Collection[str]) -> None:
    """Create a login if it is missing, grant it the roles, and set its password.

    Raises WarehouseError if the user of `server` may not.
    """
    name = sql.Identifier(login)

    def create(connection: Connection[Any]) -> None:
        if not _exists(connection, login):
            connection.execute(sql.SQL("create role {} login").format(name))
        if password is not None:
            _set_password(connection, login, password)
        connection.execute(sql.SQL("grant {} to {}").format(sql.SQL(", ").join(map(sql.Identifier, roles)), name))

    with connect(server, own_database(server), "bootstrap") as connection:
        try:
            _retry_on_conflict(connection, create)
        except psycopg.errors.InsufficientPrivilege as error:
            raise WarehouseError(
                f"The login {login!r} cannot be created or granted its roles ({str(error).splitlines()[0]}): "
                "KPI_ADMIN_POSTGRES_URL must name a user who may create roles and who created these."
            ) from None


def ensure_access(server: SecretStr, database: str, login: str) -> None:
    """Let a login connect to a database and create tables in its schema public; revoke all rights of PUBLIC."""
    words = {"database": sql.Identifier(database), "login": sql.Identifier(login)}
    with connect(server, database, "bootstrap") as connection, connection.transaction():
        for statement in (
            "revoke all on database {database} from public",
            "grant connect, temporary on database {database} to {login}",
            "grant usage, create on schema public to {login}",
        ):
            connection.execute(sql.SQL(statement).format(**words))


def restrict_advisory_locks(connection: Connection[Any]) -> None:
    """Let only MAKERS and kpi_decider take advisory locks in this database: others could fill the server's lock table.

    Only a superuser may change that, so this is for the embedded server. Safe to repeat.
    """
    found = connection.execute(
        "select p.proname, array(select t.typname::text from unnest(p.proargtypes) with ordinality as a (type, n) "
        "inner join pg_type as t on t.oid = a.type order by a.n) "
        "from pg_proc as p where p.pronamespace = 'pg_catalog'::regnamespace "
        "and (starts_with(p.proname, 'pg_advisory_') or starts_with(p.proname, 'pg_try_advisory_')) "
        "and (exists (select 1 from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0) "
        # A database of an earlier version was restricted before there was this role.
        "or not has_function_privilege(to_regrole(%s), p.oid, 'execute')) order by 1, 2",
        [DECIDER],
    ).fetchall()
    if not found:
        return
    functions = sql.SQL(", ").join(
        sql.SQL("{}({})").format(
            sql.Identifier("pg_catalog", name),
            sql.SQL(", ").join(sql.Identifier("pg_catalog", each) for each in types),
        )
        for name, types in found
    )
    who = [*MAKERS, *([DECIDER] if _exists(connection, DECIDER) else [])]
    with connection.transaction():
        connection.execute(
            sql.SQL("grant execute on function {} to {}").format(
                functions, sql.SQL(", ").join(map(sql.Identifier, who))
            )
        )
        connection.execute(sql.SQL("revoke execute on function {} from public").format(functions))


def ensure_grants(connection: Connection[Any], layers: Mapping[str, Layer], readers: Collection[str]) -> None:
    """Grant the existing roles what they need in this database, and revoke what readers may no longer read.

    PUBLIC loses all rights, even if the roles do not exist. What kpi_reader may read of the tables that exist is left
    to reader_rights.py.
    """
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("revoke all on database {} from public").format(database))
    roles = [role for role in ROLES if _exists(connection, role)]
    for role in roles:
        connection.execute(
            sql.SQL("grant connect, temporary on database {} to {}").format(database, sql.Identifier(role))
        )
    makers = [role for role in MAKERS if may_act_as(connection, role)]
    for role in makers:
        _grant_create(connection, role, [schema for schema, layer in layers.items() if role_of(layer) == role])
    if set(MAKERS) <= set(makers):
        # A build reads slices of raw tables directly. Only future tables get the grant, because existing builds may be
        # dropped at any moment.
        connection.execute(
            sql.SQL("alter default privileges for role {} in schema {} grant select on tables to {}").format(
                *map(sql.Identifier, (LOADER, BUILDS, BUILDER))
            )
        )
    for schema, layer in layers.items():
        owner = role_of(layer) if role_of(layer) in makers else None
        if owner == LOADER and BUILDER in makers:
            _grant_read(connection, BUILDER, schema, owner)
        for role in (each for each in (READER, PII_READER) if each in roles):
            by_table = role == READER and schema in readers
            _grant_read(connection, role, schema, owner, allowed=schema in readers, existing=not by_table)
    _grant_ops(connection, roles)


def _grant_ops(connection: Connection[Any], roles: Collection[str]) -> None:
    """Grant these roles what they may read of ops, and kpi_decider what it may write there."""
    for role in sorted({REVIEWER, DECIDER}.intersection(roles)):
        _grant_read(connection, role, "ops", None)
    if DECIDER in roles:
        _grant_ruling(connection)
    for role in (each for each in (READER, PII_READER) if each in roles):
        _grant_read_ops(connection, role)
    _keep_hashes(connection, {BUILDER, REVIEWER, DECIDER}.intersection(roles))


def _keep_hashes(connection: Connection[Any], roles: Collection[str]) -> None:
    """Revoke reading whom the hashes of erased persons name: only loads need to know."""
    for role in sorted(roles):
        connection.execute(sql.SQL("revoke all on ops.erased_keys from {}").format(sql.Identifier(role)))


def _grant_create(connection: Connection[Any], role: str, schemas: Collection[str]) -> None:
    """Let a role create tables in these schemas and write to ops; it becomes the owner of existing tables there."""
    words = {"role": sql.Identifier(role)}
    for schema in (*schemas, BUILDS):
        connection.execute(
            sql.SQL("grant usage, create on schema {schema} to {role}").format(schema=sql.Identifier(schema), **words)
        )
    for statement in (
        "grant usage on schema ops to {role}",
        "grant select, insert, update on all tables in schema ops to {role}",
        "revoke insert, update on ops.migrations, ops.rulings from {role}",
        "grant delete on ops.locks, ops.mirrors to {role}",
        "grant execute on function ops.prune_growth, ops.prune_batches, ops.prune_stream_objects to {role}",
        "grant execute on function ops.record_rulings, ops.take_ruling to {role}",
        "grant usage on all sequences in schema ops to {role}",
    ):
        connection.execute(sql.SQL(statement).format(**words))
    of_publishes = {kind.relkind for kind in STORAGES.values() if kind.relkind}
    relkinds = sorted({"r", "p", *of_publishes})  # "r" and "p" are of candidates too
    found = connection.execute(
        "select n.nspname, c.relname from pg_class as c "
        "inner join pg_namespace as n on c.relnamespace = n.oid where c.relkind = any(%(relkinds)s) "
        "and c.relowner <> to_regrole(%(role)s) and pg_has_role(c.relowner, 'usage') "
        "and (n.nspname = any(%(schemas)s::text[]) or n.nspname = %(builds)s "
        "and exists (select 1 from unnest(%(schemas)s::text[]) as s where starts_with(c.relname, s || '__')))",
        {"role": role, "schemas": list(schemas), "builds": BUILDS, "relkinds": relkinds},
    ).fetchall()
    for schema, name in found:  # ALTER TABLE changes the owner of views too
        connection.execute(sql.SQL("alter table {} owner to {role}").format(sql.Identifier(schema, name), **words))


def _grant_ruling(connection: Connection[Any]) -> None:
    """Let kpi_decider write rulings, under the lock that builds take too."""
    for statement in (
        "grant insert, update on ops.rulings to {role}",
        "grant insert, update, delete on ops.locks to {role}",
        "grant execute on function ops.record_rulings to {role}",
    ):
        connection.execute(sql.SQL(statement).format(role=sql.Identifier(DECIDER)))


def _grant_read(
    connection: Connection[Any],
    role: str,
    schema: str,
    owner: str | None,
    *,
    allowed: bool = True,
    existing: bool = True,
) -> None:
    """Grant a role, or revoke, reading a schema's tables, the `existing` ones and those that `owner` creates later.

    Without an `owner`, those that this user creates.
    """
    words = {
        "verb": sql.SQL("grant" if allowed else "revoke"),
        "to": sql.SQL("to" if allowed else "from"),
        "schema": sql.Identifier(schema),
        "role": sql.Identifier(role),
        "for_owner": sql.SQL("for role {}").format(sql.Identifier(owner)) if owner else sql.SQL(""),
    }
    for statement in (
        "{verb} usage on schema {schema} {to} {role}",
        *(["{verb} select on all tables in schema {schema} {to} {role}"] if existing else []),
        "alter default privileges {for_owner} in schema {schema} {verb} select on tables {to} {role}",
    ):
        connection.execute(sql.SQL(statement).format(**words))


def _grant_read_ops(connection: Connection[Any], role: str) -> None:
    """Grant a role of readers the columns of ops that FOR_READERS allows, and revoke all others."""
    words = {"reader": sql.Identifier(role)}
    for statement in (
        "grant usage on schema ops to {reader}",
        "alter default privileges in schema ops revoke select on tables from {reader}",
        "revoke select on all tables in schema ops from {reader}",
    ):
        connection.execute(sql.SQL(statement).format(**words))
    rows = connection.execute(
        "select relname, array_agg(attname::text order by attnum) "
        "from pg_attribute inner join pg_class on pg_class.oid = attrelid "
        "where relnamespace = 'ops'::regnamespace and relname = any(%s) and attnum > 0 and not attisdropped "
        "group by relname order by relname",
        [list(FOR_READERS)],
    ).fetchall()
    for table, columns in rows:
        shown = [column for column in columns if column not in FOR_READERS[table]]
        which = (
            sql.SQL("") if shown == columns else sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Identifier, shown)))
        )
        connection.execute(
            sql.SQL("grant select{which} on {table} to {reader}").format(
                which=which, table=sql.Identifier("ops", table), **words
            )
        )


def has_excess_grants(connection: Connection[Any], role: str) -> bool:
    """Return whether a role of readers may read columns of ops that FOR_READERS excludes."""
    kept = [(f"ops.{table}", column) for table, columns in FOR_READERS.items() for column in columns]
    found = connection.execute(
        "select 1 from unnest(%s::text[], %s::text[]) as kept (tab, col) where to_regrole(%s) is not null "
        "and to_regclass(tab) is not null and has_column_privilege(%s, to_regclass(tab), col, 'select')",
        [*map(list, zip(*kept, strict=True)), role, role],
    ).fetchone()
    return found is not None


def _exists(connection: Connection[Any], role: str) -> bool:
    return connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone() is not None


def _limit_connections(connection: Connection[Any], role: str, most: int) -> None:
    """Limit the number of a role's sessions, unless it already has a limit."""
    found = connection.execute("select 1 from pg_roles where rolname = %s and rolconnlimit = -1", [role]).fetchone()
    if found:
        connection.execute(sql.SQL("alter role {} connection limit {}").format(sql.Identifier(role), sql.Literal(most)))


def _set_password(connection: Connection[Any], role: str, password: SecretStr) -> None:
    """Set a password as a hash, because the server may log the statement."""
    secret = connection.pgconn.encrypt_password(password.get_secret_value().encode(), role.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("alter role {} login password {}").format(sql.Identifier(role), sql.Literal(secret.decode()))
    )
