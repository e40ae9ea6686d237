/* @asset
description: Orders and revenue of each country in the last three days.
owner: team:shop
grain: [country]
lookback: {days: 3, rows: all}
columns:
  country: {type: text, description: Country of the customer.}
  orders: {type: bigint, description: Number of orders.}
  revenue: {type: numeric, description: Sum of their prices in euros.}
checks:
  range: {orders: [1, null]}
@end */
select
    c.country,
    count(*) as orders,
    sum(o.price) as revenue
from stg.orders as o
inner join raw.customers as c on o.load_date = c.load_date and o.customer_id = c.customer_id
where
    o.load_date between %(window_start)s and %(load_date)s
    and c.load_date between %(window_start)s and %(load_date)s
group by c.country
