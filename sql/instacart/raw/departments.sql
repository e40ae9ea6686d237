/* @asset
description: Departments as delivered.
owner: team:analytics
grain: [department_id]
source:
  object: raw/departments/load_date={load_date}/departments.csv
  format: csv
  same_bytes: ignore
columns:
  department_id: {type: integer, description: Department.}
  department: {type: text, description: Name of the department.}
checks:
  not_null: [department]
@end */
