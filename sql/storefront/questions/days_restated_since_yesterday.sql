/* @question
title: Which days have other sales than the day before said?
description: Past days whose revenue is another one than the day before said, since sales were corrected or deleted.
owner: team:analytics
columns:
  date: {title: Day of sale}
  revenue_before: {title: Revenue as of yesterday, format: decimal2}
  revenue: {title: Revenue, format: decimal2}
  change: {title: Change, format: decimal2, bar: true}
@end */
-- The load_date's own day is new, not restated, so it is left out. A day that has lost all its sales has a revenue of 0.
with before as (
    select
        date,
        revenue
    from warehouse.agg_daily_sales
    where load_date = %(load_date)s::date - 1
),

now as (
    select
        date,
        revenue
    from warehouse.agg_daily_sales
    where load_date = %(load_date)s
)

select
    date,
    b.revenue as revenue_before,
    coalesce(n.revenue, 0) as revenue,
    coalesce(n.revenue, 0) - b.revenue as change
from before as b
left join now as n using (date)
where coalesce(n.revenue, 0) <> b.revenue and date < %(load_date)s::date
order by date desc
