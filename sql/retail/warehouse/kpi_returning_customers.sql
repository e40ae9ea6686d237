/* @asset
description: How many customers bought on several of the 28 days up to the load_date, by retailer.
owner: team:analytics
grain: [retailer_id]
kpi:
  title: Customers who come back
  chart: {x: retailer_id, y: came_back}
  measures:
    came_back:
      title: Customers who came back
      value: sum(came_back) / sum(customers)
      description: Of the customers of 28 days, the share who bought on two days or more. One of two retailers counts twice.
      format: percent1
      unit: of customers
      better: up
      compare: 28
    customers:
      title: Customers of 28 days
      value: sum(customers)
      description: Customers whom their retailer knows. One of two retailers counts twice.
      unit: customers
      better: up
      compare: 28
    unknown_share:
      title: Revenue without a customer
      value: sum(revenue_without_customer) / sum(revenue)
      description: Share of the revenue of 28 days whose customer nobody knows, who are in no other number here.
      format: percent1
      unit: of revenue
      better: down
      compare: 28
freshness: {within_hours: 36}
# A retailer tells a sale once, on its day, so every row of the window is another sale.
lookback: {days: 28, rows: all}
time_limit: {minutes: 30}
columns:
  retailer_id: {type: text, description: Retailer.}
  customers: {type: bigint, description: Number of customers whom the retailer knows.}
  came_back: {type: bigint, description: Number of these who bought on two days or more.}
  revenue: {type: "numeric(30,2)", description: Sum of total_amount.}
  revenue_without_customer: {type: "numeric(30,2)", description: Revenue of the sales whose customer is unknown.}
checks:
  reconcile: {source: warehouse.fact_sales, sum: total_amount, here: revenue}
  came_back_are_customers:
    description: Nobody came back who is no customer.
    bad_rows: select * from {this} where came_back > customers
@end */
-- Readers may count customers, and may not see who they are: so they are counted here, once for all.
with bought as (
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
    sum(revenue)::numeric(30, 2) as revenue,
    coalesce(sum(revenue) filter (where customer_id = 'unknown'), 0)::numeric(30, 2) as revenue_without_customer
from bought
group by retailer_id
