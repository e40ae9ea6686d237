-- Other tools are told of load_dates that grow what pages say: that there are more events is no restatement.

alter table ops.kpis add column grows text[] not null default '{}';
alter table ops.kpis add column within_minutes double precision;
comment on column ops.kpis.grows is
'Those tables of made_of whose rows come from streams: their load_dates grow. Empty if none does.';
comment on column ops.kpis.within_minutes is
'How old the KPI may be by its freshness, if that counts from the instant through which it is built; NULL otherwise.';

-- Of a publish, the batch that it showed.
create index on ops.batches (publish_id);

-- What lacked when a load_date was closed is told until it is there.
alter table ops.growth add column problems text[] not null default '{}';
comment on column ops.growth.problems is
'What lacked when the load_date was closed, a sentence each; empty if nothing did, or while it grows.';

-- The batches of a load_date that is over are merged: its rows are what they were, and nobody adds to them.
alter table ops.batches add column merged_from integer;
comment on column ops.batches.merged_from is
'First of the batches that were merged into this one, whose counts are those of all of them; NULL of one alone.';

-- Of the batches that were added to one first batch stay: this one, the last one, and those of publishes that stay.
create function ops.prune_batches(pruned_asset text, pruned_before date) returns void
language plpgsql security definer set search_path = pg_catalog
as $$
begin
    with old as materialized (
        select
            b.load_date, b.build_id, b.base_build_id, b.batch, b.merged_from,
            b.build_id = b.base_build_id
            or b.build_id = max(b.build_id) over (partition by b.load_date, b.base_build_id)
            or exists (select 1 from ops.publishes as p where p.publish_id = b.publish_id) as stays
        from ops.batches as b
        inner join ops.growth as g on b.load_date = g.load_date and g.finished_at is not null
        where b.asset = pruned_asset and b.load_date < pruned_before
    ),

    going as (
        select
            o.*,
            min(o.build_id) filter (where o.stays) over (
                partition by o.load_date, o.base_build_id order by o.build_id desc
                rows between unbounded preceding and current row
            ) as into_build_id
        from old as o
    ),

    gone as (
        delete from ops.batches as b
        using going as g
        where b.asset = pruned_asset and b.load_date = g.load_date and b.build_id = g.build_id and not g.stays
        returning b.*, g.into_build_id
    ),

    sums as (
        select
            g.load_date, g.into_build_id, min(least(g.batch, g.merged_from)) as merged_from,
            sum(g.objects) as objects, sum(g.records) as records, sum(g.rows) as rows, sum(g.repeats) as repeats,
            sum(g.quarantined) as quarantined
        from gone as g
        group by g.load_date, g.into_build_id
    )

    update ops.batches as b
    set
        merged_from = least(b.merged_from, s.merged_from), objects = b.objects + s.objects,
        records = b.records + s.records, rows = b.rows + s.rows, repeats = b.repeats + s.repeats,
        quarantined = b.quarantined + s.quarantined
    from sums as s
    where b.asset = pruned_asset and b.load_date = s.load_date and b.build_id = s.into_build_id;
end
$$;
revoke execute on function ops.prune_batches(text, date) from public;

comment on table ops.batches is
'The batches of tables that grow: a row for each that was published; of an old load_date they are merged into few.';

-- Every build since the first batch that succeeded is a published batch, whether it was merged or not.
create or replace view ops.bad_rows as
select
    q.id,
    q.build_id,
    q.run_id,
    q.table_name,
    q.load_date,
    q.object_key,
    q.line,
    q.byte_offset,
    q.record,
    q.column_name,
    q.value,
    q.reason,
    q.key,
    q.rules,
    q.state,
    q.decision,
    q.quarantined_at,
    q.corrected
from ops.quarantine as q
where
    q.build_id = (
        select max(r.id) from ops.pipeline_runs as r
        where r.job = q.table_name and r.load_date = q.load_date and r.status in ('success', 'held')
    )
    or q.build_id >= (
        select b.base_build_id from ops.batches as b
        where b.asset = q.table_name and b.load_date = q.load_date and b.superseded_at is null
        order by b.batch desc
        limit 1
    )
    and exists (
        select 1 from ops.pipeline_runs as r
        where r.id = q.build_id and r.status = 'success'
    );

-- The instant before which all events that the brokers took are in the rows of a publish; NULL if nobody knows.
create function ops.built_through(of_publish bigint, growing text[]) returns timestamp with time zone
language plpgsql stable set search_path = pg_catalog
as $$
declare
    own ops.publishes;
    batch ops.batches;
    source ops.publishes;
    source_batch ops.batches;
    found_instant timestamp with time zone;
    is_known boolean;
begin
    select p.* into own from ops.publishes as p where p.publish_id = of_publish;
    if not found then
        return null;
    end if;
    select b.* into batch from ops.batches as b where b.publish_id = of_publish order by b.batch desc limit 1;
    if not found then
        if exists (select 1 from ops.batches as b where b.asset = own.asset) then
            return null;
        end if;
        -- What was built as a whole is as old as the oldest of what it read of its load_date.
        select min(t.instant), bool_and(t.instant is not null) into found_instant, is_known
        from jsonb_each_text(own.inputs) as i
        cross join lateral (select ops.built_through(i.value::bigint, growing) as instant) as t
        where i.key = any(growing);
        return case when is_known then found_instant end;
    end if;
    if batch.through is null or own.superseded_at is not null or own.removed_at is not null then
        return batch.through;
    end if;
    if batch.input_base_build_id is null then
        if exists (
            select 1 from ops.publishes as p
            where p.asset = own.asset and p.load_date > own.load_date and p.superseded_at is null
        ) then
            return batch.through;
        end if;
        return greatest(
            batch.through, (select max(g.through) from ops.growth as g where g.load_date >= own.load_date)
        );
    end if;
    select p.* into source
    from ops.publishes as p
    inner join jsonb_object_keys(own.inputs) as i (name) on p.asset = i.name
    where p.load_date = own.load_date and p.superseded_at is null and i.name = any(growing);
    select b.* into source_batch
    from ops.batches as b
    where b.asset = source.asset and b.load_date = own.load_date and b.superseded_at is null
    order by b.batch desc
    limit 1;
    if source_batch.up_to <= batch.up_to and source_batch.base_build_id = batch.input_base_build_id then
        return ops.built_through(source.publish_id, growing);
    end if;
    return batch.through;
end
$$;

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
    p.superseded_at is null
    or p.dropped_at is not null and p.removed_at is null and not exists (
        select 1 from ops.publishes as n
        where n.asset = p.asset and n.load_date = p.load_date and n.publish_id > p.publish_id
    );
comment on column ops.kpi_tiles.was_publish_id is
'The publish of the load_date that readers were shown before, not counting that it grew; NULL if there was none.';
comment on column ops.kpi_tiles.restated is
'Whether readers were shown another value before; a load_date that has more events is not restated.';

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
        end::timestamp with time zone as due_by
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
    s.through
from shown as s
inner join judged as j on s.kpi = j.kpi
left join stops as t on s.kpi = t.kpi
left join restated as r on s.kpi = r.kpi;
comment on column ops.kpi_trust.gate is
'The first that applies: held, failed, running (a newer load_date or a correction), none, late, warned, published.';
comment on column ops.kpi_trust.due_by is
'Until when the KPI is fresh; after that it is late. NULL without a freshness, or if nobody knows.';
comment on column ops.kpi_trust.restated is
'How often the load_date was published again with other values; that it has more events does not count.';
comment on column ops.kpi_trust.through is
'All events that the brokers took before this instant are in the number; NULL if its freshness counts no minutes.';
