-- Fields of events that no header names, and incidents of a check or a field of a table.

create table ops.drift (
    asset text not null,
    load_date date not null,
    base_build_id bigint not null,
    field text not null,
    json_type text not null check (json_type in ('string', 'number', 'boolean', 'null', 'object', 'array')),
    events bigint not null check (events >= 1),
    first_seen timestamp with time zone not null,
    last_seen timestamp with time zone not null,
    sample text not null,
    primary key (asset, load_date, base_build_id, field, json_type)
);
comment on table ops.drift is
'Fields of the events of a stream that are no column of its raw table: one row for each load_date, field and type.';
comment on column ops.drift.asset is 'Raw table, as schema.table.';
comment on column ops.drift.load_date is 'load_date of the events.';
comment on column ops.drift.base_build_id is
'Build of the first batch, as in ops.batches: the fields of a load_date are those of its published batches.';
comment on column ops.drift.field is 'Name of the field.';
comment on column ops.drift.json_type is 'Type of its values in JSON.';
comment on column ops.drift.events is 'Number of published events that have it.';
comment on column ops.drift.first_seen is 'When the broker took the first of them.';
comment on column ops.drift.last_seen is 'When the broker took the last of them.';
comment on column ops.drift.sample is 'A value of it, as JSON; a long one is cut.';

-- What an incident is about, if it is a part of a table: it is an incident of its own then, as that of a measure.
alter table ops.alerts add column check_name text;
alter table ops.alerts add column field text;
alter table ops.alerts add constraint alerts_part_check check (num_nonnulls(measure, check_name, field) <= 1);
alter table ops.alerts add column part text generated always as (
    coalesce('measure ' || measure, 'check ' || check_name, 'field ' || field)
) stored;
alter table ops.alerts drop constraint alerts_kind_check;
alter table ops.alerts add constraint alerts_kind_check
check (kind in ('held', 'failed', 'late', 'stalled', 'breached', 'drifted', 'digest', 'recovered'));
drop index ops.alerts_pipeline_name_load_date_kind_idx;
drop index ops.alerts_job_measure_idx;
create unique index on ops.alerts (pipeline_name, load_date, kind)
where closed_at is null and part is null;
create unique index on ops.alerts (job, part) where closed_at is null and part is not null;
comment on column ops.alerts.check_name is
'Check of the table in job, with severity: alert, that its latest rows fail, or failed; NULL of every other incident.';
comment on column ops.alerts.field is
'Field of events that the header of the table in job does not name, or did not; NULL of every other incident.';
comment on column ops.alerts.part is
'What of the table in job it is about: its measure, check or field, with that word before it; NULL if it is no such.';
comment on column ops.alerts.kind is
'held, failed, late; stalled: a sensor; breached: a measure or check; drifted: a field; digest; recovered: over.';
