/* @asset
description: Revenue by the day on which orders were placed, and by currency, of the last 28 days.
owner: team:analytics
grain: [order_date, currency]
lookback: 28
freshness: {within_minutes: 10}
kpi:
  title: Daily revenue
  chart: {x: order_date, y: net_revenue, top: 28}
  measures:
    net_eur:
      title: Net revenue of the day, EUR
      value: sum(net_revenue) filter (where order_date = load_date and currency = 'EUR')
      description: Of the orders placed on the day, without what was cancelled or refunded so far. It may still fall.
      format: EUR2
      better: up
    orders:
      title: Orders of the day
      value: sum(orders_placed) filter (where order_date = load_date)
      unit: orders
      better: up
    order_value_eur:
      title: Average order of the day, EUR
      value: >-
        sum(gross_revenue) filter (where order_date = load_date and currency = 'EUR')
        / sum(orders_placed) filter (where order_date = load_date and currency = 'EUR')
      description: As placed, before cancellations and refunds.
      format: EUR2
      better: up
    cancelled_share:
      title: Cancelled orders of the day
      value: >-
        sum(cancelled_orders) filter (where order_date = load_date)
        / sum(orders_placed) filter (where order_date = load_date)
      format: percent1
      unit: of orders
      better: down
    net_eur_28:
      title: Net revenue of 28 days, EUR
      value: sum(net_revenue) filter (where currency = 'EUR')
      format: EUR2
      better: up
      compare: 28
columns:
  order_date: {type: date, description: "Day on which the orders were placed, in UTC."}
  currency: {type: text, description: "Currency of the amounts, or unknown. Amounts of different currencies are never added up."}
  orders_placed: {type: bigint, description: "Number of orders that were placed, whatever became of them."}
  cancelled_orders: {type: bigint, description: Number of these that were cancelled.}
  gross_revenue: {type: "numeric(20,2)", description: Sum of the amounts of all orders that were placed.}
  cancelled_revenue: {type: "numeric(20,2)", description: Sum of the amounts of the cancelled orders.}
  refunded_amount: {type: "numeric(20,2)", description: Sum of the refunds of orders that were not cancelled.}
  net_revenue: {type: "numeric(20,2)", description: gross_revenue - cancelled_revenue - refunded_amount.}
  avg_order_value: {type: "numeric(14,2)", description: gross_revenue / orders_placed.}
checks:
  min_rows: {at_least: 0}
  range:
    orders_placed: [1, null]
  cancellations_high:
    severity: alert
    for: 10 minutes
    description: More than a fifth of at least 50 orders of the day are cancelled.
    bad_rows: |
      select order_date, sum(orders_placed) as orders, sum(cancelled_orders) as cancelled
      from {this}
      where order_date = %(load_date)s
      group by order_date
      having sum(orders_placed) >= 50 and sum(cancelled_orders) > 0.2 * sum(orders_placed)
@end */
-- By the day on which an order was placed: a cancellation or a refund that comes later restates that day, and is no
-- negative revenue of its own day. What is refunded of a cancelled order was no revenue any more, so it is not taken
-- away twice. No order is placed after its event was received, so all orders of these 28 days are in the window.
select
    order_date,
    coalesce(currency, 'unknown') as currency,
    count(*) as orders_placed,
    count(cancelled_at) as cancelled_orders,
    coalesce(sum(amount), 0)::numeric(20, 2) as gross_revenue,
    coalesce(sum(amount) filter (where cancelled_at is not null), 0)::numeric(20, 2) as cancelled_revenue,
    coalesce(sum(refunded_amount) filter (where cancelled_at is null), 0)::numeric(20, 2) as refunded_amount,
    (
        coalesce(sum(amount) filter (where cancelled_at is null), 0)
        - coalesce(sum(refunded_amount) filter (where cancelled_at is null), 0)
    )::numeric(20, 2) as net_revenue,
    (coalesce(sum(amount), 0) / count(*))::numeric(14, 2) as avg_order_value
from marts.fact_orders
where load_date between %(window_start)s and %(load_date)s and order_date >= %(window_start)s
group by order_date, coalesce(currency, 'unknown')
