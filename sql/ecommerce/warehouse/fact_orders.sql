/* @asset
description: One row per order, with its amount as ordered and the part of it that is revenue.
owner: team:shop
grain: [order_id]
storage: partitions
# A status that changes later comes as the same order in a later load_date. So the facts of a load_date say what was told
# on that day, and over a window an order counts once, as delivered last.
versions: latest
time_limit: {minutes: 30}
columns:
  order_id: {type: bigint, description: Identifier of the order.}
  user_id: {type: bigint, description: Identifier of the user who placed the order.}
  product_id: {type: bigint, description: Identifier of the product that was ordered.}
  order_ts: {type: timestamp with time zone, description: When the order was placed.}
  quantity: {type: integer, description: Number of pieces.}
  unit_price: {type: "numeric(12,2)", description: Price of one piece when it was ordered.}
  revenue: {type: "numeric(22,2)", description: "Amount as ordered, whatever became of the order."}
  status: {type: text, description: "paid, cancelled, refunded or pending, as far as it was known when the order was delivered."}
  order_date: {type: date, description: "Day on which the order was placed, in UTC. A late order has another day than its load_date."}
  paid_revenue: {type: "numeric(22,2)", description: "revenue if the order is paid, otherwise 0."}
checks:
  reconcile: {source: staging.orders_clean, sum: revenue}
  every_order_is_here:
    description: Every clean order is a fact.
    reconcile: {source: staging.orders_clean}
  # The products need no check: an order of an unknown one was set aside, unless a person has accepted it.
  foreign_key:
    user_id: warehouse.dim_user.user_id
@end */
-- A cancelled order is no revenue, a pending one not yet, and a refunded one no longer. The amount as ordered stays
-- beside it, so that both sums can be explained.
select
    order_id,
    user_id,
    product_id,
    order_ts,
    quantity,
    unit_price,
    revenue,
    status,
    (order_ts at time zone 'UTC')::date as order_date,
    case when status = 'paid' then revenue else 0 end::numeric(22, 2) as paid_revenue
from staging.orders_clean
where load_date = %(load_date)s
