"""Files of Dagster's tables written anew, so that nothing of runs that were deleted is left in them.

Not here: which runs are deleted (cli/erase.py), and any import of Dagster.
"""

import psycopg

from kpi_assets.errors import UserError
from kpi_assets.instance.folder import storage_url
from kpi_assets.model.names import Relation
from kpi_assets.settings import settings
from kpi_assets.warehouse import files_anew

TABLES = ("event_logs", "runs", "run_tags", "asset_keys", "asset_event_tags", "asset_check_executions")
LOCK_TIMEOUT = "60s"  # for services of Dagster that are at work


def write_files_anew() -> list[str]:
    """Write the files of the tables that have events of runs anew; return those that this user may not.

    Raises UserError.
    """
    url = storage_url(settings()).replace("postgresql+psycopg2:", "postgresql:", 1)
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="kpi erase") as connection:
            connection.execute("select set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
            [(schema,)] = connection.execute("select current_schema()").fetchall()
            tables = [Relation(schema, name) for name in TABLES]
            refused = [f"{each.table} of Dagster" for each in tables if not files_anew.write_anew(connection, each)]
            return refused if files_anew.statistics_anew(connection) else [*refused, "pg_statistic of Dagster"]
    except psycopg.Error as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"The tables of Dagster could not be written anew without the runs that were deleted ({reason}): give the "
            "command again with --apply, if need be while `kpi up` does not run."
        ) from error
