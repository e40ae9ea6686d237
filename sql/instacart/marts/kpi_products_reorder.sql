/* @asset
description: How often each product is ordered and reordered.
owner: team:analytics
grain: [product_id]
kpi:
  title: Reorders by product
  chart: {x: product_name, y: orders_with_product}
  measures:
    reorder_rate:
      title: Reorder rate
      value: sum(times_reordered) / sum(orders_with_product)
      description: >-
        Of all order lines with these products, the share whose user had ordered the product before. A product counts as
        often as it is ordered.
      format: percent1
      unit: of lines
      better: up
      target: {at_least: 0.55}
      alert: {below: 0.3}
    products:
      title: Products
      value: count(*)
      description: Products in at least 20 orders of the load_date.
      unit: products
      better: up
    mostly_reordered:
      title: Products people come back for
      value: count(*) filter (where product_reorder_rate >= 0.5)
      description: Products of which at least half of the orders are reorders.
      unit: products
      better: up
    top_product:
      title: Orders of the top product
      value: max(orders_with_product)
      unit: orders
  dimensions: [product_id, product_name]
# A rate over fewer orders is noise: with 20 orders its standard error is still up to 0.11.
min_volume: {column: orders_with_product, at_least: 20}
# A load_date ends at midnight UTC. The next one must be published at most 36 hours later, by noon of the day after it.
freshness: {within_hours: 36}
columns:
  product_id:
    {type: integer, description: "Identifier of the product. A product that is in no known basket has no row."}
  product_name: {type: text, description: "Name of the product as printed, including commas, quotes and backslashes."}
  orders_with_product: {type: bigint, description: Number of orders that contain the product.}
  times_reordered: {type: bigint, description: "Number of these orders whose user had ordered the product before."}
  product_reorder_rate: {type: "numeric(7,6)", description: "times_reordered / orders_with_product, 0 to 1."}
checks:
  not_null: [product_name, product_reorder_rate]
  range:
    product_reorder_rate: [0, 1]
  reconcile: {source: marts.fact_order_items, counted: sum(orders_with_product)}
@end */
-- The grain of fact_order_items proves that an order has one line per product. So count(*) counts orders, at a tenth of
-- the cost of count(distinct order_id).
with lines as (
    select
        product_id,
        count(*) as orders_with_product,
        sum(reordered) as times_reordered
    from marts.fact_order_items
    where load_date = %(load_date)s
    group by product_id
)

select
    l.product_id,
    p.product_name,
    l.orders_with_product,
    l.times_reordered,
    (l.times_reordered::numeric(38, 6) / l.orders_with_product)::numeric(7, 6) as product_reorder_rate
from lines as l
left join marts.dim_products as p on l.product_id = p.product_id and p.load_date = %(load_date)s
