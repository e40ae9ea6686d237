-- Parts: the objects of a load_date that has several, each with the state in which it was seen, so that a replay reads the same.

create table ops.manifest_parts (
    manifest_id bigint not null references ops.manifests (manifest_id),
    key text not null,
    size_bytes bigint not null,
    etag text not null,
    version_id text,
    last_modified timestamp with time zone not null,
    rows bigint,
    sha256 text,
    primary key (manifest_id, key)
);
create index on ops.manifest_parts (sha256);
create index on ops.manifests (sha256);
comment on table ops.manifest_parts is
'One row for each object of a load_date that has several. rows and sha256 are filled in when all bytes have been read.';
comment on column ops.manifest_parts.manifest_id is 'State of all objects together, in ops.manifests.';
comment on column ops.manifest_parts.key is 'Key of the object.';
comment on column ops.manifest_parts.size_bytes is 'Size of the object in bytes.';
comment on column ops.manifest_parts.etag is 'ETag of the object, as the store gives it.';
comment on column ops.manifest_parts.version_id is 'Version of the object; NULL where the bucket keeps no versions.';
comment on column ops.manifest_parts.last_modified is 'When the object was written, as the store says.';
comment on column ops.manifest_parts.rows is 'Records in the object; NULL until all of it was read.';
comment on column ops.manifest_parts.sha256 is 'SHA-256 of its bytes; NULL until all of them were read.';
comment on table ops.manifests is
'One row for each state of the objects of a load_date that was seen: mostly one object; for several, ops.manifest_parts has each.';
comment on column ops.manifests.key is 'Key of the object; of several objects, the pattern of their keys.';
comment on column ops.manifests.size_bytes is 'Size of the object in bytes; of several objects, the sum.';
comment on column ops.manifests.etag is
'ETag of the object, as the store gives it; of several objects, a hash of the key, size and ETag of each.';
comment on column ops.manifests.last_modified is
'When the object was written, as the store says; of several objects, when the last one was.';
comment on column ops.manifests.sha256 is
'SHA-256 of its bytes; of several objects, of the SHA-256 of each. NULL until all of them were read.';
comment on column ops.quarantine.object_key is 'Key of the object that has the record.';
