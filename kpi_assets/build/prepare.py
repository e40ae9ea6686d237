"""Making a pipeline's database ready for builds. Safe to repeat, and cheap when there is nothing to do."""

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.ops import runs, schema
from kpi_assets.warehouse.bootstrap import ensure_database, ensure_reader, ensure_reader_role, ensure_schemas
from kpi_assets.warehouse.connection import WarehouseError, connect


def prepare(pipeline: Pipeline, server: SecretStr, reader_password: SecretStr | None = None) -> None:
    """Create the database, its schemas, the ops tables and the readers' role where they are missing.

    Also closes what processes that died left open in the run log. Raises WarehouseError.
    """
    try:
        _prepare(pipeline, server, reader_password)
    except psycopg.Error as error:
        raise WarehouseError(
            f"The database {pipeline.name!r} cannot be made ready ({str(error).splitlines()[0]}): KPI_POSTGRES_URL "
            "must name a server that can be written to and a user who may create schemas in that database."
        ) from error


def _prepare(pipeline: Pipeline, server: SecretStr, reader_password: SecretStr | None) -> None:
    maintenance = str(conninfo_to_dict(server.get_secret_value()).get("dbname") or "postgres")
    ensure_database(server, maintenance, pipeline.name)
    ensure_reader_role(server, maintenance, reader_password)
    with connect(server, pipeline.name, "prepare") as connection:
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(hashtext('kpi prepare'))")
            ensure_schemas(connection, pipeline.config.layers)
        schema.migrate(connection)
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(hashtext('kpi prepare'))")
            ensure_reader(connection, pipeline.config.layers, pipeline.config.readers)
        runs.close_dead_rows(connection)
