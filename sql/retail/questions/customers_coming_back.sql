/* @question
title: How many customers come back within four weeks?
description: Customers who bought on two days or more of 28, this day the last, by retailer.
owner: team:analytics
columns:
  retailer_id: {title: Retailer}
  customers: {title: Customers, format: integer}
  came_back: {title: Came back, format: integer}
  revenue_without_customer: {title: Revenue without a customer, format: decimal2}
  share: {title: Share, format: percent1, bar: true}
@end */
-- Sales whose customer is unknown are in no share: nobody knows who came back. Their revenue stands beside it, so that it
-- can be seen how much the share does not say. Somebody who buys at two retailers is two customers.
select
    retailer_id,
    customers,
    came_back,
    revenue_without_customer,
    came_back::numeric / nullif(customers, 0) as share
from warehouse.kpi_returning_customers
where load_date = %(load_date)s
order by retailer_id asc
