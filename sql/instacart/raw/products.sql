/* @asset
description: Products as delivered, each in one aisle and one department.
owner: team:analytics
grain: [product_id]
source:
  object: raw/products/load_date={load_date}/products.csv
  format: csv
  same_bytes: ignore
columns:
  product_id: {type: integer, description: Identifier of the product.}
  product_name: {type: text, description: "Name of the product as printed, including commas, quotes and backslashes."}
  aisle_id: {type: integer, description: Identifier of the aisle of the product.}
  department_id: {type: integer, description: Identifier of the department of the product.}
checks:
  # Each load_date delivers all rows, so one with less than half of the previous number must have lost some.
  min_rows: {of_previous: 0.5}
  not_null: [product_name, aisle_id, department_id]
  foreign_key:
    aisle_id: raw.aisles.aisle_id
    department_id: raw.departments.department_id
@end */
