"""The warehouse server and the database of each pipeline, examined with the login of KPI_POSTGRES_URL."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from pydantic import SecretStr

from kpi_assets.doctor.content import content
from kpi_assets.doctor.finding import Finding, advice, broken, clock, errors_as_findings, ok
from kpi_assets.ledger import locks, schema
from kpi_assets.materialize.drop import published_tables
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.pipeline_config import TAKEN_DATABASES
from kpi_assets.monitoring import freshness
from kpi_assets.warehouse import pooler, provision, reader_rights
from kpi_assets.warehouse.connection import WarehouseError, connect, may_act_as, own_database
from kpi_assets.warehouse.provision import BUILDER, LOADER, MAKERS, PII_READER, READER, ROLES

SUBJECT = "warehouse"
FAST_QUARANTINE = 160000  # version of the server
IDLE_ON_LAKE = 6 * 3600.0  # the same where it waits for an engine, as long as one statement there may take
IDLE = 900.0  # seconds after which a session that holds locks and does nothing may have lost its client
FREE_CONNECTIONS = (10, 30)  # broken below, advice below: for builds and for the pools of Dagster's processes
ADMINISTRATOR = "have an administrator run `kpi bootstrap`"


def server(url: SecretStr, pipelines: Collection[Pipeline], *, embedded: bool, deep: bool = False) -> Iterator[Finding]:
    """Examine the server, its settings and roles, then each pipeline's database; if `deep`, all its published rows."""

    def examine() -> Iterator[Finding]:
        with connect(url, own_database(url), "doctor", read_only=True) as connection:
            yield from _server(connection)
            yield from _settings(connection)
            login = _login(connection)
            yield from _roles(connection, login, embedded=embedded)
            if not embedded:  # on the embedded server the next command revokes these rights
                yield from _open_databases(connection, pipelines)
            found = connection.execute("select datname from pg_database").fetchall()
        for pipeline in pipelines:
            subject = f"database {pipeline.name}"
            if (pipeline.name,) in found:
                yield from errors_as_findings(subject, lambda pipeline=pipeline: _database(url, pipeline, deep=deep))  # type: ignore[misc]
            elif login.may_create_databases:
                yield ok(subject, "it does not exist yet: the first command that needs it creates it")
            else:
                yield broken(subject, f"it does not exist: {ADMINISTRATOR}")
        known = {pipeline.name for pipeline in pipelines} | set(TAKEN_DATABASES)
        for name in sorted({name for (name,) in found} - known):
            with suppress(WarehouseError):  # a database of others that this login may not enter
                yield from _abandoned(url, name)

    yield from errors_as_findings(SUBJECT, examine)


def _server(connection: Connection[Any]) -> Iterator[Finding]:
    facts = "select pg_is_in_recovery(), clock_timestamp(), current_user, pg_backend_pid()"
    row = connection.execute(facts).fetchone()
    assert row is not None
    standby, now, user, pid = row
    number = connection.info.server_version
    text = f"PostgreSQL {number // 10000}.{number % 10000} at {connection.info.host}:{connection.info.port}, as {user}"
    if pooler.is_pooled(connection, pid):
        text += ", through a pooler that keeps a session for each client"
    if standby:
        yield broken(SUBJECT, f"{text}: it is a standby and takes no writes: name the primary in KPI_POSTGRES_URL")
    elif number < FAST_QUARANTINE:
        yield advice(SUBJECT, f"{text}: PostgreSQL 16 and later find unreadable records many times faster")
    else:
        yield ok(SUBJECT, text)
    yield clock(SUBJECT, now)


