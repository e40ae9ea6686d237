"""What was published of a load_date before: at an instant, before a run, or before a publish was replaced.

Not here: what is published now, and recording it (publishes.py).
"""

from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from kpi_assets.ledger.publishes import COLUMNS, Publish
from kpi_assets.model.names import DECISIONS, Relation


def published(
    connection: Connection[Any], load_date: date, *, before: int | None = None, at: datetime | None = None
) -> dict[Relation, Publish]:
    """What was published of a load_date just before a publish was recorded, or at an instant, by table."""
    with connection.cursor(row_factory=class_row(Publish)) as cursor:
        found = cursor.execute(
            f"select {COLUMNS} from (select distinct on (p.asset) p.* from ops.publishes as p "  # noqa: S608
            "where p.load_date = %(day)s and split_part(p.asset, '.', 1) <> %(decisions)s "
            "and (p.publish_id < %(before)s or p.published_at <= %(at)s) "
            "order by p.asset, p.publish_id desc) as last "
            "where coalesce(least(last.removed_at, last.dropped_at), 'infinity') > coalesce(%(at)s, "
            "(select b.published_at from ops.publishes as b where b.publish_id = %(before)s))",
            {"day": load_date, "before": before, "at": at, "decisions": DECISIONS},
        ).fetchall()
    return {Relation.parse(publish.asset): publish for publish in found}


def first_of_run(connection: Connection[Any], run_id: str, load_date: date) -> list[tuple[str, int]]:
    """Each run whose id begins so and that published something of a load_date, with the first publish of it."""
    return connection.execute(
        "select run_id, min(publish_id) from ops.publishes where starts_with(run_id, %s) and load_date = %s "
        "and split_part(asset, '.', 1) <> %s group by run_id order by 2",
        [run_id, load_date, DECISIONS],
    ).fetchall()


def replaced_by(connection: Connection[Any], publish: Publish) -> int | None:
    """The first publish of the run that replaced a publish; None if it is the last one of its table and load_date.

    A run publishes what a table is made from before the table itself.
    """
    row = connection.execute(
        "select coalesce((select min(r.publish_id) from ops.publishes as r where r.run_id = n.run_id "
        "and r.run_id <> %(run)s and r.load_date = n.load_date and r.publish_id > %(id)s), n.publish_id) "
        "from ops.publishes as n where n.asset = %(asset)s and n.load_date = %(day)s and n.publish_id > %(id)s "
        "order by n.publish_id limit 1",
        {"asset": publish.asset, "day": publish.load_date, "id": publish.publish_id, "run": publish.run_id},
    ).fetchone()
    return row[0] if row else None


def showing(
    connection: Connection[Any], view: Relation, table: Relation, publish_id: int, code_version: str
) -> int | None:
    """The last publish of a view, as it is defined now, that showed a publish of its table; None if there is none."""
    row = connection.execute(
        "select max(publish_id) from ops.publishes where asset = %s and code_version = %s "
        "and (inputs ->> %s)::bigint = %s",
        [str(view), code_version, str(table), publish_id],
    ).fetchone()
    return row[0] if row else None


def record_restored(connection: Connection[Any], publish_id: int, restored: int) -> None:
    """Record which publish a rollback has shown again by another one."""
    connection.execute("update ops.publishes set restores = %s where publish_id = %s", [restored, publish_id])


def republished_between(connection: Connection[Any], history: Relation, before: date, first: int, last: int) -> bool:
    """Whether a load_date of a history before a day was published between two marks."""
    row = connection.execute(
        "select exists (select 1 from ops.publishes where asset = %s and load_date < %s and publish_id > %s "
        "and publish_id <= %s)",
        [str(history), before, min(first, last), max(first, last)],
    ).fetchone()
    assert row is not None
    return bool(row[0])
