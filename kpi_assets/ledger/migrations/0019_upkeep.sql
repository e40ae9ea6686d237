-- A load_date that grows has a publish, a build, check results and values of KPIs for each tick: a million rows a day.
-- What later ticks have made superfluous goes while it grows.

-- Who deletes a build has Postgres look for what refers to it.
create index on ops.data_quality_results (build_id);
create index on ops.quarantine (build_id);

-- Whether the second of two publishes of a table added batches to the rows of the first.
create function ops.has_continued(of_asset text, of_load_date date, publish_before bigint, publish_after bigint)
returns boolean
language sql stable set search_path = pg_catalog
as $$
    select
        coalesce(
            (
                select b.base_build_id from ops.batches as b
                where b.asset = of_asset and b.load_date = of_load_date
                order by b.build_id desc
                limit 1
            ) = (select min(b.build_id) from ops.batches as b where b.asset = of_asset and b.load_date = of_load_date),
            false
        )
        or (
            select count(distinct b.publish_id) = 2 and count(distinct b.base_build_id) = 1 from ops.batches as b
            where
                b.asset = of_asset and b.load_date = of_load_date
                and b.publish_id in (publish_before, publish_after)
        )
$$;

-- Two publishes are compared with all that they were made from, level by level, and only where that differs.
create function ops.only_grew(publish_before bigint, publish_after bigint) returns boolean
language sql stable set search_path = pg_catalog
as $$
    with recursive steps as (
        select
            p.asset, p.load_date, publish_before as first, publish_after as last, true as is_own, false as has_batches,
            false as is_continued
        from ops.publishes as p
        where p.publish_id = publish_after
        union
        select
            n.asset, n.load_date, n.first, n.last, false, g.has_batches,
            g.has_batches and ops.has_continued(n.asset, n.load_date, n.first, n.last)
        from steps as s
        inner join ops.publishes as b on s.first = b.publish_id
        inner join ops.publishes as a on s.last = a.publish_id
        cross join
            lateral (
                select
                    split_part(i.key, '@', 1) as asset,
                    coalesce(nullif(split_part(i.key, '@', 2), '')::date, s.load_date) as load_date,
                    (b.inputs ->> i.key)::bigint as first,
                    i.value::bigint as last
                from jsonb_each_text(a.inputs) as i
                where i.key not like '%@..%' and b.inputs ->> i.key <> i.value
            ) as n
        cross join lateral (
            select exists (select 1 from ops.batches as o where o.asset = n.asset) as has_batches
        ) as g
        where not s.is_continued and (s.is_own or a.checksum <> b.checksum)
    ),

    found as (
        select
            s.is_continued or s.has_batches and b.inputs = '{}' and a.code_version = b.code_version as grew,
            not s.is_continued and case
                when a.publish_id is null or b.publish_id is null then s.has_batches
                when not s.is_own and a.checksum = b.checksum then false
                else
                    s.asset like 'decisions.%'
                    or a.code_version <> b.code_version
                    or a.manifest_hash <> b.manifest_hash and not s.has_batches and not exists (
                        select 1 from jsonb_object_keys(a.inputs || b.inputs) as i (name)
                        where i.name not like 'decisions.%'
                    )
                    or exists (
                        select 1 from jsonb_object_keys(a.inputs || b.inputs) as i (name)
                        where
                            (i.name like 'decisions.%' or i.name like '%@%' and i.name not like '%@..%')
                            and (a.inputs ? i.name) <> (b.inputs ? i.name)
                            or i.name like '%@..%' and a.inputs ->> i.name <> b.inputs ->> i.name
                    )
            end as is_other
        from steps as s
        left join ops.publishes as a on s.last = a.publish_id
        left join ops.publishes as b on s.first = b.publish_id
    )

    select coalesce(bool_or(f.grew) and not bool_or(f.is_other), false) from found as f
$$;

-- A load_date that grows has a publish for each tick. The first and the last are compared, and only if they differ by
-- more than events, the publish in the middle is looked at; of many such turns the newest are found.
create function ops.turns(of_asset text, of_load_date date)
returns table (publish_before bigint, publish_after bigint)
language plpgsql stable set search_path = pg_catalog
as $$
declare
    firsts bigint[];
    lasts bigint[];
    middles bigint[];
    number integer;
    next_firsts bigint[];
    next_lasts bigint[];
