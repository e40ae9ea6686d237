"""Incidents, ops.alerts: problems that people are told of once, however often they happen.

An incident has a pipeline, a load_date and a kind: held by a gate, failed, or late, which means that objects or KPIs of
the load_date are missing. It is opened in the transaction of the event itself. While it is open, it counts repetitions.
A recovery closes it once the load_date is published. A sensor or schedule that keeps failing is an incident without a
load_date. A measure of a KPI that is beyond its threshold is an incident of its own, of its latest load_date. So are a
check with `severity: alert` that fails, a field of events that no header names, and a ruling by which a table is
published although checks failed. That a delivery has persons who were erased before, and that a final number was
restated, is told once, and over at once.
Not here: what is late, breached, waived, restated or recovered (monitoring/), and how it is delivered (deliveries.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import dict_row

from kpi_assets.ledger import locks
from kpi_assets.model.excerpt import RECORD, cut, sql_cut
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline

Kind = Literal[
    "held", "failed", "late", "stalled", "breached", "drifted", "waived", "erased", "restated", "digest", "recovered"
]

# A repetition of an open incident is counted, and the details become those of the latest run.
_OPEN = """
insert into ops.alerts (pipeline_name, load_date, kind, run_id, job, details, closed_at, last_at)
{source}
on conflict (pipeline_name, load_date, kind) where closed_at is null and part is null do update set
    occurrences = alerts.occurrences + (alerts.run_id is distinct from excluded.run_id)::integer,
    details = case
        when alerts.run_id is distinct from excluded.run_id then excluded.details
        when alerts.details @> excluded.details then alerts.details
        else alerts.details || excluded.details
    end,
    job = case when alerts.run_id is distinct from excluded.run_id then excluded.job else alerts.job end,
    run_id = excluded.run_id,
    last_at = greatest(alerts.last_at, excluded.last_at)
"""

# Whether a load_date is whole: all tables that are due on it were published, and the latest build of each job that is
# due on it succeeded.
_WHOLE = """
not exists (
    select 1 from unnest(%(tables)s::text[]) as t (asset)
    where (a.load_date, t.asset) not in (select * from unnest(%(undue_days)s::date[], %(undue)s::text[]))
    and not exists (select 1 from ops.publishes as p where p.load_date = a.load_date and p.asset = t.asset)
)
and 'success' = all (
    select distinct on (r.job) r.status from ops.pipeline_runs as r
    where r.load_date = a.load_date and r.job = any(%(jobs)s) and r.status <> 'running'
    and (r.load_date, r.job) not in (select * from unnest(%(undue_days)s::date[], %(undue)s::text[]))
    order by r.job, r.id desc
)
"""

# Whether a publish is of a table: a decision on its rows publishes nothing for readers.
_OF_TABLE = "split_part(p.asset, '.', 1) <> 'decisions'"

# A lost run is dated by its end; a run that ended before the latest event of the open incident is counted already.
# Where the load_date is whole, no publish will follow that could close the incident: it is opened and closed at once.
_LOST = f"""
select
    %(pipeline)s, a.load_date, 'failed', %(run_id)s, %(job)s, array[%(sentence)s],
    case when i.last_at is null and (a.load_date is null or ({_WHOLE})) then clock_timestamp() end,
    %(ended_at)s::timestamptz
from (select %(load_date)s::date as load_date) as a
left join ops.alerts as i
    on (i.pipeline_name, i.load_date, i.kind) = (%(pipeline)s, a.load_date, 'failed') and i.closed_at is null
where (i.last_at is null or i.last_at < %(ended_at)s)
and not exists (select 1 from ops.pipeline_runs where run_id = %(run_id)s)
and not exists (select 1 from ops.alerts where run_id = %(run_id)s)
and not exists (
    select 1 from ops.publishes as p
    where p.load_date = a.load_date and p.published_at > %(ended_at)s and {_OF_TABLE}
)
"""  # noqa: S608

# The row of a whole run opens an incident only where none of its builds did. Without a load_date it is closed at once.
# Only the first part of a Postgres message is kept: its details quote rows, and the message leaves the warehouse.
_SAID = sql_cut(r"regexp_replace(coalesce(c.checks, r.error_message), '\s(DETAIL|CONTEXT|HINT):.*', '')", RECORD)
_FROM_RUN_LOG = f"""
select
    r.pipeline_name, r.load_date, r.status, r.run_id, r.job,
    array[concat(r.job, ': ', {_SAID}, '; the candidate is kept as ' || r.candidate)],
    case when r.load_date is null then clock_timestamp() end,
    clock_timestamp()
