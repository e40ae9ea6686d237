-- Persons who were erased. S3 holds the erasures; the ledger repeats them, so that each load can leave the persons out.

create table ops.erasures (
    erasure integer primary key,
    kind text not null,
    request text not null,
    reason text not null check (length(btrim(reason)) >= 10),
    erased_by text not null,
    erased_at timestamp with time zone not null,
    keys integer not null,
    object_key text not null unique,
    login text not null default session_user,
    recorded_at timestamp with time zone not null default clock_timestamp()
);
comment on table ops.erasures is
'Requests to erase persons. Whom each is about only its hashes say, which only the loader may read.';
comment on column ops.erasures.erasure is 'Number of the erasure, which is that of its object on S3.';
comment on column ops.erasures.kind is 'Kind of person, as the word subject of a header names it.';
comment on column ops.erasures.request is 'The request, as whoever asked calls it.';
comment on column ops.erasures.reason is 'Why, in the words of the person who erased.';
comment on column ops.erasures.erased_by is 'Who erased.';
comment on column ops.erasures.erased_at is 'When.';
comment on column ops.erasures.keys is 'How many persons it is about.';
comment on column ops.erasures.object_key is 'Key of the object on S3 that holds the erasure.';
comment on column ops.erasures.login is 'Login that recorded it here.';
comment on column ops.erasures.recorded_at is 'When it was recorded here.';

create table ops.erased_keys (
    kind text not null,
    hash bytea not null,
    quick bigint not null,
    replacement text not null,
    erasure integer not null references ops.erasures (erasure),
    primary key (kind, hash)
);
create index on ops.erased_keys (kind, quick);
comment on table ops.erased_keys is
'The erased persons, by salted hashes of their keys. Only the loader may read them.';
comment on column ops.erased_keys.kind is 'Kind of person.';
comment on column ops.erased_keys.hash is 'SHA-256 of a secret and the key of the person.';
comment on column ops.erased_keys.quick is 'hashtextextended of the key with a secret seed, by which a load looks.';
comment on column ops.erased_keys.replacement is 'What stands in the place of the key where rows stay (erase: values).';
comment on column ops.erased_keys.erasure is 'The first erasure of the person, in ops.erasures.';

alter table ops.pipeline_runs add column rows_erased bigint;
comment on column ops.pipeline_runs.rows_erased is
'Records of the object that are about erased persons and were left out.';

alter table ops.alerts drop constraint alerts_kind_check;
alter table ops.alerts add constraint alerts_kind_check
check (kind in ('held', 'failed', 'late', 'stalled', 'breached', 'drifted', 'waived', 'erased', 'digest', 'recovered'));
comment on column ops.alerts.kind is
'held, failed, late; stalled: sensor; breached: measure or check; drifted: field; waived; erased; digest; recovered.';

create table ops.manifest_links (
    erasure integer not null,
    object text not null,
    bucket text not null,
    key text not null,
    old_manifest_hash text not null,
    old_digest text not null,
    new_sha256 text not null,
    new_etag text,
    records_before bigint not null,
    records_erased bigint not null,
    records_after bigint,
    versions_deleted integer,
    versions_kept text[],
    begun_at timestamp with time zone not null default clock_timestamp(),
    done_at timestamp with time zone,
    primary key (erasure, bucket, key, old_manifest_hash)
);
comment on table ops.manifest_links is 'The objects that were written again without erased persons.';
comment on column ops.manifest_links.erasure is 'The erasure that found them, in ops.erasures.';
comment on column ops.manifest_links.object is 'Name of the raw table.';
comment on column ops.manifest_links.bucket is 'Bucket.';
comment on column ops.manifest_links.key is 'Key of the object, which is the same before and after.';
comment on column ops.manifest_links.old_manifest_hash is
'What stands in the place of the hash of the old state in ops: an HMAC of it, by which nobody can confirm a guess.';
comment on column ops.manifest_links.old_digest is 'HMAC of the SHA-256 of the old bytes, with the salt of erasures.';
comment on column ops.manifest_links.new_sha256 is 'SHA-256 of the new bytes, as ops.manifests has it.';
comment on column ops.manifest_links.new_etag is 'ETag of the new object; NULL before it is written.';
comment on column ops.manifest_links.records_before is 'Records of the old object.';
comment on column ops.manifest_links.records_erased is 'Of these, those about erased persons.';
comment on column ops.manifest_links.records_after is 'Records of the new object, counted as it was read back.';
comment on column ops.manifest_links.versions_deleted is 'Earlier versions of the object that were deleted from S3.';
comment on column ops.manifest_links.versions_kept is 'Earlier versions that S3 does not give up, and why.';
comment on column ops.manifest_links.begun_at is 'When the new bytes were made.';
comment on column ops.manifest_links.done_at is 'When the new object was proven and the old one was gone; NULL before.';

alter table ops.erasures add column applied_at timestamp with time zone;
alter table ops.erasures add column runs text[] not null default '{}';
alter table ops.erasures add column receipt_sha256 text;
comment on column ops.erasures.applied_at is
'When it was through: nobody is left, and there is a receipt. NULL before.';
comment on column ops.erasures.runs is 'Runs that had seen the persons, whose events were deleted from Dagster.';
comment on column ops.erasures.receipt_sha256 is 'SHA-256 of the receipt on S3; NULL before it is through.';

alter table ops.publishes add column erasure integer;
comment on column ops.publishes.erasure is
'Erasure since which its rows are not published: its checksum is empty, and nothing confirms who guesses its rows.';
