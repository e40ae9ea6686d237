/* @question
title: Which products gained most in a week?
description: Products by the change of their share of baskets, against the day a week before.
owner: team:analytics
parameters:
  at_least: {title: In at least so many baskets now, type: integer, default: 20, range: [1, 1000000]}
columns:
  product_name: {title: Product}
  baskets_before: {title: Baskets a week before, format: integer}
  baskets: {title: Baskets, format: integer}
  share_before: {title: Share a week before, format: percent2}
  share: {title: Share, format: percent2}
  gain: {title: Gain, format: percent2, bar: true, description: The share less that of a week before.}
@end */
-- Shares of all known baskets are compared, not numbers of baskets: a day with more orders would let everything gain. A
-- product that was in no basket a week before had a share of 0. If the day a week before is not published, there is nothing
-- to compare with, and no row.
with baskets_now as (
    select count(items_in_order) as baskets
    from marts.fact_orders
    where load_date = %(load_date)s
),

baskets_before as (
    select count(items_in_order) as baskets
    from marts.fact_orders
    where load_date = %(load_date)s::date - 7
),

products_before as (
    select
        product_id,
        orders_with_product
    from marts.kpi_products_reorder
    where load_date = %(load_date)s::date - 7
),

compared as (
    select
        n.product_id,
        n.product_name,
        n.orders_with_product as baskets,
        coalesce(b.orders_with_product, 0) as baskets_before,
        coalesce(b.orders_with_product, 0)::numeric / nullif(bb.baskets, 0) as share_before,
        n.orders_with_product::numeric / bn.baskets as share
    from marts.kpi_products_reorder as n
    cross join baskets_now as bn
    cross join baskets_before as bb
    left join products_before as b on n.product_id = b.product_id
    where n.load_date = %(load_date)s and n.orders_with_product >= %(at_least)s
)

select
    product_name,
    baskets_before,
    baskets,
    share_before,
    share,
    share - share_before as gain
from compared
where share > share_before
order by gain desc, baskets desc, product_id asc
limit 15
