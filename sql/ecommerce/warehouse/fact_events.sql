/* @asset
description: One row per event of a shopper.
owner: team:shop
grain: [event_id]
storage: partitions
time_limit: {minutes: 30}
columns:
  event_id: {type: bigint, description: Identifier of the event.}
  user_id: {type: bigint, description: Identifier of the user.}
  product_id: {type: bigint, description: "Identifier of the product; NULL for events without one, such as page_view."}
  event_type: {type: text, description: "page_view, view_product, add_to_cart, checkout or purchase."}
  event_ts: {type: timestamp with time zone, description: When it happened.}
  event_date: {type: date, description: "Day on which it happened, in UTC."}
checks:
  reconcile: {source: staging.events_clean}
  foreign_key:
    user_id: warehouse.dim_user.user_id
@end */
select
    event_id,
    user_id,
    product_id,
    event_type,
    event_ts,
    (event_ts at time zone 'UTC')::date as event_date
from staging.events_clean
where load_date = %(load_date)s
