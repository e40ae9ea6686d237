/* @asset
description: Orders under the names that the marts use.
owner: team:shop
grain: [order_id]
storage: view
columns:
  order_id: {type: integer, description: Order.}
  customer_id: {type: integer, description: Customer who ordered.}
  product: {type: text, description: Name of the product.}
  price: {type: "numeric(8,2)", description: "Price in euros; NULL if it is not known."}
@end */
select
    order_id,
    customer_id,
    product,
    amount as price
from raw.orders
where load_date = %(load_date)s
