/* @question
title: What was restated this week?
description: Load_dates of the last seven days whose KPIs were published again with other rows.
owner: team:analytics
lookback: 7
columns:
  load_date: {title: Load_date}
  kpi: {title: KPI}
  restated: {title: Times restated, format: integer, bar: true}
  first_published_at: {title: First published}
  last_restated_at: {title: Last restated}
  rows_at_first: {title: Rows at first, format: integer}
  rows_now: {title: Rows now, format: integer}
@end */
-- A publish restates its load_date if its rows differ from those of the publish before, by their checksum: a replay that
-- gives the same rows restates nothing. It need not change a number that readers see.
with compared as (
    select
        load_date,
        asset,
        publish_id,
        published_at,
        rows,
        checksum <> lag(checksum) over (partition by load_date, asset order by publish_id) as is_restated
    from ops.publishes
    where
        load_date between %(window_start)s and %(load_date)s and asset like 'marts.kpi\_%%' and removed_at is null
)

select
    load_date,
    asset as kpi,
    count(*) filter (where is_restated) as restated,
    min(published_at) as first_published_at,
    max(published_at) filter (where is_restated) as last_restated_at,
    (array_agg(rows order by publish_id))[1] as rows_at_first,
    (array_agg(rows order by publish_id desc))[1] as rows_now
from compared
group by load_date, asset
having bool_or(is_restated)
order by load_date desc, kpi asc
