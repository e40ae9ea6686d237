/* @asset
description: Sales by product over the 28 days up to the load_date. Products that were sold rarely are marked.
owner: team:analytics
grain: [retailer_id, product_id]
kpi:
  title: Products of the last 28 days
  chart: {x: product_name, y: revenue}
  measures:
    products:
      title: Products sold often
      value: count(*)
      description: Products of a retailer with at least 5 transactions in 28 days. The same product at two retailers counts twice.
      unit: products
      better: up
      compare: 28
    revenue:
      title: Revenue of products sold often
      value: sum(revenue)
      description: Of 28 days, of products with at least 5 transactions.
      format: decimal2
      better: up
      compare: 28
    top_product:
      title: Share of the top product
      value: max(revenue) / sum(revenue)
      description: Revenue of the product that sells most, by the revenue of all that are sold often.
      format: percent1
      unit: of revenue
      compare: 28
  dimensions: [retailer_id, product_id, category]
freshness: {within_hours: 36}
# A retailer tells a sale once, on its day, so every row of the window is another sale.
lookback: {days: 28, rows: all}
min_volume: {column: transactions, at_least: 5}
time_limit: {minutes: 30}
columns:
  retailer_id: {type: text, description: Retailer.}
  product_id: {type: text, description: Identifier of the product at the retailer.}
  product_name: {type: text, description: Name of the product on the load_date.}
  category: {type: text, description: Category of the product on the load_date.}
  transactions: {type: bigint, description: Number of transactions with the product.}
  quantity: {type: bigint, description: Number of pieces.}
  revenue: {type: "numeric(30,2)", description: Sum of total_amount.}
checks:
  reconcile: {source: warehouse.fact_sales, sum: total_amount, here: revenue}
  every_piece_is_here:
    description: The pieces of all sales are counted.
    reconcile: {source: warehouse.fact_sales, sum: quantity}
@end */
-- Left join: while the load_dates of a backfill are built in another order, a product of an earlier day may not be in the
-- dimension yet. Then its name is unknown until the dimension is built again, and its sales count all the same.
-- A transaction counts once a day, as in kpi_sales_day: numbers of transactions may begin anew each day. It is one row for
-- each product of it, so the rows of a product are its transactions.
select
    s.retailer_id,
    s.product_id,
    coalesce(p.product_name, 'unknown') as product_name,
    coalesce(p.category, 'unknown') as category,
    count(*) as transactions,
    sum(s.quantity)::bigint as quantity,
    sum(s.total_amount)::numeric(30, 2) as revenue
from warehouse.fact_sales as s
left join warehouse.dim_product as p
    on s.retailer_id = p.retailer_id and s.product_id = p.product_id and p.load_date = %(load_date)s
where s.load_date between %(window_start)s and %(load_date)s
group by s.retailer_id, s.product_id, p.product_name, p.category