from ops.pipeline_runs as r
cross join lateral (
    select string_agg(concat(d.check_name, ' (', d.message, ')'), ', ' order by d.id) as checks
    from ops.data_quality_results as d
    where d.build_id = r.id and d.run_id = r.run_id and d.status in ('fail', 'error') and r.status = 'held'
) as c
where r.id = %(id)s and r.status in ('held', 'failed') and (
    r.job like '%%.%%' or not exists (
        select 1 from ops.pipeline_runs as b
        where b.run_id = r.run_id and b.job like '%%.%%' and b.status in ('held', 'failed')
    )
)
"""  # noqa: S608


def await_turn(connection: Connection[Any]) -> None:
    """Wait for this transaction's turn to change several incidents; without turns, two transactions could deadlock.

    Call it before anything else is locked.
    """
    locks.await_turn(connection, "alerts")


def report_row(connection: Connection[Any], row_id: int) -> None:
    """Open the incident of a row of the run log, if the row was closed as held or failed.

    Call it in the transaction that closes the row.
    """
    connection.execute(_OPEN.format(source=_FROM_RUN_LOG), {"id": row_id})


def report_late(
    connection: Connection[Any], pipeline: str, load_date: date, *sentences: str, kpi: str | None = None
) -> None:
    """Open the incident of a load_date that is late, unless it is open already.

    The sentences say what is missing since when. A `kpi` has at most one such incident, until it is fresh again.
    """
    connection.execute(
        "insert into ops.alerts (pipeline_name, load_date, kind, job, details) "
        "select %(pipeline)s, %(load_date)s, 'late', %(kpi)s, %(sentences)s where not exists ("
        "select 1 from ops.alerts where (pipeline_name, kind) = (%(pipeline)s, 'late') "
        "and (load_date = %(load_date)s or job = %(kpi)s) and closed_at is null) on conflict do nothing",
        {"pipeline": pipeline, "load_date": load_date, "sentences": list(sentences), "kpi": kpi},
    )


def report_erased(
    connection: Connection[Any], pipeline: str, table: str, load_date: date, run_id: str, sentence: str
) -> None:
    """Tell once that a delivery has persons who were erased before it came; it is over as soon as it is told."""
    connection.execute(
        "insert into ops.alerts (pipeline_name, load_date, kind, run_id, job, details, closed_at) "
        "select %(pipeline)s, %(load_date)s, 'erased', %(run_id)s, %(table)s, array[%(sentence)s], clock_timestamp() "
        "where not exists (select 1 from ops.alerts where kind = 'erased' and job = %(table)s "
        "and load_date = %(load_date)s and details = array[%(sentence)s])",
        {
            "pipeline": pipeline,
            "load_date": load_date,
            "run_id": run_id,
            "table": table,
            "sentence": cut(sentence, RECORD),
        },
    )


def report_restated(
    connection: Connection[Any],
    pipeline: str,
    kpi: str,
    load_date: date,
    run_id: str,
    publish_id: int,
    sentences: Sequence[str],
) -> None:
    """Tell once that a publish took the place of final numbers; it is over as soon as it is told."""
    connection.execute(
        "insert into ops.alerts (pipeline_name, load_date, kind, run_id, job, publish_id, details, closed_at) "
        "values (%s, %s, 'restated', %s, %s, %s, %s, clock_timestamp()) "
        "on conflict (publish_id) where publish_id is not null do nothing",
        [pipeline, load_date, run_id, kpi, publish_id, [cut(sentence, RECORD) for sentence in sentences]],
    )


def report_lost_run(
    connection: Connection[Any],
    pipeline: Pipeline,
    load_date: date | None,
    run_id: str,
    ended_at: datetime,
    sentence: str,
    job: str | None = None,
) -> None:
    """Open the incident of a run that failed before it reached the run log; call it in the order in which runs ended.

    The incident is closed at once if the run has no load_date, or if the load_date is published as a whole.
    Nothing happens where the run log has the run, the run was reported before, or the load_date was published since.
    `job` is given where the run was not about the load_date as a whole.
    """
    connection.execute(
        _OPEN.format(source=_LOST),
        {
            **_whole_of(pipeline, [load_date] if load_date else []),
            "load_date": load_date,
            "run_id": run_id,
            "job": job,
            "ended_at": ended_at,
            "sentence": sentence,
        },
    )


def knows_run(connection: Connection[Any], run_id: str) -> bool:
    """Whether the run log or an incident names a run."""
    query = (
        "select exists (select 1 from ops.pipeline_runs where run_id = %(id)s) "
        "or exists (select 1 from ops.alerts where run_id = %(id)s)"
    )
    return connection.execute(query, {"id": run_id}).fetchone() == (True,)


def _whole_of(pipeline: Pipeline, load_dates: Iterable[date]) -> dict[str, Any]:
    """The parameters of `_WHOLE` for some load_dates."""
    tables = [str(relation) for relation in pipeline.tables]
    jobs = [*tables, *(table.object_name for table in pipeline.object_tables)]
    undue = [
        (day, name)
        for day in (load_dates if pipeline.has_calendar else ())
        for table in pipeline.tables.values()
        if not pipeline.is_table_due(table, day)
        for name in (str(table.relation), *([table.object_name] if table.has_object else []))
    ]
    days, names = [day for day, _ in undue], [name for _, name in undue]
    return {"pipeline": pipeline.name, "tables": tables, "jobs": jobs, "undue_days": days, "undue": names}


def report_stalled(connection: Connection[Any], pipeline: str, name: str, sentence: str) -> None:
    """Open the incident of a sensor or schedule that keeps failing, unless it is open already."""
    connection.execute(
        "insert into ops.alerts (pipeline_name, kind, job, details) values (%s, 'stalled', %s, array[%s]) "
        "on conflict do nothing",
        [pipeline, name, cut(sentence, RECORD)],
    )


def close_stalled(connection: Connection[Any], pipeline: str, stalled: Sequence[str]) -> None:
    """Close the incident of each sensor and schedule that is no longer stalled, with a recovery."""
    connection.execute(
        """
        with closed as (
            update ops.alerts set closed_at = clock_timestamp()
            where kind = 'stalled' and closed_at is null and job <> all(%s)
            returning job, opened_at
        )
        insert into ops.alerts (pipeline_name, kind, job, details, closed_at)
        select %s, 'recovered', job,
            array['it was stalled since ' || to_char(opened_at, 'YYYY-MM-DD HH24:MI "UTC"')
                  || '; it looks again, or was switched off'],
            clock_timestamp()
        from closed
        """,
        [list(stalled), pipeline],
    )


@dataclass(frozen=True)
class PartOfTable:
    """A measure, a check, a field or a ruling of a table, of one load_date: the sentence says what is true of it."""

    pipeline: str
    table: str
    load_date: date
    sentence: str
    run_id: str | None = None
    measure: str | None = None
    check_name: str | None = None
    field: str | None = None
    ruling: str | None = None  # the key of its object


Word = Literal["measure", "check", "field", "ruling"]  # of a part: ops.alerts.part begins with it


def _parameters(found: PartOfTable) -> dict[str, Any]:
    kind = "drifted" if found.field is not None else "waived" if found.ruling is not None else "breached"
    return {**vars(found), "sentence": cut(found.sentence, RECORD), "kind": kind}


def report_part(connection: Connection[Any], found: PartOfTable) -> None:
    """Open the incident of a part of a table, or count it again if it is of another load_date.

    It is drifted if the part is a field, waived if it is a ruling, and breached if it is another. The sentence of an
    open one becomes the latest.
    """
    connection.execute(
        """
        insert into ops.alerts (
            pipeline_name, load_date, kind, run_id, job, measure, check_name, field, ruling, details
        )
        values (%(pipeline)s, %(load_date)s, %(kind)s, %(run_id)s, %(table)s, %(measure)s, %(check_name)s, %(field)s,
            %(ruling)s, array[%(sentence)s])
        on conflict (job, part) where closed_at is null and part is not null do update set
            occurrences = alerts.occurrences + (alerts.load_date is distinct from excluded.load_date)::integer,
            load_date = excluded.load_date, run_id = excluded.run_id, details = excluded.details,
            last_at = clock_timestamp()
        where (alerts.load_date, alerts.details) is distinct from (excluded.load_date, excluded.details)
        """,
        _parameters(found),
    )


def close_part(connection: Connection[Any], found: PartOfTable) -> None:
    """Close the incident of a part of a table, if there is one, with a recovery."""
    connection.execute(
        """
        with closed as (
            update ops.alerts set closed_at = clock_timestamp()
            where kind = %(kind)s and closed_at is null and job = %(table)s
            and (measure, check_name, field, ruling)
                is not distinct from (%(measure)s, %(check_name)s, %(field)s, %(ruling)s)
            returning opened_at
        )
        insert into ops.alerts (
            pipeline_name, load_date, kind, run_id, job, measure, check_name, field, ruling, details, closed_at
        )
        select
            %(pipeline)s, %(load_date)s, 'recovered', %(run_id)s, %(table)s, %(measure)s, %(check_name)s, %(field)s,
            %(ruling)s, array[%(sentence)s || '; it was ' || %(kind)s || ' since '
                || to_char(opened_at, 'YYYY-MM-DD HH24:MI "UTC"')],
            clock_timestamp()
        from closed
        """,
        _parameters(found),
    )


def open_parts(connection: Connection[Any], word: Word) -> list[tuple[str, str]]:
    """Return the parts of this word that have an open incident, each as (table, name)."""
    query = (
        "select job, coalesce(measure, check_name, field, ruling) from ops.alerts "
        "where starts_with(part, %s) and closed_at is null order by id"
    )
    return connection.execute(query, [f"{word} "]).fetchall()


def opened(connection: Connection[Any], word: Word) -> dict[tuple[str, str], datetime]:
    """Return since when the parts of this word have an open incident, by (table, name)."""
    rows = connection.execute(
        "select job, coalesce(measure, check_name, field, ruling), opened_at from ops.alerts "
        "where starts_with(part, %s) and closed_at is null order by id",
        [f"{word} "],
    ).fetchall()
    return {(table, name): since for table, name, since in rows}


def report_unused(connection: Connection[Any], found: PartOfTable) -> None:
    """Tell once that a ruling has expired unused: what was held stays so, and an incident of its own says that."""
    connection.execute(
        """
        insert into ops.alerts (pipeline_name, load_date, kind, job, ruling, details, closed_at)
        select %(pipeline)s, %(load_date)s, 'held', %(table)s, %(ruling)s, array[%(sentence)s], clock_timestamp()
        where not exists (select 1 from ops.alerts as a where a.ruling = %(ruling)s)
        """,
        _parameters(found),
    )


def load_date_of(connection: Connection[Any], table: str, word: Word, name: str) -> date:
    """Return the load_date of the open incident of a part of a table."""
    [found] = connection.execute(
        "select load_date from ops.alerts where job = %s and part = %s and closed_at is null", [table, f"{word} {name}"]
    ).fetchall()
    load_date: date = found[0]
    return load_date


def close_unwatched(connection: Connection[Any], word: Word, watched: Sequence[tuple[str, str]]) -> None:
    """Close the incidents of all parts of this word but those that are watched, each as (table, name).

    Nobody asks for them any more.
    """
    connection.execute(
        "update ops.alerts set closed_at = clock_timestamp() where starts_with(part, %s) and closed_at is null "
        "and (job, coalesce(measure, check_name, field, ruling)) not in (select * from unnest(%s::text[], %s::text[]))",
        [f"{word} ", [table for table, _ in watched], [name for _, name in watched]],
    )


def last_held(connection: Connection[Any]) -> date | None:
    """Return the latest load_date of which a gate holds something; None if none is held."""
    row = connection.execute(
        "select max(load_date) from ops.alerts where kind = 'held' and closed_at is null and part is null"
    ).fetchone()
    return row[0] if row else None


def lock_open(connection: Connection[Any], pipeline: str) -> bool:
    """Lock the open incidents of a pipeline and return whether there are any. Call it after `await_turn`."""
    query = "select 1 from ops.alerts where pipeline_name = %s and closed_at is null for update"
    return bool(connection.execute(query, [pipeline]).fetchall())


def open_load_dates(connection: Connection[Any], pipeline: str) -> list[date]:
    """The load_dates that have an open incident."""
    query = (
        "select distinct load_date from ops.alerts "
        "where pipeline_name = %s and closed_at is null and load_date is not null and part is null "
        "order by load_date"
    )
    return [day for (day,) in connection.execute(query, [pipeline]).fetchall()]


def close_undue(connection: Connection[Any], pipeline: str, load_dates: Sequence[date]) -> None:
    """Close the incidents of load_dates on which nothing is due, because they cannot recover."""
    if load_dates:
        connection.execute(
            "update ops.alerts set closed_at = clock_timestamp() "
            "where pipeline_name = %s and closed_at is null and part is null and load_date = any(%s)",
            [pipeline, list(load_dates)],
        )


def close_whole(connection: Connection[Any], pipeline: Pipeline, late_kpis: Sequence[str]) -> list[date]:
    """Close the incidents of each load_date that is whole again, with one recovery each; returns those load_dates.

    What was held and is published on a person's word has not recovered: the incident of its ruling is open instead. The
    incident of a late KPI is closed when the KPI is not in `late_kpis`. That of a table or object which is not due
    on the load_date any more needs no new publish. Call it after `lock_open`.
    """
    load_dates = open_load_dates(connection, pipeline.name)
    rows = connection.execute(
        f"""
        with closed as (
            update ops.alerts as a
            set closed_at = clock_timestamp()
            where a.pipeline_name = %(pipeline)s and a.closed_at is null and a.part is null
            and case when a.kind = 'late' and a.job is not null then a.job <> all(%(late)s::text[]) else
                (
                    exists (
                        select 1 from ops.published as p
                        where p.load_date = a.load_date and p.published_at > a.last_at and {_OF_TABLE}
                    )
                    or (a.load_date, a.job) in (select * from unnest(%(undue_days)s::date[], %(undue)s::text[]))
                )
                and {_WHOLE}
            end
            returning a.load_date, a.kind, a.opened_at
        )
        insert into ops.alerts (pipeline_name, load_date, kind, run_id, details, closed_at)
        select
            %(pipeline)s, c.load_date, 'recovered',
            (select p.run_id from ops.published as p
             where p.load_date = c.load_date and {_OF_TABLE} order by p.publish_id desc limit 1),
            array_agg(
                'it was ' || c.kind || ' since ' || to_char(c.opened_at, 'YYYY-MM-DD HH24:MI "UTC"')
                order by c.opened_at
            ),
            clock_timestamp()
        from closed as c
        where c.kind <> 'held' or not exists (
            select 1 from ops.alerts as w
            where w.kind = 'waived' and w.load_date = c.load_date and w.closed_at is null
        )
        group by c.load_date
        returning load_date
        """,  # noqa: S608
        {**_whole_of(pipeline, load_dates), "late": list(late_kpis)},
    ).fetchall()
    return sorted(day for (day,) in rows)


def close_of_table(connection: Connection[Any], relation: Relation, load_date: date | None = None) -> None:
    """Close the incidents of a table that is dropped, or of one load_date, because it cannot recover.

    Call it after `await_turn`.
    """
    connection.execute(
        "update ops.alerts set closed_at = clock_timestamp() where closed_at is null and job = %(job)s "
        "and (load_date = %(load_date)s or %(load_date)s::date is null)",
        {"job": str(relation), "load_date": load_date},
    )


def open_incidents(connection: Connection[Any]) -> list[dict[str, Any]]:
    """List the open incidents by load_date: kind, opened_at, occurrences, details."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select load_date, kind, opened_at, occurrences, details from ops.alerts where closed_at is null "
            "order by load_date, id"
        ).fetchall()


def past_incidents(connection: Connection[Any], most: int) -> list[dict[str, Any]]:
    """List the latest incidents that are over, the latest first: kind, opened_at, closed_at, occurrences, details."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select load_date, kind, opened_at, closed_at, occurrences, details from ops.alerts "
            "where closed_at is not null and kind not in ('recovered', 'digest') "
            "order by closed_at desc, id desc limit %s",
            [most],
        ).fetchall()
