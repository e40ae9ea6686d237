/* @asset
description: Sales by category over all retailers, of what the load_date delivered.
owner: team:analytics
grain: [category]
kpi:
  title: Sales by category
  chart: {x: category, y: revenue}
  measures:
    top_category:
      title: Share of the top category
      value: max(revenue) / sum(revenue)
      description: Revenue of the category that sells most, by the revenue of all.
      format: percent1
      unit: of revenue
      alert: {above: 0.9}
    categories: {title: Categories with sales, value: count(*), unit: categories}
    price_of_a_piece:
      title: Revenue of a piece
      value: sum(revenue) / sum(quantity)
      format: decimal2
    unknown_share:
      title: Revenue without a category
      value: coalesce(sum(revenue) filter (where category = 'unknown'), 0) / sum(revenue)
      description: Share of the revenue whose product has no category at its retailer.
      format: percent1
      unit: of revenue
      better: down
freshness: {within_hours: 36}
time_limit: {minutes: 30}
columns:
  category: {type: text, description: "Category of the product, as its retailer writes it now; unknown if it never did."}
  retailers: {type: bigint, description: Number of retailers that sold something of it.}
  transactions: {type: bigint, description: "Number of transactions with the category; one with two categories counts in both."}
  sales: {type: bigint, description: "Number of sales, each one product of a transaction."}
  quantity: {type: bigint, description: Number of pieces.}
  revenue: {type: "numeric(30,2)", description: Sum of total_amount.}
checks:
  reconcile: {source: warehouse.fact_sales, counted: sum(sales)}
  revenue_is_all_revenue:
    description: The revenue of all sales is here.
    reconcile: {source: warehouse.fact_sales, sum: total_amount, here: revenue}
@end */
-- A category is the same at two retailers if both write it alike: products are not matched, and nor are categories.
select
    p.category,
    count(distinct s.retailer_id) as retailers,
    count(distinct row(s.retailer_id, s.transaction_id)) as transactions,
    count(*) as sales,
    sum(s.quantity)::bigint as quantity,
    sum(s.total_amount)::numeric(30, 2) as revenue
from warehouse.fact_sales as s
inner join warehouse.dim_product as p using (load_date, retailer_id, product_id)
where s.load_date = %(load_date)s
group by p.category
