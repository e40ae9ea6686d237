/* @asset
description: Each event of an order once.
owner: team:shop
grain: [event_id]
storage: partitions
repeats: {keep: first, load_dates: 2}
indexes: {by_order: [order_id]}
columns:
  event_id: {type: text, description: Identity of the event.}
  event_type: {type: text, description: "What happened: placed, paid, shipped, delivered, cancelled or refunded."}
  occurred_at: {type: timestamp with time zone, description: "When it happened, by the clock of the producer."}
  received_at: {type: timestamp with time zone, description: "When the broker took it, by the clock of the broker."}
  order_id: {type: text, description: Identifier of the order.}
  customer_id: {type: bigint, description: Customer who placed the order.}
  channel: {type: text, description: "Where it was placed: web, app or marketplace."}
  currency: {type: text, description: Currency of all amounts of the order.}
  amount: {type: "numeric(12,2)", description: "Of placed, the amount of the order; of paid and refunded, that of the payment. NULL of the others."}
  promised_by: {type: timestamp with time zone, description: "Of placed, the time by which the delivery is promised. NULL of the others."}
  stream_partition: {type: integer, description: Partition of the stream.}
  stream_position: {type: numeric, description: Position in the partition.}
  event_at: {type: timestamp with time zone, description: "When it happened: occurred_at, but not later than received_at."}
checks:
  reconcile: {source: raw.order_events}
  # As for clicks: what nobody has announced is counted by no KPI, and keeps nothing else from readers.
  accepted_values:
    event_type: [placed, paid, shipped, delivered, cancelled, refunded]
    channel: [web, app, marketplace]
    severity: warn
  range: {amount: [0, null], severity: warn}
  not_from_the_future:
    severity: warn
    description: An event happened more than 5 minutes after it was received, so the clock of its producer is wrong.
    bad_rows: select * from {this} where occurred_at > received_at + interval '5 minutes'
  placed_is_complete:
    severity: warn
    description: An order was placed and nobody knows its amount, its currency, its customer, or what was promised.
    bad_rows: |
      select * from {this}
      where event_type = 'placed' and num_nulls(customer_id, channel, currency, amount, promised_by) > 0
@end */
-- What was received has happened, so of a clock that is ahead the time of the broker counts. A clock that is behind
-- cannot be told from an event that comes late.
select
    event_id,
    event_type,
    occurred_at,
    received_at,
    order_id,
    customer_id,
    channel,
    currency,
    amount,
    promised_by,
    stream_partition,
    stream_position,
    least(occurred_at, received_at) as event_at
from raw.order_events
where load_date = %(load_date)s and batch = %(batch)s
