/* @question
title: What did the days bring against a week before?
description: Revenue of the last seven days, each beside the same weekday a week earlier, as far as it is known now.
owner: team:analytics
parameters:
  in_currency: {title: Currency, type: text, default: EUR}
columns:
  order_date: {title: Day}
  orders_placed: {title: Orders, format: integer}
  net_revenue: {title: Net revenue, format: decimal2, bar: true}
  net_a_week_before: {title: A week before, format: decimal2}
  change: {title: Change, format: percent1, description: As a share of the week before.}
@end */
-- A day is that on which the orders were placed, so cancellations and refunds still take from it for weeks, and from the
-- older day have taken longer. The day of the load_date itself may not be over. Currencies are never added up.
with days as (
    select
        order_date,
        orders_placed,
        net_revenue
    from marts.kpi_revenue_daily
    where load_date = %(load_date)s and currency = %(in_currency)s
)

select
    n.order_date,
    n.orders_placed,
    n.net_revenue,
    b.net_revenue as net_a_week_before,
    n.net_revenue / nullif(b.net_revenue, 0) - 1 as change
from days as n
left join days as b on n.order_date = b.order_date + 7
where n.order_date > %(load_date)s::date - 7 and n.order_date <= %(load_date)s::date
order by n.order_date desc
