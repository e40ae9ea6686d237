"""Making a pipeline's database ready: the database itself, its schemas, and who may do what there. Safe to repeat.

Four roles of the whole server, to be granted to logins:
  kpi_loader    makes and replaces the tables of the raw layer.
  kpi_builder   makes and replaces those of the other layers; reads raw, and its builds.
  kpi_reader    reads the schemas that pipeline.yaml lists as readers, and of ops what quotes no delivered value.
  kpi_reviewer  reads all of ops: records that were set aside, samples of bad rows, and errors that quote them.
The first two write what ops records, and delete nothing there but locks. A build acts as the role of its table's layer:
so the table belongs to the role, any login that has the role can replace it, and a marts file cannot touch a raw table.
Not here: the tables, which come with their first publish (tables.py), and the ops schema's content (ledger/schema.py).
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
from kpi_assets.model.pipeline import Layer
from kpi_assets.warehouse.connection import WarehouseError, connect, may_act_as, own_database

BUILDS = "builds"  # the schema in which every build lies, attached to its table once it is published
LOADER, BUILDER, READER, REVIEWER = "kpi_loader", "kpi_builder", "kpi_reader", "kpi_reviewer"
MAKERS = (LOADER, BUILDER)
READER_CONNECTIONS = 50  # of the 100 of a server of ours: the others are for runs
ROLES = (*MAKERS, READER, REVIEWER)
# What kpi_reader reads of ops, with the columns that it does not: what was delivered and failed may be quoted in them.
FOR_READERS: Mapping[str, Collection[str]] = {
    "alert_deliveries": ("last_error",),
    "alerts": ("details",),
    "data_quality_results": ("samples", "message"),
    "holds": (),
    "manifests": (),
    "migrations": (),
    "pipeline_runs": ("error_message",),
    "published": (),
    "publishes": (),
    "quarantine": ("record", "value", "reason"),
    "requests": (),
}
# Of two sessions that change one role at once, one is told this, and has to come again.
_AT_ONCE = (psycopg.errors.InternalError_, psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject)
_ATTEMPTS = 20


def role_of(layer: Layer) -> str:
    """The role under which the tables of a layer are made."""
    return LOADER if layer == "raw" else BUILDER


def has_database(server: SecretStr, database: str) -> bool:
    """Whether the server has a database. Raises WarehouseError."""
    with connect(server, own_database(server), "look", reads=True) as connection:
        return _has_database(connection, database)


def _has_database(connection: Connection[Any], database: str) -> bool:
    return connection.execute("select 1 from pg_database where datname = %s", [database]).fetchone() is not None


def ensure_database(server: SecretStr, database: str) -> None:
    """Create the database where it is missing. Raises WarehouseError where the user may not."""
    with connect(server, own_database(server), "bootstrap") as connection:
        if _has_database(connection, database):
            return
        try:
            connection.execute(
                sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(database))
            )
            revoke = sql.SQL("revoke all on database {} from public").format(sql.Identifier(database))
            _in_turn(connection, lambda session: session.execute(revoke))  # ensure_roles revokes it too
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
    """Make the roles; with a password, which a server of ours alone has, kpi_reader may log in.

    There nobody enters a database either who was not let in by name. A user without the right to create roles leaves
    that to an administrator.
    """

    def make(connection: Connection[Any]) -> None:
        for role in ROLES:
            if not _exists(connection, role):
                with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                    connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
                    if not may_act_as(connection, role):  # who may create roles has them only once they are granted
                        connection.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))
        if reader_password is not None:  # a server of ours alone
            _set_password(connection, READER, reader_password)
            _limit_connections(connection, READER, READER_CONNECTIONS)
            for database in open_databases(connection):
                connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(database)))

    with connect(server, own_database(server), "bootstrap") as connection:
        _in_turn(connection, make)


def open_databases(connection: Connection[Any]) -> list[str]:
    """The databases that let everybody in."""
    rows = connection.execute(
        "select datname from pg_database where datallowconn and has_database_privilege('public', oid, 'connect') "
        "order by 1"
    ).fetchall()
    return [name for (name,) in rows]


def _in_turn(connection: Connection[Any], change: Callable[[Connection[Any]], object]) -> None:
    """Change roles in a transaction, and come again where another session changed them at the same time.

    Roles belong to the whole server, and it has no lock that everybody who may connect could not take too.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with connection.transaction():
                change(connection)
        except _AT_ONCE:
            if attempt + 1 == _ATTEMPTS:
                raise
            time.sleep(random.uniform(0.01, 0.1))  # noqa: S311  not a secret
        else:
            return


