/* @asset
description: Aisles as delivered.
owner: team:analytics
grain: [aisle_id]
source:
  object: raw/aisles/load_date={load_date}/aisles.csv
  format: csv
  same_bytes: ignore
columns:
  aisle_id: {type: integer, description: Identifier of the aisle.}
  aisle: {type: text, description: Name of the aisle.}
checks:
  # Each load_date delivers all rows, so one with less than half of the previous number must have lost some.
  min_rows: {of_previous: 0.5}
  not_null: [aisle]
@end */
