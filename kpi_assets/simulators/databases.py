"""The databases behind the simulated APIs: made once, filled by `kpi sample`, read by the program that answers.

The server's own login makes and fills them. The program has the role ROLE, which may read them and nothing else, so
that it cannot see a warehouse. A statement that changes records, whoever runs it, adds one to `changes.number`: the
program keeps in mind what it counted until that number is another.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from kpi_assets.simulators.api import SimulatedApi
from kpi_assets.simulators.faults import ApiFault

ROLE = "kpi_simulators"
MARK = "simulated API of kpi_assets, 1"  # the comment of a database that is complete
SESSIONS = 16  # of ROLE
# Whatever the defaults of the server are, dates and times are read and written in one form.
OPTIONS = "-c timezone=UTC -c datestyle=ISO,YMD -c search_path=public"


@contextmanager
def connect(server: SecretStr, database: str) -> Iterator[Connection[Any]]:
    """Open a session on a database of the server, in which each statement commits itself."""
    url = make_conninfo(server.get_secret_value(), dbname=database, options=OPTIONS, application_name="kpi simulators")
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        yield connection


def ensure_databases(server: SecretStr, password: SecretStr, apis: Iterable[SimulatedApi]) -> None:
    """Make the role and the databases that are missing, and give the role its password."""
    with connect(server, "postgres") as connection:
        if not connection.execute("select 1 from pg_roles where rolname = %s", [ROLE]).fetchone():
            connection.execute(sql.SQL("create role {} login").format(sql.Identifier(ROLE)))
        hashed = connection.pgconn.encrypt_password(
            password.get_secret_value().encode(), ROLE.encode(), b"scram-sha-256"
        )
        connection.execute(
            sql.SQL("alter role {} connection limit {} password {}").format(
                sql.Identifier(ROLE), sql.Literal(SESSIONS), sql.Literal(hashed.decode())
            )
        )
        query = "select datname, shobj_description(oid, 'pg_database') = %s from pg_database"
        found = dict(connection.execute(query, [MARK]).fetchall())
        for api in apis:
            name = sql.Identifier(api.database)
            if api.database not in found:
                connection.execute(sql.SQL("create database {}").format(name))
            if not found.get(api.database):
                _make_tables(server, api)
                connection.execute(sql.SQL("comment on database {} is {}").format(name, sql.Literal(MARK)))


def _make_tables(server: SecretStr, api: SimulatedApi) -> None:
    words = {
        "database": sql.Identifier(api.database),
        "table": sql.Identifier(api.table),
        "day": sql.Identifier(api.day),
        "key": sql.Identifier(api.key),
        "role": sql.Identifier(ROLE),
        "fields": sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in api.fields.items()
        ),
    }
    with connect(server, api.database) as connection, connection.transaction():
        for statement in (
            "revoke all on database {database} from public",
            "grant connect on database {database} to {role}",
            "create table if not exists {table} "
            "({key} bigint generated always as identity primary key, {day} date not null, {fields})",
            "create index if not exists by_day on {table} ({day}, {key})",
            "create table if not exists changes (number bigint not null)",
            "insert into changes select 1 where not exists (select from changes)",
            "create table if not exists faults "
            "(id bigint generated always as identity primary key, name text not null, number double precision)",
            "create or replace function count_change() returns trigger language plpgsql as "
            "$$ begin update changes set number = number + 1; return null; end $$",
            "create or replace trigger count_change after insert or update or delete or truncate on {table} "
            "execute function count_change()",
            "grant select on {table}, changes, faults to {role}",
        ):
            connection.execute(sql.SQL(statement).format(**words))


def replace_day(connection: Connection[Any], api: SimulatedApi, day: date, blocks: Iterable[bytes]) -> int:
    """Put records in the place of those of a day, all in one transaction; return how many there are.

    The blocks are lines in the text format of COPY: the day, and the values of `api.fields` in their sequence.
    """
    words = {
        "table": sql.Identifier(api.table),
        "day": sql.Identifier(api.day),
        "columns": sql.SQL(", ").join(map(sql.Identifier, (api.day, *api.fields))),
    }
    with connection.transaction():
        connection.execute(sql.SQL("lock table {table} in share row exclusive mode").format(**words))
        connection.execute(sql.SQL("delete from {table} where {day} = %s").format(**words), [day])
        cursor = connection.cursor()
        with cursor.copy(sql.SQL("copy {table} ({columns}) from stdin").format(**words)) as copying:
            for block in blocks:
                copying.write(block)
    return cursor.rowcount


def end_filling(connection: Connection[Any], api: SimulatedApi) -> None:
    """Let the server look at the table, so that it reads pages by the index at once."""
    connection.execute(sql.SQL("analyze {}").format(sql.Identifier(api.table)))


def replace_faults(connection: Connection[Any], faults: Sequence[ApiFault]) -> None:
    """Let the API have these faults, and no others."""
    with connection.transaction():
        connection.execute("delete from faults")
        for fault in faults:
            connection.execute("insert into faults (name, number) values (%s, %s)", [fault.name, fault.number])
