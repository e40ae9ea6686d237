/* @question
title: Who are the best customers?
description: Customers with the most revenue in all sales that are known on this day.
owner: team:analytics
parameters:
  at_least: {title: With at least so many purchases, type: integer, default: 2, range: [1, 10000]}
  since: {title: Who bought since, type: date, default: "2000-01-01"}
columns:
  customer_id: {title: Customer}
  transactions: {title: Purchases, format: integer}
  revenue: {title: Revenue, format: decimal2, bar: true}
  average_basket: {title: Mean purchase, format: decimal2}
  last_sale: {title: Last purchase}
@end */
-- The whole history counts, with discounts taken off. A customer who was deleted keeps the purchases.
select
    customer_id,
    transactions,
    revenue,
    average_basket,
    last_sale
from warehouse.agg_customer_lifetime
where is_current and transactions >= %(at_least)s and last_sale >= %(since)s
order by revenue desc, customer_id asc
limit 20
