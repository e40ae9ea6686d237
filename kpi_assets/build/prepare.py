"""Making a pipeline's database ready for builds. Safe to repeat, and cheap when there is nothing to do."""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import Connection
from pydantic import SecretStr

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.ops import runs, schema
from kpi_assets.warehouse import bootstrap
from kpi_assets.warehouse.connection import WarehouseError, connect


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
        raise WarehouseError(
            f"The database {pipeline.name!r} cannot be made ready ({str(error).splitlines()[0]}): KPI_POSTGRES_URL "
            f"must name a server that can be written to, and a user who owns that database or has the roles "
            f"{bootstrap.LOADER} and {bootstrap.BUILDER}."
        ) from error


def _prepare(pipeline: Pipeline, server: SecretStr, reader_password: SecretStr | None, *, as_owner: bool) -> None:
    layers = pipeline.config.layers
    bootstrap.ensure_database(server, pipeline.name)
    bootstrap.ensure_roles(server, reader_password)
    with connect(server, pipeline.name, "prepare") as connection:
        if bootstrap.owns_database(connection):
            with connection.transaction():
                connection.execute("select pg_advisory_xact_lock(hashtext('kpi prepare'))")
                bootstrap.ensure_schemas(connection, layers)
            schema.migrate(connection)
            with connection.transaction():
                connection.execute("select pg_advisory_xact_lock(hashtext('kpi prepare'))")
                bootstrap.ensure_grants(connection, layers, pipeline.config.readers)
        elif as_owner:
            raise WarehouseError(
                f"The database {pipeline.name!r} belongs to somebody else: name its owner in KPI_ADMIN_POSTGRES_URL."
            )
        else:
            _check_prepared(connection, layers)
        runs.close_dead_rows(connection)


def _check_prepared(connection: Connection[Any], schemas: Iterable[str]) -> None:
    """Raise WarehouseError where the database lacks what only its owner may make."""
    missing = bootstrap.missing_schemas(connection, schemas)
    if not missing and not schema.pending(connection):
        return
    lack = f"lacks the schema {missing[0]}" if missing else f"is at version {schema.version(connection)} of ops"
    raise WarehouseError(
        f"The database {connection.info.dbname!r} {lack}, and the user of KPI_POSTGRES_URL may not change that: "
        "have an administrator run `kpi bootstrap`."
    )
