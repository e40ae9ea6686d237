/* @asset
description: One row per order line, with its order's user and time.
owner: team:analytics
grain: [order_id, product_id]
storage: partitions
columns:
  order_id: {type: integer, description: Identifier of the order.}
  product_id: {type: integer, description: Identifier of the product in the basket.}
  add_to_cart_order:
    {type: smallint, description: "Position at which the product was added to the basket, starting at 1."}
  reordered: {type: smallint, description: "1 if the user had ordered the product before, otherwise 0."}
  user_id: {type: integer, description: Identifier of the user who placed the order.}
  order_dow: {type: smallint, description: "Day of the week of the order, 0 to 6."}
  order_hour_of_day: {type: smallint, description: "Hour of the day of the order, 0 to 23."}
checks:
  reconcile: {source: stg.stg_order_products_prior}
@end */
select
    l.order_id,
    l.product_id,
    l.add_to_cart_order,
    l.reordered,
    o.user_id,
    o.order_dow,
    o.order_hour_of_day
from stg.stg_order_products_prior as l
inner join stg.stg_orders as o using (load_date, order_id)
where l.load_date = %(load_date)s
