-- Rows that a rule set aside, beside the records that could not be read, and what was decided on each of them.

alter table ops.quarantine
alter column object_key drop not null,
alter column line drop not null,
add column byte_offset bigint,
add column key jsonb,
add column rules text[],
add column state text not null default 'waiting'
check (state in ('waiting', 'corrected', 'accepted', 'discarded')),
add column decision text,
add column corrected text;
comment on table ops.quarantine is
'One row for each record or row that a build set aside: it could not be read, or it broke a rule of its table.';
comment on column ops.quarantine.build_id is 'Build that set it aside, in ops.pipeline_runs.';
comment on column ops.quarantine.table_name is 'Table that it was meant for, as schema.table.';
comment on column ops.quarantine.load_date is 'load_date of the build.';
comment on column ops.quarantine.object_key is 'Key of the object that has the record; NULL for a row of a SELECT.';
comment on column ops.quarantine.line is
'Line on which the record begins (the header is line 1), or its number in the object; NULL for a row of a SELECT.';
comment on column ops.quarantine.byte_offset is
'Bytes of the unpacked object before the record, where its format tells them.';
comment on column ops.quarantine.record is
'The record as delivered, or the row as a JSON object; cut at 16,000 characters.';
comment on column ops.quarantine.column_name is
'Column whose value cannot be read; NULL if it is the whole record, or a rule.';
comment on column ops.quarantine.reason is 'Why it was set aside.';
comment on column ops.quarantine.key is 'Key of the row, by the columns of its grain; NULL for a record of an object.';
comment on column ops.quarantine.rules is 'Rules that the row breaks; NULL for a record that cannot be read.';
comment on column ops.quarantine.state is
'waiting for a decision, or by decision: corrected or accepted, and so in the table, or discarded for good.';
comment on column ops.quarantine.decision is
'The last decision on it that this build knew, as the key of its object and the line there; NULL if there was none.';
comment on column ops.quarantine.corrected is
'The record or row as it was corrected and is in the table, as record has it; NULL if it was not corrected.';

comment on column ops.publishes.asset is
'Table, as schema.table; or decisions.schema__table: the decisions on its rows, as they lay on S3.';

-- A row that is set aside in ten builds is one bad row: only the latest build of each load_date counts.
create view ops.bad_rows as
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
    );
comment on view ops.bad_rows is
'The rows of ops.quarantine of the latest build, published or held, of each table and load_date.';