def _settings(connection: Connection[Any]) -> Iterator[Finding]:
    rows = connection.execute(
        "select name, case unit when 'MB' then setting::bigint else 0 end, setting from pg_settings "
        "where name in ('max_wal_size', 'fsync', 'full_page_writes', 'autovacuum')"
    ).fetchall()
    megabytes, values = {name: size for name, size, _ in rows}, {name: value for name, _, value in rows}
    wanting = [
        f"{name} = on ({why})"
        for name, why in (
            ("fsync", "a power cut loses what was published"),
            ("full_page_writes", "a power cut may damage tables"),
            ("autovacuum", "ops becomes slow"),
        )
        if values[name] == "off"
    ]
    if megabytes["max_wal_size"] < 1024:
        wanting.append("max_wal_size = 4GB (a load forces one checkpoint after another)")
    subject = "warehouse settings"
    if wanting:
        yield advice(subject, f"set {', '.join(wanting)}")
    else:
        yield ok(subject, "durable, and large enough for loads")
    row = connection.execute(
        "select current_setting('max_connections')::int, count(*) from pg_stat_activity "
        "where backend_type = 'client backend'"
    ).fetchone()
    assert row is not None
    most, used = row
    free = most - used
    text = f"{free} of {most} connections are free"
    if free >= FREE_CONNECTIONS[1]:
        yield ok(subject, text)
    else:
        text += ": raise max_connections to 100, or end sessions that nobody needs"
        yield advice(subject, text) if free >= FREE_CONNECTIONS[0] else broken(subject, text)


@dataclass(frozen=True)
class _Login:
    """The login of KPI_POSTGRES_URL, and what it may do on the whole server."""

    name: str
    is_superuser: bool
    may_create_roles: bool
    may_create_databases: bool


def _login(connection: Connection[Any]) -> _Login:
    with connection.cursor(row_factory=class_row(_Login)) as cursor:
        found = cursor.execute(
            "select rolname as name, rolsuper as is_superuser, rolsuper or rolcreaterole as may_create_roles, "
            "rolsuper or rolcreatedb as may_create_databases from pg_roles where rolname = current_user"
        ).fetchone()
    assert found is not None
    return found


def _roles(connection: Connection[Any], login: _Login, *, embedded: bool) -> Iterator[Finding]:
    known = {name for (name,) in connection.execute("select rolname from pg_roles").fetchall()}
    missing = [role for role in ROLES if role not in known]
    if missing:
        text = f"these do not exist yet: {', '.join(missing)}"
        if login.may_create_roles:
            yield ok("roles", f"{text}; the first command that needs them creates them")
        else:
            yield advice("roles", f"{text}; {ADMINISTRATOR}, or only this login can read what is published")
    else:
        yield ok("roles", f"{', '.join(ROLES)} exist")
    if not embedded and login.is_superuser:
        yield advice(
            "login",
            f"{login.name} is a superuser: set KPI_ADMIN_POSTGRES_URL to this URL and KPI_POSTGRES_URL to that of a "
            f"new login, and run `kpi bootstrap`, which creates it with {LOADER} and {BUILDER} only",
        )


def _open_databases(connection: Connection[Any], pipelines: Collection[Pipeline]) -> Iterator[Finding]:
    """Find the databases of others that kpi_reader may connect to, on a server that is not embedded."""
    ours = {pipeline.name for pipeline in pipelines}
    others = [name for name in provision.open_databases(connection) if name not in ours]
    if others:
        names = ", ".join(others)
        yield advice(
            "roles",
            f"{READER} may also connect to the databases {names}, as everybody may: run `revoke connect on database "
            "... from public` there if nobody needs that",
        )


def _abandoned(url: SecretStr, name: str) -> Iterator[Finding]:
    """Find a database of a pipeline whose folder is gone."""
    with connect(url, name, "doctor", read_only=True) as connection:
        if (
            connection.execute("select to_regclass('ops.published'), to_regclass('ops.alerts')").fetchone()
            == (None,) * 2
        ):
            return
        tables = len(published_tables(connection))
        [(incidents,)] = connection.execute("select count(*) from ops.alerts where closed_at is null").fetchall()
        yield advice(
            f"database {name}",
            f"no folder below KPI_SQL_DIR describes it any more; it has {tables} published tables and {incidents} open "
            "incidents: put the folder back, or drop the database",
        )


