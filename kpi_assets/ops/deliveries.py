"""The outbox, ops.alert_deliveries: on which channel an alert was told, or why not yet.

Who delivers claims one row, which sets the time of its next attempt at once: so a deliverer that dies leaves a row that
is tried again, and two deliverers never have the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, dict_row

from kpi_assets.ops.alerts import Kind

GIVE_UP = "7 days"  # after an alert was opened
# What is over and older than this is not told on a channel that has never heard of it: one that was set up today.
NEWS = "1 day"
FIRST_PAUSE, LONGEST_PAUSE = "1 minute", "1 hour"  # between two attempts; each pause is twice the one before


@dataclass(frozen=True)
class Alert:
    """A row of ops.alerts, to be told."""

    id: int
    pipeline_name: str
    load_date: date | None
    kind: Kind
    run_id: str | None
    job: str | None
    details: list[str]
    opened_at: datetime


def enter(connection: Connection[Any], channels: Sequence[str]) -> None:
    """Write a row for each alert that a channel is to tell and has none for."""
    connection.execute(
        """
        insert into ops.alert_deliveries (alert_id, channel)
        select a.id, c.channel
        from ops.alerts as a cross join unnest(%(channels)s::text[]) as c (channel)
        where (a.closed_at is null or a.opened_at > clock_timestamp() - %(news)s::interval)
        and not exists (select 1 from ops.alert_deliveries as d where d.alert_id = a.id and d.channel = c.channel)
        on conflict do nothing
        """,
        {"channels": list(channels), "news": NEWS},
    )


def claim(connection: Connection[Any], channel: str) -> Alert | None:
    """Count an attempt at the oldest alert that is due on a channel and return it; None where there is none.

    Of one load_date the alerts are told in order: no recovery before its incident.
    """
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(
            """
            with due as (
                select d.alert_id, d.channel
                from ops.alert_deliveries as d
                inner join ops.alerts as a on a.id = d.alert_id
                where d.channel = %(channel)s and d.delivered_at is null and d.next_attempt_at <= clock_timestamp()
                and a.opened_at > clock_timestamp() - %(give_up)s::interval
                and not exists (
                    select 1 from ops.alert_deliveries as e
                    inner join ops.alerts as b on b.id = e.alert_id
                    where e.channel = d.channel and e.delivered_at is null and e.alert_id < d.alert_id
                    and (b.pipeline_name, b.load_date) = (a.pipeline_name, a.load_date)
                    and b.opened_at > clock_timestamp() - %(give_up)s::interval
                )
                order by d.alert_id
                limit 1
                for update of d skip locked
            )
            update ops.alert_deliveries as d
            set
                attempts = d.attempts + 1,
                next_attempt_at = clock_timestamp()
                    + least(%(first)s::interval * 2 ^ least(d.attempts, 20), %(longest)s::interval)
            from due inner join ops.alerts as a on a.id = due.alert_id
            where d.alert_id = due.alert_id and d.channel = due.channel
            returning a.id, a.pipeline_name, a.load_date, a.kind, a.run_id, a.job, a.details, a.opened_at
            """,
            {"channel": channel, "give_up": GIVE_UP, "first": FIRST_PAUSE, "longest": LONGEST_PAUSE},
        ).fetchone()


def delivered(connection: Connection[Any], alert: Alert, channel: str) -> None:
    """Write that a channel has taken an alert."""
    connection.execute(
        "update ops.alert_deliveries set delivered_at = clock_timestamp(), last_error = null "
        "where alert_id = %s and channel = %s",
        [alert.id, channel],
    )


def refused(connection: Connection[Any], alert: Alert, channel: str, reason: str) -> None:
    """Write why a channel has not taken an alert; `reason` names no secret."""
    connection.execute(
        "update ops.alert_deliveries set last_error = %s where alert_id = %s and channel = %s and delivered_at is null",
        [reason, alert.id, channel],
    )


def undelivered(connection: Connection[Any]) -> list[dict[str, Any]]:
    """What has not been told yet: alert, channel, attempts, last_error, and next_attempt_at (None: given up)."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select
                a.load_date, a.kind, d.channel, d.attempts, d.last_error,
                case when a.opened_at > clock_timestamp() - %s::interval then d.next_attempt_at end as next_attempt_at
            from ops.alert_deliveries as d
            inner join ops.alerts as a on a.id = d.alert_id
            where d.delivered_at is null
            order by a.id, d.channel
            """,
            [GIVE_UP],
        ).fetchall()
