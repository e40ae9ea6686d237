"""Databases that are copies of one that is ready: a copy takes a third of the time that making one ready takes.

Belongs here: what the shared server of a session is spared, and the copies. Not here: who may use a copy. Tests of how
a database is made ready make theirs the long way (`PipelineHarness.copies`).
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.warehouse.connection import connect

# What keeps data through a power cut. Nobody reads the data of this server after one; a `drop database` waits for the
# disk half a second.
DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")
SCRAM_ITERATIONS, FILE_COPY_METHOD = 160000, 180000  # the versions from which on these can be set
# The template of each shape on each server, with the roles that may connect to it.
_made: dict[Hashable, tuple[str, list[str]]] = {}


def give_up_durability(server: SecretStr) -> None:
    """Let the server wait for no disk, and its superuser log in without thousands of rounds of a hash."""
    password = conninfo_to_dict(server.get_secret_value())["password"]
    with connect(server, "postgres", "test") as session:
        for name in DURABILITY:
            session.execute(sql.SQL("alter system set {} = off").format(sql.Identifier(name)))
        session.execute("select pg_reload_conf()")
        if session.info.server_version >= SCRAM_ITERATIONS:
            session.execute("set scram_iterations = 1")
            session.execute(sql.SQL("alter role current_user password {}").format(sql.Literal(password)))


@contextmanager
def durable(server: SecretStr) -> Iterator[None]:
    """The server as the product starts it, for the time."""
    with connect(server, "postgres", "test") as session:
        for name in DURABILITY:
            session.execute(sql.SQL("alter system reset {}").format(sql.Identifier(name)))
        session.execute("select pg_reload_conf()")
    try:
        yield
    finally:
        give_up_durability(server)


def shape(pipeline: Pipeline) -> Hashable:
    """What a database's schemas and grants follow from."""
    return (tuple(pipeline.config.layers.items()), tuple(pipeline.config.readers))


def copy(pipeline: Pipeline, server: SecretStr) -> bool:
    """Make the pipeline's database as a copy of a ready one.

    False where it is there, and stays as it is, and of a pipeline with live views, which are made with the database.
    """
    if pipeline.live:
        return False
    key = (server.get_secret_value(), shape(pipeline))
    if key not in _made:
        name = f"template_{len(_made) + 1}"
        prepare(replace(pipeline, name=name), server)
        _made[key] = (name, _close(server, name))
    template, roles = _made[key]
    words = {"database": sql.Identifier(pipeline.name), "template": sql.Identifier(template)}
    with connect(server, "postgres", "test") as session:
        if session.info.server_version >= FILE_COPY_METHOD:
            session.execute("set file_copy_method = clone")
        try:
            # As files, not page by page through the log: a fifth of the work.
            session.execute(
                sql.SQL("create database {database} template {template} strategy file_copy").format(**words)
            )
        except psycopg.errors.DuplicateDatabase:
            return False
        session.execute(sql.SQL("revoke all on database {database} from public").format(**words))
        session.execute(
            sql.SQL("grant connect, temporary on database {database} to {roles}").format(
                roles=sql.SQL(", ").join(map(sql.Identifier, roles)), **words
            )
        )
    return True


def _close(server: SecretStr, name: str) -> list[str]:
    """Keep everybody out, also autovacuum: no database in use can be copied. The roles that its copies let in."""
    with connect(server, "postgres", "test") as session:
        session.execute(sql.SQL("alter database {} with allow_connections false").format(sql.Identifier(name)))
        return [role for (role,) in _let_in(session, name)]


def _let_in(session: Connection[Any], name: str) -> list[tuple[str]]:
    return session.execute(
        "select r.rolname::text from pg_database as d cross join aclexplode(d.datacl) with ordinality as a "
        "inner join pg_roles as r on r.oid = a.grantee where d.datname = %s and a.grantee <> d.datdba "
        "group by 1 order by min(a.ordinality)",
        [name],
    ).fetchall()
