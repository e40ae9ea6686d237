"""Dagster's Postgres storage as this project needs it, and the instance that uses it.

The storage keeps its connections, which makes a run 2.5 times cheaper than one connection for each statement. Commits
of events do not wait for the disk. Planned checks do not change the state of a check. Not here: the text of
dagster.yaml (folder.py).
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
MAX_OVERFLOW = 10  # connections besides the one that is kept, for the threads of the daemon and the web server


class EvaluatedChecksStorage(PostgresEventLogStorage):
    """Dagster's event log, in which only an evaluation changes a check's state, and commits do not wait for the disk.

    A run plans the checks of all its steps when it begins, and Dagster takes the latest row of a check for its state.
    So the checks of tables downstream of a held table would lose their last result without being evaluated.
    """

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event as any SQL storage does. Dagster's class also sends a NOTIFY, to which nothing listens."""
        SqlEventLogStorage.store_event(self, event)

    def store_asset_check_event(self, event: dg.EventLogEntry, event_id: int | None) -> None:
        """Store an evaluation. A planned check stays in the run's own log only."""
        if event.dagster_event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            super().store_asset_check_event(event, event_id)

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Keep connections, and do not wait for the disk at each commit, because a run stores hundreds of events.

        The run storage does wait when it stores a run's status, which also flushes all earlier commits. So a crash of
        the server loses events only of runs that have not ended, and these are closed as failed anyway.
        """
        super().optimize_for_webserver(statement_timeout, pool_recycle, max_overflow)
        sqlalchemy.event.listen(self._engine, "connect", _commit_without_waiting)


def _commit_without_waiting(connection: Any, _record: Any) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("set synchronous_commit = off")


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's storage with pooled connections in every process. Dagster itself pools them in the web server only."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        # This replaces the event log that the base class created, which has already made missing tables.
        self._event_log_storage = EvaluatedChecksStorage(self.postgres_url, should_autocreate_tables=False)
        for storage in (self.run_storage, self.event_log_storage, self.schedule_storage):
            storage.optimize_for_webserver(
                statement_timeout=STATEMENT_TIMEOUT, pool_recycle=POOL_RECYCLE, max_overflow=MAX_OVERFLOW
            )

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Return an empty schema: the URL is not in dagster.yaml, because each process reads it from its settings."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, _config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """Return the storage on the server that the settings name. Raises UserError if they name none."""
        return cls(postgres_url=storage_url(settings()), inst_data=inst_data)


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """Open the instance of this home. Its sessions on the server end with the context.

    Raises UserError if Dagster's database cannot be used.
    """
    try:
        opened = dg.DagsterInstance.get()
    except (DagsterPostgresException, SQLAlchemyError) as error:
        raise UserError(f"{describe_failure(error)}.") from None
    with opened as instance:
        try:
            yield instance
        finally:
            close_pools(instance)


def describe_failure(error: BaseException) -> str | None:
    """Return a sentence without its period if the error is one of Dagster's database, else None."""
    if not isinstance(error, (DagsterPostgresException, SQLAlchemyError)):
        return None
    while cause := error.__cause__ or error.__context__:
        error = cause
    reason = (str(error).split("FATAL:")[-1].strip() or type(error).__name__).splitlines()[0]
    return (
        f"Dagster's database, which keeps the history of runs, cannot be used ({reason}): `kpi doctor` checks it and "
        "the number of sessions that the server allows (max_connections)"
    )
