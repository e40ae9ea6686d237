/* @asset
description: One row per build of a table, per check of an object, and per run as a whole.
owner: team:analytics
grain: [id]
storage: live
columns:
  id: {type: bigint, description: Number of the build or run.}
  run_id: {type: text, description: Run that it belongs to.}
  pipeline_name: {type: text, description: Name of the pipeline.}
  job: {type: text, description: "The table as schema.table, the object as s3.table, what was decided as decisions.schema__table, or the job of a run."}
  load_date: {type: date, description: Load_date that was built; NULL for a run of several.}
  status: {type: text, description: "running, success, missing, held or failed."}
  rows_extracted: {type: bigint, description: Records read from objects.}
  rows_loaded_raw: {type: bigint, description: Rows of raw tables.}
  rows_loaded_staging: {type: bigint, description: Rows of staging tables.}
  rows_loaded_marts: {type: bigint, description: Rows of the other tables.}
  rows_quarantined: {type: bigint, description: Records and rows that were set aside.}
  execution_seconds: {type: "numeric(12,3)", description: Seconds from its start to its end.}
  started_at: {type: timestamp with time zone, description: When it was started.}
  ended_at: {type: timestamp with time zone, description: When it ended; NULL while it is in progress.}
@end */
select
    id,
    run_id,
    pipeline_name,
    job,
    load_date,
    status,
    rows_extracted,
    rows_loaded_raw,
    rows_loaded_staging,
    rows_loaded_marts,
    rows_quarantined,
    execution_seconds,
    started_at,
    ended_at
from ops.pipeline_runs
