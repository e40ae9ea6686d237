/* @asset
description: Clicks of visitors as the stream delivered them, one row per event. An event may be there several times.
owner: team:web
grain: [stream_partition, stream_position]
storage: partitions
source: {stream: clicks, object: "raw/clicks/load_date={load_date}/", format: ndjson}
# More than one event in a hundred that cannot be read is a release that broke its contract: a person looks at it first.
quarantine: {share: 0.01}
columns:
  event_id: {type: text, description: "Identity of the event, given by its producer; it rises with time."}
  event_type: {type: text, description: "What the visitor did: page_view, add_to_cart or checkout."}
  occurred_at: {type: timestamp with time zone, description: "When it happened, by the clock of the producer."}
  session_id: {type: text, description: Session of the visitor., pii: id}
  user_id: {type: bigint, description: "Customer who is logged in; NULL of a visitor who is not.", pii: id}
  product_id: {type: integer, description: "Product that the click is about; NULL if it is about none."}
checks:
  # An event without these cannot be told from others, or belongs nowhere.
  not_null: [event_id, event_type, occurred_at, session_id]
@end */
