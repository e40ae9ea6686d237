/* @asset
description: Sales by product, over all days and all versions of the product, as known on the load_date.
owner: team:analytics
grain: [product_id]
kpi:
  title: Sales by product
  chart: {x: product_id, y: revenue}
  measures:
    products: {title: Products ever sold, value: count(*), unit: products, better: up, compare: 28}
    pieces: {title: Pieces ever sold, value: sum(quantity), unit: pieces, better: up, compare: 28}
    top_product:
      title: Share of the top product
      value: max(revenue) / sum(revenue)
      description: Revenue of the product that sold most, by the revenue of all known products.
      format: percent1
      unit: of revenue
      compare: 28
    price_of_a_piece:
      title: Revenue of a piece
      value: sum(revenue) / sum(quantity)
      format: decimal2
      compare: 28
  dimensions: [product_id, category]
columns:
  product_id: {type: text, description: Identifier of the product.}
  name: {type: text, description: Name in the newest version.}
  category: {type: text, description: Category in the newest version.}
  quantity: {type: bigint, description: Number of pieces sold.}
  revenue: {type: "numeric(30,2)", description: Sum of line_total.}
  profit: {type: "numeric(30,2)", description: "Sum of the profit of the items whose cost is known; NULL if none is."}
  transactions: {type: bigint, description: Number of transactions with the product.}
  average_discount: {type: "numeric(5,2)", description: "Mean discount of its line items in percent, each counted once."}
checks:
  # The sales of products that no export ever had are in agg_daily_sales, and here in the accounting.
  reconcile:
    source: warehouse.fact_sales
    sum: line_total
    here: revenue
    dropped:
      product_unknown: product_sk is null
  all_pieces_are_here:
    description: The pieces of all sales of known products are here.
    reconcile:
      source: warehouse.fact_sales
      sum: quantity
      dropped:
        product_unknown: product_sk is null
  range:
    quantity: [1, null]
    average_discount: [0, 100]
@end */
with newest as (
    select distinct on (product_id)
        product_id,
        name,
        category
    from warehouse.dim_products
    order by product_id asc, effective_date desc
),

sales as (
    select
        d.product_id,
        sum(s.quantity)::bigint as quantity,
        sum(s.line_total)::numeric(30, 2) as revenue,
        sum(s.profit)::numeric(30, 2) as profit,
        count(distinct s.transaction_id) as transactions,
        avg(s.discount_percentage)::numeric(5, 2) as average_discount
    from warehouse.fact_sales as s
    inner join warehouse.dim_products as d on s.product_sk = d.product_sk
    where s.is_current
    group by d.product_id
)

select
    s.product_id,
    n.name,
    n.category,
    s.quantity,
    s.revenue,
    s.profit,
    s.transactions,
    s.average_discount
from sales as s
inner join newest as n on s.product_id = n.product_id
