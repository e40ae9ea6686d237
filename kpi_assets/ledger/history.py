"""The state of a range of load_dates: the publish ledger, the holds and the run log, read for many at once.

Belongs here: facts, and the comparisons that are cheap inside Postgres. Not here: what follows from them (plan/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from psycopg import Connection

from kpi_assets.ledger.runs import Status


class ObjectState(NamedTuple):
    """One state of an S3 object, as a listing can tell it too. The same bytes in another bucket are the same."""

    key: str
    size_bytes: int
    etag: str

    @classmethod
    def of(cls, key: str, size_bytes: int, etag: str) -> "ObjectState":
        """The state, whether the store writes the ETag with its quotes or, as some do in listings, without."""
        return cls(key, size_bytes, etag.strip('"'))


class Lookback(NamedTuple):
    """That a table reads others over so many load_dates; all of these and the views' tables are in `reads`."""

    table: str
    load_dates: int
    reads: list[str]


@dataclass(frozen=True)
class Hold:
    """What a held build was made from."""

    object: ObjectState | None  # None if it read no object
    code_version: str
    checks_version: str
    other_inputs: bool  # whether a table that it read was published with other rows since, or more of its window

    @property
    def made_from(self) -> tuple[ObjectState | None, str, str, bool]:
        """All of it, to be compared."""
        return (self.object, self.code_version, self.checks_version, self.other_inputs)


@dataclass(frozen=True)
class Attempt:
    """The latest build of a table or object, or the latest run as a whole, where it was not a success."""

    status: Status
    error: str
    started_at: datetime
    hold: Hold | None


@dataclass
class Facts:
    """What has come of one load_date. Tables are named `schema.table`, objects `s3.table`."""

    published: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)  # of these, the ones whose rows retention dropped since
    stored: list[str] = field(default_factory=list)  # of these, the ones of which rows must be there
    other_code: list[str] = field(default_factory=list)  # published by another code_version than today's
    other_inputs: list[str] = field(default_factory=list)  # published from rows that were replaced since
    more_load_dates: list[str] = field(default_factory=list)  # published before a load_date of their window was
    objects: dict[str, ObjectState] = field(default_factory=dict)  # raw table's name -> what it was published from
    attempts: dict[str, Attempt] = field(default_factory=dict)
    run: Attempt | None = None
    lost: list[str] = field(
        default_factory=list
    )  # of those that must be there, the ones that are not (plan/collect.py)