def _database(url: SecretStr, pipeline: Pipeline, *, deep: bool) -> Iterator[Finding]:
    subject = f"database {pipeline.name}"
    with connect(url, pipeline.name, "doctor", read_only=True) as connection:
        encoding = connection.execute("select current_setting('server_encoding')").fetchone()
        if encoding != ("UTF8",):
            yield broken(
                subject, f"its encoding is {encoding and encoding[0]}: drop it, and let `kpi bootstrap` create it"
            )
            return
        owner = provision.owns_database(connection)
        mend = "the next command that needs it sets this up" if owner else ADMINISTRATOR
        missing = provision.missing_schemas(connection, pipeline.config.layers)
        if missing:
            yield _unprepared(subject, f"lacks the schemas {', '.join(missing)}: {mend}", owner=owner)
            if "ops" in missing or schema.pending(connection):
                return  # otherwise everything published there would be reported as lost
        held = [role for role in MAKERS if may_act_as(connection, role)]
        if not owner and len(held) < len(MAKERS):
            lacking = " and ".join(role for role in MAKERS if role not in held)
            yield broken(subject, f"{connection.info.user} lacks {lacking}: {ADMINISTRATOR}, or grant it")
            return
        yield from _writable(url, pipeline, subject)
        yield from _ops(connection, subject, mend, owner=owner)
        if not missing:
            yield from _readers(connection, pipeline, subject, mend, owner=owner)
        if not schema.pending(connection):
            yield from _idle(connection, pipeline, subject)
            yield from content(connection, pipeline, subject, deep=deep)
            for late in freshness.late(connection, pipeline):
                yield advice(subject, f"{late.sentence}: `kpi plan {pipeline.name}` says what is not published")


def _writable(url: SecretStr, pipeline: Pipeline, subject: str) -> Iterator[Finding]:
    """Find out whether the database takes writes."""
    try:
        with connect(url, pipeline.name, "doctor"):
            pass
    except WarehouseError as error:
        yield broken(subject, str(error).removesuffix("."))


def _idle(connection: Connection[Any], pipeline: Pipeline, subject: str) -> Iterator[Finding]:
    """Find locks whose owner may be gone although its session is still open."""
    longest = IDLE_ON_LAKE if pipeline.lake_tables else IDLE
    for holder in locks.idle_holders(connection, longest):
        yield advice(
            subject,
            f"{holder} holds the lock {holder.name!r} and has done nothing for {longest / 60:.0f} minutes: if its "
            f"process is gone, free it with `select pg_terminate_backend({holder.pid})`",
        )


def _unprepared(subject: str, text: str, *, owner: bool) -> Finding:
    """Return a finding that is ok if this login owns the database, because the next command then mends it."""
    return ok(subject, text) if owner else broken(subject, text)


def _ops(connection: Connection[Any], subject: str, mend: str, *, owner: bool) -> Iterator[Finding]:
    pending, current = schema.pending(connection), schema.version(connection)
    if pending:
        numbers = ", ".join(map(str, pending))
        yield _unprepared(
            subject, f"ops is at version {current}, migrations {numbers} are pending: {mend}", owner=owner
        )
    else:
        yield ok(subject, f"ops is at version {current}, the newest")


def _readers(
    connection: Connection[Any], pipeline: Pipeline, subject: str, mend: str, *, owner: bool
) -> Iterator[Finding]:
    for role in (READER, PII_READER):
        rows = connection.execute(
            "select s from unnest(%s::text[]) as s where to_regrole(%s) is not null and "
            "has_schema_privilege(%s, s, 'usage') is distinct from (s = any(%s::text[]))",
            [[*pipeline.config.layers, "ops"], role, role, [*pipeline.config.readers, "ops"]],
        ).fetchall()
        if ("ops",) not in rows and provision.has_excess_grants(connection, role):
            rows.append(("ops",))
        if rows:
            schemas = ", ".join(name for (name,) in rows)
            text = f"what {role} may read of {schemas} is not what pipeline.yaml says: {mend}"
            yield _unprepared(subject, text, owner=owner)
    for found in reader_rights.find_mismatches(connection, pipeline.tables.values(), pipeline.config.readers):
        yield _unprepared(subject, f"{found}: {mend}", owner=owner)
