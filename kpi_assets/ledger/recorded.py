"""The state of a range of load_dates: the publish ledger, the holds and the run log, read for many at once.

Belongs here: facts, and the comparisons that are cheap inside Postgres. Not here: what follows from them (plan/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import class_row, dict_row

from kpi_assets.ledger import marks
from kpi_assets.ledger.marks import Build, Reader
from kpi_assets.ledger.runs import Status
from kpi_assets.model.decision import NO_DECISIONS


class ObjectState(NamedTuple):
    """One state of an S3 object, as far as a listing shows it too. It does not name the bucket."""

    key: str
    size_bytes: int
    etag: str

    @classmethod
    def of(cls, key: str, size_bytes: int, etag: str) -> "ObjectState":
        """Return the state. Some stores write the ETag of a listing without its quotes, so they are left out."""
        return cls(key, size_bytes, etag.strip('"'))


class Lookback(NamedTuple):
    """A table that reads the tables `reads` over a window of so many load_dates."""

    table: str
    load_dates: int
    reads: list[str]  # including the tables that views among them show


@dataclass(frozen=True)
class Hold:
    """The inputs and versions of a held build."""

    object: ObjectState | None  # None if it read no object
    code_version: str
    checks_version: str
    other_inputs: bool  # whether something was published since that a build now would read or be compared with
    decided: str = NO_DECISIONS  # the hash of the decisions on its rows that it read

    @property
    def made_from(self) -> tuple[ObjectState | None, str, str, bool, str]:
        """All fields, for a comparison."""
        return (self.object, self.code_version, self.checks_version, self.other_inputs, self.decided)


@dataclass(frozen=True)
class Attempt:
    """The latest build of a table or object, or the latest run as a whole, if it was not a success."""

    status: Status
    error: str
    started_at: datetime
    hold: Hold | None


@dataclass
class RecordedLoadDate:
    """What the ledger knows about one load_date. Tables are named `schema.table`, objects `s3.table`."""

    published: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)  # of these, the ones whose rows retention dropped
    stored: list[str] = field(default_factory=list)  # of these, the ones that must have rows in the database
    other_code: list[str] = field(default_factory=list)  # published by another code_version than today's
    other_inputs: list[str] = field(default_factory=list)  # published from rows that were replaced since
    more_load_dates: list[str] = field(default_factory=list)  # published before a load_date that they read now was
    objects: dict[str, ObjectState] = field(default_factory=dict)  # raw table's name -> what it was published from
    decided: dict[str, str] = field(
        default_factory=dict
    )  # table -> the hash of the decisions that it was published with
    waived: dict[str, str] = field(default_factory=dict)  # table -> who lets a held build of it be published
    attempts: dict[str, Attempt] = field(default_factory=dict)
    run: Attempt | None = None
    lost: list[str] = field(default_factory=list)  # of `stored`, the ones without rows; added by plan/collect.py


@dataclass(frozen=True)
class _ObjectRow:
    """A row of _OBJECTS."""

    load_date: date
    object: str
    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True)
class _AttemptRow:
    """A row of _ATTEMPTS; `item` is a table or object, and empty for a run as a whole."""

    load_date: date
    item: str
    status: Status
    error: str
    started_at: datetime
    code_version: str | None  # None if the build was not held
    checks_version: str | None
    other_inputs: bool
    key: str | None  # None if the build read no object
    size_bytes: int | None
    etag: str | None
    decided: str | None  # None if the build knew of no decisions

    def attempt(self) -> Attempt:
        """Return the attempt that the row describes."""
        hold = None
        if self.code_version is not None and self.checks_version is not None:
            decided = self.decided or NO_DECISIONS
            hold = Hold(self._object(), self.code_version, self.checks_version, self.other_inputs, decided)
        return Attempt(self.status, self.error, self.started_at, hold)

    def _object(self) -> ObjectState | None:
        if self.key is None or self.size_bytes is None or self.etag is None:
            return None
        return ObjectState.of(self.key, self.size_bytes, self.etag)


# The last publish of each table, even if retention dropped its rows since: a replay gives the same rows again.
_LAST = """
last as (
    select distinct on (p.asset, p.load_date)
        p.asset, p.load_date, p.code_version, p.manifest_hash, p.inputs, p.rows, p.dropped_at
    from ops.publishes as p
    where p.asset = any(%(names)s) and p.load_date between %(first)s and %(last)s and p.removed_at is null
    order by p.asset, p.load_date, p.publish_id desc
)
"""
# The load_dates on which a table of a window is not due.
_UNDUE = "undue as (select * from unnest(%(undue_days)s::date[], %(undue_tables)s::text[]) as u (load_date, asset))"
# The publish_id of the decisions in `{inputs}` of the build of the table `{asset}`; NULL if it knew of none.
_DECISIONS = "({inputs} ->> ('decisions.' || replace({asset}, '.', '__')))::bigint"
# Whether one of the publishes in `{inputs}` was followed by one with other rows, or with other rulings on them, or that
# lacks something else, or one of another load_date was taken out of its table. Checksums of two kinds are never equal.
# What is decided now, S3 says, and of what a history was up to a load_date, marks.py.
_OTHER_INPUTS = """
exists (
    select 1
    from jsonb_each_text({inputs}) as i
    inner join ops.publishes as r on r.publish_id = i.value::bigint
    where i.key not like '%%@..%%' and split_part(r.asset, '.', 1) <> 'decisions'
    and r.superseded_at is not null
    and coalesce(r.checksum_kind || ' ', '') || r.checksum || r.rulings::text || r.lacks::text is distinct from (
        select
            case
                when n.removed_at is null or i.key not like '%%@%%'
                    then coalesce(n.checksum_kind || ' ', '') || n.checksum || n.rulings::text || n.lacks::text
            end
        from ops.publishes as n
        where n.asset = r.asset and n.load_date = r.load_date
        order by n.publish_id desc limit 1
    )
)
"""
# Whether the build `{build}` of the table `{asset}` lacks a load_date of its window that is published now. Only a
# load_date counts that is published in every table of the window that was due on it: a build reads it in all of them
# or in none.
_MORE_LOAD_DATES = """
{asset} = any(%(readers)s) and exists (
    select 1
    from unnest(%(readers)s::text[], %(reads)s::text[], %(load_dates)s::integer[]) as v (reader, asset, load_dates)
    inner join ops.published as r
    on r.asset = v.asset and r.load_date < {build}.load_date
    and r.load_date >= greatest({build}.load_date - v.load_dates + 1, %(start)s::date)
    where v.reader = {asset}
    group by r.load_date
    having bool_or(not {inputs} ? (r.asset || '@' || r.load_date))
    and count(*) filter (where (r.load_date, r.asset) not in (select * from undue)) = (
        select count(*) from unnest(%(readers)s::text[], %(reads)s::text[]) as n (reader, asset)
        where n.reader = {asset} and (r.load_date, n.asset) not in (select * from undue)
    )
)
"""
# Whether the build `{build}` of the table `{asset}`, which carries on, was made before the load_date was published that
# is now the one before. A load_date that retention dropped counts, since it was read before that.
_OTHER_PREVIOUS = """
{asset} = any(%(carrying_on)s) and exists (
    select 1
    from ops.publishes as r
    where r.asset = {asset} and r.load_date < {build}.load_date and r.removed_at is null
    having not {inputs} ? ({asset} || '@' || max(r.load_date))
)
"""
# Whether a load_date with which a check compared the held build `{build}` of the table `{asset}` was published with
# other rows since, or one that lies between them. Its hold is `h`.
OTHER_COMPARED = f"""
h.compared <> '{{{{}}}}' and (
    {_OTHER_INPUTS.format(inputs="h.compared")}
    or exists (
        select 1
        from ops.publishes as r
        where r.asset = {{asset}} and r.load_date < {{build}}.load_date and r.removed_at is null
        having not h.compared ? ({{asset}} || '@' || max(r.load_date))
    )
)
"""  # noqa: S608
_PUBLISHED = f"""
with {_LAST}, {_UNDUE}, compared as (
    select l.load_date, l.asset, l.dropped_at is not null as dropped, l.dropped_at is null and l.rows > 0 as stored,
        -- Dropped rows do not count as built by other SQL: otherwise an edit of a file would bring them back.
        l.code_version <> w.code_version and l.dropped_at is null as other_code,
        {_OTHER_INPUTS.format(inputs="l.inputs")} as other_inputs,
        l.code_version = w.code_version
        and (
            {_MORE_LOAD_DATES.format(build="l", asset="l.asset", inputs="l.inputs")}
            or {_OTHER_PREVIOUS.format(build="l", asset="l.asset", inputs="l.inputs")}
        ) as more_load_dates
    from last as l
    inner join unnest(%(names)s::text[], %(versions)s::text[]) as w (asset, code_version) using (asset)
)
select load_date, array_agg(asset) as published,
    coalesce(array_agg(asset) filter (where dropped), '{{}}') as dropped,
    coalesce(array_agg(asset) filter (where stored), '{{}}') as stored,
    coalesce(array_agg(asset) filter (where other_code), '{{}}') as other_code,
    coalesce(array_agg(asset) filter (where other_inputs), '{{}}') as other_inputs,
    coalesce(array_agg(asset) filter (where more_load_dates), '{{}}') as more_load_dates
