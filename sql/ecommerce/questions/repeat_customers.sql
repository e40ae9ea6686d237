/* @question
title: How much of the revenue comes from customers who came back?
description: Customers by their number of paid orders up to the load_date, with their revenue.
owner: team:shop
columns:
  paid_orders: {title: Paid orders, labels: {"5": 5 or more}}
  customers: {title: Customers, format: integer}
  share_of_customers: {title: Share of customers, format: percent1, bar: true}
  revenue: {title: Revenue, format: decimal2}
  share_of_revenue: {title: Share of revenue, format: percent1, bar: true}
@end */
-- A customer is a user with a paid order: users who only looked are in no share. Orders that were cancelled or refunded make
-- nobody a customer.
select
    least(paid_orders, 5) as paid_orders,
    count(*) as customers,
    count(*) / sum(count(*)) over () as share_of_customers,
    sum(paid_revenue) as revenue,
    sum(paid_revenue) / nullif(sum(sum(paid_revenue)) over (), 0) as share_of_revenue
from warehouse.dim_user
where load_date = %(load_date)s and paid_orders >= 1
group by least(paid_orders, 5)
order by paid_orders asc
