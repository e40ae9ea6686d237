-- Numbers that are final: since when, which publishes lack a load_date that they look back on, and that people are told
-- of a change.

alter table ops.publishes add column lacks text[] not null default '{}';
comment on column ops.publishes.lacks is
'Inputs (schema.table@load_date) that were due in its window, or behind it, and not there: it is provisional.';

create or replace view ops.published as
select
    publish_id,
    asset,
    load_date,
    build_id,
    run_id,
    manifest_hash,
    code_version,
    rows,
    checksum,
    size_bytes,
    inputs,
    published_at,
    columns,
    rulings,
    lacks
from ops.publishes
where superseded_at is null;

alter table ops.kpis add column final_after_days integer;
alter table ops.kpis add column final_by text;
comment on column ops.kpis.final_after_days is
'Days after the end of a load_date after which its numbers are final; NULL if the header does not say.';
comment on column ops.kpis.final_by is
'Column of the day that a row is of, if a row is final so many days after that day; NULL if a load_date is as a whole.';

alter table ops.alerts add column publish_id bigint;
alter table ops.alerts drop constraint alerts_kind_check;
alter table ops.alerts add constraint alerts_kind_check
check (
    kind in (
        'held', 'failed', 'late', 'stalled', 'breached', 'drifted', 'waived', 'erased', 'restated', 'digest',
        'recovered'
    )
);
comment on column ops.alerts.kind is
'held, failed, late, stalled, breached, drifted, waived, erased; restated: it had been final; digest; recovered.';
comment on column ops.alerts.publish_id is
'The publish by which a final number was restated, in ops.publishes; NULL of every other incident.';
create unique index on ops.alerts (publish_id) where publish_id is not null;

create or replace view ops.kpi_trust as
with shown as (
    select
        k.kpi,
        k.made_of,
        k.grows,
        p.publish_id,
        p.load_date,
        p.build_id,
        p.published_at,
        p.rows,
        p.code_version,
        t.through::timestamp with time zone as through,
        case
            when k.within_minutes is not null then t.through + k.within_minutes * interval '1 minute'
            when k.load_date = p.load_date then k.due_by
        end::timestamp with time zone as due_by,
        coalesce(cardinality(p.rulings), 0)::bigint as waived,
        case
            when k.final_by is null then (p.load_date + 1 + k.final_after_days)::timestamp at time zone 'UTC'
        end::timestamp with time zone as final_at,
        case when k.final_by is not null and p.lacks = '{}' then p.load_date - k.final_after_days end as final_through,
        k.final_after_days is not null as says_when,
        p.lacks = '{}' as has_all
    from ops.kpis as k
    left join lateral (
        select
            n.publish_id,
            n.load_date,
            n.build_id,
            n.published_at,
            n.rows,
            n.code_version,
            n.rulings,
            n.lacks
        from ops.publishes as n
        where
            n.asset = k.kpi and n.removed_at is null and n.load_date <= coalesce(
                (
                    select max(r.load_date) from ops.releases as r
                    where r.ended_at is null
                ), 'infinity'
            )
        order by n.load_date desc, n.publish_id desc
        limit 1
    ) as p on true
    left join
        lateral ops.built_through(case when k.within_minutes is not null then p.publish_id end, k.grows) as t (through)
        on true
    where k.gone_at is null
),

-- The latest builds, from the load_date that is shown on, that did not succeed.
attempts as (
    select
        s.kpi,
        s.load_date as shown_load_date,
        r.id,
        r.job,
        r.load_date,
        r.status,
        h.inputs,
        h.manifest_hash,
        coalesce(r.ended_at, r.started_at) as since,
        not exists (
            select 1 from jsonb_object_keys(h.inputs) as i (name)
            where i.name not like 'decisions.%'
        ) as is_raw
    from shown as s
    cross join unnest(s.made_of) as m (job)
    cross join
        lateral (
            select distinct on (b.load_date)
                b.id,
                b.job,
                b.load_date,
                b.status,
                b.started_at,
                b.ended_at
            from ops.pipeline_runs as b
            where b.job = m.job and b.load_date >= coalesce(s.load_date, '-infinity')
            order by b.load_date asc, b.id desc
        ) as r
    left join ops.holds as h on r.id = h.build_id
    where
        r.status in ('held', 'failed')
        -- A load_date that grows is built all day.
        or r.status = 'running' and (s.load_date is distinct from r.load_date or r.job <> all(s.grows))
),

-- What a held build was made from has been replaced since: its object, or a publish that it read.
overtaken as (
    select a.id
    from attempts as a
    inner join ops.manifests as m on split_part(a.job, '.', 2) = m.object and a.load_date = m.load_date
    where
        a.is_raw and a.manifest_hash <> m.manifest_hash and m.manifest_id = (
            select n.manifest_id from ops.manifests as n
            where n.object = m.object and n.load_date = m.load_date
            order by n.recorded_at desc, n.manifest_id desc
            limit 1
        )
    union all
    select a.id
    from attempts as a
    cross join jsonb_each_text(a.inputs) as i (name, publish_id)
    inner join ops.publishes as p on i.publish_id::bigint = p.publish_id
    inner join ops.publishes as n on p.asset = n.asset and p.load_date = n.load_date
    where
        not a.is_raw and i.name not like '%@..%' and p.checksum <> n.checksum and n.publish_id = (
            select max(o.publish_id) from ops.publishes as o
            where o.asset = p.asset and o.load_date = p.load_date
        )
),

