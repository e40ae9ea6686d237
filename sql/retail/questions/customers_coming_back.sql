/* @question
title: How many customers come back within four weeks?
description: Customers who bought on two days or more of 28, this day the last, by retailer.
owner: team:analytics
lookback: {days: 28, rows: all}
columns:
  retailer_id: {title: Retailer}
  customers: {title: Customers, format: integer}
  came_back: {title: Came back, format: integer}
  share: {title: Share, format: percent1, bar: true}
  revenue_without_customer: {title: Revenue without a customer, format: decimal2}
@end */
-- Sales whose customer is unknown are in no share: nobody knows who came back. Their revenue stands beside it, so that it
-- can be seen how much the share does not say. Somebody who buys at two retailers is two customers.
with days as (
    select
        retailer_id,
        customer_id,
        count(distinct transaction_date) as days,
        sum(total_amount) as revenue
    from warehouse.fact_sales
    where load_date between %(window_start)s and %(load_date)s
    group by retailer_id, customer_id
)

select
    retailer_id,
    count(*) filter (where customer_id <> 'unknown') as customers,
    count(*) filter (where customer_id <> 'unknown' and days >= 2) as came_back,
    (count(*) filter (where customer_id <> 'unknown' and days >= 2))::numeric
    / nullif(count(*) filter (where customer_id <> 'unknown'), 0) as share,
    coalesce(sum(revenue) filter (where customer_id = 'unknown'), 0) as revenue_without_customer
from days
group by retailer_id
order by retailer_id asc
