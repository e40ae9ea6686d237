/* @asset
description: How many orders were delivered as promised, by the day of the promise and by channel, of the last 14 days.
owner: team:logistics
grain: [promised_date, channel]
# An order may be promised up to 14 days ahead, so those of the last 14 days were placed within 28.
lookback: 28
freshness: {within_minutes: 15}
kpi:
  title: Delivered as promised
  chart: {x: promised_date, y: on_time}
  measures:
    on_time_share:
      title: Delivered on time
      value: sum(on_time) / sum(due)
      description: >-
        Of the orders whose promise is over, 14 days. What is still on its way after its promise is late. Cancelled
        orders do not count.
      format: percent1
      unit: of orders due
      better: up
      target: {at_least: 0.9}
    late_open:
      title: Late and still on the way
      value: sum(late_open)
      unit: orders
      better: down
    due: {title: Orders due, value: sum(due), unit: orders}
columns:
  promised_date: {type: date, description: "Day of the promise, in UTC."}
  channel: {type: text, description: "Where the orders were placed, or unknown."}
  due: {type: bigint, description: Orders whose promise is over and that were not cancelled.}
  on_time: {type: bigint, description: Number of these that were delivered by the time of the promise.}
  late_open: {type: bigint, description: Number of these that are not delivered.}
  on_time_share: {type: "numeric(7,6)", description: "on_time / due, 0 to 1."}
checks:
  # On the first days no promise may be over.
  min_rows: {at_least: 0}
  range:
    on_time_share: [0, 1]
  deliveries_late:
    severity: alert
    for: 10 minutes
    description: Fewer than nine of ten orders of 14 days were delivered on time, of at least 50.
    bad_rows: |
      select sum(due) as due, sum(on_time) as on_time
      from {this}
      having sum(due) >= 50 and sum(on_time) < 0.9 * sum(due)
@end */
-- An order is judged when its promise is over, and not before, also if it was delivered early: else the share of a day
-- would begin with those that were quick. "Now" is when the broker took the newest event of an order.
-- Materialized, or else Postgres may compute it again for every row: how many rows a window has, it does not know.
with clock as materialized (
    select max(last_received_at) as newest
    from marts.fact_orders
    where load_date = %(load_date)s
)

select
    (o.promised_by at time zone 'UTC')::date as promised_date,
    coalesce(o.channel, 'unknown') as channel,
    count(*) as due,
    count(*) filter (where o.delivered_at <= o.promised_by) as on_time,
    count(*) filter (where o.delivered_at is null) as late_open,
    (count(*) filter (where o.delivered_at <= o.promised_by)::numeric / count(*))::numeric(7, 6) as on_time_share
from marts.fact_orders as o
cross join clock as c
where
    o.load_date between %(window_start)s and %(load_date)s
    and o.promised_by <= c.newest
    and (o.promised_by at time zone 'UTC')::date > %(load_date)s::date - 14
    and o.cancelled_at is null
group by 1, 2
