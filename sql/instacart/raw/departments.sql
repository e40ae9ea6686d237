/* @asset
description: Departments as delivered.
owner: team:analytics
grain: [department_id]
source:
  object: raw/departments/load_date={load_date}/departments.csv
  format: csv
  same_bytes: ignore
columns:
  department_id: {type: integer, description: Identifier of the department.}
  department: {type: text, description: Name of the department.}
checks:
  # Each load_date delivers all rows, so one with less than half of the previous number must have lost some.
  min_rows: {of_previous: 0.5}
  not_null: [department]
@end */
