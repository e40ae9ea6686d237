/* @asset
description: How many sessions came how far, by the hour in which they began, of the last 24 hours.
owner: team:analytics
grain: [hour]
lookback: 2
freshness: {within_minutes: 15}
kpi:
  title: From a visit to the checkout
  chart: {x: hour, y: sessions, top: 24}
  measures:
    checkout_share:
      title: Sessions with a checkout
      value: sum(with_checkout) / sum(sessions)
      description: Of the sessions that began in the last 24 hours. A session that is not over may still get there.
      format: percent1
      unit: of sessions
      better: up
    cart_share:
      title: Sessions with a cart
      value: sum(with_cart) / sum(sessions)
      format: percent1
      unit: of sessions
      better: up
    sessions:
      title: Sessions of 24 hours
      value: sum(sessions)
      unit: sessions
      better: up
columns:
  hour: {type: timestamp with time zone, description: Hour in which the sessions began.}
  sessions: {type: bigint, description: Number of sessions.}
  with_cart: {type: bigint, description: Number of these in which something was put into the cart.}
  with_checkout: {type: bigint, description: Number of these in which the checkout was begun.}
  cart_share: {type: "numeric(7,6)", description: "with_cart / sessions, 0 to 1; NULL of an hour without sessions."}
  checkout_share: {type: "numeric(7,6)", description: "with_checkout / sessions, 0 to 1; NULL of an hour without sessions."}
checks:
  # Before the first click there is no newest hour.
  min_rows: {at_least: 0}
  range:
    cart_share: [0, 1]
    checkout_share: [0, 1]
  every_hour_is_here:
    description: There are 24 hours, also those in which nobody came.
    bad_rows: select count(distinct hour) as hours from {this} having count(distinct hour) not in (0, 24)
@end */
-- A session belongs to the hour of its first click, whatever comes later. All 24 hours are in the two load_dates, except
-- for sessions that last longer than an hour and began before them. Clicks that come more than a day late are counted in
-- marts.kpi_trust and nowhere here: a conversion that changes for days is one that nobody can quote.
-- A checkout without a cart counts as a checkout: the event of the cart may be lost or late.
with clock as (
    select date_trunc('hour', max(last_at), 'UTC') as newest
    from marts.fact_sessions
    where load_date = %(load_date)s
),

hours as (
    select generate_series(c.newest - interval '23 hours', c.newest, interval '1 hour') as hour
    from clock as c
),

counts as (
    select
        date_trunc('hour', started_at, 'UTC') as hour,
        count(*) as sessions,
        count(*) filter (where adds_to_cart > 0) as with_cart,
        count(*) filter (where checkouts > 0) as with_checkout
    from marts.fact_sessions
    where load_date between %(window_start)s and %(load_date)s
    group by 1
)

select
    h.hour,
    coalesce(c.sessions, 0) as sessions,
    coalesce(c.with_cart, 0) as with_cart,
    coalesce(c.with_checkout, 0) as with_checkout,
    (c.with_cart::numeric / c.sessions)::numeric(7, 6) as cart_share,
    (c.with_checkout::numeric / c.sessions)::numeric(7, 6) as checkout_share
from hours as h
left join counts as c on h.hour = c.hour
