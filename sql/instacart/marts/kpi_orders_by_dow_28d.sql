/* @asset
description: Orders and reorder behaviour by day of the week, over the orders that the last 28 load_dates delivered.
owner: team:analytics
grain: [order_dow]
lookback: 28
# As fresh as the daily one, whose definition it shares.
freshness: {within_hours: 36}
kpi:
  chart: {x: order_dow, y: total_orders}
columns:
  order_dow: {type: smallint, description: "Day of the week of the order, 0 to 6; a day without orders has no row."}
  total_orders:
    {type: bigint, description: "All orders of that day; one that several load_dates delivered counts once, as the latest has it."}
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
-- Read over the window, fact_orders has one row per order: that of the latest load_date. If that load_date did not
-- deliver the order's lines, its basket is unknown, even where an earlier one had delivered them.
select
    order_dow,
    count(*) as total_orders,
    avg(items_in_order)::numeric(12, 6) as avg_items_per_order,
    avg(has_any_reorder::integer)::numeric(7, 6) as pct_orders_with_any_reorder,
    avg(reorder_item_rate)::numeric(7, 6) as avg_reorder_item_rate
from marts.fact_orders
where load_date between %(window_start)s and %(load_date)s
group by order_dow
