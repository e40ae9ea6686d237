"""Detects poolers that run each transaction in another session: session locks and settings would be lost.

Belongs here: distinguishing such a pooler from a server, and from a pooler that keeps one session for each client.
Without a pooler the test costs nothing: a server identifies a session by its process id, a pooler by another number.
"""

import select
from typing import Any

import psycopg
from psycopg import Connection

SESSION_TIMEOUT = 3.0  # seconds; a pooler that has no second session keeps the first one for its client


def is_pooled(connection: Connection[Any], pid: int) -> bool:
    """Return whether the connection goes through a pooler; `pid` is the result of pg_backend_pid()."""
    return connection.info.backend_pid != pid


def shares_sessions(connection: Connection[Any], pid: int, conninfo: str, **options: Any) -> bool:
    """Return whether a second client gets the session of `connection`, or `connection` then gets another one.

    Raises psycopg.Error if a second client gets no session at all.
    """
    second = psycopg.connect(conninfo, autocommit=True, connect_timeout=10, **options)
    try:
        answer = _begin_and_get_pid(second)  # in an open transaction, so that no other client gets its session
        if answer in {None, 0, pid}:
            return answer is not None
        return connection.execute("select pg_backend_pid()").fetchone() != (pid,)
    finally:
        second.close()


def _begin_and_get_pid(second: Connection[Any]) -> int | None:
    """Begin a transaction, leave it open, and return the pid of its session; None if there is no session in time.

    Return 0 if transactions are refused, as a pooler does that assigns a session to each statement.
    """
    pgconn, found = second.pgconn, 0
    pgconn.send_query(b"begin; select pg_backend_pid()")
    while True:
        while pgconn.is_busy():
            if not select.select([pgconn.socket], [], [], SESSION_TIMEOUT)[0]:
                return None
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return found
        if result.status == psycopg.pq.ExecStatus.TUPLES_OK:
            found = int(result.get_value(0, 0) or 0)
        elif result.status != psycopg.pq.ExecStatus.COMMAND_OK:
            return 0
