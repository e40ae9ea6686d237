/* @asset
description: One row per record or row that the latest build of its table set aside, and what was decided on it.
owner: team:analytics
grain: [id]
storage: live
columns:
  id: {type: bigint, description: Number of the record or row in ops.quarantine.}
  table_name: {type: text, description: "Table that it was meant for, as schema.table."}
  load_date: {type: date, description: Load_date of the build.}
  object_key: {type: text, description: Key of the object that has the record; NULL for a row of a SELECT.}
  line: {type: bigint, description: Line on which the record begins; NULL for a row of a SELECT.}
  column_name: {type: text, description: Column whose value cannot be read; NULL if a rule is the reason.}
  rules: {type: "text[]", description: Rules that the row breaks; NULL for a record that cannot be read.}
  state: {type: text, description: "waiting for a decision, corrected, accepted or discarded."}
  quarantined_at: {type: timestamp with time zone, description: When it was set aside.}
@end */
select
    id,
    table_name,
    load_date,
    object_key,
    line,
    column_name,
    rules,
    state,
    quarantined_at
from ops.bad_rows
