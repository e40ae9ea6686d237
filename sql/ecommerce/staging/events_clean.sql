/* @asset
description: Events of shoppers, each once, without those that wait for a decision.
owner: team:shop
grain: [event_id]
storage: partitions
quarantine:
  rows: 500
  share: 0.01
  rules:
    not_null: [user_id, event_type, event_ts]
    accepted_values:
      event_type: [page_view, view_product, add_to_cart, checkout, purchase]
    # A page_view and a checkout have no product: NULL breaks no rule.
    foreign_key:
      product_id: warehouse.dim_product.product_id
    not_in_the_future:
      bad_rows: select * from {this} where event_ts >= (load_date + 1)::timestamp at time zone 'UTC'
time_limit: {minutes: 30}
columns:
  event_id: {type: bigint, description: Identifier of the event.}
  user_id: {type: bigint, description: Identifier of the user.}
  product_id: {type: bigint, description: "Identifier of the product; NULL for events without one, such as page_view."}
  event_type: {type: text, description: "page_view, view_product, add_to_cart, checkout or purchase."}
  event_ts: {type: timestamp with time zone, description: When it happened.}
checks:
  reconcile:
    source: raw.events_csv
    dropped:
      duplicate: |
        exists (
          select 1
          from raw.events_csv as later
          where
            later.load_date = %(load_date)s
            and later.event_id = events_csv.event_id
            and later.record_no > events_csv.record_no
        )
  conflicting_duplicates:
    severity: warn
    description: Two records of one event differ; the later one counts.
    bad_rows: |
      select
        t.event_id,
        a.record_no,
        b.record_no as later_record_no
      from {this} as t
      inner join raw.events_csv as a using (load_date, event_id)
      inner join raw.events_csv as b using (load_date, event_id)
      where
        a.record_no < b.record_no
        and (a.user_id, a.product_id, a.event_type, a.event_ts)
        is distinct from (b.user_id, b.product_id, b.event_type, b.event_ts)
@end */
-- Of an event that is there twice, the last record counts.
select distinct on (event_id)
    event_id,
    user_id,
    product_id,
    event_type,
    event_ts
from raw.events_csv
where load_date = %(load_date)s
order by event_id asc, record_no desc
