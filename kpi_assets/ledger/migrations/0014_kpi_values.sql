-- What readers were shown of each KPI, whether they may trust it, and the incidents of measures beyond their thresholds.

create table ops.kpi_values (
    publish_id bigint not null references ops.publishes (publish_id),
    measure text not null,
    measure_version text not null,
    value numeric,
    refreshed_at timestamp with time zone,
    primary key (publish_id, measure)
);
comment on table ops.kpi_values is
'What readers were shown: one row for each publish of a KPI and each measure. Those of superseded publishes stay.';
comment on column ops.kpi_values.publish_id is 'Publish whose rows it was computed from, in ops.publishes.';
comment on column ops.kpi_values.measure is 'Name of the measure in the header of the KPI.';
comment on column ops.kpi_values.measure_version is
'Version of the expression of the measure: another version may give another value for the same rows.';
comment on column ops.kpi_values.value is
'The value; NULL if the rows give none, or if it could not be computed, of which the build warned.';
comment on column ops.kpi_values.refreshed_at is
'When `kpi measures --refresh` computed it, long after the publish; NULL if it was computed for the publish itself.';

create table ops.kpis (
    kpi text primary key,
    load_date date,
    due_by timestamp with time zone,
    made_of text[] not null,
    gone_at timestamp with time zone
);
comment on table ops.kpis is
'The KPIs that the files of the pipeline declare: when each is due, and what it is made of.';
comment on column ops.kpis.kpi is 'Table, as schema.table.';
comment on column ops.kpis.load_date is
'The load_date after which it is due: the latest that was published; NULL if none was.';
comment on column ops.kpis.due_by is
'When the load_date after the latest must be published, by its freshness; NULL if it has none.';
comment on column ops.kpis.made_of is
'The table itself and the tables (schema.table) and objects (s3.table) that its rows come from.';
comment on column ops.kpis.gone_at is 'When no file declared it any more; NULL while one does.';

create view ops.kpi_tiles as
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
    coalesce(was.value is distinct from v.value, false) and was.publish_id is not null as restated
from ops.publishes as p
inner join ops.kpi_values as v on p.publish_id = v.publish_id
left join lateral (
    select
        b.publish_id,
        b.value
    from ops.publishes as o
    inner join ops.kpi_values as b on o.publish_id = b.publish_id
    where
        o.asset = p.asset and o.load_date = p.load_date and o.publish_id < p.publish_id
        and b.measure = v.measure and b.measure_version = v.measure_version
    order by o.publish_id desc
    limit 1
) as was on true
where
    p.superseded_at is null
    or p.dropped_at is not null and p.removed_at is null and not exists (
        select 1 from ops.publishes as n
        where n.asset = p.asset and n.load_date = p.load_date and n.publish_id > p.publish_id
    );
comment on view ops.kpi_tiles is
'What readers are shown: one row for each KPI, load_date and measure, with what they were shown before.';
comment on column ops.kpi_tiles.kpi is 'Table, as schema.table.';
comment on column ops.kpi_tiles.measure is 'Name of the measure.';
comment on column ops.kpi_tiles.load_date is 'load_date.';
comment on column ops.kpi_tiles.value is 'The value; NULL if there is none.';
comment on column ops.kpi_tiles.publish_id is 'Publish that readers are shown, in ops.publishes.';
comment on column ops.kpi_tiles.published_at is 'When readers began to see it.';
comment on column ops.kpi_tiles.was_publish_id is
'The publish of the load_date that readers were shown before; NULL if there was none with this measure.';
comment on column ops.kpi_tiles.was_value is 'The value that readers were shown before.';
comment on column ops.kpi_tiles.restated is 'Whether readers were shown another value before.';
comment on column ops.kpi_tiles.measure_version is 'Version of the expression of the measure.';

