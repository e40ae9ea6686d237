-- Descriptions: what each table and column of ops holds, in one place and in plain words. Nothing else changes.

comment on table ops.pipeline_runs is
'One row for each build of a table, each verification of an object, and each run as a whole.';
comment on column ops.pipeline_runs.id is 'Number of the row; other tables call it build_id.';
comment on column ops.pipeline_runs.run_id is 'Run that the row belongs to, as Dagster or the command names it.';
comment on column ops.pipeline_runs.pipeline_name is 'Pipeline.';
comment on column ops.pipeline_runs.job is
'schema.table for a build, s3.table for the verification of an object, or the name of the Dagster job for a whole run.';
comment on column ops.pipeline_runs.load_date is 'load_date; NULL for a run that has none.';
comment on column ops.pipeline_runs.status is
'running; success: published or verified; held: a gate failed; missing: the object has not landed; failed: an error.';
comment on column ops.pipeline_runs.rows_extracted is 'Records that were read from the object.';
comment on column ops.pipeline_runs.rows_loaded_raw is 'Rows that were published in the layer raw; 0 when held.';
comment on column ops.pipeline_runs.rows_loaded_staging is
'Rows that were published in the layer staging; 0 when held.';
comment on column ops.pipeline_runs.rows_loaded_marts is 'Rows that were published in the layer marts; 0 when held.';
comment on column ops.pipeline_runs.rows_quarantined is 'Records that were set aside in ops.quarantine.';
comment on column ops.pipeline_runs.execution_seconds is 'Time from start to end, in seconds.';
comment on column ops.pipeline_runs.started_at is 'Start of the work.';
comment on column ops.pipeline_runs.ended_at is 'End of the work; NULL while it runs.';
comment on column ops.pipeline_runs.error_message is 'Why nothing was published; NULL when all is well.';
comment on column ops.pipeline_runs.candidate is
'Table that holds the rows of a held build. It is kept until the next build of the same table and load_date.';

comment on table ops.data_quality_results is 'One row for each time that a check was made.';
comment on column ops.data_quality_results.id is 'Number of the row.';
comment on column ops.data_quality_results.run_id is 'Run in which the check was made.';
comment on column ops.data_quality_results.build_id is 'Build whose rows were checked, in ops.pipeline_runs.';
comment on column ops.data_quality_results.check_name is 'Name of the check.';
comment on column ops.data_quality_results.table_name is 'schema.table, or s3.table for the object of a raw table.';
comment on column ops.data_quality_results.load_date is 'load_date that was checked.';
comment on column ops.data_quality_results.status is
'pass; fail: a check of severity error failed; warn: a check of severity warn failed; error: the check could not run.';
comment on column ops.data_quality_results.blocking is 'Whether a failure holds the load_date.';
comment on column ops.data_quality_results.metric_value is 'What was measured, such as the number of bad rows.';
comment on column ops.data_quality_results.threshold is 'What it was compared with.';
comment on column ops.data_quality_results.samples is 'The first bad rows, as JSON.';
comment on column ops.data_quality_results.message is 'The result in one sentence; it may quote values.';
comment on column ops.data_quality_results.subject is
'What was checked: an object on S3, a candidate before it is published, or published rows (a recheck).';
comment on column ops.data_quality_results.checked_at is 'When the check was made.';

comment on table ops.manifests is
'One row for each state of an S3 object that was seen. rows and sha256 are filled in when all bytes have been read.';
comment on column ops.manifests.manifest_id is 'Number of the row.';
comment on column ops.manifests.object is 'Object of a raw table, as s3.table.';
comment on column ops.manifests.load_date is 'load_date of the object.';
comment on column ops.manifests.bucket is 'Bucket of the object.';
comment on column ops.manifests.key is 'Key of the object.';
comment on column ops.manifests.size_bytes is 'Size of the object in bytes.';
comment on column ops.manifests.etag is 'ETag of the object, as the store gives it.';
comment on column ops.manifests.version_id is 'Version of the object; NULL where the bucket keeps no versions.';
comment on column ops.manifests.last_modified is 'When the object was written, as the store says.';
comment on column ops.manifests.manifest_hash is 'Hash of its bucket, key, size, ETag and version.';
comment on column ops.manifests.rows is 'Records in the object; NULL until all of it was read.';
comment on column ops.manifests.sha256 is 'SHA-256 of its bytes; NULL until all of them were read.';
comment on column ops.manifests.run_id is 'Run that saw this state first.';
comment on column ops.manifests.recorded_at is 'When this state was seen first.';

comment on table ops.publishes is
'The ledger: one row for each time that a build of a table and load_date became what readers see.';
comment on column ops.publishes.publish_id is 'Number of the publish.';
comment on column ops.publishes.asset is 'Table, as schema.table.';
comment on column ops.publishes.load_date is 'load_date whose rows were published.';
comment on column ops.publishes.build_id is 'Build that made the rows, in ops.pipeline_runs.';
comment on column ops.publishes.run_id is 'Run in which they were published.';
comment on column ops.publishes.manifest_hash is
'S3 objects that the rows come from: the manifest of the object of a raw table, or a hash of all manifests upstream.';
comment on column ops.publishes.code_version is 'Version of the SQL and columns: another version may give other rows.';
comment on column ops.publishes.rows is 'Number of rows.';
comment on column ops.publishes.checksum is
'Sum of the 64-bit hashes of the rows: equal rows give an equal checksum in whatever order they are stored.';
comment on column ops.publishes.size_bytes is 'Size of the rows and their indexes on disk, in bytes.';
comment on column ops.publishes.inputs is
'publish_id of each table that was read; one of an earlier load_date is named table@load_date.';
comment on column ops.publishes.published_at is 'When readers began to see the rows.';
comment on column ops.publishes.superseded_at is 'When readers ceased to see them; NULL while they do.';
comment on column ops.publishes.dropped_at is
'When retention dropped the rows; superseded_at is set to the same instant. A replay from S3 gives them again.';
comment on column ops.publishes.columns is
'Columns of the rows in order, as [name, type]; NULL for rows that an earlier version of kpi_assets published.';
comment on column ops.publishes.removed_at is
'When `kpi drop` removed the table with all its load_dates; superseded_at is set too.';
comment on view ops.published is 'What readers see now: the rows of ops.publishes that are not superseded.';

