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
  # Each load_date delivers all there is: one that has lost half of it is no quiet day.
  min_rows: {of_previous: 0.5}
  not_null: [aisle]
@end */
