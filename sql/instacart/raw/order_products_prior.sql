/* @asset
description: Lines of the prior orders as delivered.
owner: team:analytics
grain: [order_id, product_id]
storage: partitions
source:
  object: raw/order_products_prior/load_date={load_date}/order_products__prior.csv
  format: csv
columns:
  order_id: {type: integer, description: Identifier of the order.}
  product_id: {type: integer, description: Identifier of the product in the basket.}
  add_to_cart_order:
    {type: smallint, description: "Position at which the product was added to the basket, starting at 1."}
  reordered: {type: smallint, description: "1 if the user had ordered the product before, otherwise 0."}
checks:
  # Each load_date delivers all rows, so one with less than half of the previous number must have lost some.
  min_rows: {of_previous: 0.5}
  not_null: [add_to_cart_order, reordered]
  accepted_values:
    reordered: [0, 1]
  range:
    add_to_cart_order: [1, null]
  foreign_key:
    order_id: raw.orders.order_id
    product_id: raw.products.product_id
@end */
