/* @asset
description: Users with at least two paid orders up to the load_date.
owner: team:shop
grain: [user_id]
kpi:
  title: Repeat customers
  # Who they are is shown to nobody: a bar is one of those who paid most, called by the day on which that was last.
  chart: {x: last_paid_order_date, y: paid_revenue}
  measures:
    customers:
      title: Repeat customers
      value: count(*)
      description: Users with at least two paid orders up to the load_date.
      unit: users
      better: up
      compare: 28
    revenue:
      title: Revenue of repeat customers
      value: sum(paid_revenue)
      description: Amount of all their paid orders, the first one included, up to the load_date.
      format: decimal2
      better: up
      compare: 28
    orders_per_customer:
      title: Orders of a repeat customer
      value: sum(paid_orders) / count(*)
      format: decimal2
      unit: orders
      better: up
      compare: 28
time_limit: {minutes: 30}
columns:
  user_id: {type: bigint, description: Identifier of the user.}
  paid_orders: {type: bigint, description: "Number of paid orders, at least 2."}
  paid_revenue: {type: "numeric(30,2)", description: Revenue of the paid orders.}
  first_paid_order_date: {type: date, description: "Day of the first paid order, in UTC."}
  last_paid_order_date: {type: date, description: "Day of the last paid order, in UTC."}
  days_between: {type: integer, description: Days from the first paid order to the last one; 0 if they are of one day.}
checks:
  # A young shop may have none.
  min_rows: {at_least: 0}
  reconcile:
    source: warehouse.dim_user
    dropped:
      fewer_than_two: paid_orders < 2
  range:
    days_between: [0, null]
@end */
select
    user_id,
    paid_orders,
    paid_revenue,
    (first_paid_order_ts at time zone 'UTC')::date as first_paid_order_date,
    (last_paid_order_ts at time zone 'UTC')::date as last_paid_order_date,
    (last_paid_order_ts at time zone 'UTC')::date - (first_paid_order_ts at time zone 'UTC')::date as days_between
from warehouse.dim_user
where load_date = %(load_date)s and paid_orders >= 2
