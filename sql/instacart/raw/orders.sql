/* @asset
description: Orders as delivered. Each load_date has the whole history of every user.
owner: team:analytics
grain: [order_id]
storage: partitions
source:
  object: raw/orders/load_date={load_date}/orders.csv
  format: csv
columns:
  order_id: {type: integer, description: Identifier of the order.}
  # Instacart has numbered the users anew for this export, and nobody who reads it can tell who they are. So the number is
  # about no person. In the export of a shop that knows its users it would be: pii: id.
  user_id: {type: integer, description: Identifier of the user who placed the order., pii: none}
  eval_set: {type: text, description: "prior: the lines of the order are delivered; train or test: they are not."}
  order_number: {type: smallint, description: "Sequence number of the order within the user's history, starting at 1."}
  order_dow:
    {type: smallint, description: "Day of the week of the order, 0 to 6. The source does not say which day is 0."}
  order_hour_of_day: {type: smallint, description: "Hour of the day of the order, 0 to 23."}
  days_since_prior_order:
    {type: "numeric(4,1)", description: "Days since the user's previous order, at most 30; NULL for the first order of a user."}
checks:
  # Each load_date delivers all rows, so one with less than half of the previous number must have lost some.
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
