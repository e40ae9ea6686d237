-- A pipeline whose KPIs are shown together: a load_date is shown once all of its KPIs are published.
create table ops.releases (
    load_date date primary key,
    released_at timestamp with time zone not null default clock_timestamp(),
    publishes jsonb not null,
    ended_at timestamp with time zone
);
comment on table ops.releases is
'The load_dates of which all KPIs are published, for a pipeline that shows its KPIs together; empty for any other.';
comment on column ops.releases.load_date is 'The load_date: readers are shown it and earlier ones, and no later one.';
comment on column ops.releases.released_at is 'When readers began to see it.';
comment on column ops.releases.publishes is
'What was released: KPI, as schema.table, to its publish in ops.publishes. A KPI may have been published again since.';
comment on column ops.releases.ended_at is
'When the pipeline ceased to show its KPIs together; NULL while it does.';

create or replace view ops.kpi_tiles as
select
    p.asset as kpi,
    v.measure,
    p.load_date,
    v.value,
    p.publish_id,
    p.published_at,
    was.publish_id as was_publish_id,
    was.value as was_value,
    v.measure_version,
    coalesce(was.value is distinct from was.next_value, false) and was.publish_id is not null as restated
from ops.publishes as p
inner join ops.kpi_values as v on p.publish_id = v.publish_id
left join ops.kpis as k on p.asset = k.kpi and k.grows <> '{}'
left join
    lateral (
        (
            select
                b.publish_id,
                b.value,
                v.value as next_value
            from ops.publishes as o
            inner join ops.kpi_values as b on o.publish_id = b.publish_id
            where
                k.kpi is null
                and o.asset = p.asset and o.load_date = p.load_date and o.publish_id < p.publish_id
                and b.measure = v.measure and b.measure_version = v.measure_version
            order by o.publish_id desc
            limit 1
        )
        union all
        (
            select
                b.publish_id,
                b.value,
                a.value as next_value
            from ops.turns(k.kpi, p.load_date) as t
            inner join ops.kpi_values as b on t.publish_before = b.publish_id
            inner join ops.kpi_values as a
                on t.publish_after = a.publish_id and b.measure = a.measure and b.measure_version = a.measure_version
            where b.measure = v.measure and b.measure_version = v.measure_version
            order by t.publish_after desc
            limit 1
        )
    ) as was
    on true
where
    p.load_date <= coalesce((select max(r.load_date) from ops.releases as r where r.ended_at is null), 'infinity')
    and (
        p.superseded_at is null
        or p.dropped_at is not null and p.removed_at is null and not exists (
            select 1 from ops.publishes as n
            where n.asset = p.asset and n.load_date = p.load_date and n.publish_id > p.publish_id
        )
    );
