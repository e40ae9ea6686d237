/* @asset
description: Aisles as delivered.
owner: team:analytics
grain: [aisle_id]
source:
  object: raw/aisles/load_date={load_date}/aisles.csv
  format: csv
  same_bytes: ignore
columns:
  aisle_id: {type: integer, description: Aisle.}
  aisle: {type: text, description: Name of the aisle.}
checks:
  not_null: [aisle]
@end */
