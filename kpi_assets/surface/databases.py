"""Sessions on the pipelines' databases: a bounded pool for each, whose sessions read only and act as kpi_reader.

A pool is opened when its pipeline is first read. When the server does not answer, the pool is dropped, so that the next
request tries anew: it fails at once while the server is away, and succeeds as soon as it is back.

Belongs here: opening, lending and closing sessions. Not here: what is read in them (read/), and when (answer.py).
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout
from pydantic import SecretStr

from kpi_assets.errors import UserError
from kpi_assets.ledger import schema
from kpi_assets.settings import Settings
from kpi_assets.warehouse.connection import WarehouseError, open_session
from kpi_assets.warehouse.provision import READER, has_database

STATEMENT_TIMEOUT = 10  # seconds
LEND_TIMEOUT = 3.0  # seconds to wait for a session
ABSENT = 2.0  # seconds after which it is looked again whether a database that was not there is there now
_READING = {
    # Not `kpi serve`: a publish waits for the snapshots of other programs, and an answer is read in one.
    "application_name": "kpi_serve",
    "statement_timeout": f"{STATEMENT_TIMEOUT}s",
    "idle_in_transaction_session_timeout": "1min",
    "lock_timeout": "5s",
    "work_mem": "64MB",
    "max_parallel_workers_per_gather": "0",  # many readers, few cores
}


class NotPreparedError(UserError):
    """A pipeline has no database yet, or one that this version has not prepared."""


class _Reader(Connection[Any]):
    """A session as `open_session` makes it. The pool calls `connect` as it would call psycopg's."""

    @classmethod
    def connect(cls, conninfo: str = "", **kwargs: Any) -> Connection[Any]:  # type: ignore[override]  # noqa: ARG003
        return open_reader(kwargs["server"], kwargs["database"])


def open_reader(server: SecretStr, database: str) -> Connection[Any]:
    """Open a session that reads only, with the rights of kpi_reader. Raises WarehouseError or NotPreparedError."""
    try:
        connection = open_session(server, database, "serve", role=READER, more=_READING, read_only=True)
    except WarehouseError as error:
        if "does not exist" in str(error) and not has_database(server, database):
            raise NotPreparedError(f"The database {database!r} does not exist yet: `kpi run` creates it.") from None
        raise
    try:
        _check(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: Connection[Any]) -> None:
    [(role,)] = connection.execute("select current_user").fetchall()
    # A server on which nobody may make roles has none: its owner reads with his own rights.
    has_role = connection.execute("select to_regrole(%s)", [READER]).fetchone() != (None,)
    if role != READER and has_role:
        raise WarehouseError(
            f"The login {connection.info.user!r} may not act as kpi_reader, and pages are read with no other rights: "
            f'`grant kpi_reader to "{connection.info.user}"`, or set KPI_SERVE_POSTGRES_URL to a login that may.'
        )
    database = connection.info.dbname
    try:
        missing = schema.pending(connection)
    except psycopg.errors.InsufficientPrivilege:
        missing = [0]
    if missing:
        raise NotPreparedError(
            f"The database {database!r} is not prepared for this version: `kpi run`, `kpi up` or `kpi bootstrap` does "
            "that."
        )


class Databases:
    """The pools, by pipeline. `size` is how many sessions each may have at most. Safe for threads."""

    def __init__(self, settings: Settings, size: int) -> None:
        server = settings.serve_postgres_url or settings.postgres_url
        assert server is not None
        self._server, self._size = server, size
        self._lock = threading.Lock()
        self._pools: dict[str, ConnectionPool[Any]] = {}
        self._absent: dict[str, tuple[float, NotPreparedError]] = {}  # when it was seen, and how

    @contextmanager
    def lend(self, database: str) -> Iterator[Connection[Any]]:
        """Lend a session. Raises WarehouseError if the server does not answer, NotPreparedError if it has no data."""
        pool = self._pool(database)
        try:
            connection = pool.getconn(timeout=LEND_TIMEOUT)
        except (PoolTimeout, PoolClosed):
            self._drop(database, pool)
            open_reader(self._server, database).close()  # says what is wrong, if it still is
            raise WarehouseError(f"No session on {database!r} became free in time.", transient=True) from None
        try:
            yield connection
        finally:
            if not connection.closed and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.close()  # the pool would roll back and warn
            pool.putconn(connection)

    def close(self) -> None:
        """Close all pools."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close(timeout=2)

    def _pool(self, database: str) -> ConnectionPool[Any]:
        found = self._pools.get(database)
        if found is None:
            at, absent = self._absent.get(database, (0.0, None))
            if absent and time.monotonic() - at < ABSENT:
                raise NotPreparedError(str(absent))
            try:
                open_reader(self._server, database).close()  # raises at once what a pool would only try again
            except NotPreparedError as error:
                self._absent[database] = time.monotonic(), error
                raise
            with self._lock:
                found = self._pools.get(database)
                if found is None:
                    found = self._pools[database] = self._open(database)
        return found

    def _open(self, database: str) -> ConnectionPool[Any]:
        return ConnectionPool(
            connection_class=_Reader,
            kwargs={"server": self._server, "database": database},
            min_size=0,
            max_size=self._size,
            timeout=LEND_TIMEOUT,
            max_idle=60,
            max_lifetime=1800,
            reconnect_timeout=0.5,
            num_workers=1,
            name=f"kpi serve {database}",
            check=ConnectionPool.check_connection,
            open=True,
        )

    def _drop(self, database: str, pool: ConnectionPool[Any]) -> None:
        with self._lock:
            if self._pools.get(database) is pool:
                del self._pools[database]
        pool.close(timeout=0)
