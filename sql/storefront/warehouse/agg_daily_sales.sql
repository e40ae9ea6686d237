/* @asset
description: Sales by day, over all days, as known on the load_date. A day without sales has no row.
owner: team:analytics
grain: [date_sk]
kpi:
  title: Sales by day
  chart: {x: date, y: revenue}
  # The table has all days as they are known on the load_date. The numbers are of the load_date itself, or of all days.
  measures:
    revenue:
      title: Revenue of the day
      value: coalesce(sum(revenue) filter (where date = load_date), 0)
      description: Sales of the load_date itself, as its own delivery has them.
      format: decimal2
      better: up
      alert: {change: {more_than: 0.9}}
    transactions:
      title: Transactions of the day
      value: coalesce(sum(transactions) filter (where date = load_date), 0)
      unit: transactions
      better: up
    basket:
      title: Average basket
      value: sum(revenue) filter (where date = load_date) / sum(transactions) filter (where date = load_date)
      description: Revenue by transaction of the load_date itself; no number on a day without sales.
      format: decimal2
      better: up
    total_revenue:
      title: Revenue of all days
      value: sum(revenue)
      description: Everything that was sold up to the load_date, as it is known now. A corrected sale changes it.
      format: decimal2
      better: up
      compare: 1
    margin:
      title: Margin
      value: >-
        sum(profit) filter (where items_without_cost = 0)
        / sum(revenue) filter (where items_without_cost = 0)
      description: Profit by revenue, over all days on which the cost of every item is known.
      format: percent1
      unit: of revenue
      better: up
      compare: 28
    cost_unknown:
      title: Items without a cost
      value: sum(items_without_cost) / sum(items)
      description: Share of all line items whose profit is not known.
      format: percent1
      unit: of items
      better: down
      compare: 28
      alert: {above: 0.5}
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
