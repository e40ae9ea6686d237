/* @asset
description: Orders as delivered.
owner: team:shop
grain: [order_id]
storage: partitions
source:
  object: raw/orders/load_date={load_date}/orders.csv
  format: csv
quarantine: {rows: 1}
columns:
  order_id: {type: integer, description: Order.}
  customer_id: {type: integer, description: Customer who ordered.}
  product: {type: text, description: Name of the product.}
  amount: {type: "numeric(8,2)", description: "Price in euros; NULL if it is not known."}
checks:
  not_null: [product]
@end */
