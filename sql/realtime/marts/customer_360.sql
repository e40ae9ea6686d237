/* @asset
description: Every customer who ordered or was seen within 90 days.
owner: team:analytics
grain: [customer_id]
lookback: {days: 90, rows: all}
refresh: {minutes: 15}
freshness: {within_minutes: 60}
kpi:
  title: Customers
  # Who they are is shown to nobody: a bar is one of those who ordered most, called by when that was last.
  chart: {x: last_order_at, y: orders}
  measures:
    customers: {title: Customers of 90 days, value: count(*), unit: customers, better: up, compare: 28}
    buyers:
      title: Customers with an order
      value: count(*) filter (where orders > 0)
      unit: customers
      better: up
      compare: 28
    repeat_share:
      title: Customers who ordered again
      value: count(*) filter (where orders > 1) / count(*) filter (where orders > 0)
      format: percent1
      unit: of buyers
      better: up
      compare: 28
columns:
  customer_id: {type: bigint, description: "Customer: the customer_id of orders and the user_id of clicks."}
  first_order_at: {type: timestamp with time zone, description: "When the first order of 90 days was placed; NULL if there is none."}
  last_order_at: {type: timestamp with time zone, description: "When the last order of 90 days was placed; NULL if there is none."}
  currency: {type: text, description: "Currency of all these orders; NULL if there are none, or if they have several."}
  orders: {type: bigint, description: "Orders that were placed in 90 days, whatever became of them."}
  cancelled_orders: {type: bigint, description: Number of these that were cancelled.}
  net_revenue: {type: "numeric(20,2)", description: "Amount of the orders that were not cancelled, less their refunds; NULL if there is no currency."}
  sessions: {type: bigint, description: Sessions of the last 30 load_dates in which the customer was logged in.}
  last_seen_at: {type: timestamp with time zone, description: When the customer last ordered or clicked.}
checks:
  min_rows: {at_least: 0}
  net_revenue_has_a_currency:
    description: An amount without its currency says nothing.
    bad_rows: select * from {this} where (net_revenue is null) <> (currency is null)
@end */
-- Clicks of visitors who are not logged in are nobody's. A session belongs to whom it belonged last.
-- An order counts as known last by a row that knows when it was placed: fact_orders looks back 28 days, and a later row,
-- of a refund after two months, say, knows nothing else of the order.
with orders as (
    select distinct on (order_id)
        order_id,
        customer_id,
        currency,
        placed_at,
        amount,
        cancelled_at,
        refunded_amount
    from marts.fact_orders
    where load_date between %(window_start)s and %(load_date)s and placed_at is not null and customer_id is not null
    order by order_id asc, load_date desc
),

buyers as (
    select
        customer_id,
        min(placed_at) as first_order_at,
        max(placed_at) as last_order_at,
        count(*) as orders,
        count(cancelled_at) as cancelled_orders,
        case when count(distinct currency) = 1 and count(currency) = count(*) then min(currency) end as currency,
        coalesce(sum(amount - refunded_amount) filter (where cancelled_at is null), 0) as net_revenue
    from orders
    group by customer_id
),

visitors as (
    select
        user_id as customer_id,
        count(distinct session_id) filter (where load_date > %(load_date)s::date - 30) as sessions,
        max(user_last_at) as last_seen_at
    from marts.fact_sessions
    where load_date between %(window_start)s and %(load_date)s and user_id is not null
    group by user_id
)

select
    customer_id,
    b.first_order_at,
    b.last_order_at,
    b.currency,
    coalesce(b.orders, 0) as orders,
    coalesce(b.cancelled_orders, 0) as cancelled_orders,
    case when b.currency is not null then b.net_revenue end::numeric(20, 2) as net_revenue,
    coalesce(v.sessions, 0) as sessions,
    greatest(b.last_order_at, v.last_seen_at) as last_seen_at
from buyers as b
full join visitors as v using (customer_id)
