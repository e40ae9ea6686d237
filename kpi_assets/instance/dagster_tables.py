"""The tables of Dagster in which events of runs are, for whoever removes what is left of runs that were deleted.

Not here: which runs are deleted (cli/erase.py), and any import of Dagster.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.instance.folder import storage_url
from kpi_assets.model.names import Relation
from kpi_assets.settings import settings

TABLES = ("event_logs", "runs", "run_tags", "asset_keys", "asset_event_tags", "asset_check_executions")


@contextmanager
def open_tables() -> Iterator[tuple[Connection[Any], list[Relation]]]:
    """Open a session on Dagster's database; yield it and the tables that have events of runs.

    Raises UserError if the database cannot be used.
    """
    url = storage_url(settings()).replace("postgresql+psycopg2:", "postgresql:", 1)
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="kpi erase") as connection:
            [(schema,)] = connection.execute("select current_schema()").fetchall()
            yield connection, [Relation(schema, name) for name in TABLES]
    except psycopg.Error as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"The tables of Dagster could not be written anew without the runs that were deleted ({reason}): give the "
            "command again with --apply."
        ) from error
