-- Rows of a table on the lake are in a snapshot there. The ledger names it, and with which hashes its rows were summed.

alter table ops.publishes add column place text;
alter table ops.publishes add column checksum_kind text;
comment on column ops.publishes.place is
'The snapshot of the lake that has the rows, as catalog.schema.table@number; NULL if they are in Postgres.';
comment on column ops.publishes.checksum_kind is
'Whose hashes the checksum sums: NULL for those of Postgres. Checksums of two kinds cannot be compared.';
create index on ops.publishes (asset, place) where place is not null;

alter table ops.holds add column place text;
alter table ops.holds add column checksum_kind text;
comment on column ops.holds.place is
'The snapshot of the lake that has the rows of the held build; NULL if its candidate is in Postgres.';
comment on column ops.holds.checksum_kind is 'As in ops.publishes.';

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
    lacks,
    place,
    checksum_kind
from ops.publishes
where superseded_at is null;
