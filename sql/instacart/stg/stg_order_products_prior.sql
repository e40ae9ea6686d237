/* @asset
description: The lines of the prior orders, which arrive typed already.
owner: team:analytics
grain: [order_id, product_id]
storage: view
columns:
  order_id: {type: integer, description: Order.}
  product_id: {type: integer, description: Product in the basket.}
  add_to_cart_order: {type: smallint, description: "Position in which it was put into the basket, from 1."}
  reordered: {type: smallint, description: "1 if the user had ordered the product before, else 0."}
@end */
select
    order_id,
    product_id,
    add_to_cart_order,
    reordered
from raw.order_products_prior
where load_date = %(load_date)s
