/* @asset
description: Revenue of the last 30 minutes beside that of the same minutes a week before, by currency.
owner: team:analytics
grain: [currency]
# The same minutes a week before may be those before midnight, eight days ago.
lookback: {days: 9, rows: all}
refresh: {minutes: 2}
freshness: {within_minutes: 10}
kpi:
  title: Revenue against last week
  chart: {x: currency, y: revenue}
  measures:
    orders:
      title: Orders of 30 minutes
      value: sum(orders)
      unit: orders
      better: up
    orders_week_ago:
      title: Orders of these 30 minutes a week ago
      value: sum(orders_week_ago)
      unit: orders
    eur_against_week_ago:
      title: Revenue against a week ago, EUR
      value: sum(revenue) filter (where currency = 'EUR') / sum(revenue_week_ago) filter (where currency = 'EUR')
      description: 100 % is as much as in the same 30 minutes a week before. As placed, before cancellations and refunds.
      format: percent0
      better: up
columns:
  currency: {type: text, description: "Currency of the amounts, or unknown."}
  orders: {type: bigint, description: Orders that were placed in the 30 minutes up to the newest event.}
  revenue: {type: "numeric(20,2)", description: "Sum of their amounts as placed; 0 if there are none."}
  orders_week_ago: {type: bigint, description: Orders that were placed in the same 30 minutes a week before.}
  revenue_week_ago: {type: "numeric(20,2)", description: "Sum of their amounts as placed; 0 if there are none."}
checks:
  min_rows: {at_least: 0}
  revenue_fell:
    severity: alert
    for: 10 minutes
    description: Revenue is below half of that a week ago. Where few orders came then, chance alone may halve it.
    bad_rows: select * from {this} where orders_week_ago >= 50 and revenue < revenue_week_ago / 2
@end */
-- The minute of the newest event is not over, so it counts in neither of the two.
-- Materialized, or else Postgres may compute it again for every row: how many rows a window has, it does not know.
with clock as materialized (
    select date_trunc('minute', max(last_received_at), 'UTC') as newest
    from stg.clicks_by_minute
    where load_date = %(load_date)s
)

select
    o.currency,
    coalesce(sum(o.orders) filter (where o.minute >= c.newest - interval '30 minutes'), 0)::bigint as orders,
    coalesce(sum(o.gross_revenue) filter (where o.minute >= c.newest - interval '30 minutes'), 0)::numeric(20, 2)
        as revenue,
    coalesce(sum(o.orders) filter (where o.minute < c.newest - interval '7 days'), 0)::bigint as orders_week_ago,
    coalesce(sum(o.gross_revenue) filter (where o.minute < c.newest - interval '7 days'), 0)::numeric(20, 2)
        as revenue_week_ago
from stg.orders_by_minute as o
cross join clock as c
where
    o.load_date between %(window_start)s and %(load_date)s
    and (
        (o.minute >= c.newest - interval '30 minutes' and o.minute < c.newest)
        or (
            o.minute >= c.newest - interval '7 days 30 minutes'
            and o.minute < c.newest - interval '7 days'
        )
    )
group by o.currency
