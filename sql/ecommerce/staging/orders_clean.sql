/* @asset
description: Orders with their revenue, each once, without those that wait for a decision.
owner: team:shop
grain: [order_id]
storage: partitions
# One order in a hundred at most, and never more than 500: beyond that it is no longer a few bad orders, but a bad
# delivery, such as a missing list of products, and a person looks at it first.
quarantine:
  rows: 500
  share: 0.01
  rules:
    not_null: [user_id, product_id, quantity, unit_price, order_ts, status]
    accepted_values:
      status: [paid, cancelled, refunded, pending]
    # An order of an unknown product is set aside instead of counted as "unknown": the revenue of its category would be
    # wrong in silence, and next Monday's list does not change what was known on this day.
    foreign_key:
      product_id: warehouse.dim_product.product_id
    revenue_is_positive:
      bad_rows: select * from {this} where revenue <= 0
    # A correction of a price or a quantity must correct the revenue too.
    revenue_is_quantity_times_price:
      bad_rows: select * from {this} where revenue <> quantity * unit_price
    # The future begins with the load_date's end, not now: otherwise a replay would set other rows aside.
    not_in_the_future:
      bad_rows: select * from {this} where order_ts >= (load_date + 1)::timestamp at time zone 'UTC'
time_limit: {minutes: 30}
columns:
  order_id: {type: bigint, description: Identifier of the order.}
  user_id: {type: bigint, description: Identifier of the user who placed the order.}
  product_id: {type: bigint, description: Identifier of the product that was ordered.}
  quantity: {type: integer, description: Number of pieces.}
  unit_price: {type: "numeric(12,2)", description: Price of one piece when it was ordered.}
  order_ts: {type: timestamp with time zone, description: When the order was placed.}
  status: {type: text, description: "paid, cancelled, refunded or pending, as far as it was known when the order was delivered."}
  revenue: {type: "numeric(22,2)", description: "quantity * unit_price: the amount as ordered, whatever became of the order."}
checks:
  reconcile:
    source: raw.orders_json
    dropped:
      duplicate: |
        exists (
          select 1
          from raw.orders_json as later
          where
            later.load_date = %(load_date)s
            and later.order_id = orders_json.order_id
            and later.record_no > orders_json.record_no
        )
  conflicting_duplicates:
    severity: warn
    description: Two records of one order differ; the later one counts.
    bad_rows: |
      select
        t.order_id,
        a.record_no,
        b.record_no as later_record_no
      from {this} as t
      inner join raw.orders_json as a using (load_date, order_id)
      inner join raw.orders_json as b using (load_date, order_id)
      where
        a.record_no < b.record_no
        and (a.user_id, a.product_id, a.quantity, a.price, a.timestamp, a.status)
        is distinct from (b.user_id, b.product_id, b.quantity, b.price, b.timestamp, b.status)
  late_orders:
    severity: warn
    description: An order was placed more than 7 days before its load_date. It counts, on the day on which it was placed.
    bad_rows: select * from {this} where order_ts < (load_date - 7)::timestamp at time zone 'UTC'
@end */
-- Of an order that is there twice, the last record counts: the object is a log, and its end is the latest word.
-- The price is that of the order, not the current one of the product.
select distinct on (order_id)
    order_id,
    user_id,
    product_id,
    quantity,
    price as unit_price,
    timestamp as order_ts,
    status,
    (quantity * price)::numeric(22, 2) as revenue
from raw.orders_json
where load_date = %(load_date)s
order by order_id asc, record_no desc
