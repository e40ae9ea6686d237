-- What every pipeline's database records about itself. Applied once, in the order of the files' numbers; never edited afterwards.

create table ops.pipeline_runs (
    id bigint generated always as identity primary key,
    run_id text not null,
    pipeline_name text not null,
    job text not null,
    load_date date,
    status text not null default 'running' check (status in ('running', 'success', 'held', 'failed')),
    rows_extracted bigint,
    rows_loaded_raw bigint,
    rows_loaded_staging bigint,
    rows_loaded_marts bigint,
    rows_quarantined bigint,
    execution_seconds numeric(12, 3),
    started_at timestamp with time zone not null default clock_timestamp(),
    ended_at timestamp with time zone,
    error_message text,
    candidate text
);
create index on ops.pipeline_runs (run_id);
create index on ops.pipeline_runs (job, load_date, id);
create index on ops.pipeline_runs (id) where status = 'running';
comment on table ops.pipeline_runs is
'One row for each build of a table (job = schema.table) and one for each run as a whole (job = its Dagster job).';
comment on column ops.pipeline_runs.status is
'running; success: published; held: a gate failed, nothing was published; failed: an error, nothing was published.';
comment on column ops.pipeline_runs.candidate is
'The held build, kept for inspection until the next build of its table and load_date.';

create table ops.data_quality_results (
    id bigint generated always as identity primary key,
    run_id text not null,
    build_id bigint references ops.pipeline_runs (id),
    check_name text not null,
    table_name text not null,
    load_date date not null,
    status text not null check (status in ('pass', 'fail', 'warn', 'error')),
    blocking boolean not null,
    metric_value numeric,
    threshold numeric,
    samples jsonb not null default '[]',
    message text not null default '',
    subject text not null check (subject in ('object', 'candidate', 'published')),
    checked_at timestamp with time zone not null default clock_timestamp()
);
create index on ops.data_quality_results (table_name, load_date, check_name, id);
create index on ops.data_quality_results (run_id);
comment on table ops.data_quality_results is 'One row for each time a check was made.';
comment on column ops.data_quality_results.status is
'pass; fail: a blocking check failed; warn: another one failed; error: the check itself failed, which holds too.';
comment on column ops.data_quality_results.subject is
'What was checked: an object on S3, a build before it is published (candidate), or what is published (a recheck).';

create table ops.manifests (
    manifest_id bigint generated always as identity primary key,
    object text not null,
    load_date date not null,
    bucket text not null,
    key text not null,
    size_bytes bigint not null,
    etag text not null,
    version_id text,
    last_modified timestamp with time zone not null,
    manifest_hash text not null,
    rows bigint,
    sha256 text,
    run_id text not null,
    recorded_at timestamp with time zone not null default clock_timestamp(),
    unique (object, load_date, manifest_hash)
);
comment on table ops.manifests is
'Each state of an S3 object that was seen; rows and sha256 are filled in when its bytes have been read.';

create table ops.publishes (
    publish_id bigint generated always as identity primary key,
    asset text not null,
    load_date date not null,
    build_id bigint not null references ops.pipeline_runs (id),
    run_id text not null,
    manifest_hash text not null,
    code_version text not null,
    rows bigint not null,
    checksum text not null,
    size_bytes bigint not null,
    inputs jsonb not null,
    published_at timestamp with time zone not null default clock_timestamp(),
    superseded_at timestamp with time zone
);
create unique index on ops.publishes (asset, load_date) where superseded_at is null;
create index on ops.publishes (asset, load_date, publish_id);
comment on table ops.publishes is
'The publish ledger: one row for each time a build of a table and load_date became what readers see.';
comment on column ops.publishes.manifest_hash is
'Of the S3 objects that the rows come from: a raw table''s own manifest, or the hash of all manifests upstream.';
comment on column ops.publishes.checksum is
'Sum of the rows'' 64-bit hashes: equal tables have equal checksums in whatever order their rows lie.';
comment on column ops.publishes.inputs is 'The publish_id of each table that was read.';

create view ops.published as
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
    published_at
from ops.publishes
where superseded_at is null;
comment on view ops.published is 'What readers see now.';

create table ops.quarantine (
    id bigint generated always as identity primary key,
    build_id bigint not null references ops.pipeline_runs (id),
    run_id text not null,
    table_name text not null,
    load_date date not null,
    object_key text not null,
    line bigint not null,
    record text not null,
    column_name text,
    value text,
    reason text not null,
    quarantined_at timestamp with time zone not null default clock_timestamp()
);
create index on ops.quarantine (table_name, load_date, build_id);
comment on table ops.quarantine is 'Records that could not be read as their table''s columns, with the reason.';
comment on column ops.quarantine.line is 'Line of the object on which the record begins; the header is line 1.';
