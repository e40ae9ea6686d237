/* @question
title: Which products do people put into the basket first?
description: Products by how often they are the first line of a basket, as a share of all baskets that have them.
owner: team:analytics
parameters:
  at_least: {title: In at least so many baskets, type: integer, default: 50, range: [1, 1000000]}
columns:
  product_name: {title: Product}
  baskets: {title: Baskets, format: integer}
  times_first: {title: Put in first, format: integer}
  share_first: {title: Share, format: percent1, bar: true}
@end */
-- A product is more often the first of a small basket. So staples of small orders rank high, whoever buys them.
select
    p.product_name,
    count(*) as baskets,
    count(*) filter (where i.add_to_cart_order = 1) as times_first,
    (count(*) filter (where i.add_to_cart_order = 1))::numeric / count(*) as share_first
from marts.fact_order_items as i
inner join marts.dim_products as p using (load_date, product_id)
where i.load_date = %(load_date)s
group by p.product_id, p.product_name
having count(*) >= %(at_least)s
order by share_first desc, baskets desc, p.product_id asc
limit 15
