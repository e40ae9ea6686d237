/* @asset
description: One row per product, with its aisle and department.
owner: team:analytics
grain: [product_id]
columns:
  product_id: {type: integer, description: Identifier of the product.}
  product_name: {type: text, description: "Name of the product as printed, including commas, quotes and backslashes."}
  aisle_id: {type: integer, description: Identifier of the aisle of the product.}
  aisle: {type: text, description: Name of the aisle.}
  department_id: {type: integer, description: Identifier of the department of the product.}
  department: {type: text, description: Name of the department.}
checks:
  reconcile: {source: stg.stg_products}
@end */
select
    product_id,
    product_name,
    aisle_id,
    aisle,
    department_id,
    department
from stg.stg_products
where load_date = %(load_date)s
