/* @asset
description: Events of shoppers as they were received, one row per record. An event may be there several times.
owner: team:shop
grain: [record_no]
storage: partitions
source:
  object: events/{load_date}/events.csv
  format: csv
  position: record_no
subject: {user: user_id}
quarantine: {share: 0.001}
time_limit: {minutes: 30}
columns:
  event_id: {type: bigint, description: Identifier of the event.}
  user_id: {type: bigint, description: Identifier of the user., pii: id}
  product_id: {type: bigint, description: "Identifier of the product; NULL for events without one, such as page_view."}
  event_type: {type: text, description: "page_view, view_product, add_to_cart, checkout or purchase."}
  event_ts: {type: timestamp with time zone, description: When it happened.}
checks:
  # An event without an id cannot be told from others, so no decision could name it.
  not_null: [event_id]
  min_rows: {at_least: 500}
  at_most_2000000:
    description: A day has at most 2,000,000 events; more are a delivery of several days, or a loop at the source.
    bad_rows: select count(*) as events from {this} having count(*) > 2000000
@end */
