-- What readers saw before is kept aside for as long as somebody asked for, so that it can be shown again: its rows,
-- once for each content of a table and load_date, however often that was published.

create table ops.versions (
    version_id bigint generated always as identity primary key,
    asset text not null,
    load_date date not null,
    checksum text not null,
    columns_hash text not null,
    relation text unique,
    rows bigint not null,
    size_bytes bigint not null,
    kept_since timestamp with time zone,
    dropped_at timestamp with time zone,
    dropped_why text,
    unique (asset, load_date, checksum, columns_hash),
    check ((relation is null) = (kept_since is null)),
    check ((dropped_at is null) = (dropped_why is null)),
    check (relation is null or dropped_at is null)
);
create index on ops.versions (kept_since) where relation is not null;
comment on table ops.versions is
'The rows of superseded publishes that are kept, once for each content of a table and load_date.';
comment on column ops.versions.version_id is 'Number of the version.';
comment on column ops.versions.asset is 'Table, as schema.table.';
comment on column ops.versions.load_date is 'load_date.';
comment on column ops.versions.checksum is
'Checksum of its rows, as ops.publishes has it; a mere mark, once persons were erased from what was dropped.';
comment on column ops.versions.columns_hash is 'md5 of its columns, as the text of ops.publishes.columns.';
comment on column ops.versions.relation is
'The table of the schema builds in which the rows lie; NULL while readers see them, and once they were dropped.';
comment on column ops.versions.rows is 'Number of rows.';
comment on column ops.versions.size_bytes is 'Bytes on disk when they were set aside.';
comment on column ops.versions.kept_since is 'Since when they lie there.';
comment on column ops.versions.dropped_at is 'When they were dropped for good; NULL if they were not.';
comment on column ops.versions.dropped_why is
'Why: the words of rollback that say so, or what removed the load_date.';

alter table ops.publishes add column restores bigint references ops.publishes (publish_id) on delete set null;
create index on ops.publishes (restores) where restores is not null;
comment on column ops.publishes.restores is
'The publish whose rows a rollback showed again; NULL if a build published them.';