# Of each table the last publish tells, also where its rows were dropped since to save room: a replay gives them again.
_LAST = """
last as (
    select distinct on (p.asset, p.load_date)
        p.asset, p.load_date, p.code_version, p.manifest_hash, p.inputs, p.rows, p.dropped_at
    from ops.publishes as p
    where p.asset = any(%(names)s) and p.load_date between %(first)s and %(last)s and p.removed_at is null
    order by p.asset, p.load_date, p.publish_id desc
)
"""
# Whether one of the publishes in `{inputs}` was followed by one with other rows.
_OTHER_INPUTS = """
exists (
    select 1
    from jsonb_each_text({inputs}) as i
    inner join ops.publishes as r on r.publish_id = i.value::bigint
    where r.superseded_at is not null and r.checksum <> (
        select n.checksum from ops.publishes as n
        where n.asset = r.asset and n.load_date = r.load_date
        order by n.publish_id desc limit 1
    )
)
"""
# Whether in the window of the build `{build}` of the table `{asset}` lies a load_date that it has not read, and that is
# published by now in every table of the window: a load_date is read in all of them or in none.
_MORE_LOAD_DATES = """
{asset} = any(%(readers)s) and exists (
    select 1
    from unnest(%(readers)s::text[], %(reads)s::text[], %(load_dates)s::integer[]) as v (reader, asset, load_dates)
    inner join ops.published as r
    on r.asset = v.asset and r.load_date < {build}.load_date
    and r.load_date >= greatest({build}.load_date - v.load_dates + 1, %(start)s::date)
    where v.reader = {asset} and not {inputs} ? (r.asset || '@' || r.load_date)
    group by r.load_date
    having count(*) = (select count(*) from unnest(%(readers)s::text[]) as n (reader) where n.reader = {asset})
)
"""
_PUBLISHED = f"""
with {_LAST}, told as (
    select l.load_date, l.asset, l.dropped_at is not null as dropped, l.dropped_at is null and l.rows > 0 as stored,
        -- What is not there is not of other SQL: else a changed file would bring back what was dropped.
        l.code_version <> w.code_version and l.dropped_at is null as other_code,
        {_OTHER_INPUTS.format(inputs="l.inputs")} as other_inputs,
        l.code_version = w.code_version
        and {_MORE_LOAD_DATES.format(build="l", asset="l.asset", inputs="l.inputs")} as more_load_dates
    from last as l
    inner join unnest(%(names)s::text[], %(versions)s::text[]) as w (asset, code_version) using (asset)
)
select load_date, array_agg(asset),
    coalesce(array_agg(asset) filter (where dropped), '{{}}'),
    coalesce(array_agg(asset) filter (where stored), '{{}}'),
    coalesce(array_agg(asset) filter (where other_code), '{{}}'),
    coalesce(array_agg(asset) filter (where other_inputs), '{{}}'),
    coalesce(array_agg(asset) filter (where more_load_dates), '{{}}')
from told
group by load_date
"""  # noqa: S608  put together from the constants above
_OBJECTS = f"""
with {_LAST}
select l.load_date, m.object, m.key, m.size_bytes, m.etag
from last as l
inner join ops.manifests as m
on m.object = split_part(l.asset, '.', 2) and m.load_date = l.load_date and m.manifest_hash = l.manifest_hash
"""  # noqa: S608
_ATTEMPTS = f"""
with latest as (
    select distinct on (r.load_date, i.item)
        r.load_date, i.item, r.id, r.status, r.error_message, r.started_at
    from ops.pipeline_runs as r
    cross join lateral (select case when r.job like '%%.%%' then r.job else '' end) as i (item)
    where r.load_date between %(first)s and %(last)s and r.job <> all(%(ignored)s)
    order by r.load_date, i.item, r.id desc
)
select
    l.load_date, l.item, l.status, coalesce(l.error_message, ''), l.started_at,
    h.code_version, h.checks_version, h.build_id is not null and (
        {_OTHER_INPUTS.format(inputs="h.inputs")}
        or {_MORE_LOAD_DATES.format(build="l", asset="l.item", inputs="h.inputs")}
    ),
    m.key, m.size_bytes, m.etag
from latest as l
left join ops.holds as h on h.build_id = l.id and l.status = 'held'
left join ops.manifests as m
on m.object = split_part(l.item, '.', 2) and m.load_date = l.load_date and m.manifest_hash = h.manifest_hash
where l.status <> 'success'
"""  # noqa: S608


def facts(
    connection: Connection[Any],
    versions: Mapping[str, str],
    raw: list[str],
    first: date,
    last: date,
    *,
    ignored: list[str],
    lookbacks: Sequence[Lookback] = (),
    start: date = date.min,
) -> dict[date, Facts]:
    """What has come of each load_date between two; those of which nothing is known are absent.

    `versions` is table -> its code_version today, `raw` which of them read an object, `ignored` jobs that build none;
    no window reaches back before `start`.
    """
    found: dict[date, Facts] = {}
    pairs = [(each.table, read, each.load_dates) for each in lookbacks for read in each.reads]
    bounds = {
        "first": first,
        "last": last,
        "start": start,
        "readers": [table for table, _, _ in pairs],
        "reads": [read for _, read, _ in pairs],
        "load_dates": [load_dates for _, _, load_dates in pairs],
    }
    tables = {**bounds, "names": list(versions), "versions": list(versions.values())}
    for day, *names in connection.execute(_PUBLISHED, tables):
        found[day] = Facts(*names)
    for day, name, *state in connection.execute(_OBJECTS, {**bounds, "names": raw}):
        found[day].objects[name] = ObjectState.of(*state)
    for day, item, status, error, at, code, checks, other, *state in connection.execute(
        _ATTEMPTS, {**bounds, "ignored": ignored}
    ):
        read = ObjectState.of(*state) if state[0] is not None else None
        hold = Hold(read, code, checks, other) if code is not None else None
        attempt = Attempt(status, error, at, hold)
        facts_of = found.setdefault(day, Facts())
        if item:
            facts_of.attempts[item] = attempt
        else:
            facts_of.run = attempt
    return found
