/* @asset
description: Orders and reorder behaviour by day of the week.
owner: team:analytics
grain: [order_dow]
kpi:
  chart: {x: order_dow, y: total_orders}
# A load_date ends at midnight UTC, and the next one must be published 36 hours later: by noon of the day after it.
freshness: {within_hours: 36}
columns:
  order_dow: {type: smallint, description: "Day of the week of the order, 0 to 6; a day without orders has no row."}
  total_orders: {type: bigint, description: "All orders of that day, whether or not their lines are known."}
  avg_items_per_order:
    {type: "numeric(12,6)", description: "Mean lines per order, over the orders whose lines are known; NULL if there is none."}
  pct_orders_with_any_reorder:
    {type: "numeric(7,6)", description: "Share, 0 to 1, of the orders whose lines are known that hold any reorder."}
  avg_reorder_item_rate:
    {type: "numeric(7,6)", description: "Mean, 0 to 1, of the orders' reorder_item_rate: each order weighs the same."}
checks:
  range:
    order_dow: [0, 6]
    pct_orders_with_any_reorder: [0, 1]
    avg_reorder_item_rate: [0, 1]
  reconcile: {source: marts.fact_orders, counted: sum(total_orders)}
@end */
-- avg() passes over NULL, so each average runs over the orders whose lines are known, and is NULL where there is none.
select
    order_dow,
    count(*) as total_orders,
    avg(items_in_order)::numeric(12, 6) as avg_items_per_order,
    avg(has_any_reorder::integer)::numeric(7, 6) as pct_orders_with_any_reorder,
    avg(reorder_item_rate)::numeric(7, 6) as avg_reorder_item_rate
from marts.fact_orders
where load_date = %(load_date)s
group by order_dow
