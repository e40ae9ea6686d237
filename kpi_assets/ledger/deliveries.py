"""The outbox, ops.alert_deliveries: on which channel an alert was delivered, or why it is not delivered yet.

A deliverer claims the rows of one message, and the claim sets the time of their next attempt. So the rows of a
deliverer that dies are tried again, and two deliverers never have the same rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, dict_row

from kpi_assets.ledger.incidents import Kind

GIVE_UP = "7 days"  # after an alert was opened
# A closed alert that is older than this is not delivered on a new channel, such as one that was set up today.
NEWS = "1 day"
FIRST_PAUSE, LONGEST_PAUSE = "1 minute", "1 hour"  # between two attempts; each pause is twice as long as the last


@dataclass(frozen=True)
class Alert:
    """A row of ops.alerts that is to be delivered."""

    id: int
    pipeline_name: str
    load_date: date | None
    kind: Kind
    run_id: str | None
    job: str | None
    details: list[str]
    opened_at: datetime
    measure: str | None = None
    check_name: str | None = None
    field: str | None = None
    ruling: str | None = None

    @property
    def part(self) -> str | None:
        """The measure, check, field or ruling of the table in `job` that it is about; None if it is about none."""
        return self.measure or self.check_name or self.field or self.ruling


def enter(connection: Connection[Any], channels: Sequence[str]) -> None:
    """Insert a row for each alert and channel that has none yet."""
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


def delivered_in_last_minute(connection: Connection[Any], channel: str) -> int:
    """Count the messages that a channel accepted in the last minute."""
    row = connection.execute(
        "select count(distinct message) from ops.alert_deliveries "
        "where channel = %s and delivered_at > clock_timestamp() - interval '1 minute'",
        [channel],
    ).fetchone()
    return int(row[0]) if row else 0


def claim(connection: Connection[Any], channel: str, *, all_due: bool = False) -> list[Alert]:
    """Claim the oldest alert that is due on a channel, together with the alerts that belong in the same message.

    These are the alerts of the same kind that runs opened on the same table or job; with `all_due`, all that are due.
    Each claim counts as an attempt. Returns the alerts, the oldest first, or nothing if none is due. The alerts of
    one load_date or measure are delivered in order, so that no recovery comes before its incident.
    """
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        found = cursor.execute(
            """
            with waiting as (
                select
                    d.alert_id, d.channel, d.next_attempt_at,
                    case
                        when a.run_id is null and a.part is null then a.id::text else concat(a.kind, ' ', a.job)
                    end as cause,
                    min(a.kind) over earlier = max(a.kind) over earlier as in_turn
                from ops.alert_deliveries as d
                inner join ops.alerts as a on a.id = d.alert_id
                where d.channel = %(channel)s and d.delivered_at is null
                and a.opened_at > clock_timestamp() - %(give_up)s::interval
                window earlier as (partition by a.pipeline_name, case
                    when a.part is null then a.load_date::text else concat(a.job, '.', a.part) end order by a.id)
            ),
            due as materialized (
                select alert_id, channel, cause from waiting where in_turn and next_attempt_at <= clock_timestamp()
            ),
            -- When another deliverer has claimed the oldest ones, this one takes the next.
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
            returning
                a.id, a.pipeline_name, a.load_date, a.kind, a.run_id, a.job, a.details, a.opened_at, a.measure,
                a.check_name, a.field, a.ruling
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
    """Record that a channel accepted the message with this key, which contains these alerts."""
    connection.execute(
        "update ops.alert_deliveries set delivered_at = clock_timestamp(), last_error = null, message = %s "
        "where alert_id = any(%s) and channel = %s",
        [message, [alert.id for alert in alerts], channel],
    )


def refused(connection: Connection[Any], alerts: Sequence[Alert], channel: str, reason: str) -> None:
    """Record why a channel did not accept alerts; `reason` must not contain a secret."""
    connection.execute(
        "update ops.alert_deliveries set last_error = %s "
        "where alert_id = any(%s) and channel = %s and delivered_at is null",
        [reason, [alert.id for alert in alerts], channel],
    )


def count_undelivered(connection: Connection[Any], channels: Sequence[str]) -> int:
    """Count the alerts that at least one of these channels has still to accept."""
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
    """List what is not delivered yet: alert, channel, attempts, last_error, and next_attempt_at (None: given up)."""
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
