/* @question
title: How do the orders of new buyers differ from those of known ones?
description: First orders of users beside their later ones, with the baskets of those whose lines are known.
owner: team:analytics
columns:
  is_first: {title: Orders of, labels: {"true": new buyers, "false": known buyers}}
  buyers: {title: Buyers, format: integer}
  orders: {title: Orders, format: integer}
  share_of_orders: {title: Share of orders, format: percent1, bar: true}
  known_baskets: {title: Known baskets, format: integer, description: Orders whose lines were delivered.}
  items_per_basket: {title: Items in a basket, format: decimal2, description: The mean over the known baskets.}
@end */
-- A buyer is new in the first order of the history that the load_date delivers, and known in all later ones. So nearly every
-- buyer is in both rows, and the buyers of the rows do not add up. Orders whose lines were not delivered count as orders,
-- and in no mean of baskets.
select
    order_number = 1 as is_first,
    count(distinct user_id) as buyers,
    count(*) as orders,
    count(*) / sum(count(*)) over () as share_of_orders,
    count(items_in_order) as known_baskets,
    avg(items_in_order) as items_per_basket
from marts.fact_orders
where load_date = %(load_date)s
group by order_number = 1
order by is_first desc