begin
    select array[min(p.publish_id)], array[max(p.publish_id)] into firsts, lasts
    from ops.publishes as p
    where p.asset = of_asset and p.load_date = of_load_date
    having min(p.publish_id) < max(p.publish_id);
    while firsts <> '{}' loop
        select array_agg(w.first order by w.first), array_agg(w.last order by w.first),
            array_agg(
                coalesce(
                    (
                        select max(p.publish_id) from ops.publishes as p
                        where
                            p.asset = of_asset and p.load_date = of_load_date and p.publish_id > w.first
                            and p.publish_id <= (w.first + w.last) / 2
                    ),
                    (
                        select min(p.publish_id) from ops.publishes as p
                        where
                            p.asset = of_asset and p.load_date = of_load_date and p.publish_id < w.last
                            and p.publish_id > (w.first + w.last) / 2
                    )
                )
                order by w.first
            )
        into firsts, lasts, middles
        from (
            select u.first, u.last from unnest(firsts, lasts) as u (first, last) order by u.first desc limit 16
        ) as w
        where not ops.only_grew(w.first, w.last);
        next_firsts := '{}';
        next_lasts := '{}';
        for number in 1 .. coalesce(cardinality(firsts), 0) loop
            if middles[number] is null then
                publish_before := firsts[number];
                publish_after := lasts[number];
                return next;
            else
                next_firsts := next_firsts || firsts[number] || middles[number];
                next_lasts := next_lasts || middles[number] || lasts[number];
            end if;
        end loop;
        firsts := next_firsts;
        lasts := next_lasts;
    end loop;
end
$$;

-- Who builds may not delete in ops. These functions let them delete what a later build has made superfluous, and nothing
-- else. A publish stays if it is the last one of its load_date, if readers saw it for an hour, if it was restated or
-- restates what they saw, or if a publish or a hold that stays was made from it, directly or not: so the plan sees what
-- has changed since, and a lineage has no gaps.
create function ops.prune_growth(pruned_assets text[], pruned_load_dates date[], older_than interval) returns void
language plpgsql security definer set search_path = pg_catalog
as $$
declare
    until constant timestamp with time zone := clock_timestamp() - older_than;
    publishes bigint[];
    builds bigint[];
