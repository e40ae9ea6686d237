/* @asset
description: One row per result of a check that did not pass, of every build and recheck.
owner: team:analytics
grain: [id]
storage: live
columns:
  id: {type: bigint, description: Number of the result.}
  run_id: {type: text, description: Run that made the check.}
  table_name: {type: text, description: "What was checked: a table as schema.table, or an object as s3.table."}
  load_date: {type: date, description: Load_date that was checked.}
  check_name: {type: text, description: Name of the check.}
  status: {type: text, description: "fail: the load_date was held; warn: it was not; error: the check itself failed."}
  metric_value: {type: numeric, description: "What was measured, such as a number of bad rows."}
  threshold: {type: numeric, description: What it was compared with.}
  subject: {type: text, description: "object, candidate (a build before it is published) or published (a recheck)."}
  checked_at: {type: timestamp with time zone, description: When the check was made.}
@end */
select
    id,
    run_id,
    table_name,
    load_date,
    check_name,
    status,
    metric_value,
    threshold,
    subject,
    checked_at
from ops.data_quality_results
where status <> 'pass'
