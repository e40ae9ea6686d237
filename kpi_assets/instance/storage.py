"""Dagster's Postgres storage as this project needs it, and the instance that uses it.

The storage keeps its connections, which makes a run 2.5 times cheaper than one connection for each statement. Commits
of events do not wait for the disk. Planned checks do not change the state of a check. A run in the process of a command
stores many events with one statement. Not here: the text of dagster.yaml (folder.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from threading import Lock
from typing import Any

import dagster as dg
import sqlalchemy
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from kpi_assets.dagster_internals import (
    CheckState,
    CheckStateTable,
    ConfigurableClassData,
    EventLogTable,
    SqlEventLogStorage,
    UserConfigSchema,
    close_pools,
)
from kpi_assets.errors import UserError
from kpi_assets.instance.folder import storage_url
from kpi_assets.settings import settings

STATEMENT_TIMEOUT = 60_000  # milliseconds
POOL_RECYCLE = 600  # seconds
MAX_OVERFLOW = 10  # connections besides the one that is kept, for the threads of the daemon and the web server
KEY_OF_STATE = ("asset_key", "check_name", "run_id", "partition")  # unique in Dagster's table of the states of checks


class EvaluatedChecksStorage(PostgresEventLogStorage):
    """Dagster's event log, in which only an evaluation changes a check's state, and commits do not wait for the disk.

    A run plans the checks of all its steps when it begins, and Dagster takes the latest row of a check for its state.
    So the checks of tables downstream of a held table would lose their last result without being evaluated.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.pooled: Sequence[Any] = [self]  # the storages whose sessions end when the instance is disposed of
        self._in_batches = False
        self._waiting: list[dg.EventLogEntry] = []
        self._taking = Lock()
        self._found: set[str] = set()  # tables, and columns of the table of asset keys

    @contextmanager
    def in_batches(self) -> Iterator[None]:
        """Within the context, store the many events of outputs and checks together, and not with a statement for each.

        They wait until another event comes, or until this process reads the storage. So none waits longer than its step
        or the beginning of its run takes. A process that is killed while some wait loses no more than a run that ends
        there: their tables are published, and the ledger has the results.
        """
        self._in_batches = True
        try:
            yield
        finally:
            self._in_batches = False
            self._store_waiting()

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event as any SQL storage does. Dagster's class also sends a NOTIFY, to which nothing listens."""
        if self._in_batches and _may_wait(event):
            with self._taking:
                self._waiting.append(event)
            return
        self._store_waiting()
        SqlEventLogStorage.store_event(self, event)

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[Any]:
        """Return a connection to the events of a run, after those that wait were stored."""
        self._store_waiting()
        return super().run_connection(run_id)

    def index_connection(self) -> AbstractContextManager[Any]:
        """Return a connection to the events of all runs, after those that wait were stored."""
        self._store_waiting()
        return super().index_connection()

    def _store_waiting(self) -> None:
        """Store the events that wait, in their order."""
        with self._taking:
            events = [*self._waiting]
            self._waiting.clear()
        if not events:
            return
        try:
            self._store_together(events)
        except SQLAlchemyError:  # such as a connection that was lost since the last event
            for event in events:
                SqlEventLogStorage.store_event(self, event)
        except BaseException:
            with self._taking:
                self._waiting[:0] = events  # the run was stopped meanwhile, and its last events are stored after them
            raise

    def _store_together(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events, and the evaluations among them as the states of their checks, all or none."""
        rows = [self._event_to_row(event) for event in events]
        insert = EventLogTable.insert().returning(EventLogTable.c.id, sort_by_parameter_order=True)
        with self.index_transaction() as connection:
            ids = connection.execute(insert, rows).scalars().all()
            states = [
                _check_state(event, row, event_id)
                for event, row, event_id in zip(events, rows, ids, strict=True)
                if event.dagster_event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
            ]
            if states:
                put = postgresql.insert(CheckStateTable)
                changed = {name: put.excluded[name] for name in states[0] if name not in KEY_OF_STATE}
                connection.execute(put.on_conflict_do_update(index_elements=KEY_OF_STATE, set_=changed), states)

    def has_table(self, table_name: str) -> bool:
        """Whether there is a table. Dagster asks before many statements, so it is looked up until it is there."""
        return self._look_up(table_name, partial(super().has_table, table_name))

    def has_asset_key_col(self, column_name: str) -> bool:
        """Whether the table of asset keys has a column, which is looked up until it is there."""
        return self._look_up(f"asset_keys.{column_name}", partial(super().has_asset_key_col, column_name))

    def _look_up(self, name: str, is_there: Callable[[], bool]) -> bool:
        if name not in self._found and is_there():
            self._found.add(name)
        return name in self._found

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

    def dispose(self) -> None:
        """End the sessions of the instance: a code server opens an instance for each tick of a sensor."""
        super().dispose()
        close_pools(self.pooled)


def _may_wait(event: dg.EventLogEntry) -> bool:
    """Whether an event may be stored together with others: of a check that is evaluated only with its partition.

    Postgres takes two states of a check without one for different.
    """
    kind = event.dagster_event_type
    if kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return bool(event.run_id and event.get_dagster_event().asset_check_evaluation_data.partition)
    return kind in {dg.DagsterEventType.STEP_OUTPUT, dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED}


def _check_state(event: dg.EventLogEntry, row: Mapping[str, Any], event_id: int) -> dict[str, Any]:
    """Return the row that Dagster stores as the state of a check, from the row of its evaluation in the event log."""
    evaluation = event.get_dagster_event().asset_check_evaluation_data
    target = evaluation.target_materialization_data
    state = CheckState.SUCCEEDED if evaluation.passed else CheckState.FAILED
    return {
        "asset_key": evaluation.asset_key.to_string(),
        "check_name": evaluation.check_name,
        "run_id": event.run_id,
        "partition": evaluation.partition,
        "execution_status": state.value,
        "evaluation_event": row["event"],
        "evaluation_event_timestamp": row["timestamp"],
        "evaluation_event_storage_id": event_id,
        "materialization_event_storage_id": target.storage_id if target else None,
    }


def _commit_without_waiting(connection: Any, _record: Any) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("set synchronous_commit = off")


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's storage with pooled connections in every process. Dagster itself pools them in the web server only."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        # This replaces the event log that the base class created, which has already made missing tables.
        self._event_log_storage = EvaluatedChecksStorage(self.postgres_url, should_autocreate_tables=False)
        self._event_log_storage.pooled = (self.run_storage, self.event_log_storage, self.schedule_storage)
        for storage in self._event_log_storage.pooled:
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
def events_in_batches(instance: dg.DagsterInstance) -> Iterator[None]:
    """Store events as EvaluatedChecksStorage.in_batches does; the storage of somebody's own dagster.yaml does not."""
    storage = instance.event_log_storage
    with storage.in_batches() if isinstance(storage, EvaluatedChecksStorage) else nullcontext():
        yield


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
        yield instance


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
