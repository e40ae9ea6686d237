/* @question
title: Which channel keeps its promises?
description: Orders whose promise ended within the last so many days, by channel.
owner: team:logistics
parameters:
  days: {title: Of the last so many days, type: integer, default: 7, range: [1, 28]}
columns:
  channel: {title: Channel}
  due: {title: Due, format: integer}
  on_time: {title: On time, format: integer}
  late_open: {title: Late and still on the way, format: integer}
  on_time_share: {title: On time, format: percent1, bar: true}
@end */
-- The share is over all orders of the days, and not a mean of the shares of days. An order that was cancelled is not due. One
-- that is still on its way after its promise is late.
select
    channel,
    sum(due) as due,
    sum(on_time) as on_time,
    sum(late_open) as late_open,
    sum(on_time) / nullif(sum(due), 0) as on_time_share
from marts.kpi_sla_delivery
where
    load_date = %(load_date)s
    and promised_date > %(load_date)s::date - %(days)s and promised_date <= %(load_date)s::date
group by channel
order by on_time_share asc nulls last, channel asc
