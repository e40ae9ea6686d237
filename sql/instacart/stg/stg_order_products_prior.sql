/* @asset
description: Lines of the prior orders. They are delivered with their final types.
owner: team:analytics
grain: [order_id, product_id]
storage: view
columns:
  order_id: {type: integer, description: Identifier of the order.}
  product_id: {type: integer, description: Identifier of the product in the basket.}
  add_to_cart_order:
    {type: smallint, description: "Position at which the product was added to the basket, starting at 1."}
  reordered: {type: smallint, description: "1 if the user had ordered the product before, otherwise 0."}
@end */
select
    order_id,
    product_id,
    add_to_cart_order,
    reordered
from raw.order_products_prior
where load_date = %(load_date)s
