"""How far load_dates that grow have been built, ops.growth: one row for each, which live runs write.

Not here: how far streams have been landed (streams.py), the batches of each table (batches.py), and what follows from
them for a load_date (plan/growing.py).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Growth:
    """A row of ops.growth, whose columns say what each field means."""

    load_date: date
    run_id: str
    through: datetime | None
    ticked_at: datetime
    finished_at: datetime | None
    problems: list[str]
    is_built_since: bool  # whether something of it was built after it was closed with problems


def record_tick(connection: Connection[Any], load_date: date, *, run_id: str, through: datetime | None) -> None:
    """Record that a tick of a load_date has ended, and through which instant everything is built.

    The instant never goes back: a tick that knows of none, or of an earlier one, leaves it.
    """
    connection.execute(
        """
        insert into ops.growth as g (load_date, run_id, through) values (%s, %s, %s)
        on conflict (load_date) do update set
            run_id = excluded.run_id, through = greatest(g.through, excluded.through), ticked_at = clock_timestamp(),
            finished_at = null, problems = '{}'
        """,
        [load_date, run_id, through],
    )


def finish(connection: Connection[Any], load_date: date, problems: Sequence[str] = ()) -> None:
    """Record that nothing is left to be built of a load_date that is closed, and what it lacks all the same."""
    connection.execute(
        "update ops.growth set finished_at = clock_timestamp(), problems = %s "
        "where load_date = %s and (finished_at is null or problems <> %s)",
        [list(problems), load_date, list(problems)],
    )


def with_problems(connection: Connection[Any]) -> dict[date, list[str]]:
    """Return what the load_dates lack that were closed although something lacked, by load_date."""
    rows = connection.execute("select load_date, problems from ops.growth where problems <> '{}' order by load_date")
    return dict(rows.fetchall())


def between(connection: Connection[Any], first: date, last: date) -> dict[date, Growth]:
    """Return what is known of the load_dates of a range, by load_date."""
    with connection.cursor(row_factory=class_row(Growth)) as cursor:
        rows = cursor.execute(
            "select g.load_date, g.run_id, g.through, g.ticked_at, g.finished_at, g.problems, "
            "g.problems <> '{}' and exists (select 1 from ops.batches as b where b.load_date = g.load_date "
            "and b.published_at > g.finished_at) as is_built_since from ops.growth as g "
            "where load_date between %s and %s",
            [first, last],
        )
        return {row.load_date: row for row in rows}


def closed_between(
    connection: Connection[Any], streams: Collection[str], first: date, last: date
) -> dict[date, frozenset[str]]:
    """Return which of some streams are closed, by load_date of a range."""
    rows = connection.execute(
        "select load_date, array_agg(stream) from ops.stream_closings "
        "where stream = any(%s) and load_date between %s and %s group by load_date",
        [list(streams), first, last],
    )
    return {load_date: frozenset(names) for load_date, names in rows}


def landed_by_us(connection: Connection[Any], streams: Collection[str]) -> frozenset[str]:
    """Return those of some streams of which `kpi stream` has reported how far it landed them."""
    rows = connection.execute(
        "select distinct stream from ops.stream_positions where stream = any(%s)", [list(streams)]
    )
    return frozenset(stream for (stream,) in rows)
