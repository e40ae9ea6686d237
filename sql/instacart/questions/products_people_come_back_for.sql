/* @question
title: Which products do people come back for?
description: Of the products in enough orders, those most often bought by somebody who had bought them before.
owner: team:analytics
parameters:
  at_least: {title: In at least so many orders, type: integer, default: 50, range: [1, 1000000]}
columns:
  product_name: {title: Product}
  orders_with_product: {title: Orders, format: integer}
  product_reorder_rate: {title: Reordered, format: percent1, bar: true}
@end */
-- Both counts are of orders whose lines are known. A rate over few orders is noise, so the reader says how many are enough.
select
    product_name,
    orders_with_product,
    product_reorder_rate
from marts.kpi_products_reorder
where load_date = %(load_date)s and orders_with_product >= %(at_least)s
order by product_reorder_rate desc, orders_with_product desc, product_id asc
limit 15