begin
    with recursive turned as materialized (
        select u.publish_id
        from unnest(pruned_assets) as a (asset)
        cross join unnest(pruned_load_dates) as d (load_date)
        cross join lateral ops.turns(a.asset, d.load_date) as t
        cross join lateral (values (t.publish_before), (t.publish_after)) as u (publish_id)
        where not exists (select 1 from ops.batches as b where b.asset = a.asset)
    ),

    passing as materialized (
        select p.publish_id, p.asset, p.load_date, p.published_at, p.inputs
        from ops.publishes as p
        where
            p.asset = any(pruned_assets) and p.load_date = any(pruned_load_dates)
            and p.superseded_at < until and p.superseded_at - p.published_at < interval '1 hour'
            and p.dropped_at is null and p.removed_at is null
            and p.publish_id not in (select t.publish_id from turned as t)
            and exists (
                select 1 from ops.publishes as n
                where n.asset = p.asset and n.load_date = p.load_date and n.publish_id > p.publish_id
            )
    ),

    -- Nothing was made from a publish before it was there.
    staying as (
        select p.inputs from ops.publishes as p
        where
            p.publish_id > (select min(c.publish_id) from passing as c)
            and p.publish_id not in (select c.publish_id from passing as c)
        union all
        select h.inputs
        from ops.holds as h
        inner join ops.pipeline_runs as r on h.build_id = r.id
        where
            r.ended_at > (select min(c.published_at) from passing as c)
            and not exists (
                select 1 from ops.pipeline_runs as n
                where n.job = r.job and n.load_date = r.load_date and n.id > r.id and n.status in ('success', 'held')
            )
    ),

    named as materialized (
        select distinct i.key like '%@..%' as is_mark, split_part(i.key, '@', 1) as asset, i.value::bigint as publish_id
        from staying as s
        cross join jsonb_each_text(s.inputs) as i
    ),

    -- A mark stands for the publish that each load_date of a history had at that time.
    kept as (
        select c.publish_id
        from passing as c
        where
            c.publish_id in (select n.publish_id from named as n where not n.is_mark)
            or exists (
                select 1 from named as n
                where
                    n.is_mark and n.asset = c.asset and n.publish_id >= c.publish_id
                    and not exists (
                        select 1 from ops.publishes as o
                        where
                            o.asset = c.asset and o.load_date = c.load_date
                            and o.publish_id > c.publish_id and o.publish_id <= n.publish_id
                    )
            )
        union
        select c.publish_id
        from kept as k
        inner join passing as p on k.publish_id = p.publish_id
        cross join jsonb_each_text(p.inputs) as i
        inner join passing as c on i.value::bigint = c.publish_id
    )

    select coalesce(array_agg(c.publish_id), '{}') into publishes
    from passing as c
    where c.publish_id not in (select k.publish_id from kept as k);

    delete from ops.kpi_values as v where v.publish_id = any(publishes);
    delete from ops.publishes as p where p.publish_id = any(publishes);

    -- The builds that are no longer published, and those that were held or failed and got over.
    select coalesce(array_agg(r.id), '{}') into builds
    from ops.pipeline_runs as r
    where
        r.job = any(pruned_assets) and r.load_date = any(pruned_load_dates)
        and r.status <> 'running' and r.ended_at < until
        and exists (
            select 1 from ops.pipeline_runs as n
            where n.job = r.job and n.load_date = r.load_date and n.id > r.id and n.status in ('success', 'held')
        )
        and not exists (select 1 from ops.publishes as p where p.build_id = r.id);

    -- Of the results for rows that readers saw, those with which a check began to fail, or to pass again, say for how
    -- long it has.
    delete from ops.data_quality_results as d
    using (
        select
            q.id,
            r.status = 'success' and q.status <> coalesce(
                lag(q.status) over (
                    partition by q.table_name, q.load_date, q.check_name, r.status = 'success' order by q.id
                ), 'pass'
            ) as is_change
        from ops.data_quality_results as q
        inner join ops.pipeline_runs as r on q.build_id = r.id
        where q.table_name = any(pruned_assets) and q.load_date = any(pruned_load_dates) and q.subject = 'candidate'
    ) as c
    where d.id = c.id and d.build_id = any(builds) and not c.is_change;

    delete from ops.holds as h where h.build_id = any(builds);
    delete from ops.pipeline_runs as r
    where
        r.id = any(builds)
        and not exists (select 1 from ops.data_quality_results as d where d.build_id = r.id)
        and not exists (select 1 from ops.quarantine as q where q.build_id = r.id);
end
$$;
revoke execute on function ops.prune_growth(text[], date[], interval) from public;

-- The list of the objects of a load_date that is closed is beside them. What may come later goes on from the last of
-- each partition, and the first says where the load_date begins.
create function ops.prune_stream_objects(pruned_asset text, pruned_load_date date) returns void
language plpgsql security definer set search_path = pg_catalog
as $$
begin
    delete from ops.stream_objects as o
    using (
        select
            w.base_build_id,
            w.partition,
            min(w.first_position) as first_position,
            max(w.first_position) as last_position,
            not exists (
                select 1 from ops.batches as b
                where
                    b.asset = pruned_asset and b.load_date = pruned_load_date and b.base_build_id = w.base_build_id
                    and b.superseded_at is null
            ) as is_superseded
        from ops.stream_objects as w
        where w.asset = pruned_asset and w.load_date = pruned_load_date
        group by w.base_build_id, w.partition
    ) as e
    where
        o.asset = pruned_asset and o.load_date = pruned_load_date
        and o.base_build_id = e.base_build_id and o.partition = e.partition
        and (e.is_superseded or o.first_position > e.first_position and o.first_position < e.last_position);
end
$$;
revoke execute on function ops.prune_stream_objects(text, date) from public;

drop function ops.prune_batches(text, date);

comment on table ops.stream_objects is
'The objects from which batches of raw tables were made; of a closed load_date the first and last of each partition.';
comment on table ops.kpi_values is
'What readers were shown: one row for each publish of a KPI that is in ops.publishes, and each measure.';
