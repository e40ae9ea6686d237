"""Poolers between us and the server: one that hands each transaction to another session takes our locks and settings.

Belongs here: telling such a pooler from a server, and from one that keeps a session for each client. It costs nothing
where the server itself answers: that names a session by the number of its process, and a pooler by one of its own.
"""

import select
from typing import Any

import psycopg
from psycopg import Connection

PATIENCE = 3.0  # seconds for a second session; a pooler that has none left keeps the first one for its client


def is_pooled(connection: Connection[Any], pid: int) -> bool:
    """Whether a pooler answers; `pid` is what the server calls its process, pg_backend_pid()."""
    return connection.info.backend_pid != pid


def shares_sessions(connection: Connection[Any], pid: int, conninfo: str, **options: Any) -> bool:
    """Whether a second client is given the session of `connection`, or this one another after it.

    Raises psycopg.Error where a second client gets no session at all.
    """
    second = psycopg.connect(conninfo, autocommit=True, connect_timeout=10, **options)
    try:
        answer = _ask(second)  # in a transaction, which keeps its session from everybody else
        if answer in {None, 0, pid}:
            return answer is not None
        return connection.execute("select pg_backend_pid()").fetchone() != (pid,)
    finally:
        second.close()


def _ask(second: Connection[Any]) -> int | None:
    """The session of a transaction that is begun and stays open; None where none is given in time.

    0 where transactions are refused, as by a pooler that hands on each statement.
    """
    pgconn, found = second.pgconn, 0
    pgconn.send_query(b"begin; select pg_backend_pid()")
    while True:
        while pgconn.is_busy():
            if not select.select([pgconn.socket], [], [], PATIENCE)[0]:
                return None
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return found
        if result.status == psycopg.pq.ExecStatus.TUPLES_OK:
            found = int(result.get_value(0, 0) or 0)
        elif result.status != psycopg.pq.ExecStatus.COMMAND_OK:
            return 0