-- The KPI is published, and another one is not with which it is shown.
waits as (
    select
        s.kpi,
        p.load_date,
        p.published_at as since,
        p.build_id,
        (
            select min(l.kpi) from ops.kpis as l
            where
                l.gone_at is null and not exists (
                    select 1 from ops.publishes as o
                    where o.asset = l.kpi and o.load_date = p.load_date and o.superseded_at is null
                )
        ) as job
    from shown as s
    inner join ops.publishes as p on s.kpi = p.asset and p.superseded_at is null
    where
        p.load_date > (
            select max(r.load_date) from ops.releases as r
            where r.ended_at is null
        )
),

-- A correction of the load_date that is shown is no longer held when it is overtaken.
stops as (
    select distinct on (e.kpi)
        e.kpi,
        e.load_date,
        e.status,
        e.job,
        e.since
    from (
        select
            a.kpi,
            a.load_date,
            a.status,
            a.job,
            a.since,
            a.id
        from attempts as a
        where a.load_date is distinct from a.shown_load_date or a.id not in (select o.id from overtaken as o)
        union all
        select
            w.kpi,
            w.load_date,
            'waiting' as status,
            w.job,
            w.since,
            w.build_id as id
        from waits as w
        where w.job is not null
    ) as e
    order by
        e.kpi asc, e.load_date desc, array_position(array['held', 'failed', 'running', 'waiting'], e.status) asc,
        e.id asc
),

warned as (
    select
        s.kpi,
        count(*) filter (where c.status <> 'pass') as warnings
    from shown as s
    cross join
        lateral (
            select distinct on (q.check_name) q.status
            from ops.data_quality_results as q
            where
                q.table_name = s.kpi and q.load_date = s.load_date and q.build_id = s.build_id
                and q.subject <> 'object'
            order by q.check_name asc, q.id desc
        ) as c
    group by s.kpi
),

neighbors as (
    select
        s.kpi,
        p.published_at,
        p.publish_id,
        (
            select max(o.publish_id) from ops.publishes as o
            where o.asset = p.asset and o.load_date = p.load_date and o.publish_id < p.publish_id
        ) as before_id
    from shown as s
    inner join ops.publishes as p on s.kpi = p.asset and s.load_date = p.load_date
    where s.grows = '{}'
    union all
    select
        s.kpi,
        p.published_at,
        p.publish_id,
        t.publish_before as before_id
    from shown as s
    cross join lateral ops.turns(s.kpi, s.load_date) as t
    inner join ops.publishes as p on t.publish_after = p.publish_id
    where s.grows <> '{}'
),

restated as (
    select
        n.kpi,
        count(*) as times,
        max(n.published_at) as last_at
    from neighbors as n
    where
        exists (
            select 1
            from ops.kpi_values as v
            inner join ops.kpi_values as b on v.measure = b.measure and v.measure_version = b.measure_version
            where v.publish_id = n.publish_id and v.value is distinct from b.value and b.publish_id = n.before_id
        )
    group by n.kpi
),

judged as (
    select
        s.kpi,
        case
            when t.status is not null then t.status
            when s.publish_id is null then 'none'
            when s.due_by < current_timestamp then 'late'
            when s.waived > 0 then 'waived'
            when w.warnings > 0 then 'warned'
            else 'published'
        end as gate,
        coalesce(w.warnings, 0) as warnings,
        coalesce(r.times, 0) as restated
    from shown as s
    left join stops as t on s.kpi = t.kpi
    left join warned as w on s.kpi = w.kpi
    left join restated as r on s.kpi = r.kpi
)

select
    s.kpi,
    j.gate,
    s.load_date,
    s.publish_id,
    s.published_at,
    s.rows,
    s.code_version,
    j.warnings,
    t.load_date as stopped_load_date,
    t.job as stopped_at,
    t.since as stopped_since,
    s.due_by,
    j.restated,
    r.last_at as restated_at,
    s.through,
    s.waived,
    s.final_at,
    s.final_through,
    case when s.says_when and s.final_through is null then s.final_at <= current_timestamp and s.has_all end as final
from shown as s
inner join judged as j on s.kpi = j.kpi
left join stops as t on s.kpi = t.kpi
left join restated as r on s.kpi = r.kpi;
comment on column ops.kpi_trust.final is
'Whether the numbers are final; false while they are provisional, NULL if nothing says when, or only some rows are.';
comment on column ops.kpi_trust.final_at is
'When the numbers become final, or became so, unless a load_date that they look back on was not there.';
comment on column ops.kpi_trust.final_through is
'The last day whose rows are final, of a KPI whose rows are of several days; NULL if one that it needs was not there.';
