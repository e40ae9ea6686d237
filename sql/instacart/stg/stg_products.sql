/* @asset
description: Products with the names of their aisle and department.
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
  not_null: [product_name, aisle, department]
  reconcile: {source: raw.products}
@end */
-- Left joins: a product without an aisle must fail the check of not_null, not disappear.
select
    p.product_id,
    p.product_name,
    p.aisle_id,
    a.aisle,
    p.department_id,
    d.department
from raw.products as p
left join raw.aisles as a using (load_date, aisle_id)
left join raw.departments as d using (load_date, department_id)
where p.load_date = %(load_date)s
