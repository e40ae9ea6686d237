/* @question
title: At which hour are the baskets largest?
description: Items in a basket by the hour of the order, over the orders whose lines are known.
owner: team:analytics
columns:
  order_hour_of_day: {title: Hour}
  orders: {title: Orders, format: integer, description: "All of them, whether or not their lines are known."}
  known_baskets: {title: Known baskets, format: integer}
  items_per_basket: {title: Mean items, format: decimal2, bar: true}
  median_items: {title: Median items, format: decimal1}
@end */
-- A few baskets are very large, so the median stands beside the mean. An hour without orders has no row.
select
    order_hour_of_day,
    count(*) as orders,
    count(items_in_order) as known_baskets,
    avg(items_in_order) as items_per_basket,
    percentile_cont(0.5) within group (order by items_in_order) as median_items
from marts.fact_orders
where load_date = %(load_date)s
group by order_hour_of_day
order by order_hour_of_day asc
