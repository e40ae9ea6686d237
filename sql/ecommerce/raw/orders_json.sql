/* @asset
description: Orders as they were received, one row per record. An order may be there several times.
owner: team:shop
grain: [record_no]
storage: partitions
source:
  object: orders/{load_date}/orders.json
  format: json
  position: record_no
  whole: raw_data
subject: {user: user_id}
# A record whose values have other types than these. A record that is no JSON is another matter: nobody knows where it
# ends, so it holds the load_date.
quarantine: {share: 0.001}
time_limit: {minutes: 30}
columns:
  order_id: {type: bigint, description: Identifier of the order.}
  user_id: {type: bigint, description: Identifier of the user who placed the order., pii: id}
  product_id: {type: bigint, description: Identifier of the product that was ordered.}
  quantity: {type: integer, description: Number of pieces.}
  price: {type: "numeric(12,2)", description: Price of one piece when it was ordered.}
  timestamp: {type: timestamp with time zone, description: When the order was placed.}
  status: {type: text, description: "paid, cancelled, refunded or pending, as far as it was known when the order was delivered."}
checks:
  # An order without an id cannot be told from others, so no decision could name it.
  not_null: [order_id]
  min_rows: {at_least: 100}
  at_most_500000:
    description: A day has at most 500,000 orders; more are a delivery of several days, or a loop at the source.
    bad_rows: select count(*) as orders from {this} having count(*) > 500000
@end */
