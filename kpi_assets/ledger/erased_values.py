"""What ops keeps of values of load_dates from which persons were erased: emptied, with the number of the erasure.

What the last build of a table and load_date wrote down has nobody, nor has what the published one did, since their rows
are searched. Samples and messages of every earlier build may quote an erased person, also where other rows took the
place of that person's before the erasure. Where a load_date was published again after it, so may all records that were
set aside before, and the checksum of what was published then, whose difference to that of now is a hash of the erased
rows. Of other load_dates, the records in which a word is the key of an erased person are emptied.
Not here: the objects (manifest_links.py), and which tables are made of persons (model/subject_tables.py).
"""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from psycopg import Connection

# `earlier`: the builds of a table and load_date that are older than the one that is published since an erasure, and the
# verifications of its object before those of the same run. `superseded`: all but the last ones and those published.
_EARLIER = """
with now as (
    select distinct on (p.asset, p.load_date) p.asset, p.load_date, p.publish_id, p.build_id, p.run_id
    from ops.publishes as p
    inner join ops.erasures as e on e.erasure = %(erasure)s
    where p.asset = any(%(tables)s) and p.published_at > e.recorded_at
    order by p.asset, p.load_date, p.publish_id desc
), earlier as (
    select r.id, r.run_id, n.asset, n.load_date
    from now as n
    inner join ops.pipeline_runs as r on r.load_date = n.load_date
        and r.job in (n.asset, 's3.' || split_part(n.asset, '.', 2)) and r.id < n.build_id
        and (r.job = n.asset or r.run_id <> n.run_id)
), lasts as (
    select max(id) as id from ops.pipeline_runs where job = any(%(jobs)s) group by job, load_date
    union
    select build_id from ops.published where asset = any(%(tables)s)
), superseded as (
    select id, run_id from ops.pipeline_runs
    where job = any(%(jobs)s) and id not in (select id from lasts where id is not null)
)
"""
_SAID = "removed by erasure "
# What is emptied -> the statement, which changes each row once.
_STATEMENTS: Mapping[str, str] = {
    "publishes": "update ops.publishes as p set checksum = '', erasure = %(erasure)s from now as n "
    "where p.asset = n.asset and p.load_date = n.load_date and p.publish_id < n.publish_id and p.checksum <> ''",
    "versions": "update ops.versions as v set checksum = 'erased ' || v.version_id from now as n "
    "where v.asset = n.asset and v.load_date = n.load_date and v.dropped_at is not null "
    "and not starts_with(v.checksum, 'erased')",
    "kept": "update ops.versions as v set checksum = 'erased ' || v.version_id where v.asset = any(%(tables)s) "
    "and v.dropped_why = %(dropped)s and not starts_with(v.checksum, 'erased')",
    "quarantine": "update ops.quarantine as q set record = %(said)s, column_name = null, value = null, "
    "reason = %(said)s, key = null, corrected = null from earlier as r where q.build_id = r.id "
    "and not starts_with(q.record, %(prefix)s)",
    "samples": "update ops.data_quality_results as d set samples = '[]', message = %(said)s from superseded as r "
    "where d.build_id = r.id and (d.samples <> '[]' or d.message <> '') and not starts_with(d.message, %(prefix)s)",
    "errors": "update ops.pipeline_runs as r set error_message = %(said)s from superseded as o "
    "where r.run_id = o.run_id and r.id not in (select id from lasts where id is not null) "
    "and not starts_with(r.error_message, %(prefix)s)",
    "alerts": "update ops.alerts as a set details = array[%(said)s] from superseded as r "
    "where a.run_id = r.run_id and a.kind <> 'erased' and not starts_with(coalesce(a.details[1], ''), %(prefix)s)",
    "holds": "update ops.holds as h set checksum = null from earlier as r "
    "where h.build_id = r.id and h.checksum is not null",
}


def empty(connection: Connection[Any], erasure: int, tables: Collection[str]) -> dict[str, int]:
    """Empty what earlier builds of these tables wrote down; return how many rows each statement changed."""
    said = {"said": f"{_SAID}{erasure}", "prefix": _SAID, "dropped": dropped_by(erasure)}
    words = {**_words(erasure, tables), **said}
    with connection.transaction():
        return {name: connection.execute(_EARLIER + each, words).rowcount for name, each in _STATEMENTS.items()}


def _words(erasure: int, tables: Collection[str]) -> dict[str, Any]:
    """Return the parameters of _EARLIER. What verifies the object of a raw table is a job, too."""
    verifications = [f"s3.{table.partition('.')[2]}" for table in tables]
    return {"erasure": erasure, "tables": list(tables), "jobs": [*tables, *verifications]}


def dropped_by(erasure: int) -> str:
    """Return why kept rows were dropped."""
    return f"erasure {erasure}"


def quarantined(connection: Connection[Any], tables: Collection[str]) -> list[tuple[int, str]]:
    """What the quarantine has of earlier builds of these tables: its rows, each with all its values as one text."""
    return connection.execute(
        "select q.id, concat_ws(' ', q.record, q.value, q.key::text, q.corrected) from ops.quarantine as q "
        "where q.table_name = any(%s) and not starts_with(q.record, %s) "
        "and not exists (select from ops.bad_rows as b where b.id = q.id)",
        [list(tables), _SAID],
    ).fetchall()


def empty_quarantine(connection: Connection[Any], erasure: int, rows: Collection[int]) -> int:
    """Empty rows of the quarantine; return how many there were."""
    return connection.execute(
        "update ops.quarantine set record = %(said)s, column_name = null, value = null, reason = %(said)s, key = null, "
        "corrected = null where id = any(%(rows)s)",
        {"said": f"{_SAID}{erasure}", "rows": list(rows)},
    ).rowcount


def runs_of(connection: Connection[Any], erasure: int, tables: Collection[str]) -> list[str]:
    """The runs that built one of these tables before its last build, without those that an earlier erasure noted."""
    noted = "select unnest(runs) from ops.erasures where erasure <> %(erasure)s"
    query = f"{_EARLIER} select run_id from superseded except ({noted}) order by run_id"  # noqa: S608
    rows = connection.execute(query, _words(erasure, tables)).fetchall()
    return [run_id for (run_id,) in rows]


def rebuilt(connection: Connection[Any], erasure: int, tables: Collection[str]) -> list[tuple[str, date]]:
    """The tables and load_dates that were published again after an erasure."""
    query = f"{_EARLIER} select asset, load_date from now order by asset, load_date"  # noqa: S608
    return connection.execute(query, _words(erasure, tables)).fetchall()
