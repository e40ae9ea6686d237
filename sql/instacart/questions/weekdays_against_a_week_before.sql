/* @question
title: Which weekday grew, against a week before?
description: Orders by day of the week, beside those of the day a week before.
owner: team:analytics
columns:
  order_dow: {title: Day, labels: [Sunday, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday]}
  week_before: {title: A week before, format: integer}
  orders: {title: Orders, format: integer, bar: true}
  growth: {title: Growth, format: percent1}
@end */
-- A load_date is compared with the same number of days' deliveries before it. If that one is not published, or had no order
-- on the weekday, the growth is unknown and not infinite. A weekday without orders now is a row with 0.
with now as (
    select
        order_dow,
        total_orders
    from marts.kpi_orders_by_dow
    where load_date = %(load_date)s
),

before as (
    select
        order_dow,
        total_orders
    from marts.kpi_orders_by_dow
    where load_date = %(load_date)s::date - 7
)

select
    order_dow,
    b.total_orders as week_before,
    coalesce(n.total_orders, 0) as orders,
    coalesce(n.total_orders, 0)::numeric / b.total_orders - 1 as growth
from now as n
full outer join before as b using (order_dow)
order by order_dow asc
