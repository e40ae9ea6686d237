/* @asset
description: Orders that were placed, by minute, channel and currency, of one batch.
owner: team:analytics
grain: [batch, minute, channel, currency]
storage: partitions
columns:
  minute: {type: timestamp with time zone, description: Minute in which they were placed.}
  channel: {type: text, description: "Where they were placed, or unknown."}
  currency: {type: text, description: "Currency of the amounts, or unknown."}
  orders: {type: bigint, description: Number of orders.}
  gross_revenue: {type: "numeric(16,2)", description: "Sum of their amounts; an order without a known amount adds nothing."}
@end */
-- A tile that is seconds old cannot count the events of a whole day each time, so each batch is counted once. An order
-- that its producer tells twice, as two events, counts twice here; marts.fact_orders knows better some minutes later.
select
    date_trunc('minute', event_at, 'UTC') as minute,
    coalesce(channel, 'unknown') as channel,
    coalesce(currency, 'unknown') as currency,
    count(*) as orders,
    coalesce(sum(amount), 0)::numeric(16, 2) as gross_revenue
from stg.order_events
where load_date = %(load_date)s and batch = %(batch)s and event_type = 'placed'
group by 1, 2, 3