create view ops.kpi_trust as
with shown as (
    select
        k.kpi,
        k.made_of,
        p.publish_id,
        p.load_date,
        p.build_id,
        p.published_at,
        p.rows,
        p.code_version,
        case when k.load_date = p.load_date then k.due_by end as due_by
    from ops.kpis as k
    left join lateral (
        select
            n.publish_id,
            n.load_date,
            n.build_id,
            n.published_at,
            n.rows,
            n.code_version
        from ops.publishes as n
        where n.asset = k.kpi and n.removed_at is null
        order by n.load_date desc, n.publish_id desc
        limit 1
    ) as p on true
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
    where r.status in ('held', 'failed', 'running')
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

-- A correction of the load_date that is shown is no longer held when it is overtaken.
stops as (
    select distinct on (a.kpi)
        a.kpi,
        a.load_date,
        a.status,
        a.job,
        a.since
    from attempts as a
    where a.load_date is distinct from a.shown_load_date or a.id not in (select o.id from overtaken as o)
    order by a.kpi asc, a.load_date desc, array_position(array['held', 'failed', 'running'], a.status) asc, a.id asc
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

restated as (
    select
        s.kpi,
        count(*) as times,
        max(p.published_at) as last_at
    from shown as s
    inner join ops.publishes as p on s.kpi = p.asset and s.load_date = p.load_date
    where
        exists (
            select 1
            from ops.kpi_values as v
            inner join ops.kpi_values as b on v.measure = b.measure and v.measure_version = b.measure_version
            where
                v.publish_id = p.publish_id and v.value is distinct from b.value
                and b.publish_id = (
                    select max(o.publish_id) from ops.publishes as o
                    where o.asset = p.asset and o.load_date = p.load_date and o.publish_id < p.publish_id
                )
        )
    group by s.kpi
),

judged as (
    select
        s.kpi,
        case
            when t.status is not null then t.status
            when s.publish_id is null then 'none'
            when s.due_by < current_timestamp then 'late'
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
    r.last_at as restated_at
from shown as s
inner join judged as j on s.kpi = j.kpi
left join stops as t on s.kpi = t.kpi
left join restated as r on s.kpi = r.kpi;
comment on view ops.kpi_trust is
'Whether the number of a KPI can be trusted: one row for each KPI, for pages of other tools.';
comment on column ops.kpi_trust.kpi is 'Table, as schema.table.';
comment on column ops.kpi_trust.gate is
'The first that applies: held, failed, running (a newer load_date or a correction), none, late, warned, published.';
comment on column ops.kpi_trust.load_date is 'The latest load_date that readers are shown; NULL if there is none.';
comment on column ops.kpi_trust.publish_id is 'Its publish, in ops.publishes.';
comment on column ops.kpi_trust.published_at is 'When readers began to see it.';
comment on column ops.kpi_trust.rows is 'Number of its rows.';
comment on column ops.kpi_trust.code_version is 'Version of the SQL and columns that made it.';
comment on column ops.kpi_trust.warnings is 'Number of its checks that did not pass when they were made last.';
comment on column ops.kpi_trust.stopped_load_date is
'The newest load_date, or correction of one, that is held, failed or running; NULL if there is none.';
comment on column ops.kpi_trust.stopped_at is 'Table (schema.table) or object (s3.table) at which it stopped.';
comment on column ops.kpi_trust.stopped_since is 'Since when.';
comment on column ops.kpi_trust.due_by is
'When the load_date after the latest must be published; after that the KPI is late. NULL without a freshness.';
comment on column ops.kpi_trust.restated is
'How often the load_date was published again with other values.';
comment on column ops.kpi_trust.restated_at is 'When that happened last.';

-- A measure that is beyond its threshold is an incident of its own, however many others the load_date has.
alter table ops.alerts drop constraint alerts_kind_check;
alter table ops.alerts add constraint alerts_kind_check
check (kind in ('held', 'failed', 'late', 'stalled', 'breached', 'digest', 'recovered'));
alter table ops.alerts add column measure text;
comment on column ops.alerts.measure is
'Measure of the KPI in job that is beyond its threshold, or was; NULL of every other incident.';
comment on column ops.alerts.kind is
'held, failed, late; stalled: a sensor; breached: a measure beyond its threshold; digest: a summary; recovered: over.';
drop index ops.alerts_pipeline_name_load_date_kind_idx;
create unique index on ops.alerts (pipeline_name, load_date, kind)
where closed_at is null and measure is null;
create unique index on ops.alerts (job, measure) where closed_at is null and measure is not null;
