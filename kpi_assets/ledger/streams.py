"""How far streams have been landed, ops.stream_positions, and what is over, ops.stream_closings.

Landing writes both and reads neither: where to go on is in the keys of the objects, so that a database that is restored
or empty loses no event. Not here: the landing (stream/), and what is late (monitoring/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Position:
    """How far one partition has been landed. The columns of ops.stream_positions say what each field means."""

    stream: str
    partition: int
    next: int | None
    high_watermark: int | None
    caught_up_at: datetime | None
    problem: str | None = None
    written_at: datetime | None = None  # of one that was read


@dataclass(frozen=True, slots=True)
class Closing:
    """A load_date of a stream in which no event is landed any more."""

    stream: str
    load_date: date
    closed_at: datetime


def write_positions(connection: Connection[Any], positions: Sequence[Position]) -> None:
    """Record how far partitions have been landed."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into ops.stream_positions (stream, partition, next, high_watermark, caught_up_at, problem)
            values (%s, %s, %s, %s, %s, %s)
            on conflict (stream, partition) do update
            set next = excluded.next, high_watermark = excluded.high_watermark, caught_up_at = excluded.caught_up_at,
                problem = excluded.problem, written_at = clock_timestamp()
            """,
            [(p.stream, p.partition, p.next, p.high_watermark, p.caught_up_at, p.problem) for p in positions],
        )


def positions(connection: Connection[Any]) -> list[Position]:
    """Return how far each partition of each stream has been landed."""
    rows = connection.execute(
        """
        select stream, partition, next, high_watermark, caught_up_at, problem, written_at
        from ops.stream_positions order by stream, partition
        """
    ).fetchall()
    return [
        Position(stream, partition, _whole(following), _whole(end), *others)
        for stream, partition, following, end, *others in rows
    ]


def _whole(number: Decimal | None) -> int | None:
    return None if number is None else int(number)


def through(connection: Connection[Any], stream: str) -> datetime | None:
    """Return the instant before which all events of a stream are landed; None if none is known."""
    row = connection.execute(
        """
        select case when bool_and(caught_up_at is not null) then min(caught_up_at) end
        from ops.stream_positions where stream = %s
        """,
        [stream],
    ).fetchone()
    return row[0] if row else None


def close(connection: Connection[Any], stream: str, load_date: date) -> None:
    """Record that a load_date of a stream is closed. Safe to repeat."""
    connection.execute(
        "insert into ops.stream_closings (stream, load_date) values (%s, %s) on conflict do nothing",
        [stream, load_date],
    )


def closings(connection: Connection[Any], stream: str) -> list[Closing]:
    """Return the load_dates of a stream that are closed, in order."""
    with connection.cursor(row_factory=class_row(Closing)) as cursor:
        return cursor.execute(
            "select stream, load_date, closed_at from ops.stream_closings where stream = %s order by load_date",
            [stream],
        ).fetchall()
