/* @asset
description: Orders with their final types.
owner: team:analytics
grain: [order_id]
storage: partitions
columns:
  order_id: {type: integer, description: Identifier of the order.}
  user_id: {type: integer, description: Identifier of the user who placed the order.}
  eval_set: {type: text, description: "prior: the lines of the order are delivered; train or test: they are not."}
  order_number: {type: smallint, description: "Sequence number of the order within the user's history, starting at 1."}
  order_dow: {type: smallint, description: "Day of the week of the order, 0 to 6."}
  order_hour_of_day: {type: smallint, description: "Hour of the day of the order, 0 to 23."}
  days_since_prior_order:
    {type: smallint, description: "Days since the user's previous order, at most 30; NULL for the first order of a user."}
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
    -- It is delivered as 15.0; a check of raw.orders proves that the fraction is always 0.
    days_since_prior_order::smallint as days_since_prior_order
from raw.orders
where load_date = %(load_date)s
