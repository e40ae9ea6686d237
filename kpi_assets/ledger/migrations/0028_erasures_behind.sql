-- A database that was restored from a backup has persons who were erased since. Nothing is built or shown from it until
-- they are erased from it, too.

alter table ops.erasures add column was_behind boolean not null default false;
comment on column ops.erasures.was_behind is
'Whether it was found on S3 when there were rows here: nothing is built or shown until it is through.';
