/* @question
title: What was restated this week?
description: Numbers of the last seven days of which readers were shown another value before.
owner: team:analytics
lookback: 7
columns:
  load_date: {title: Day}
  kpi: {title: KPI}
  measure: {title: Measure}
  was_value: {title: It was}
  value: {title: It is}
  restated_at: {title: Since}
  change: {title: Change, format: percent1, bar: true, description: As a share of what it was.}
@end */
-- A load_date that was published again with the same value is not restated. Of several restatements, the last is shown. A
-- value whose definition changed is not compared with that of the old definition. What is recorded now counts, not what was
-- recorded on the load_date.
select
    load_date,
    kpi,
    measure,
    was_value,
    value,
    published_at as restated_at,
    value / nullif(was_value, 0) - 1 as change
from ops.kpi_tiles
where load_date between %(window_start)s and %(load_date)s and restated
order by load_date desc, kpi asc, measure asc
