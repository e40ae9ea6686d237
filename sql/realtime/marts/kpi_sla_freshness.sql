/* @asset
description: In how many minutes of each load_date the numbers of orders were at most 3 minutes old.
owner: team:platform
grain: [load_date]
storage: live
columns:
  load_date: {type: date, description: "Day of the minutes, in UTC."}
  minutes: {type: bigint, description: Minutes of the day that are over.}
  fresh_minutes: {type: bigint, description: "Number of these at whose beginning all events were built that the broker had taken 3 minutes before."}
  fresh_share: {type: "numeric(7,6)", description: "fresh_minutes / minutes, 0 to 1; NULL before the first minute is over."}
@end */
-- A minute in which nobody knows counts against us: before the first event of all, while nothing is landed or built, while
-- a gate holds the orders, and also while no event comes, because a tick that finds nothing leaves no batch. So this is the
-- least that can be proven; a shop without orders at night is fresher than it says. What readers saw at that minute counts:
-- a replay makes no minute fresh afterwards. The tile is published within the tick of its batch, unless a check of its own
-- holds it, which no batch knows. A minute after midnight may be fresh by a batch of the day before. Load_dates whose
-- batches were merged, because retention has dropped their rows, have no row any more.
with days as (
    select
        g.load_date,
        case
            when g.finished_at is not null then 1440
            else greatest(
                0, least(1440, floor(extract(epoch from g.ticked_at - g.load_date::timestamp at time zone 'UTC') / 60))
            )
        end::bigint as minutes
    from ops.growth as g
    where
        not exists (
            select 1 from ops.batches as m
            where m.asset = 'stg.orders_by_minute' and m.load_date = g.load_date and m.merged_from is not null
        )
),

fresh as (
    select distinct f.minute
    from ops.batches as b
    cross join
        lateral generate_series(
            date_trunc('minute', b.published_at + interval '59.999999 seconds', 'UTC'),
            b.through + interval '3 minutes',
            interval '1 minute'
        ) as f (minute)
    where b.asset = 'stg.orders_by_minute'
)

select
    d.load_date,
    d.minutes,
    count(f.minute) as fresh_minutes,
    (count(f.minute)::numeric / nullif(d.minutes, 0))::numeric(7, 6) as fresh_share
from days as d
left join fresh as f
    on
        f.minute >= d.load_date::timestamp at time zone 'UTC'
        and f.minute < d.load_date::timestamp at time zone 'UTC' + d.minutes * interval '1 minute'
group by d.load_date, d.minutes
