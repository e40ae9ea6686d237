/* @asset
description: The list of products as the API gave it, one row per record. It is of a Monday, and stands in on the days after.
owner: team:shop
grain: [record_no]
source:
  object: products/{load_date}/products.json
  format: json
  records: products
  position: record_no
  whole: raw_data
  every: monday
  # Orders do not wait for a list that is a Monday late. Without any for two weeks, the load_date has no products.
  carried_days: 13
  api: products
  call:
    path: /products
    query: {date: "{load_date}"}
    total: total
time_limit: {minutes: 30}
columns:
  product_id: {type: bigint, description: Identifier of the product.}
  product_name: {type: text, description: Name of the product.}
  category: {type: text, description: Category of the product.}
  brand: {type: text, description: Brand of the product; NULL if it has none.}
  current_price: {type: "numeric(12,2)", description: Price of one piece on the day of the list.}
checks:
  not_null: [product_id]
  # Each list names all products, so one with less than half of the previous number must have lost some.
  min_rows: {of_previous: 0.5}
@end */
