/* @asset
description: How many users came how far on a day, from a view to a purchase.
owner: team:shop
grain: [event_date]
kpi:
  title: From a view to a purchase
  chart: {x: event_date, y: purchased_users}
  # Events of an earlier day that come late have a row of that day. The numbers are of the load_date alone.
  measures:
    conversion:
      title: Conversion
      value: >-
        sum(purchased_users) filter (where event_date = load_date)
        / sum(viewed_users) filter (where event_date = load_date)
      description: Of the users who viewed something on the day, the share who came through every step to a purchase.
      format: percent1
      unit: of viewers
      better: up
      alert: {change: {more_than: 0.5}, for: 2 load_dates}
    viewers:
      title: Users who viewed
      value: sum(viewed_users) filter (where event_date = load_date)
      unit: users
      better: up
    buyers:
      title: Users who bought
      value: sum(purchased_users) filter (where event_date = load_date)
      description: Users with all four steps on the day. One who bought without a view is in no step.
      unit: users
      better: up
    cart_rate:
      title: To the cart
      value: >-
        sum(carted_users) filter (where event_date = load_date)
        / sum(viewed_users) filter (where event_date = load_date)
      format: percent1
      unit: of viewers
      better: up
    purchase_rate:
      title: From checkout to purchase
      value: >-
        sum(purchased_users) filter (where event_date = load_date)
        / sum(checked_out_users) filter (where event_date = load_date)
      format: percent1
      unit: of checkouts
      better: up
time_limit: {minutes: 30}
columns:
  event_date: {type: date, description: "Day of the events, in UTC."}
  viewed_users: {type: bigint, description: Users with a page_view or a view_product.}
  carted_users: {type: bigint, description: Of these the users with an add_to_cart.}
  checked_out_users: {type: bigint, description: Of these the users with a checkout.}
  purchased_users: {type: bigint, description: Of these the users with a purchase.}
  cart_rate: {type: "numeric(7,6)", description: "carted_users / viewed_users, 0 to 1; NULL if nobody viewed."}
  checkout_rate: {type: "numeric(7,6)", description: "checked_out_users / carted_users, 0 to 1; NULL if nobody carted."}
  purchase_rate: {type: "numeric(7,6)", description: "purchased_users / checked_out_users, 0 to 1; NULL if nobody checked out."}
  conversion_rate: {type: "numeric(7,6)", description: "purchased_users / viewed_users, 0 to 1; NULL if nobody viewed."}
checks:
  range:
    cart_rate: [0, 1]
    checkout_rate: [0, 1]
    purchase_rate: [0, 1]
    conversion_rate: [0, 1]
@end */
-- Each step counts users of the step before, so no rate is above 1: a user who bought without a view (in an app that is
-- not measured, say) is in no step. The day decides, not the sequence within it, because the clocks of clients differ.
with users as (
    select
        event_date,
        user_id,
        bool_or(event_type in ('page_view', 'view_product')) as has_viewed,
        bool_or(event_type = 'add_to_cart') as has_carted,
        bool_or(event_type = 'checkout') as has_checked_out,
        bool_or(event_type = 'purchase') as has_purchased
    from warehouse.fact_events
    where load_date = %(load_date)s and user_id is not null
    group by event_date, user_id
),

steps as (
    select
        event_date,
        count(*) filter (where has_viewed) as viewed_users,
        count(*) filter (where has_viewed and has_carted) as carted_users,
        count(*) filter (where has_viewed and has_carted and has_checked_out) as checked_out_users,
        count(*) filter (where has_viewed and has_carted and has_checked_out and has_purchased) as purchased_users
    from users
    group by event_date
)

select
    event_date,
    viewed_users,
    carted_users,
    checked_out_users,
    purchased_users,
    (carted_users::numeric / nullif(viewed_users, 0))::numeric(7, 6) as cart_rate,
    (checked_out_users::numeric / nullif(carted_users, 0))::numeric(7, 6) as checkout_rate,
    (purchased_users::numeric / nullif(checked_out_users, 0))::numeric(7, 6) as purchase_rate,
    (purchased_users::numeric / nullif(viewed_users, 0))::numeric(7, 6) as conversion_rate
from steps
