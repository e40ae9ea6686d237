/* @asset
description: What happened to orders as the stream delivered it, one row per event. An event may be there several times.
owner: team:shop
grain: [stream_partition, stream_position]
storage: partitions
source: {stream: order_events, object: "raw/order_events/load_date={load_date}/", format: ndjson}
quarantine: {share: 0.01}
columns:
  event_id: {type: text, description: "Identity of the event, given by its producer; it rises with time."}
  event_type: {type: text, description: "What happened: placed, paid, shipped, delivered, cancelled or refunded."}
  occurred_at: {type: timestamp with time zone, description: "When it happened, by the clock of the producer."}
  order_id: {type: text, description: Identifier of the order.}
  customer_id: {type: bigint, description: "Customer who placed the order, with the number that clicks call user_id.", pii: id}
  channel: {type: text, description: "Where it was placed: web, app or marketplace."}
  currency: {type: text, description: Currency of all amounts of the order.}
  amount: {type: "numeric(12,2)", description: "Of placed, the amount of the order; of paid and refunded, that of the payment. NULL of the others."}
  promised_by: {type: timestamp with time zone, description: "Of placed, the time by which the delivery is promised. NULL of the others."}
checks:
  not_null: [event_id, event_type, occurred_at, order_id]
@end */
