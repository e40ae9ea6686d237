/* @question
title: What is the revenue by category and day?
description: Revenue of paid orders by the day on which they were placed, as far as it is known on the load_date.
owner: team:shop
lookback: 28
parameters:
  days: {title: Of the last so many days, type: integer, default: 7, range: [1, 28]}
columns:
  order_date: {title: Day}
  category: {title: Category}
  orders: {title: Paid orders, format: integer}
  paid_revenue: {title: Revenue, format: decimal2, bar: true}
  pending: {title: Not paid yet, format: decimal2}
@end */
-- An order comes again when its status changes, so it counts once, as it was delivered last: an order that was refunded
-- since is no revenue any more. Orders that come late are added to the day on which they were placed, so the numbers of the
-- last days still grow. A category is that of the product on the load_date.
select
    o.order_date,
    coalesce(p.category, 'unknown') as category,
    count(*) filter (where o.status = 'paid') as orders,
    sum(o.paid_revenue) as paid_revenue,
    coalesce(sum(o.revenue) filter (where o.status = 'pending'), 0) as pending
from warehouse.fact_orders as o
left join warehouse.dim_product as p on o.product_id = p.product_id and p.load_date = %(load_date)s
where
    o.load_date between %(window_start)s and %(load_date)s
    and o.order_date > %(load_date)s::date - %(days)s and o.order_date <= %(load_date)s::date
group by o.order_date, coalesce(p.category, 'unknown')
order by o.order_date desc, paid_revenue desc, category asc
