/* @question
title: How fresh and how whole were the last days?
description: The minutes in which the numbers of orders were at most 3 minutes old, and the events that could not be read.
owner: team:platform
lookback: 7
columns:
  load_date: {title: Day}
  fresh_share: {title: Minutes that were fresh, format: percent1, bar: true}
  records: {title: Events, format: integer}
  quarantined: {title: Set aside, format: integer}
  accepted_share: {title: Could be read, format: percent2}
@end */
-- What is recorded at the moment of asking. A minute of which nobody knows that the numbers were fresh counts as not fresh,
-- also at night when nobody orders.
with events as (
    select
        load_date,
        sum(records) as records,
        sum(quarantined) as quarantined
    from marts.accepted_share
    where load_date between %(window_start)s and %(load_date)s
    group by load_date
)

select
    e.load_date,
    f.fresh_share,
    e.records,
    e.quarantined,
    (e.records - e.quarantined) / nullif(e.records, 0) as accepted_share
from events as e
left join marts.kpi_sla_freshness as f
    on e.load_date = f.load_date and f.load_date between %(window_start)s and %(load_date)s
order by e.load_date desc
