/* @asset
description: What the streams delivered by the hour in which the broker took it, and how much of it came twice, late or with other fields.
owner: team:platform
grain: [stream, hour]
refresh: {minutes: 5}
freshness: {within_minutes: 15}
kpi:
  title: Trust in the streams
  chart: {x: hour, y: events, top: 24}
  measures:
    events: {title: Events of the day, value: sum(events), unit: events}
    repeated_share:
      title: Events that came again
      value: sum(repeated_events) / sum(events)
      description: They are counted once. Those of more than two load_dates ago are not recognized.
      format: percent2
      unit: of events
      better: down
    late_share:
      title: Events that came late
      value: sum(late_events) / sum(events)
      description: Received more than 5 minutes after they happened, by the clock of their producer.
      format: percent2
      unit: of events
      better: down
    unexpected_share:
      title: Events with unknown fields
      value: sum(unexpected_events) / sum(events)
      format: percent2
      unit: of events
      better: down
  dimensions: [stream]
columns:
  stream: {type: text, description: Stream.}
  hour: {type: timestamp with time zone, description: Hour in which the broker took the events.}
  events: {type: bigint, description: "Events that could be read, each as often as it came."}
  late_events: {type: bigint, description: Number of these that were received more than 5 minutes after they happened.}
  early_events: {type: bigint, description: "Number of these that happened more than 5 minutes after they were received, so the clock of their producer is wrong."}
  unexpected_events: {type: bigint, description: Number of these with fields that the raw table does not name.}
  repeated_events: {type: bigint, description: Number of these that came before.}
  repeated_share: {type: "numeric(7,6)", description: "repeated_events / events, 0 to 1."}
  late_share: {type: "numeric(7,6)", description: "late_events / events, 0 to 1."}
checks:
  min_rows: {at_least: 0}
  # Each event of the silver tables is one of a raw table, so no more events came again than came.
  range:
    repeated_share: [0, 1]
    late_share: [0, 1]
@end */
-- Events that cannot be read are no rows of any table: ops.batches and ops.quarantine have them.
with raw_events as (
    select
        'clicks' as stream,
        received_at,
        occurred_at,
        unexpected is not null as is_unexpected
    from raw.clicks
    where load_date = %(load_date)s

    union all

    select
        'order_events' as stream,
        received_at,
        occurred_at,
        unexpected is not null as is_unexpected
    from raw.order_events
    where load_date = %(load_date)s

    union all

    select
        'inventory_events' as stream,
        received_at,
        occurred_at,
        unexpected is not null as is_unexpected
    from raw.inventory_events
    where load_date = %(load_date)s
),

received as (
    select
        stream,
        date_trunc('hour', received_at, 'UTC') as hour,
        count(*) as events,
        count(*) filter (where received_at > occurred_at + interval '5 minutes') as late_events,
        count(*) filter (where occurred_at > received_at + interval '5 minutes') as early_events,
        count(*) filter (where is_unexpected) as unexpected_events
    from raw_events
    group by 1, 2
),

silver_events as (
    select
        'clicks' as stream,
        received_at
    from stg.clicks
    where load_date = %(load_date)s

    union all

    select
        'order_events' as stream,
        received_at
    from stg.order_events
    where load_date = %(load_date)s

    union all

    select
        'inventory_events' as stream,
        received_at
    from stg.inventory_events
    where load_date = %(load_date)s
),

kept as (
    select
        stream,
        date_trunc('hour', received_at, 'UTC') as hour,
        count(*) as events
    from silver_events
    group by 1, 2
)

select
    r.stream,
    r.hour,
    r.events,
    r.late_events,
    r.early_events,
    r.unexpected_events,
    r.events - coalesce(k.events, 0) as repeated_events,
    ((r.events - coalesce(k.events, 0))::numeric / r.events)::numeric(7, 6) as repeated_share,
    (r.late_events::numeric / r.events)::numeric(7, 6) as late_share
from received as r
left join kept as k on r.stream = k.stream and r.hour = k.hour
