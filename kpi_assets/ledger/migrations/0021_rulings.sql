-- A person's word about one build: publish it although checks fail (waive), or keep it out although all pass (hold).
-- S3 holds the rulings; the ledger repeats them, so that a number can be shown with what was ruled on it.

create table ops.rulings (
    ruling_id bigint generated always as identity primary key,
    kind text not null check (kind in ('waive', 'hold')),
    asset text not null,
    load_date date not null,
    manifest_hash text not null,
    code_version text not null,
    checks_version text not null,
    rows bigint not null,
    checksum text not null,
    checks jsonb not null,
    reason text not null check (length(btrim(reason)) >= 10),
    ruled_by text not null,
    ruled_at timestamp with time zone not null,
    expires_at timestamp with time zone check ((expires_at is null) = (kind = 'hold')),
    used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    revoked_by text,
    revoke_reason text,
    object_key text not null unique,
    login text not null default session_user,
    recorded_at timestamp with time zone not null default clock_timestamp()
);
create index on ops.rulings (asset, load_date);
comment on table ops.rulings is
'What people ruled about single builds: to publish one although checks fail, or to keep one out although all pass.';
comment on column ops.rulings.ruling_id is
'Number of the ruling in this database; a database made anew may number anew.';
comment on column ops.rulings.kind is 'waive: publish it although checks fail; hold: keep it out although all pass.';
comment on column ops.rulings.asset is 'Table, as schema.table.';
comment on column ops.rulings.load_date is 'load_date.';
comment on column ops.rulings.manifest_hash is
'Of the build that it is about, as ops.publishes has it. A build that differs in any of these five is another one.';
comment on column ops.rulings.code_version is 'Version of the SELECT and the columns of that build.';
comment on column ops.rulings.checks_version is 'Version of the checks of that build.';
comment on column ops.rulings.rows is 'Rows of that build.';
comment on column ops.rulings.checksum is 'Checksum of the rows of that build.';
comment on column ops.rulings.checks is
'The checks that may fail, by name, each with the metric that was seen; empty for hold.';
comment on column ops.rulings.reason is 'Why, in the words of the person.';
comment on column ops.rulings.ruled_by is 'Who ruled.';
comment on column ops.rulings.ruled_at is 'When.';
comment on column ops.rulings.expires_at is
'Until when the build may be published for the first time; NULL for hold, which has no end.';
comment on column ops.rulings.used_at is
'When the build was first published by it; the same build is published again by it at any time, unless it is revoked.';
comment on column ops.rulings.revoked_at is 'When it was revoked; NULL as long as it holds.';
comment on column ops.rulings.revoked_by is 'Who revoked it.';
comment on column ops.rulings.revoke_reason is 'Why it was revoked.';
comment on column ops.rulings.object_key is 'Key of the object on S3 that holds the ruling.';
comment on column ops.rulings.login is
'Login that recorded it here: of the person, or of the build that found it on S3.';
comment on column ops.rulings.recorded_at is 'When it was recorded here.';

alter table ops.holds add column rows bigint, add column checksum text;
comment on column ops.holds.rows is 'Rows of the candidate; NULL of what an earlier version of kpi_assets held.';
comment on column ops.holds.checksum is
'Checksum of the rows of the candidate; NULL of what an earlier version of kpi_assets held.';

alter table ops.publishes add column rulings bigint[] not null default '{}';
comment on column ops.publishes.rulings is
'The rulings by which it was published although checks fail, and those of all that it was made from, in ops.rulings.';
create index on ops.publishes (asset, load_date) where rulings <> '{}';

alter table ops.data_quality_results add column ruling_id bigint references ops.rulings (ruling_id);
comment on column ops.data_quality_results.ruling_id is
'Ruling by which the build was published although this check failed; NULL if there is none.';
create index on ops.data_quality_results (ruling_id) where ruling_id is not null;

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
    rulings
from ops.publishes
where superseded_at is null;

-- Who builds may not rule. These functions let a build repeat here what lies on S3 about one table and load_date, and
-- take a ruling for its publish; a ruling whose object is gone from S3 holds no longer.
create function ops.record_rulings(of_asset text, of_load_date date, said jsonb) returns void
language plpgsql security definer set search_path = pg_catalog
as $$
begin
    insert into ops.rulings (
        kind, asset, load_date, manifest_hash, code_version, checks_version, rows, checksum, checks, reason, ruled_by,
        ruled_at, expires_at, used_at, revoked_at, revoked_by, revoke_reason, object_key
    )
    select
        s.kind, of_asset, of_load_date, s.manifest_hash, s.code_version, s.checks_version, s.rows, s.checksum, s.checks,
        s.reason, s.ruled_by, s.ruled_at, s.expires_at, s.used_at, s.revoked_at, s.revoked_by, s.revoke_reason,
        s.object_key
    from jsonb_to_recordset(said) as s (
        kind text, manifest_hash text, code_version text, checks_version text, rows bigint, checksum text, checks jsonb,
        reason text, ruled_by text, ruled_at timestamp with time zone, expires_at timestamp with time zone,
        used_at timestamp with time zone, revoked_at timestamp with time zone, revoked_by text, revoke_reason text,
        object_key text
    )
    order by s.object_key
    on conflict (object_key) do update
    set kind = excluded.kind, manifest_hash = excluded.manifest_hash, code_version = excluded.code_version,
        checks_version = excluded.checks_version, rows = excluded.rows, checksum = excluded.checksum,
        checks = excluded.checks, reason = excluded.reason, ruled_by = excluded.ruled_by, ruled_at = excluded.ruled_at,
        expires_at = excluded.expires_at, revoked_at = excluded.revoked_at, revoked_by = excluded.revoked_by,
        revoke_reason = excluded.revoke_reason,
        -- An object that was removed and written anew is another ruling.
        used_at = case
            when (ops.rulings.checksum, ops.rulings.ruled_at) = (excluded.checksum, excluded.ruled_at)
                then coalesce(ops.rulings.used_at, excluded.used_at)
            else excluded.used_at
        end;
    update ops.rulings as r
    set revoked_at = clock_timestamp(), revoke_reason = 'its object is gone from S3'
    where
        r.asset = of_asset and r.load_date = of_load_date and r.revoked_at is null
        and r.object_key not in (select s.object_key from jsonb_to_recordset(said) as s (object_key text));
end
$$;
revoke execute on function ops.record_rulings(text, date, jsonb) from public;

-- The ruling cannot be revoked before the transaction ends that calls this. NULL if it may not be used any more.
create function ops.take_ruling(of_object_key text) returns bigint
language plpgsql security definer set search_path = pg_catalog
as $$
declare
    found bigint;
begin
    select r.ruling_id into found
    from ops.rulings as r
    where r.object_key = of_object_key
    for update;
    update ops.rulings as r
    set used_at = coalesce(r.used_at, clock_timestamp())
    where
        r.ruling_id = found and r.kind = 'waive' and r.revoked_at is null
        and (r.used_at is not null or r.expires_at > clock_timestamp())
    returning r.ruling_id into found;
    return found;
end
$$;
revoke execute on function ops.take_ruling(text) from public;