from compared
group by load_date
"""  # noqa: S608  put together from the constants above
_OBJECTS = f"""
with {_LAST}
select l.load_date, m.object, m.key, m.size_bytes, m.etag
from last as l
inner join ops.manifests as m
on m.object = split_part(l.asset, '.', 2) and m.load_date = l.load_date and m.manifest_hash = l.manifest_hash
"""  # noqa: S608
_DECIDED = f"""
with {_LAST}
select l.load_date, l.asset, d.manifest_hash
from last as l
inner join ops.publishes as d on d.publish_id = {_DECISIONS.format(inputs="l.inputs", asset="l.asset")}
"""  # noqa: S608
_WAIVED = """
select
    r.load_date, r.asset,
    'waived by ' || r.ruled_by || ' until ' || to_char(r.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC'
from ops.rulings as r
where r.load_date between %(first)s and %(last)s and r.kind = 'waive' and r.revoked_at is null
and (r.used_at is not null or r.expires_at > clock_timestamp())
order by r.ruled_at
"""
_ATTEMPTS = f"""
with {_UNDUE}, latest as (
    select distinct on (r.load_date, i.item)
        r.load_date, i.item, r.id, r.status, r.error_message, r.started_at
    from ops.pipeline_runs as r
    cross join lateral (select case when r.job like '%%.%%' then r.job else '' end) as i (item)
    where r.load_date between %(first)s and %(last)s and r.job <> all(%(ignored)s)
    order by r.load_date, i.item, r.id desc
)
select
    l.load_date, l.item, l.status, coalesce(l.error_message, '') as error, l.started_at,
    h.code_version, h.checks_version, h.build_id is not null and (
        {_OTHER_INPUTS.format(inputs="h.inputs")}
        or {_MORE_LOAD_DATES.format(build="l", asset="l.item", inputs="h.inputs")}
        or {_OTHER_PREVIOUS.format(build="l", asset="l.item", inputs="h.inputs")}
        or {OTHER_COMPARED.format(build="l", asset="l.item")}
    ) as other_inputs,
    m.key, m.size_bytes, m.etag, d.manifest_hash as decided
from latest as l
left join ops.holds as h on h.build_id = l.id and l.status = 'held'
left join ops.publishes as d on d.publish_id = {_DECISIONS.format(inputs="h.inputs", asset="l.item")}
left join ops.manifests as m
on m.object = split_part(l.item, '.', 2) and m.load_date = l.load_date and m.manifest_hash = h.manifest_hash
where l.status <> 'success'
"""  # noqa: S608


def read(
    connection: Connection[Any],
    versions: Mapping[str, str],
    raw: list[str],
    first: date,
    last: date,
    *,
    ignored: list[str],
    lookbacks: Sequence[Lookback] = (),
    carrying_on: Sequence[str] = (),
    history_readers: Sequence[Reader] = (),
    start: date = date.min,
    undue: Sequence[tuple[date, str]] = (),
) -> dict[date, RecordedLoadDate]:
    """Return what the ledger knows about each load_date of a range; unknown load_dates are absent.

    `versions` is table -> its code_version today, `raw` which of them read an object, `carrying_on` which of them carry
    on, `history_readers` which read a history, and `ignored` are jobs that build no table. No window reaches back
    before `start`. `undue` are the (load_date, table) of windows on which the table is not due.
    """
    found: dict[date, RecordedLoadDate] = {}
    windows = [(each.table, read, each.load_dates) for each in lookbacks for read in each.reads]
    bounds = {
        "first": first,
        "last": last,
        "start": start,
        "carrying_on": list(carrying_on),
        "readers": [table for table, _, _ in windows],
        "reads": [read for _, read, _ in windows],
        "load_dates": [load_dates for _, _, load_dates in windows],
        "undue_days": [load_date for load_date, _ in undue],
        "undue_tables": [table for _, table in undue],
    }
    tables = {**bounds, "names": list(versions), "versions": list(versions.values())}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_PUBLISHED, tables):
            load_date = row.pop("load_date")
            found[load_date] = RecordedLoadDate(**row)
    other = marks.read_otherwise(connection, history_readers, first, last)
    for build in other:
        if not build.is_held and build.table not in (names := found[build.load_date].other_inputs):
            names.append(build.table)
    with connection.cursor(row_factory=class_row(_ObjectRow)) as objects:
        for each in objects.execute(_OBJECTS, {**bounds, "names": raw}):
            found[each.load_date].objects[each.object] = ObjectState.of(each.key, each.size_bytes, each.etag)
    for load_date, table, decided in connection.execute(_DECIDED, tables):
        found[load_date].decided[table] = decided
    for load_date, table, waived in connection.execute(_WAIVED, bounds):
        found.setdefault(load_date, RecordedLoadDate()).waived[table] = waived
    with connection.cursor(row_factory=class_row(_AttemptRow)) as attempts:
        for latest in attempts.execute(_ATTEMPTS, {**bounds, "ignored": ignored}):
            past = found.setdefault(latest.load_date, RecordedLoadDate())
            reads_other = latest.other_inputs or Build(latest.load_date, latest.item, is_held=True) in other
            if latest.item:
                past.attempts[latest.item] = replace(latest, other_inputs=reads_other).attempt()
            else:
                past.run = latest.attempt()
    return found
