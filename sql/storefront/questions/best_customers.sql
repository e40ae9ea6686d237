/* @question
title: What do the best customers buy?
description: The customers with the most revenue in all sales that are known on this day, without who they are.
owner: team:analytics
parameters:
  at_least: {title: With at least so many purchases, type: integer, default: 2, range: [1, 10000]}
  since: {title: Who bought since, type: date, default: "2000-01-01"}
columns:
  transactions: {title: Purchases, format: integer}
  revenue: {title: Revenue, format: decimal2, bar: true}
  average_basket: {title: Mean purchase, format: decimal2}
  last_sale: {title: Last purchase}
  place: {title: Place, format: integer}
@end */
-- The whole history counts, with discounts taken off. A customer who was deleted keeps the purchases. Customers with the
-- same revenue share a place.
select
    transactions,
    revenue,
    average_basket,
    last_sale,
    rank() over (order by revenue desc) as place
from warehouse.agg_customer_lifetime
where is_current and transactions >= %(at_least)s and last_sale >= %(since)s
order by revenue desc, transactions asc, average_basket asc, last_sale asc
limit 20
