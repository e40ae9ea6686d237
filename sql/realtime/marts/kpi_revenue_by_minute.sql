/* @asset
description: Orders and gross revenue by minute and currency, of the 24 hours up to the newest event.
owner: team:analytics
grain: [minute, currency]
lookback: {days: 2, rows: all}
freshness: {within_minutes: 3}
kpi:
  title: Revenue by minute
  chart: {x: minute, y: gross_revenue, top: 40}
  measures:
    orders_last_hour:
      title: Orders of the last hour
      value: sum(orders) filter (where minutes_ago < 60)
      unit: orders
      better: up
      compare: 7
    eur_last_hour:
      title: Revenue of the last hour, EUR
      value: sum(gross_revenue) filter (where minutes_ago < 60 and currency = 'EUR')
      description: As placed, before cancellations and refunds. Other currencies are not added to it.
      format: EUR2
      better: up
    orders:
      title: Orders of 24 hours
      value: sum(orders)
      unit: orders
      better: up
    eur:
      title: Revenue of 24 hours, EUR
      value: sum(gross_revenue) filter (where currency = 'EUR')
      description: As placed, before cancellations and refunds. Other currencies are not added to it.
      format: EUR2
      better: up
  dimensions: [currency]
columns:
  minute: {type: timestamp with time zone, description: Minute in which the orders were placed. A minute without orders has no row.}
  currency: {type: text, description: "Currency of the amounts, or unknown."}
  orders: {type: bigint, description: Number of orders.}
  gross_revenue: {type: "numeric(20,2)", description: "Sum of their amounts as placed, before cancellations and refunds."}
  minutes_ago: {type: integer, description: Minutes between this minute and that of the newest event.}
checks:
  # In the first minutes of a shop nobody may have ordered yet.
  min_rows: {at_least: 0}
  range:
    minutes_ago: [0, 1439]
@end */
-- "Now" is when the broker took the newest click or order, and not the clock of whoever builds this: so a replay gives
-- the same rows, and hours without any order are seen as such, as long as visitors come. If nothing comes at all, the
-- table is late, which `freshness` tells.
with placed as (
    select
        minute,
        currency,
        sum(orders)::bigint as orders,
        sum(gross_revenue)::numeric(20, 2) as gross_revenue
    from stg.orders_by_minute
    where load_date between %(window_start)s and %(load_date)s
    group by minute, currency
),

-- Materialized, or else Postgres may compute it again for every row: how many rows a window has, it does not know.
clock as materialized (
    select
        greatest(
            (select max(minute) from placed),
            (
                select date_trunc('minute', max(last_received_at), 'UTC')
                from stg.clicks_by_minute
                where load_date = %(load_date)s
            )
        ) as newest
)

select
    p.minute,
    p.currency,
    p.orders,
    p.gross_revenue,
    (extract(epoch from c.newest - p.minute) / 60)::integer as minutes_ago
from placed as p
cross join clock as c
where p.minute > c.newest - interval '24 hours'
