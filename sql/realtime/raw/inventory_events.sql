/* @asset
description: What happened to the stock as the stream delivered it, one row per event. An event may be there several times.
owner: team:logistics
grain: [stream_partition, stream_position]
storage: partitions
source: {stream: inventory_events, object: "raw/inventory_events/load_date={load_date}/", format: ndjson}
quarantine: {share: 0.01}
columns:
  event_id: {type: text, description: "Identity of the event, given by its producer; it rises with time."}
  event_type: {type: text, description: "What happened: counted, received, sold or adjusted."}
  occurred_at: {type: timestamp with time zone, description: "When it happened, by the clock of the producer."}
  sku: {type: text, description: Product.}
  warehouse_id: {type: text, description: Warehouse.}
  quantity: {type: bigint, description: "Number of pieces. Of counted, those that are there; of adjusted, those that are more, or below 0 fewer."}
checks:
  not_null: [event_id, event_type, occurred_at, sku, warehouse_id, quantity]
@end */