comment on table ops.quarantine is 'Records that were set aside because they could not be read as rows of their table.';
comment on column ops.quarantine.id is 'Number of the row.';
comment on column ops.quarantine.build_id is 'Build that read the object, in ops.pipeline_runs.';
comment on column ops.quarantine.run_id is 'Run of that build.';
comment on column ops.quarantine.table_name is 'Raw table, as schema.table.';
comment on column ops.quarantine.load_date is 'load_date of the object.';
comment on column ops.quarantine.object_key is 'Key of the object.';
comment on column ops.quarantine.line is 'Line of the object on which the record begins; the header is line 1.';
comment on column ops.quarantine.record is 'The record as delivered, cut at 16,000 characters.';
comment on column ops.quarantine.column_name is
'Column whose value cannot be read; NULL where the record itself cannot.';
comment on column ops.quarantine.value is 'The value that cannot be read, cut at 1,000 characters.';
comment on column ops.quarantine.reason is 'Why it cannot be read, and how it could be written.';
comment on column ops.quarantine.quarantined_at is 'When it was set aside.';

comment on table ops.alerts is
'One row for each incident, open until it is over, and one for each recovery.';
comment on column ops.alerts.id is 'Number of the incident.';
comment on column ops.alerts.pipeline_name is 'Pipeline.';
comment on column ops.alerts.load_date is
'load_date; NULL for an incident that concerns none, such as a stalled sensor.';
comment on column ops.alerts.kind is
'held: by a gate; failed: an error; late: objects or a KPI; stalled: a sensor or schedule; recovered: it is over.';
comment on column ops.alerts.run_id is 'Run in which it happened last.';
comment on column ops.alerts.job is
'Table, object, job, sensor or schedule that opened it; NULL where it concerns the load_date as a whole.';
comment on column ops.alerts.details is 'What its latest run said: a sentence for each table, object or job.';
comment on column ops.alerts.occurrences is 'In how many runs it happened; people are told of it once.';
comment on column ops.alerts.opened_at is 'When it happened first.';
comment on column ops.alerts.last_at is 'When it happened last.';
comment on column ops.alerts.closed_at is 'When it was over; NULL while it is open.';

comment on table ops.alert_deliveries is 'The outbox: one row for each alert and each channel that has to tell it.';
comment on column ops.alert_deliveries.alert_id is 'Alert, in ops.alerts.';
comment on column ops.alert_deliveries.channel is 'Channel: log, slack, webhook or email.';
comment on column ops.alert_deliveries.attempts is 'How often its delivery was attempted.';
comment on column ops.alert_deliveries.next_attempt_at is 'When it may be attempted next.';
comment on column ops.alert_deliveries.last_error is 'Why the last attempt failed; it names no secret.';
comment on column ops.alert_deliveries.delivered_at is 'When the channel took it; NULL until then.';
comment on column ops.alert_deliveries.message is
'Key of the message that told it; alerts of one cause share a message.';

comment on table ops.holds is
'From what each held build was made, in the terms of ops.publishes: the same inputs would be held again.';
comment on column ops.holds.build_id is 'Held build, in ops.pipeline_runs.';
comment on column ops.holds.manifest_hash is 'S3 objects that it was made from, as in ops.publishes.';
comment on column ops.holds.code_version is 'Version of the SQL and columns, as in ops.publishes.';
comment on column ops.holds.checks_version is
'Version of the checks: another version may judge the same rows otherwise.';
comment on column ops.holds.inputs is 'publish_id of each table that was read, as in ops.publishes.';

comment on table ops.requests is
'load_dates for which automation requested a run, so that it does not request another.';
comment on column ops.requests.load_date is 'load_date.';
comment on column ops.requests.basis is
'Hash of the objects, SQL and checks that the run was requested for; for another basis a run is requested at once.';
comment on column ops.requests.attempts is
'How often a run was requested on this basis, each time after a longer pause; 0 when the load_date came to an end.';
comment on column ops.requests.requested_at is 'When the last run was requested.';

comment on table ops.locks is 'Locks of runs, builds and publishes. A lock whose session has ended is held by nobody.';
comment on column ops.locks.name is 'What is locked.';
comment on column ops.locks.share is
'0 for a lock of one session alone; the token of the session where several share it.';
comment on column ops.locks.token is
'Advisory lock that the session holds for as long as it lives; NULL where transactions lock the row itself.';
comment on column ops.locks.pid is 'Process of the session on the server.';
comment on column ops.locks.login is 'Login of the session.';
comment on column ops.locks.holder is 'application_name of the session: which run or command it is.';
comment on column ops.locks.since is 'When the lock was taken.';
