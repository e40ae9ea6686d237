"""Sessions that the tasks of one process use one after another, instead of opening one for each.

A session is lent to one task at a time. When it comes back, its locks are released and its temporary tables dropped, so
that the next task finds it as if it was new, only faster: it is logged in, acts as its role, and knows the tables.

Belongs here: lending, and what makes a session as good as new. Not here: opening one (warehouse/connection.py).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus
from pydantic import SecretStr

from kpi_assets.ledger import locks
from kpi_assets.warehouse.connection import NOTHING, open_session

_Key = tuple[str | None, tuple[tuple[str, str], ...]]  # the role, and the settings


class SharedSessions:
    """The sessions of one process in one database; `close` closes those that are not lent."""

    def __init__(self, server: SecretStr, database: str) -> None:
        self._server, self._database = server, database
        self._idle: dict[_Key, list[Connection[Any]]] = {}
        self._lock = Lock()

    @contextmanager
    def lend(
        self, name: str, *, role: str | None = None, more: Mapping[str, str] = NOTHING
    ) -> Iterator[Connection[Any]]:
        """Lend a session, as `connect` opens one; raises WarehouseError if the server cannot be used.

        After an error the session is closed, because nobody knows what it left behind.
        """
        key = (role, tuple(sorted(more.items())))
        connection = self._take(key, name) or open_session(self._server, self._database, name, role=role, more=more)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._give_back(key, connection)

    def close(self) -> None:
        """Close the sessions that are not lent."""
        with self._lock:
            idle = [each for found in self._idle.values() for each in found]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _take(self, key: _Key, name: str) -> Connection[Any] | None:
        """Return an idle session that still works, with its new name in pg_stat_activity; None if there is none."""
        while True:
            with self._lock:
                found = self._idle.get(key)
                connection = found.pop() if found else None
            if connection is None:
                return None
            try:
                connection.execute("select set_config('application_name', %s, false)", [f"kpi {name}"[:63]])
            except psycopg.Error:  # the server was restarted, or ended the session
                connection.close()
            else:
                return connection

    def _give_back(self, key: _Key, connection: Connection[Any]) -> None:
        """Keep a session for the next task if it can be made as good as new, else close it."""
        if not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                locks.release_all(connection)
                connection.execute("discard temp")
                with self._lock:
                    self._idle.setdefault(key, []).append(connection)
                return
        connection.close()
