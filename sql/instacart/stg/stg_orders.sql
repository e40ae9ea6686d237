/* @asset
description: Orders, typed.
owner: team:analytics
grain: [order_id]
storage: partitions
columns:
  order_id: {type: integer, description: Order.}
  user_id: {type: integer, description: User who ordered.}
  eval_set: {type: text, description: "prior: its lines are delivered; train or test: its lines are not."}
  order_number: {type: smallint, description: "The how-manieth order of the user, from 1."}
  order_dow: {type: smallint, description: "Day of the week of the order, 0 to 6."}
  order_hour_of_day: {type: smallint, description: "Hour of the day of the order, 0 to 23."}
  days_since_prior_order:
    {type: smallint, description: "Days since the user's order before, capped at 30; NULL on a user's first order."}
checks:
  reconcile: {source: raw.orders}
@end */
select
    order_id,
    user_id,
    eval_set,
    order_number,
    order_dow,
    order_hour_of_day,
    -- Arrives as 15.0; the gate of raw.orders proves that the fraction is always 0.
    days_since_prior_order::smallint as days_since_prior_order
from raw.orders
where load_date = %(load_date)s
