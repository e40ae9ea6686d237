/* @asset
description: Sales by day and retailer, of what the load_date delivered.
owner: team:analytics
grain: [sales_date, retailer_id]
kpi:
  title: Sales of the day
  chart: {x: retailer_id, y: revenue}
  measures:
    revenue:
      title: Revenue
      value: sum(revenue)
      description: Of all retailers, as the load_date delivered it.
      format: decimal2
      better: up
      alert: {change: {more_than: 0.5}}
    transactions: {title: Transactions, value: sum(transactions), unit: transactions, better: up}
    basket:
      title: Average basket
      value: sum(revenue) / sum(transactions)
      description: Revenue by transaction over all retailers. A retailer counts as often as it sells.
      format: decimal2
      better: up
      alert: {change: {more_than: 0.5}}
    pieces: {title: Pieces, value: sum(quantity), unit: pieces, better: up}
    retailers:
      title: Retailers with sales
      value: count(distinct retailer_id)
      unit: retailers
      better: up
freshness: {within_hours: 36}
time_limit: {minutes: 30}
columns:
  sales_date: {type: date, description: "Day of the sales, in UTC: the load_date. A sale of another day that a person accepted has a row of its own day."}
  retailer_id: {type: text, description: Retailer.}
  transactions: {type: bigint, description: Number of transactions.}
  sales: {type: bigint, description: "Number of sales, each one product of a transaction."}
  quantity: {type: bigint, description: Number of pieces.}
  revenue: {type: "numeric(30,2)", description: Sum of total_amount.}
  average_basket: {type: "numeric(20,2)", description: Mean revenue of a transaction.}
checks:
  reconcile: {source: warehouse.fact_sales, counted: sum(sales)}
  revenue_is_all_revenue:
    description: The revenue of all sales is here.
    reconcile: {source: warehouse.fact_sales, sum: total_amount, here: revenue}
@end */
-- Here is said what a transaction, a piece and revenue are: the weeks, months and quarters add up these days.
select
    transaction_date as sales_date,
    retailer_id,
    count(distinct transaction_id) as transactions,
    count(*) as sales,
    sum(quantity)::bigint as quantity,
    sum(total_amount)::numeric(30, 2) as revenue,
    (sum(total_amount) / count(distinct transaction_id))::numeric(20, 2) as average_basket
from warehouse.fact_sales
where load_date = %(load_date)s
group by transaction_date, retailer_id
