-- A check may compare a build with earlier load_dates of its table. Once these are published with other rows, a build
-- that it held may pass.

alter table ops.holds add column compared jsonb not null default '{}';
comment on column ops.holds.compared is
'publish_id of each earlier load_date of the table with which a failed check compared it, as inputs name them.';
