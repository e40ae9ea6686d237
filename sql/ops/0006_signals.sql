-- Load_dates of which an object never landed, sensors and schedules that stopped working, and messages that tell of many alerts.

alter table ops.pipeline_runs drop constraint pipeline_runs_status_check;
alter table ops.pipeline_runs add constraint pipeline_runs_status_check
check (status in ('running', 'success', 'held', 'failed', 'missing'));
comment on column ops.pipeline_runs.status is
'running; success: published; held: a gate failed; failed: an error; missing: its object has not landed. Only success publishes.';

alter table ops.alerts drop constraint alerts_kind_check;
alter table ops.alerts add constraint alerts_kind_check
check (kind in ('held', 'failed', 'late', 'stalled', 'recovered'));
comment on column ops.alerts.job is
'The table, object or job that opened it, or the sensor or schedule that is stalled; NULL where it is about a whole load_date.';
create unique index on ops.alerts (job) where kind = 'stalled' and closed_at is null;

alter table ops.alert_deliveries add column message text;
comment on column ops.alert_deliveries.message is
'The key of the message that told it; alerts of one cause share a message.';
create index on ops.alert_deliveries (channel, delivered_at);
