"""Reports how far a stream has been landed, and takes the turn to land it, in a thread of its own.

A database that is down or slow never holds up the landing: the thread keeps the latest report until it is written. The
turn is a lock in ops, so that of two landings of a stream one waits. Without a database both land, and the store lets
each link be written once (land.py).

Belongs here: the thread and its session. Not here: the statements (ledger/streams.py, ledger/locks.py).
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import Any, Literal

import psycopg
from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.ledger import locks, streams
from kpi_assets.ledger.streams import Position
from kpi_assets.waiting import Waits

logger = logging.getLogger(__name__)

Turn = Literal["ours", "theirs", "unknown"]
PAUSE = 1.0  # seconds between two looks at the turn, and before the database is tried again
PATIENCE = 10.0  # seconds for the last report


class Recorder:
    """Writes the reports of one stream to ops."""

    def __init__(self, stream: str, session: Callable[[], AbstractContextManager[Connection[Any]]]) -> None:
        """`session` opens a session in the pipeline's database; it raises UserError if that fails."""
        self.stream, self._session = stream, session
        self._lock = threading.Lock()
        self._turn: Turn = "unknown"
        self._looked = threading.Event()  # whether the turn was asked for once
        self._positions: Sequence[Position] = ()
        self._closings: list[date] = []
        self._closed: date | None = None
        self._wake, self._over = threading.Event(), False
        self._pid: int | None = None  # of the session that had the turn
        self._thread = threading.Thread(target=self._run, name=f"report {stream}", daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what was reported last, and give up the turn."""
        self._over = True
        self._wake.set()
        self._thread.join(PATIENCE)

    @property
    def turn(self) -> Turn:
        """Whose turn it is to land the stream; unknown while there is no database."""
        self._looked.wait()
        return self._turn

    @property
    def closed(self) -> date | None:
        """The last load_date that was recorded as closed by this recorder."""
        return self._closed

    def report(self, positions: Sequence[Position]) -> None:
        """Write how far the partitions have been landed, soon."""
        with self._lock:
            self._positions = positions
        self._wake.set()

    def close(self, load_date: date) -> None:
        """Record that a load_date is closed, soon."""
        with self._lock:
            if load_date not in self._closings:
                self._closings.append(load_date)
        self._wake.set()

    def _run(self) -> None:
        waits = Waits(f"the landing of {self.stream} goes on without the database")
        while not self._over:
            try:
                with self._session() as connection:
                    self._serve(connection)
                waits = Waits(f"the landing of {self.stream} goes on without the database")
            except (UserError, psycopg.Error) as error:
                if self._turn == "ours":
                    logger.warning("%s: the database was lost; landing goes on, and reports follow.", self.stream)
                self._say_turn("unknown")
                waits(lambda said=error: str(said).splitlines()[0])  # type: ignore[misc]
            if not self._over:
                self._wake.wait(PAUSE)
                self._wake.clear()

    def _serve(self, connection: Connection[Any]) -> None:
        """Take the turn, and write reports as they come, until the end. Raises what psycopg raises."""
        name = f"stream {self.stream}"
        while True:
            if self._turn != "ours":
                self._take(connection, name)
            if self._turn == "ours":
                self._write(connection)
            if self._over:
                return
            self._wake.wait(PAUSE)
            self._wake.clear()

    def _take(self, connection: Connection[Any], name: str) -> None:
        if locks.try_lock(connection, name):
            self._pid = connection.info.backend_pid
            self._say_turn("ours")
            return
        holder = locks.holder(connection, name)
        # The server may not have noticed yet that a session of ours was lost.
        self._say_turn("unknown" if holder is None or holder.pid == self._pid else "theirs", holder)

    def _say_turn(self, turn: Turn, holder: object = None) -> None:
        if turn == "theirs" and self._turn != turn:
            logger.warning("%s is landed by another process and waits here for its turn: %s", self.stream, holder)
        self._turn = turn
        self._looked.set()

    def _write(self, connection: Connection[Any]) -> None:
        with self._lock:
            positions, closings = self._positions, list(self._closings)
        if positions:
            streams.write_positions(connection, positions)
        else:  # a session that is lost is noticed
            connection.execute("select 1")
        for load_date in closings:
            streams.close(connection, self.stream, load_date)
            self._closed = max(load_date, self._closed or load_date)
        with self._lock:
            self._closings = [day for day in self._closings if day not in closings]
            if self._positions is positions:
                self._positions = ()
