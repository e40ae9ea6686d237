-- Load_dates of which an object never landed, sensors and schedules that stopped working, and messages that tell of many alerts.

alter table ops.pipeline_runs drop constraint pipeline_runs_status_check;
alter table ops.pipeline_runs add constraint pipeline_runs_status_check
check (status in ('running', 'success', 'held', 'failed', 'missing'));
comment on column ops.pipeline_runs.status is
'running; success: published; of the others nothing is: held by a gate, failed, missing: its object has not landed.';

alter table ops.alerts drop constraint alerts_kind_check;
alter table ops.alerts add constraint alerts_kind_check
check (kind in ('held', 'failed', 'late', 'stalled', 'recovered'));
comment on column ops.alerts.job is
'The table, object, job, sensor or schedule that opened it; NULL where it is about the load_date as a whole.';
create unique index on ops.alerts (job) where kind = 'stalled' and closed_at is null;

alter table ops.alert_deliveries add column message text;
comment on column ops.alert_deliveries.message is
'The key of the message that told it; alerts of one cause share a message.';
create index on ops.alert_deliveries (channel, delivered_at);
