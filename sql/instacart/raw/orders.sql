/* @asset
description: Orders as delivered, the whole history of every user up to the load_date.
owner: team:analytics
grain: [order_id]
storage: partitions
source:
  object: raw/orders/load_date={load_date}/orders.csv
  format: csv
columns:
  order_id: {type: integer, description: Order.}
  user_id: {type: integer, description: User who ordered.}
  eval_set: {type: text, description: "prior: its lines are delivered; train or test: its lines are not."}
  order_number: {type: smallint, description: "The how-manieth order of the user, from 1."}
  order_dow: {type: smallint, description: "Day of the week of the order, 0 to 6; which day 0 is, the source does not say."}
  order_hour_of_day: {type: smallint, description: "Hour of the day of the order, 0 to 23."}
  days_since_prior_order:
    {type: "numeric(4,1)", description: "Days since the user's order before, capped at 30; NULL on a user's first order."}
checks:
  # Each load_date delivers all there is: one that has lost half of it is no quiet day.
  min_rows: {of_previous: 0.5}
  not_null: [user_id, eval_set, order_number, order_dow, order_hour_of_day]
  accepted_values:
    eval_set: [prior, train, test]
  range:
    order_number: [1, null]
    order_dow: [0, 6]
    order_hour_of_day: [0, 23]
    days_since_prior_order: [0, 30]
  unique:
    order_number_of_user: [user_id, order_number]
  days_are_whole:
    description: days_since_prior_order counts whole days, so that staging may store it as an integer.
    bad_rows: select * from {this} where days_since_prior_order <> trunc(days_since_prior_order)
@end */
