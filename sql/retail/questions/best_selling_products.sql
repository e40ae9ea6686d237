/* @question
title: Which products sell best?
description: Products with the most revenue over 28 days, this day the last, of one retailer or of all.
owner: team:analytics
parameters:
  retailer: {title: Retailer, type: text, default: all, choices: [all, retailer_1, retailer_2, retailer_3]}
  at_least: {title: In at least so many purchases, type: integer, default: 5, range: [1, 1000000]}
columns:
  product_name: {title: Product}
  category: {title: Category}
  retailer_id: {title: Retailer}
  transactions: {title: Purchases, format: integer}
  quantity: {title: Pieces, format: integer}
  revenue: {title: Revenue, format: decimal2, bar: true}
@end */
-- A product belongs to one retailer: the same thing at two retailers is two products.
select
    product_name,
    category,
    retailer_id,
    transactions,
    quantity,
    revenue
from warehouse.kpi_top_products
where
    load_date = %(load_date)s and transactions >= %(at_least)s
    and (retailer_id = %(retailer)s or %(retailer)s = 'all')
order by revenue desc, retailer_id asc, product_id asc
limit 20
