/* @asset
description: Sales by day, over all days, as known on the load_date. A day without sales has no row.
owner: team:analytics
grain: [date_sk]
kpi:
  chart: {x: date, y: revenue}
columns:
  date_sk: {type: integer, description: "The day, yyyymmdd."}
  date: {type: date, description: The day.}
  transactions: {type: bigint, description: Number of transactions with at least one line item.}
  items: {type: bigint, description: Number of line items.}
  revenue: {type: "numeric(30,2)", description: Sum of line_total.}
  profit: {type: "numeric(30,2)", description: "Sum of the profit of the items whose cost is known; NULL if none is."}
  items_without_cost: {type: bigint, description: "Number of line items whose cost is unknown, so that they are in revenue only."}
  customers: {type: bigint, description: Number of customers who are known.}
  average_basket: {type: "numeric(24,2)", description: Mean revenue of a transaction.}
checks:
  reconcile: {source: warehouse.fact_sales, counted: sum(items)}
  revenue_is_all_revenue:
    description: The revenue of all sales is here.
    reconcile: {source: warehouse.fact_sales, sum: line_total, here: revenue}
  profit_is_all_profit:
    description: The profit of all sales is here.
    reconcile: {source: warehouse.fact_sales, sum: profit}
  range:
    transactions: [1, null]
    revenue: [0, null]
@end */
-- On one day a customer has one version, so versions are counted as customers.
select
    s.date_sk,
    d.date,
    count(distinct s.transaction_id) as transactions,
    count(*) as items,
    sum(s.line_total)::numeric(30, 2) as revenue,
    sum(s.profit)::numeric(30, 2) as profit,
    count(*) filter (where s.cost is null) as items_without_cost,
    count(distinct s.customer_sk) as customers,
    (sum(s.line_total) / count(distinct s.transaction_id))::numeric(24, 2) as average_basket
from warehouse.fact_sales as s
inner join warehouse.dim_date as d on s.date_sk = d.date_sk and d.is_current
where s.is_current
group by s.date_sk, d.date
