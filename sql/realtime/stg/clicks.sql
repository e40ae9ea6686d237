/* @asset
description: Each click once.
owner: team:web
grain: [event_id]
storage: partitions
repeats: {keep: first, load_dates: 2}
columns:
  event_id: {type: text, description: Identity of the event.}
  event_type: {type: text, description: "What the visitor did: page_view, add_to_cart or checkout."}
  occurred_at: {type: timestamp with time zone, description: "When it happened, by the clock of the producer."}
  received_at: {type: timestamp with time zone, description: "When the broker took it, by the clock of the broker."}
  session_id: {type: text, description: Session of the visitor.}
  user_id: {type: bigint, description: "Customer who is logged in; NULL of a visitor who is not."}
  product_id: {type: integer, description: "Product that the click is about; NULL if it is about none."}
  stream_partition: {type: integer, description: Partition of the stream.}
  stream_position: {type: numeric, description: Position in the partition.}
  event_at: {type: timestamp with time zone, description: "When it happened: occurred_at, but not later than received_at."}
checks:
  reconcile: {source: raw.clicks}
  # A type that nobody has announced is no reason to keep all other events from readers. No KPI counts it.
  accepted_values: {event_type: [page_view, add_to_cart, checkout], severity: warn}
  not_from_the_future:
    severity: warn
    description: An event happened more than 5 minutes after it was received, so the clock of its producer is wrong.
    bad_rows: select * from {this} where occurred_at > received_at + interval '5 minutes'
@end */
-- What was received has happened, so of a clock that is ahead the time of the broker counts. A clock that is behind
-- cannot be told from an event that comes late.
select
    event_id,
    event_type,
    occurred_at,
    received_at,
    session_id,
    user_id,
    product_id,
    stream_partition,
    stream_position,
    least(occurred_at, received_at) as event_at
from raw.clicks
where load_date = %(load_date)s and batch = %(batch)s
