-- Why a load_date was published again with other rows is found once, when it is published. Pages, the API and other
-- tools say what was found then.

alter table ops.publishes add column cause text
check (cause in ('objects', 'decision', 'sql', 'window', 'inputs', 'rollback', 'erasure', 'rebuilt'));
alter table ops.publishes add column caused_by bigint[];
alter table ops.publishes add column differences jsonb;
create index on ops.publishes (asset, load_date, publish_id) where cause is not null;
comment on column ops.publishes.cause is
'Why its rows are not those of the publish before: what counts most. NULL if they are, it only grew, or is the first.';
comment on column ops.publishes.caused_by is
'The publishes whose own object, SQL, decisions or place among the inputs differ, of all that it was made from.';
comment on column ops.publishes.differences is
'What differs from the publish before, and in all that both were made from; what counts most is the first.';

-- What differs between pairs of publishes of a table, and between all that they were made from: that is compared level
-- by level, and only where the inputs differ. A load_date that grows and had more events has only grown (`grew`).
-- `limit 1` has Postgres ask the index for each publish, however many it believes there will be.
create function ops.differences(publishes_before bigint[], publishes_after bigint[])
returns table (
    publish_after bigint, rank integer, cause text, difference text, asset text, load_date date, made_by bigint
)
language plpgsql stable set search_path = pg_catalog set plan_cache_mode = force_generic_plan set jit = off
as $$
#variable_conflict use_column
begin
    return query
    with recursive steps as (
        select
            u.last as pair, p.asset, p.load_date, u.first, u.last, true as is_own, g.has_batches,
            g.has_batches and ops.has_continued(p.asset, p.load_date, u.first, u.last) as is_continued
        from unnest(publishes_before, publishes_after) as u (first, last)
        cross join lateral (
            select o.asset, o.load_date from ops.publishes as o
            where o.publish_id = u.last
            limit 1
        ) as p
        cross join lateral (
            select exists (select 1 from ops.batches as o where o.asset = p.asset) as has_batches
        ) as g
        union
        select
            s.pair, n.asset, n.load_date, n.first, n.last, false, g.has_batches,
            g.has_batches and ops.has_continued(n.asset, n.load_date, n.first, n.last)
        from steps as s
        cross join lateral (
            select o.checksum, o.inputs from ops.publishes as o
            where o.publish_id = s.first
            limit 1
        ) as b
        cross join lateral (
            select o.checksum, o.inputs from ops.publishes as o
            where o.publish_id = s.last
            limit 1
        ) as a
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

    known as materialized (
        select
            s.*, a.publish_id is null or b.publish_id is null as is_lacking, a.publish_id as made_by,
            s.asset like 'decisions.%' as is_decision,
            b.code_version as code_before, a.code_version as code_after,
            b.manifest_hash as manifest_before, a.manifest_hash as manifest_after,
            b.inputs as inputs_before, a.inputs as inputs_after,
            not exists (
                select 1 from jsonb_object_keys(a.inputs || b.inputs) as i (name) where i.name not like 'decisions.%'
            ) as is_raw
        from steps as s
        left join lateral (select o.* from ops.publishes as o where o.publish_id = s.first limit 1) as b on true
        left join lateral (select o.* from ops.publishes as o where o.publish_id = s.last limit 1) as a on true
        where
            s.is_own or s.is_continued or a.publish_id is null or b.publish_id is null or a.checksum <> b.checksum
    ),

    compared as materialized (
        select * from known as k
        where not k.is_continued and not k.is_lacking
    ),

    found as (
        -- A replay by the same SQL has the same rows, and those of the events that came since.
        select k.pair, 'grew' as difference, k.asset, k.load_date, k.made_by
        from known as k
        where
            k.is_continued
            or k.has_batches and not k.is_lacking and k.inputs_before = '{}' and k.code_before = k.code_after
        union
        -- Of a table that grows, superseded publishes are deleted when the load_date is closed.
        select k.pair, 'again', k.asset, k.load_date, k.made_by
        from known as k
        where k.is_lacking and k.has_batches and not k.is_continued
        union
        select c.pair, 'decision', regexp_replace(split_part(c.asset, '.', 2), '__', '.'), c.load_date, c.made_by
        from compared as c
        where c.is_decision
        union
        select
            c.pair, case when c.is_own then 'own_sql' when c.is_raw then 'columns' else 'sql' end, c.asset, c.load_date,
            c.made_by
        from compared as c
        where not c.is_decision and c.code_before <> c.code_after
        union
        select
            c.pair,
            case
                when c.manifest_before = '9299c6d1b76d54ca' then 'came'
                when c.manifest_after = '9299c6d1b76d54ca' then 'gone'
                else 'object'
            end,
            c.asset, c.load_date, c.made_by
        from compared as c
        -- Of what grows, every batch has other objects.
        where c.is_raw and not c.is_decision and not c.has_batches and c.manifest_before <> c.manifest_after
        union
        select
            c.pair, case when c.inputs_after ? i.name then 'added' else 'taken' end, split_part(i.name, '@', 1),
            split_part(i.name, '@', 2)::date, coalesce(c.inputs_after ->> i.name, c.inputs_before ->> i.name)::bigint
        from compared as c
        cross join lateral jsonb_object_keys(c.inputs_after || c.inputs_before) as i (name)
        where
            i.name like '%@%' and i.name not like '%@..%' and (c.inputs_after ? i.name) <> (c.inputs_before ? i.name)
        union
        select
            c.pair, 'decision', regexp_replace(split_part(i.name, '.', 2), '__', '.'), c.load_date,
            coalesce(c.inputs_after ->> i.name, c.inputs_before ->> i.name)::bigint
        from compared as c
        cross join lateral jsonb_object_keys(c.inputs_after || c.inputs_before) as i (name)
        where i.name like 'decisions.%' and (c.inputs_after ? i.name) <> (c.inputs_before ? i.name)
        union
        -- Between two marks of a history, load_dates of it were published for the first time or with other rows. Its
        -- own load_date is an input of its own.
        select c.pair, 'history', i.asset, c.load_date, h.publish_id
        from compared as c
        cross join
            lateral (
                select
                    split_part(e.key, '@', 1) as asset,
                    (c.inputs_before ->> e.key)::bigint as first,
                    e.value::bigint as last
                from jsonb_each_text(c.inputs_after) as e
                where e.key like '%@..%' and c.inputs_before ->> e.key <> e.value
            ) as i
        cross join
            lateral (
                select distinct on (p.load_date)
                    p.publish_id,
                    p.load_date,
                    p.checksum
                from ops.publishes as p
                where
                    p.asset = i.asset and p.load_date <= c.load_date
                    and p.publish_id > i.first and p.publish_id <= i.last
                order by p.load_date asc, p.publish_id desc
            ) as h
        where
            (h.load_date < c.load_date or not c.inputs_after ? i.asset)
            and h.checksum is distinct from (
                select o.checksum from ops.publishes as o
                where o.asset = i.asset and o.load_date = h.load_date and o.publish_id <= i.first
                order by o.publish_id desc
                limit 1
            )
    )

    select f.pair, w.rank, w.cause, f.difference, f.asset, f.load_date, f.made_by
    from found as f
    inner join (
        values
        ('object', 0, 'objects'),
        ('came', 0, 'objects'),
        ('gone', 0, 'objects'),
        ('decision', 1, 'decision'),
        ('own_sql', 2, 'sql'),
        ('sql', 2, 'sql'),
        ('columns', 2, 'sql'),
        ('history', 3, 'inputs'),
        ('added', 4, 'window'),
        ('taken', 4, 'window'),
        ('again', 5, 'inputs'),
        ('grew', 6, null)
    ) as w (difference, rank, cause) on f.difference = w.difference;
end
$$;

-- Why publishes have other rows than the one before of their load_date. None is returned that has the same rows, that
-- is the first of its load_date, or that has only more events.
create function ops.causes(of_publishes bigint[])
returns table (publish_id bigint, cause text, caused_by bigint[], differences jsonb)
language plpgsql stable set search_path = pg_catalog set plan_cache_mode = force_generic_plan set jit = off
as $$
#variable_conflict use_column
declare
    firsts bigint[];
    lasts bigint[];
begin
    select array_agg(b.publish_id), array_agg(a.publish_id) into firsts, lasts
    from ops.publishes as a
    cross join
        lateral (
            select
                p.publish_id,
                p.checksum
            from ops.publishes as p
            where p.asset = a.asset and p.load_date = a.load_date and p.publish_id < a.publish_id
            order by p.publish_id desc
            limit 1
        ) as b
    where a.publish_id = any(of_publishes) and a.checksum <> b.checksum and a.asset not like 'decisions.%';
    if lasts is null then
        return;
    end if;
    return query
    with found as materialized (
        select
            d.publish_after,
            min(d.cause) filter (where d.difference <> 'grew') is null and bool_or(d.difference = 'grew') as has_grown,
            (array_agg(d.cause order by d.rank))[1] as cause,
            array_agg(distinct d.made_by) filter (where d.made_by is not null and d.difference <> 'grew') as caused_by,
            jsonb_agg(
                jsonb_build_object(
                    'rank', d.rank, 'difference', d.difference, 'asset', d.asset, 'load_date', d.load_date
                )
                order by d.rank, d.load_date, d.asset, d.difference
            ) filter (where d.difference <> 'grew') as differences
        from ops.differences(firsts, lasts) as d
        group by d.publish_after
    )

    select
        u.publish_id,
        coalesce(f.cause, 'rebuilt'),
        coalesce(f.caused_by, '{}'),
        coalesce(f.differences, '[]')
    from unnest(lasts) as u (publish_id)
    left join found as f on u.publish_id = f.publish_after
    where f.has_grown is not true;
end
$$;

-- A load_date that grows is published with each tick. These are the publishes that did not only add events.
create or replace function ops.turns(of_asset text, of_load_date date)
returns table (publish_before bigint, publish_after bigint)
language sql stable set search_path = pg_catalog
as $$
    select b.publish_id, a.publish_id
    from ops.publishes as a
    cross join lateral (
        select p.publish_id from ops.publishes as p
        where p.asset = a.asset and p.load_date = a.load_date and p.publish_id < a.publish_id
        order by p.publish_id desc
        limit 1
    ) as b
    where a.asset = of_asset and a.load_date = of_load_date and a.cause is not null
$$;
drop function ops.only_grew(bigint, bigint);

create view ops.restatements as
select
    n.asset as kpi,
    n.load_date,
    v.measure,
    w.value as was,
    v.value as "is",
    o.publish_id as was_publish_id,
    n.publish_id,
    n.cause,
    n.caused_by,
    n.rulings,
    o.since as shown_from,
    least(o.removed_at, n.published_at) as shown_until
from ops.publishes as n
inner join
    lateral (
        select
            p.publish_id,
            p.removed_at,
            (
                select min(s.published_at) from ops.publishes as s
                where
                    s.asset = n.asset and s.load_date = n.load_date and s.publish_id <= p.publish_id
                    and s.publish_id > coalesce(
                        (
                            select max(c.publish_id) from ops.publishes as c
                            where
                                c.asset = n.asset and c.load_date = n.load_date
                                and c.publish_id < p.publish_id and c.checksum <> p.checksum
                        ), 0
                    )
            ) as since
        from ops.publishes as p
        where p.asset = n.asset and p.load_date = n.load_date and p.publish_id < n.publish_id
        order by p.publish_id desc
        limit 1
    ) as o
    on true
inner join ops.kpi_values as v on n.publish_id = v.publish_id
inner join ops.kpi_values as w
    on o.publish_id = w.publish_id and v.measure = w.measure and v.measure_version = w.measure_version
where n.cause is not null and w.value is distinct from v.value;
comment on view ops.restatements is
'What readers were shown of a KPI and what took its place: one row for each publish of it and measure that changed.';
comment on column ops.restatements.kpi is 'Table, as schema.table.';
comment on column ops.restatements.load_date is 'load_date.';
comment on column ops.restatements.measure is 'Name of the measure.';
comment on column ops.restatements.was is 'The value that readers were shown; NULL if there was none.';
comment on column ops.restatements."is" is
'The value that took its place, by the same expression; NULL if there is none.';
comment on column ops.restatements.was_publish_id is 'The publish that was replaced, in ops.publishes.';
comment on column ops.restatements.publish_id is 'The publish that took its place.';
comment on column ops.restatements.rulings is
'The rulings on the publish that took its place and on all that it was made from, in ops.rulings.';
comment on column ops.restatements.shown_from is 'Since when readers were shown these rows.';
comment on column ops.restatements.shown_until is
'Until when: when others took their place, or when the load_date was taken out before that.';
comment on column ops.restatements.cause is
'Why: objects, decision, sql, inputs, window; rebuilt if nothing that it was made from differs.';
comment on column ops.restatements.caused_by is
'The publishes at the root, in ops.publishes: those whose object, SQL or decisions differ, or that came or went.';

-- What is in the ledger says the same of earlier publishes; of one load_date after the other, since a ledger is long.
do $$
declare
    of_day date;
begin
    for of_day in select distinct p.load_date from ops.publishes as p loop
        update ops.publishes as p
        set cause = c.cause, caused_by = c.caused_by, differences = c.differences
        from ops.causes(array(select o.publish_id from ops.publishes as o where o.load_date = of_day)) as c
        where p.publish_id = c.publish_id;
    end loop;
end
$$;
