/* @asset
description: Pieces of each product in each warehouse, as far as they are known from the last 7 days.
owner: team:logistics
grain: [sku, warehouse_id]
# A count that is older than a week says nothing any more, so every place is to be counted at least weekly.
lookback: {days: 7, rows: all}
refresh: {minutes: 5}
freshness: {within_minutes: 15}
kpi:
  title: Stock
  chart: {x: sku, y: quantity}
  measures:
    out_of_stock:
      title: Out of stock
      value: count(*) filter (where is_out)
      description: Of the places that were counted within 7 days.
      unit: places
      better: down
    unknown:
      title: Not counted for a week
      value: count(*) filter (where quantity is null)
      unit: places
      better: down
    pieces: {title: Pieces in stock, value: sum(quantity) filter (where quantity > 0), unit: pieces}
columns:
  sku: {type: text, description: Product.}
  warehouse_id: {type: text, description: Warehouse.}
  counted_at: {type: timestamp with time zone, description: "When the pieces were last counted; NULL if not within 7 days."}
  sold_last_hour: {type: bigint, description: Pieces that were sold in the hour up to the newest event.}
  quantity: {type: bigint, description: "Pieces as counted last, with what came and went since; NULL if they were not counted. Below 0, more was sold than was there."}
  is_out: {type: boolean, description: "Whether quantity is 0 or below; NULL if it is not known."}
checks:
  min_rows: {at_least: 0}
  sells_what_is_not_there:
    severity: alert
    for: 10 minutes
    description: A product is out of stock and was sold within the last hour.
    bad_rows: select * from {this} where is_out and sold_last_hour > 0
@end */
-- A count says how many pieces there are, so what happened before it does not matter. What nobody counted is unknown,
-- and not 0. The silver table leaves out what comes again within two load_dates; what comes again later is left out here.
with events as (
    select distinct on (event_id)
        event_id,
        event_type,
        event_at,
        received_at,
        sku,
        warehouse_id,
        quantity
    from stg.inventory_events
    where
        load_date between %(window_start)s and %(load_date)s
        and event_type in ('counted', 'received', 'sold', 'adjusted')
    order by event_id asc, load_date asc
),

-- Materialized, or else Postgres may compute it again for every row: how many rows a window has, it does not know.
clock as materialized (
    select max(received_at) as newest
    from events
),

counts as (
    select distinct on (sku, warehouse_id)
        sku,
        warehouse_id,
        event_at,
        quantity
    from events
    where event_type = 'counted'
    order by sku asc, warehouse_id asc, event_at desc, event_id desc
),

places as (
    select
        e.sku,
        e.warehouse_id,
        c.event_at as counted_at,
        c.quantity + coalesce(
            sum(case e.event_type when 'sold' then -e.quantity when 'counted' then 0 else e.quantity end)
            filter (where e.event_at > c.event_at),
            0
        ) as quantity,
        coalesce(
            sum(e.quantity) filter (where e.event_type = 'sold' and e.event_at > n.newest - interval '1 hour'), 0
        ) as sold_last_hour
    from events as e
    cross join clock as n
    left join counts as c on e.sku = c.sku and e.warehouse_id = c.warehouse_id
    group by e.sku, e.warehouse_id, c.event_at, c.quantity
)

select
    sku,
    warehouse_id,
    counted_at,
    sold_last_hour::bigint as sold_last_hour,
    quantity::bigint as quantity,
    quantity <= 0 as is_out
from places
