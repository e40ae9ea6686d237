/* @asset
description: How many of the events that the streams delivered could be read, by load_date and stream.
owner: team:platform
grain: [load_date, stream]
storage: live
columns:
  load_date: {type: date, description: "Day in UTC on which the broker took the events."}
  stream: {type: text, description: Stream.}
  records: {type: bigint, description: "Events that are built, each as often as it came."}
  accepted: {type: bigint, description: Number of these that could be read.}
  quarantined: {type: bigint, description: Number of these that were set aside because they could not be read.}
  accepted_share: {type: "numeric(7,6)", description: "accepted / records, 0 to 1; NULL of a load_date without events."}
@end */
-- What is published counts. The events of a batch that is held are in no number until it is published, so a release that
-- breaks its contract shows as a batch that is held, and not as a lower share. The incident of that gate is the alert: each
-- raw table sets at most one in a hundred events aside. An event that was set aside stays so when its producer sends it
-- again: the new one counts besides. The batch of a replay has all events of its load_date.
with latest as (
    select distinct on (asset, load_date)
        asset,
        load_date,
        total_records,
        total_quarantined
    from ops.batches
    where superseded_at is null and asset like 'raw.%%'
    order by asset asc, load_date asc, batch desc
),

counted as (
    select
        load_date,
        total_records as records,
        total_quarantined as quarantined,
        split_part(asset, '.', 2) as stream,
        total_records - total_quarantined as accepted
    from latest
)

select
    load_date,
    stream,
    records,
    accepted,
    quarantined,
    (accepted::numeric / nullif(records, 0))::numeric(7, 6) as accepted_share
from counted
