"""Making a pipeline's database ready for builds. Safe to repeat, and cheap when there is nothing to do."""

from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.ops import runs, schema
from kpi_assets.warehouse.bootstrap import ensure_database, ensure_reader, ensure_schemas
from kpi_assets.warehouse.connection import connect


def prepare(pipeline: Pipeline, server: SecretStr, reader_password: SecretStr | None = None) -> None:
    """Create the database, its schemas, the ops tables and the readers' role where they are missing.

    Also closes what processes that died left open in the run log. Raises WarehouseError.
    """
    maintenance = str(conninfo_to_dict(server.get_secret_value()).get("dbname") or "postgres")
    ensure_database(server, maintenance, pipeline.name)
    with connect(server, pipeline.name, "prepare") as connection:
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(hashtext('kpi prepare'))")
            ensure_schemas(connection, pipeline.config.layers)
        schema.migrate(connection)
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(hashtext('kpi prepare'))")
            ensure_reader(connection, pipeline.config.readers, reader_password)
        runs.close_dead_rows(connection)
