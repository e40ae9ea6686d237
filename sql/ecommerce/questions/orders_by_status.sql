/* @question
title: How much of what was ordered became revenue?
description: Orders of the load_date by their status, with their amount as ordered.
owner: team:shop
columns:
  status: {title: Status}
  orders: {title: Orders, format: integer}
  amount: {title: Amount as ordered, format: decimal2}
  share_of_amount: {title: Share of the amount, format: percent1, bar: true}
@end */
-- The status is the one that the load_date delivered: a pending order may be paid by now, in a later load_date.
select
    status,
    count(*) as orders,
    sum(revenue) as amount,
    sum(revenue) / nullif(sum(sum(revenue)) over (), 0) as share_of_amount
from warehouse.fact_orders
where load_date = %(load_date)s
group by status
order by amount desc, status asc
