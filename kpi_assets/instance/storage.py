"""Dagster's Postgres storage as this project needs it, and the instance on it, opened and ended.

Its connections are kept: one run costs 2.5 times less than with one a statement. Events do not wait for the disk. And a
check that was not evaluated leaves no trace in it. Not here: what dagster.yaml says (folder.py).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
import sqlalchemy
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

from kpi_assets.dagster_internals import ConfigurableClassData, SqlEventLogStorage, UserConfigSchema, close_pools
from kpi_assets.errors import UserError
from kpi_assets.instance.folder import storage_url
from kpi_assets.settings import settings

STATEMENT_TIMEOUT = 60_000  # milliseconds
POOL_RECYCLE = 600  # seconds
MAX_OVERFLOW = 10  # connections beyond the one that is kept, for the threads of the daemon and the web server


class EvaluatedChecksStorage(PostgresEventLogStorage):
    """The stock event log, in which a check's state changes when it is evaluated, and events do not wait for the disk.

    A run plans the checks of all its steps when it begins, and Dagster takes the latest row of a check for its state.
    So the checks of tables behind a held one would lose the verdict of the load_date before, though nobody judged them.
    """

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event as any SQL storage does: the stock one also sends a NOTIFY, which nothing listens to now."""
        SqlEventLogStorage.store_event(self, event)

    def store_asset_check_event(self, event: dg.EventLogEntry, event_id: int | None) -> None:
        """Store an evaluation; what is only planned stays in the run's own log."""
        if event.dagster_event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            super().store_asset_check_event(event, event_id)

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Keep connections, and let none of them wait at each commit: a run stores hundreds of events, one by one.

        The run's status does wait (it is of the run storage), and what was committed before it is on the disk then too.
        So a crash of the server loses the last events of a run that has not ended, which is closed as failed anyway.
        """
        super().optimize_for_webserver(statement_timeout, pool_recycle, max_overflow)
        sqlalchemy.event.listen(self._engine, "connect", _commit_without_waiting)


def _commit_without_waiting(connection: Any, _record: Any) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("set synchronous_commit = off")


class PooledPostgresStorage(DagsterPostgresStorage):
    """The stock storage, told from the start what the web server tells it for itself."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        # The stock one, which this takes the place of, has made the tables where there were none.
        self._event_log_storage = EvaluatedChecksStorage(self.postgres_url, should_autocreate_tables=False)
        for storage in (self.run_storage, self.event_log_storage, self.schedule_storage):
            storage.optimize_for_webserver(
                statement_timeout=STATEMENT_TIMEOUT, pool_recycle=POOL_RECYCLE, max_overflow=MAX_OVERFLOW
            )

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing in dagster.yaml: each process that opens the instance reads the URL from its own settings."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, _config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """The storage on the server that the settings name. Raises UserError where they name none."""
        return cls(postgres_url=storage_url(settings()), inst_data=inst_data)


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The instance of this home; its sessions on the server end with the context.

    Raises UserError where its database cannot be used.
    """
    try:
        opened = dg.DagsterInstance.get()
    except (DagsterPostgresException, SQLAlchemyError) as error:
        raise UserError(f"{why_not(error)}.") from None
    with opened as instance:
        try:
            yield instance
        finally:
            close_pools(instance)


def why_not(error: BaseException) -> str | None:
    """What is the matter with Dagster's database, as a sentence without its end; None where the error is another."""
    if not isinstance(error, (DagsterPostgresException, SQLAlchemyError)):
        return None
    while behind := error.__cause__ or error.__context__:
        error = behind
    reason = (str(error).split("FATAL:")[-1].strip() or type(error).__name__).splitlines()[0]
    return (
        f"Dagster's database, which keeps the history of runs, cannot be used ({reason}): `kpi doctor` looks at it and "
        "at the sessions that the server takes (max_connections)"
    )
