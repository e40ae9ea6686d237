-- Alerts: what a person must hear of, written together with the event, and told on each channel at least once.

create table ops.alerts (
    id bigint generated always as identity primary key,
    pipeline_name text not null,
    load_date date,
    kind text not null check (kind in ('held', 'failed', 'late', 'recovered')),
    run_id text,
    job text,
    details text[] not null,
    occurrences integer not null default 1,
    opened_at timestamp with time zone not null default clock_timestamp(),
    last_at timestamp with time zone not null default clock_timestamp(),
    closed_at timestamp with time zone
);
create unique index on ops.alerts (pipeline_name, load_date, kind) where closed_at is null;
create index on ops.alerts (run_id);
comment on table ops.alerts is
'One row for each incident, open until its load_date is published, and one for each recovery.';
comment on column ops.alerts.job is
'The table, object or job that opened it; NULL where it is about the load_date as a whole.';
comment on column ops.alerts.details is 'What its latest run said, a sentence for each table, object or job.';
comment on column ops.alerts.occurrences is 'In how many runs it happened; it is told once.';

create table ops.alert_deliveries (
    alert_id bigint not null references ops.alerts (id),
    channel text not null,
    attempts integer not null default 0,
    next_attempt_at timestamp with time zone not null default clock_timestamp(),
    last_error text,
    delivered_at timestamp with time zone,
    primary key (alert_id, channel)
);
create index on ops.alert_deliveries (channel, alert_id) where delivered_at is null;
comment on table ops.alert_deliveries is 'The outbox: one row for each alert and each channel that is to tell it.';
comment on column ops.alert_deliveries.last_error is 'Why the last attempt failed; it names no secret.';
