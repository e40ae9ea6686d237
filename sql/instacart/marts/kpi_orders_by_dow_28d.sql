/* @asset
description: Orders and reorder behavior by day of the week, over the orders that the last 28 load_dates delivered.
owner: team:analytics
grain: [order_dow]
lookback: 28
# The same limit as for the daily KPI, which has the same definition.
freshness: {within_hours: 36}
kpi:
  title: Orders by day of the week, 28 days
  chart:
    x: order_dow
    y: total_orders
    labels: [Sunday, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday]
  measures:
    orders:
      title: Orders of 28 days
      value: sum(total_orders)
      description: An order that several load_dates delivered counts once, as delivered last.
      unit: orders
      better: up
      compare: 28
    items_per_order:
      title: Items per order, 28 days
      value: sum(avg_items_per_order * total_orders) / sum(total_orders) filter (where avg_items_per_order is not null)
      description: >-
        Each day of the week weighs as much as it has orders. An order whose lines are unknown counts as if it were an
        average one of its day of the week.
      format: decimal2
      unit: items
      better: up
      compare: 28
    orders_with_reorder:
      title: Orders with a reorder, 28 days
      value: >-
        sum(pct_orders_with_any_reorder * total_orders)
        / sum(total_orders) filter (where pct_orders_with_any_reorder is not null)
      description: >-
        Share of orders with at least one product that the user had ordered before. Days of the week are weighted as
        for the items per order.
      format: percent1
      unit: of orders
      better: up
      compare: 28
    busiest_day:
      title: Busiest day of the week, 28 days
      value: max(total_orders) / sum(total_orders)
      description: Share of the orders that the day of the week with the most orders has. Seven equal days have 14.3 % each.
      format: percent1
      unit: of orders
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
