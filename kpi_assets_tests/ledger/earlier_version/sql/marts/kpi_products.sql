/* @asset
description: Average price of each product on a day.
owner: team:shop
grain: [product]
kpi:
  chart: {x: product, y: average_price}
min_volume: {column: orders, at_least: 2}
columns:
  product: {type: text, description: Name of the product.}
  orders: {type: bigint, description: Number of orders.}
  average_price: {type: numeric, description: Average price in euros.}
@end */
select
    product,
    count(*) as orders,
    round(avg(price), 2) as average_price
from stg.orders
where load_date = %(load_date)s
group by product
