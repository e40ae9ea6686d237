/* @asset
description: Clicks by minute and type, of one batch.
owner: team:web
grain: [batch, minute, event_type]
storage: partitions
columns:
  event_type: {type: text, description: What the visitors did.}
  minute: {type: timestamp with time zone, description: Minute in which they happened.}
  clicks: {type: bigint, description: Number of clicks.}
  last_received_at: {type: timestamp with time zone, description: When the broker took the last of them.}
checks:
  reconcile: {source: stg.clicks, counted: sum(clicks)}
@end */
select
    event_type,
    date_trunc('minute', event_at, 'UTC') as minute,
    count(*) as clicks,
    max(received_at) as last_received_at
from stg.clicks
where load_date = %(load_date)s and batch = %(batch)s
group by 1, 2
