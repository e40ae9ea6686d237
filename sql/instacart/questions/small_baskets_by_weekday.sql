/* @question
title: How many orders are small?
description: Orders with few items, as a share of the orders whose lines are known, by day of the week.
owner: team:analytics
parameters:
  at_most: {title: With at most so many items, type: integer, default: 3, range: [1, 1000]}
columns:
  order_dow: {title: Day, labels: [Sunday, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday]}
  known_baskets: {title: Known baskets, format: integer}
  small_baskets: {title: Small, format: integer}
  share: {title: Share, format: percent1, bar: true}
  unknown_baskets: {title: Lines unknown, format: integer, description: Orders that are in no share.}
@end */
-- An item is a line: one product, however many pieces. Orders whose lines were not delivered may be small or not, so they
-- are neither above nor below the line of the share.
select
    order_dow,
    count(items_in_order) as known_baskets,
    count(*) filter (where items_in_order <= %(at_most)s) as small_baskets,
    (count(*) filter (where items_in_order <= %(at_most)s))::numeric / nullif(count(items_in_order), 0) as share,
    count(*) - count(items_in_order) as unknown_baskets
from marts.fact_orders
where load_date = %(load_date)s
group by order_dow
order by order_dow asc
