/* @asset
description: Orders and reorder behavior by day of the week, over the orders that the last 28 load_dates delivered.
owner: team:analytics
grain: [order_dow]
lookback: 28
# The same limit as for the daily KPI, which has the same definition.
freshness: {within_hours: 36}
kpi:
  chart: {x: order_dow, y: total_orders}
columns:
  order_dow: {type: smallint, description: "Day of the week of the order, 0 to 6. A day without orders has no row."}
  total_orders:
    {type: bigint, description: "Number of orders of that day. An order that several load_dates delivered counts once, as delivered last."}
  avg_items_per_order:
    {type: "numeric(12,6)", description: "Mean number of lines per order, over the orders whose lines are known; NULL if there is none."}
  pct_orders_with_any_reorder:
    {type: "numeric(7,6)", description: "Share of orders with at least one reorder, 0 to 1, over the orders whose lines are known."}
  avg_reorder_item_rate:
    {type: "numeric(7,6)", description: "Mean of reorder_item_rate over the orders, 0 to 1. Each order has the same weight."}
checks:
  range:
    order_dow: [0, 6]
    pct_orders_with_any_reorder: [0, 1]
    avg_reorder_item_rate: [0, 1]
  reconcile: {source: marts.fact_orders, counted: sum(total_orders)}
@end */
-- Over the window, fact_orders has one row per order: that of its latest load_date. If that load_date did not deliver
-- the lines of the order, the basket is unknown, even if an earlier load_date had delivered them.
select
    order_dow,
    count(*) as total_orders,
    avg(items_in_order)::numeric(12, 6) as avg_items_per_order,
    avg(has_any_reorder::integer)::numeric(7, 6) as pct_orders_with_any_reorder,
    avg(reorder_item_rate)::numeric(7, 6) as avg_reorder_item_rate
from marts.fact_orders
where load_date between %(window_start)s and %(load_date)s
group by order_dow
