/* @asset
description: Clicks by minute and type, of one batch.
owner: team:web
grain: [batch, minute, event_type]
storage: partitions
columns:
  minute: {type: timestamp with time zone, description: Minute in which they happened.}
  event_type: {type: text, description: What the visitors did.}
  clicks: {type: bigint, description: Number of clicks.}
  last_received_at: {type: timestamp with time zone, description: When the broker took the last of them.}
checks:
  reconcile: {source: stg.clicks, counted: sum(clicks)}
@end */
select
    date_trunc('minute', event_at, 'UTC') as minute,
    event_type,
    count(*) as clicks,
    max(received_at) as last_received_at
from stg.clicks
where load_date = %(load_date)s and batch = %(batch)s
group by 1, 2
