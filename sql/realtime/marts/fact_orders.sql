/* @asset
description: Every order of which the load_date had an event, as far as it is known from 28 days.
owner: team:analytics
grain: [order_id]
storage: partitions
# An order that something happens to later comes again in a later load_date. So over a window it counts once, as known
# last.
versions: latest
lookback: {days: 28, rows: all}
refresh: {minutes: 2}
time_limit: {minutes: 30}
columns:
  order_id: {type: text, description: Identifier of the order.}
  status: {type: text, description: "What happened last: placed, paid, shipped, delivered, cancelled or refunded."}
  placed_at: {type: timestamp with time zone, description: "When it was placed; NULL if that is not known."}
  amount: {type: "numeric(12,2)", description: "Amount as placed; NULL if that is not known."}
  promised_by: {type: timestamp with time zone, description: "By when the delivery was promised; NULL if that is not known."}
  paid_at: {type: timestamp with time zone, description: "When it was first paid; NULL if it was not."}
  shipped_at: {type: timestamp with time zone, description: "When it was first shipped; NULL if it was not."}
  delivered_at: {type: timestamp with time zone, description: "When it was first delivered; NULL if it was not."}
  cancelled_at: {type: timestamp with time zone, description: "When it was first cancelled; NULL if it was not."}
  last_event_at: {type: timestamp with time zone, description: When the last of it happened.}
  last_received_at: {type: timestamp with time zone, description: When the broker took the last event of it.}
  refunded_amount: {type: "numeric(16,2)", description: "Sum of all refunds; 0 if there are none."}
  customer_id: {type: bigint, description: "Customer; NULL if no event told it."}
  channel: {type: text, description: "Where it was placed: web, app or marketplace; NULL if no event told it."}
  currency: {type: text, description: "Currency of the amounts; NULL if no event told it."}
  order_date: {type: date, description: "Day on which it was placed, in UTC; NULL if that is not known."}
checks:
  every_order_is_here:
    description: Every order of which the load_date had an event is here.
    bad_rows: |
      select e.order_id
      from stg.order_events as e
      where
        e.load_date = %(load_date)s
        and e.event_type in ('placed', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded')
        and not exists (select 1 from {this} as t where t.order_id = e.order_id)
      group by e.order_id
  placed_is_known:
    severity: warn
    description: Something happened to an order that nobody placed within 28 days; its amount is unknown.
    bad_rows: select * from {this} where placed_at is null
  refunds_within_amount:
    severity: warn
    description: More was refunded than the order amounted to.
    bad_rows: select * from {this} where refunded_amount > amount
@end */
-- Whoever reads this over a window must see an order as known last, so an order is complete in each load_date that has
-- any event of it. Where it is placed twice, the first time counts, whatever was told later.
with touched as (
    select distinct order_id
    from stg.order_events
    where load_date = %(load_date)s
),

-- The silver table leaves out what comes again within two load_dates. What comes again later is left out here.
events as (
    select distinct on (e.event_id)
        e.event_id,
        e.event_type,
        e.event_at,
        e.received_at,
        e.order_id,
        e.customer_id,
        e.channel,
        e.currency,
        e.amount,
        e.promised_by,
        array_position(
            array['placed', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded'], e.event_type
        ) as step
    from stg.order_events as e
    inner join touched as t on e.order_id = t.order_id
    where
        e.load_date between %(window_start)s and %(load_date)s
        and e.event_type in ('placed', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded')
    order by e.event_id asc, e.load_date asc
),

placings as (
    select distinct on (order_id)
        order_id,
        customer_id,
        channel,
        currency,
        event_at,
        amount,
        promised_by
    from events
    where event_type = 'placed'
    order by order_id asc, event_at asc, event_id asc
),

-- Of two that happened in the same instant, the later step is the last.
latest as (
    select distinct on (order_id)
        order_id,
        event_type
    from events
    order by order_id asc, event_at desc, step desc, event_id desc
),

sums as (
    select
        order_id,
        max(customer_id) as customer_id,
        max(channel) as channel,
        max(currency) as currency,
        min(event_at) filter (where event_type = 'paid') as paid_at,
        min(event_at) filter (where event_type = 'shipped') as shipped_at,
        min(event_at) filter (where event_type = 'delivered') as delivered_at,
        min(event_at) filter (where event_type = 'cancelled') as cancelled_at,
        coalesce(sum(amount) filter (where event_type = 'refunded'), 0) as refunded_amount,
        max(event_at) as last_event_at,
        max(received_at) as last_received_at
    from events
    group by order_id
)

select
    s.order_id,
    l.event_type as status,
    p.event_at as placed_at,
    p.amount,
    p.promised_by,
    s.paid_at,
    s.shipped_at,
    s.delivered_at,
    s.cancelled_at,
    s.last_event_at,
    s.last_received_at,
    s.refunded_amount::numeric(16, 2) as refunded_amount,
    coalesce(p.customer_id, s.customer_id) as customer_id,
    coalesce(p.channel, s.channel) as channel,
    coalesce(p.currency, s.currency) as currency,
    (p.event_at at time zone 'UTC')::date as order_date
from sums as s
inner join latest as l on s.order_id = l.order_id
left join placings as p on s.order_id = p.order_id
