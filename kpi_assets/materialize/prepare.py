"""Making a pipeline's database ready for builds. Safe to repeat, and cheap when there is nothing to do."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import Connection
from pydantic import SecretStr

from kpi_assets.ledger import runs, schema
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.warehouse import provision
from kpi_assets.warehouse.connection import WarehouseError, connect
from kpi_assets.warehouse.refusal import cure_of


def prepare(
    pipeline: Pipeline, server: SecretStr, reader_password: SecretStr | None = None, *, as_owner: bool = False
) -> None:
    """Create the database, its schemas, the ops tables and the roles where they are missing.

    A user who does not own the database only makes sure that its owner did so, or is refused where `as_owner` is set.
    Also closes what processes that died left open in the run log. Raises WarehouseError.
    """
    try:
        _prepare(pipeline, server, reader_password, as_owner=as_owner)
    except psycopg.Error as error:
        cure = cure_of(error) or (
            f"KPI_POSTGRES_URL must name a user who owns that database or has the roles {provision.LOADER} and "
            f"{provision.BUILDER}"
        )
        reason = str(error).splitlines()[0]
        raise WarehouseError(f"The database {pipeline.name!r} cannot be made ready ({reason}): {cure}.") from error


def look(pipeline: Pipeline, server: SecretStr) -> None:
    """Make sure that the database can be read as it is: nothing in it is made or changed.

    What processes that died left open is closed, where this user may. Raises WarehouseError where the database is
    missing, or not as this version of kpi_assets knows it.
    """
    with connect(server, pipeline.name, "look", reads=True) as connection:
        lack = _lack(connection, ())  # where a layer is gone, what was published in it is told as lost
    if lack:
        raise WarehouseError(f"The database {pipeline.name!r} {lack}: `kpi bootstrap` brings it up to date.")
    with (
        suppress(WarehouseError, psycopg.errors.InsufficientPrivilege),  # a server that takes no writes; a reader
        connect(server, pipeline.name, "look") as connection,
    ):
        runs.close_dead_rows(connection)


def _prepare(pipeline: Pipeline, server: SecretStr, reader_password: SecretStr | None, *, as_owner: bool) -> None:
    layers = pipeline.config.layers
    provision.ensure_database(server, pipeline.name)
    with connect(server, pipeline.name, "prepare") as connection:
        provision.ensure_roles(server, reader_password)
        if provision.owns_database(connection):
            with schema.in_turn(connection):
                provision.ensure_schemas(connection, layers)
            schema.migrate(connection)
            with schema.in_turn(connection):
                provision.ensure_grants(connection, layers, pipeline.config.readers)
                if reader_password is not None:  # a server of ours alone
                    provision.ensure_advisory_locks_are_ours(connection)
        elif as_owner:
            raise WarehouseError(
                f"The database {pipeline.name!r} belongs to somebody else: name its owner in KPI_ADMIN_POSTGRES_URL."
            )
        else:
            _check_prepared(connection, layers)
        runs.close_dead_rows(connection)


def _check_prepared(connection: Connection[Any], schemas: Iterable[str]) -> None:
    """Raise WarehouseError where the database lacks what only its owner may make."""
    if lack := _lack(connection, schemas):
        raise WarehouseError(
            f"The database {connection.info.dbname!r} {lack}, and the user of KPI_POSTGRES_URL may not change that: "
            "have an administrator run `kpi bootstrap`."
        )


def _lack(connection: Connection[Any], schemas: Iterable[str]) -> str:
    """What the database lacks of what its owner makes; empty where that is nothing."""
    if missing := provision.missing_schemas(connection, schemas):
        return f"lacks the schema {missing[0]}"
    return f"is at version {schema.version(connection)} of ops" if schema.pending(connection) else ""
