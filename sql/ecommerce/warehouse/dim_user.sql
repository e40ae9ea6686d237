/* @asset
description: Every user who ever ordered or was seen in an event, with the user's history up to the load_date.
owner: team:shop
grain: [user_id]
time_limit: {minutes: 30}
columns:
  user_id: {type: bigint, description: Identifier of the user.}
  first_seen: {type: timestamp with time zone, description: Time of the user's first order or event.}
  last_seen: {type: timestamp with time zone, description: Time of the user's last order or event.}
  orders: {type: bigint, description: "Number of orders that were delivered, whatever their status."}
  paid_orders: {type: bigint, description: Number of orders that were delivered as paid.}
  paid_revenue: {type: "numeric(30,2)", description: Revenue of the orders that were delivered as paid.}
  first_paid_order_ts: {type: timestamp with time zone, description: Time of the first paid order; NULL if there is none.}
  last_paid_order_ts: {type: timestamp with time zone, description: Time of the last paid order; NULL if there is none.}
  events: {type: bigint, description: Number of events.}
checks:
  # No user is ever lost: each load_date has at least those of the one before.
  min_rows: {of_previous: 1.0}
  # No source lists the users. So a user exists who has ordered or was seen.
  paid_orders_are_orders:
    description: Nobody has more paid orders than orders.
    bad_rows: select * from {this} where paid_orders > orders
@end */
-- The table carries on: the users of the load_date before, and this load_date's orders and events.
-- An order that comes again on a later load_date, with another status, counts on both: the table knows sums, not orders.
with seen as (
    select
        user_id,
        first_seen,
        last_seen,
        orders,
        paid_orders,
        paid_revenue,
        first_paid_order_ts,
        last_paid_order_ts,
        events
    from warehouse.dim_user
    where load_date = %(previous_load_date)s

    union all

    select
        user_id,
        order_ts as first_seen,
        order_ts as last_seen,
        1 as orders,
        (status = 'paid')::integer as paid_orders,
        case when status = 'paid' then revenue else 0 end as paid_revenue,
        case when status = 'paid' then order_ts end as first_paid_order_ts,
        case when status = 'paid' then order_ts end as last_paid_order_ts,
        0 as events
    from staging.orders_clean
    where load_date = %(load_date)s

    union all

    select
        user_id,
        event_ts as first_seen,
        event_ts as last_seen,
        0 as orders,
        0 as paid_orders,
        0 as paid_revenue,
        null as first_paid_order_ts,
        null as last_paid_order_ts,
        1 as events
    from staging.events_clean
    where load_date = %(load_date)s
)

select
    user_id,
    min(first_seen) as first_seen,
    max(last_seen) as last_seen,
    sum(orders)::bigint as orders,
    sum(paid_orders)::bigint as paid_orders,
    sum(paid_revenue)::numeric(30, 2) as paid_revenue,
    min(first_paid_order_ts) as first_paid_order_ts,
    max(last_paid_order_ts) as last_paid_order_ts,
    sum(events)::bigint as events
from seen
-- Somebody may accept an order of nobody: it is an order, and no user.
where user_id is not null
group by user_id
