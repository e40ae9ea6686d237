-- What each publish holds, so that its rows can be compared with the ledger whatever has become of the file since.

alter table ops.publishes add column columns jsonb;
comment on column ops.publishes.columns is
'The columns of its rows, in order, as [name, type]; NULL of what an earlier version of kpi_assets published.';
alter table ops.publishes add column removed_at timestamp with time zone;
comment on column ops.publishes.removed_at is
'When `kpi drop` removed the table with all its load_dates; superseded_at is then set too.';

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
    columns
from ops.publishes
where superseded_at is null;
create index on ops.publishes (build_id);
