/* @asset
description: Each event of the stock once.
owner: team:logistics
grain: [event_id]
storage: partitions
repeats: {keep: first, load_dates: 2}
columns:
  event_id: {type: text, description: Identity of the event.}
  event_type: {type: text, description: "What happened: counted, received, sold or adjusted."}
  occurred_at: {type: timestamp with time zone, description: "When it happened, by the clock of the producer."}
  received_at: {type: timestamp with time zone, description: "When the broker took it, by the clock of the broker."}
  sku: {type: text, description: Product.}
  warehouse_id: {type: text, description: Warehouse.}
  quantity: {type: bigint, description: "Number of pieces. Of counted, those that are there; of adjusted, those that are more, or below 0 fewer."}
  stream_partition: {type: integer, description: Partition of the stream.}
  stream_position: {type: numeric, description: Position in the partition.}
  event_at: {type: timestamp with time zone, description: "When it happened: occurred_at, but not later than received_at."}
checks:
  reconcile: {source: raw.inventory_events}
  accepted_values: {event_type: [counted, received, sold, adjusted], severity: warn}
  not_from_the_future:
    severity: warn
    description: An event happened more than 5 minutes after it was received, so the clock of its producer is wrong.
    bad_rows: select * from {this} where occurred_at > received_at + interval '5 minutes'
  pieces_are_not_negative:
    severity: warn
    description: Fewer than no pieces were counted, received or sold.
    bad_rows: select * from {this} where quantity < 0 and event_type <> 'adjusted'
@end */
-- What was received has happened, so of a clock that is ahead the time of the broker counts. A clock that is behind
-- cannot be told from an event that comes late.
select
    event_id,
    event_type,
    occurred_at,
    received_at,
    sku,
    warehouse_id,
    quantity,
    stream_partition,
    stream_position,
    least(occurred_at, received_at) as event_at
from raw.inventory_events
where load_date = %(load_date)s and batch = %(batch)s