def ensure_login(server: SecretStr, login: str, password: SecretStr | None) -> None:
    """Make a login that has kpi_loader and kpi_builder, or give them to the one that is there, and set its password.

    Raises WarehouseError where the user of `server` may not.
    """
    name = sql.Identifier(login)

    def make(connection: Connection[Any]) -> None:
        if not _exists(connection, login):
            connection.execute(sql.SQL("create role {} login").format(name))
        if password is not None:
            _set_password(connection, login, password)
        connection.execute(sql.SQL("grant {}, {} to {}").format(*map(sql.Identifier, MAKERS), name))

    with connect(server, own_database(server), "bootstrap") as connection:
        try:
            _in_turn(connection, make)
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


def ensure_advisory_locks_are_ours(connection: Connection[Any]) -> None:
    """Let nobody but the roles that build take advisory locks in this database: whoever may, can fill the lock table.

    Only a superuser may do this, so it is for a server of ours. Nothing changes where it was done before.
    """
    found = connection.execute(
        "select p.proname, array(select t.typname::text from unnest(p.proargtypes) with ordinality as a (type, n) "
        "inner join pg_type as t on t.oid = a.type order by a.n) "
        "from pg_proc as p where p.pronamespace = 'pg_catalog'::regnamespace "
        "and (starts_with(p.proname, 'pg_advisory_') or starts_with(p.proname, 'pg_try_advisory_')) "
        "and exists (select 1 from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0) "
        "order by 1, 2"
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
    makers = sql.SQL(", ").join(map(sql.Identifier, MAKERS))
    with connection.transaction():
        connection.execute(sql.SQL("grant execute on function {} to {}").format(functions, makers))
        connection.execute(sql.SQL("revoke execute on function {} from public").format(functions))


def ensure_grants(connection: Connection[Any], layers: Mapping[str, Layer], readers: Collection[str]) -> None:
    """Give the roles that exist what they need in this database, and take from kpi_reader what it no longer may.

    Everybody else is shut out, whether or not the roles exist.
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
    if REVIEWER in roles:
        _let_read(connection, REVIEWER, "ops", None)
    if READER in roles:
        _let_read_ops(connection)


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
        "grant delete on ops.locks to {role}",
        "grant usage on all sequences in schema ops to {role}",
    ):
        connection.execute(sql.SQL(statement).format(**words))
    relkinds = sorted({"r", "p", *(kind.relkind for kind in STORAGES.values())})  # of builds, and of what is published
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


def _let_read_ops(connection: Connection[Any]) -> None:
    """Let kpi_reader read of ops what FOR_READERS says, and no more, whatever it was granted before."""
    words = {"reader": sql.Identifier(READER)}
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


def reads_too_much(connection: Connection[Any]) -> bool:
    """Whether kpi_reader may read columns of ops that FOR_READERS keeps from it."""
    kept = [(f"ops.{table}", column) for table, columns in FOR_READERS.items() for column in columns]
    found = connection.execute(
        "select 1 from unnest(%s::text[], %s::text[]) as kept (tab, col) where to_regrole(%s) is not null "
        "and to_regclass(tab) is not null and has_column_privilege(%s, to_regclass(tab), col, 'select')",
        [*map(list, zip(*kept, strict=True)), READER, READER],
    ).fetchone()
    return found is not None


def _exists(connection: Connection[Any], role: str) -> bool:
    return connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone() is not None


def _limit_connections(connection: Connection[Any], role: str, most: int) -> None:
    """Limit a role's sessions, unless somebody set a limit already."""
    found = connection.execute("select 1 from pg_roles where rolname = %s and rolconnlimit = -1", [role]).fetchone()
    if found:
        connection.execute(sql.SQL("alter role {} connection limit {}").format(sql.Identifier(role), sql.Literal(most)))


def _set_password(connection: Connection[Any], role: str, password: SecretStr) -> None:
    """Set a password by its hash: the server may log the statement."""
    secret = connection.pgconn.encrypt_password(password.get_secret_value().encode(), role.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("alter role {} login password {}").format(sql.Identifier(role), sql.Literal(secret.decode()))
    )
