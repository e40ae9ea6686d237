"""The outbox, ops.alert_deliveries: on which channel an alert was told, or why not yet.

Who delivers claims the rows of one message, which sets the time of their next attempt at once: so a deliverer that dies
leaves rows that are tried again, and two deliverers never have the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, dict_row

from kpi_assets.ledger.incidents import Kind

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


def told_lately(connection: Connection[Any], channel: str) -> int:
    """How many messages a channel has taken in the last minute."""
    row = connection.execute(
        "select count(distinct message) from ops.alert_deliveries "
        "where channel = %s and delivered_at > clock_timestamp() - interval '1 minute'",
        [channel],
    ).fetchone()
    return int(row[0]) if row else 0


def claim(connection: Connection[Any], channel: str, *, all_due: bool = False) -> list[Alert]:
    """Count an attempt at the oldest alert that is due on a channel, and at each that is told in one message with it.

    Those are the ones that runs opened on the same table or job in the same way, or with `all_due` all. Returns them,
    the oldest first; nothing where none is due. Of one load_date the alerts are told in order: no recovery before its
    incident.
    """
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        found = cursor.execute(
            """
            with waiting as (
                select
                    d.alert_id, d.channel, d.next_attempt_at,
                    case when a.run_id is null then a.id::text else concat(a.kind, ' ', a.job) end as cause,
                    min(a.kind) over earlier = max(a.kind) over earlier as in_turn
                from ops.alert_deliveries as d
                inner join ops.alerts as a on a.id = d.alert_id
                where d.channel = %(channel)s and d.delivered_at is null
                and a.opened_at > clock_timestamp() - %(give_up)s::interval
                window earlier as (partition by a.pipeline_name, a.load_date order by a.id)
            ),
            due as materialized (
                select alert_id, channel, cause from waiting where in_turn and next_attempt_at <= clock_timestamp()
            ),
            -- Where another deliverer has the oldest ones in hand, this one goes on with the others.
            oldest as materialized (
                select due.cause
                from ops.alert_deliveries as d inner join due using (alert_id, channel)
                where d.delivered_at is null and d.next_attempt_at <= clock_timestamp()
                order by d.alert_id
                limit 1
                for update of d skip locked
            ),
            taken as materialized (
                select d.alert_id, d.channel
                from ops.alert_deliveries as d inner join due using (alert_id, channel)
                where d.delivered_at is null and d.next_attempt_at <= clock_timestamp()
                and (%(all_due)s or due.cause = (select cause from oldest))
                for update of d skip locked
            )
            update ops.alert_deliveries as d
            set
                attempts = d.attempts + 1,
                next_attempt_at = clock_timestamp()
                    + least(%(first)s::interval * 2 ^ least(d.attempts, 20), %(longest)s::interval)
            from taken inner join ops.alerts as a on a.id = taken.alert_id
            where d.alert_id = taken.alert_id and d.channel = taken.channel
            returning a.id, a.pipeline_name, a.load_date, a.kind, a.run_id, a.job, a.details, a.opened_at
            """,
            {
                "channel": channel,
                "all_due": all_due,
                "give_up": GIVE_UP,
                "first": FIRST_PAUSE,
                "longest": LONGEST_PAUSE,
            },
        ).fetchall()
    return sorted(found, key=lambda alert: alert.id)


def delivered(connection: Connection[Any], alerts: Sequence[Alert], channel: str, message: str) -> None:
    """Write that a channel has taken the message, by its key, that tells of these alerts."""
    connection.execute(
        "update ops.alert_deliveries set delivered_at = clock_timestamp(), last_error = null, message = %s "
        "where alert_id = any(%s) and channel = %s",
        [message, [alert.id for alert in alerts], channel],
    )


def refused(connection: Connection[Any], alerts: Sequence[Alert], channel: str, reason: str) -> None:
    """Write why a channel has not taken alerts; `reason` names no secret."""
    connection.execute(
        "update ops.alert_deliveries set last_error = %s "
        "where alert_id = any(%s) and channel = %s and delivered_at is null",
        [reason, [alert.id for alert in alerts], channel],
    )


def untold(connection: Connection[Any], channels: Sequence[str]) -> int:
    """How many alerts one of these channels has yet to take, and is to be told."""
    row = connection.execute(
        """
        select count(*) from ops.alerts as a
        where (a.closed_at is null or a.opened_at > clock_timestamp() - %s::interval)
        and a.opened_at > clock_timestamp() - %s::interval
        and exists (
            select 1 from unnest(%s::text[]) as c (channel)
            where not exists (
                select 1 from ops.alert_deliveries as d
                where d.alert_id = a.id and d.channel = c.channel and d.delivered_at is not null
            )
        )
        """,
        [NEWS, GIVE_UP, list(channels)],
    ).fetchone()
    return int(row[0]) if row else 0


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
