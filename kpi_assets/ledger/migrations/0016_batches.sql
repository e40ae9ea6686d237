-- The batches of tables that grow within a load_date, and the objects of streams that they were made from.

create table ops.batches (
    asset text not null,
    load_date date not null,
    batch integer not null check (batch >= 1),
    up_to integer not null check (up_to >= batch),
    build_id bigint not null,
    base_build_id bigint not null,
    input_base_build_id bigint,
    publish_id bigint not null,
    objects integer not null,
    records bigint not null,
    rows bigint not null,
    repeats bigint not null,
    quarantined bigint not null,
    total_rows bigint not null,
    total_records bigint not null,
    total_repeats bigint not null,
    total_quarantined bigint not null,
    manifest_hash text not null,
    through timestamp with time zone,
    published_at timestamp with time zone not null default clock_timestamp(),
    superseded_at timestamp with time zone,
    primary key (asset, load_date, build_id)
);
create unique index on ops.batches (asset, load_date, batch) where superseded_at is null;
comment on table ops.batches is
'The batches of tables that grow: one row for each batch that was published. A replay is one batch, the first.';
comment on column ops.batches.asset is 'Table, as schema.table.';
comment on column ops.batches.load_date is 'load_date to which the batch was added.';
comment on column ops.batches.batch is 'Number of the batch, which its rows have in the column batch.';
comment on column ops.batches.up_to is
'Last batch of the stream''s raw table whose events are in it: a replay has those of many batches.';
comment on column ops.batches.build_id is 'Build that made it, in ops.pipeline_runs.';
comment on column ops.batches.base_build_id is
'Build of the first batch. Another one means that the load_date was built as a whole since.';
comment on column ops.batches.input_base_build_id is
'The same of the table whose batch it reads; NULL for a raw table.';
comment on column ops.batches.publish_id is 'Publish with which readers began to see it, in ops.publishes.';
comment on column ops.batches.objects is 'Number of objects of the stream that were read; 0 for a SELECT.';
comment on column ops.batches.records is 'Number of records of these objects, or of the rows that the SELECT returned.';
comment on column ops.batches.rows is 'Number of rows that were added.';
comment on column ops.batches.repeats is 'Number of rows that were left out because their key came before.';
comment on column ops.batches.quarantined is 'Number of records that could not be read.';
comment on column ops.batches.total_rows is 'The same as rows, of this batch and all before it.';
comment on column ops.batches.total_records is 'The same as records, of this batch and all before it.';
comment on column ops.batches.total_repeats is 'The same as repeats, of this batch and all before it.';
comment on column ops.batches.total_quarantined is 'The same as quarantined, of this batch and all before it.';
comment on column ops.batches.manifest_hash is
'Identifies all objects of the load_date that this batch and those before it were made from.';
comment on column ops.batches.through is
'All events that the broker took before this instant are in this batch or one before it; NULL if nobody knows.';
comment on column ops.batches.published_at is 'When readers began to see it.';
comment on column ops.batches.superseded_at is 'When the load_date was built as a whole again; NULL while it is not.';

create table ops.stream_objects (
    asset text not null,
    load_date date not null,
    base_build_id bigint not null,
    partition integer not null,
    first_position numeric not null,
    next_position numeric not null,
    records integer not null,
    newest_at timestamp with time zone,
    batch integer not null,
    key text not null,
    size_bytes bigint not null,
    etag text not null,
    primary key (asset, load_date, base_build_id, partition, first_position)
);
comment on table ops.stream_objects is
'The objects of streams from which the published batches of raw tables were made: each is a link of its partition.';
comment on column ops.stream_objects.asset is 'Raw table, as schema.table.';
comment on column ops.stream_objects.load_date is 'load_date of the events.';
comment on column ops.stream_objects.base_build_id is
'Build of the first batch, as in ops.batches: the objects of a load_date are those of its published batches.';
comment on column ops.stream_objects.partition is 'Partition of the stream.';
comment on column ops.stream_objects.first_position is 'Position from which the object goes on.';
comment on column ops.stream_objects.next_position is 'Position from which the next object of the partition goes on.';
comment on column ops.stream_objects.records is 'Number of its records.';
comment on column ops.stream_objects.newest_at is
'When the broker took its last event; NULL of an object without events.';
comment on column ops.stream_objects.batch is 'Batch that was made from it, in ops.batches.';
comment on column ops.stream_objects.key is 'Key of the object.';
comment on column ops.stream_objects.size_bytes is 'Its size.';
comment on column ops.stream_objects.etag is 'Its ETag.';

-- A load_date that grows has a publish and check results for each batch, thousands a day. Who builds may not delete in
-- ops; this function lets them delete what a later batch has made superfluous, and nothing else.
create function ops.prune_batches(pruned_asset text, pruned_load_date date) returns void
language plpgsql security definer set search_path = pg_catalog
as $$
begin
    delete from ops.data_quality_results as d
    where
        d.table_name = pruned_asset and d.load_date = pruned_load_date and d.status = 'pass' and d.subject = 'candidate'
        and d.build_id in (
            select b.build_id from ops.batches as b where b.asset = pruned_asset and b.load_date = pruned_load_date
        )
        and d.build_id <> (
            select p.build_id from ops.publishes as p
            where p.asset = pruned_asset and p.load_date = pruned_load_date and p.superseded_at is null
        );
    delete from ops.publishes as p
    where
        p.asset = pruned_asset and p.load_date = pruned_load_date
        and p.superseded_at is not null and p.dropped_at is null and p.removed_at is null
        and p.build_id in (
            select b.build_id from ops.batches as b where b.asset = pruned_asset and b.load_date = pruned_load_date
        )
        and not exists (select 1 from ops.kpi_values as v where v.publish_id = p.publish_id);
    delete from ops.stream_objects as o
    where
        o.asset = pruned_asset and o.load_date = pruned_load_date
        and not exists (
            select 1 from ops.batches as b
            where
                b.asset = o.asset and b.load_date = o.load_date and b.base_build_id = o.base_build_id
                and b.superseded_at is null
        );
end
$$;
revoke execute on function ops.prune_batches(text, date) from public;

-- Of a table that grows, every published batch was made by a build of its own.
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
    or exists (
        select 1 from ops.batches as b
        where
            b.asset = q.table_name and b.load_date = q.load_date and b.build_id = q.build_id
            and b.superseded_at is null
    );
comment on view ops.bad_rows is
'The rows of ops.quarantine of the latest build, published or held, and of each published batch of a load_date.';
