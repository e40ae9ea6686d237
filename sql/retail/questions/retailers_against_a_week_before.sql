/* @question
title: Which retailer grew, against a week before?
description: Revenue of the day by retailer, beside that of the day a week before.
owner: team:analytics
columns:
  retailer_name: {title: Retailer}
  revenue_before: {title: A week before, format: decimal2}
  revenue: {title: Revenue, format: decimal2, bar: true}
  growth: {title: Growth, format: percent1}
  average_basket: {title: Mean purchase, format: decimal2}
@end */
-- A retailer without sales has a row with 0. If the day a week before is not published, the growth is unknown.
with now as (
    select
        retailer_id,
        sum(revenue) as revenue,
        sum(transactions) as transactions
    from warehouse.kpi_sales_day
    where load_date = %(load_date)s
    group by retailer_id
),

before as (
    select
        retailer_id,
        sum(revenue) as revenue
    from warehouse.kpi_sales_day
    where load_date = %(load_date)s::date - 7
    group by retailer_id
)

select
    r.retailer_name,
    b.revenue as revenue_before,
    coalesce(n.revenue, 0) as revenue,
    coalesce(n.revenue, 0) / nullif(b.revenue, 0) - 1 as growth,
    n.revenue / nullif(n.transactions, 0) as average_basket
from warehouse.dim_retailer as r
left join now as n on r.retailer_id = n.retailer_id
left join before as b on r.retailer_id = b.retailer_id
where r.load_date = %(load_date)s
order by revenue desc, r.retailer_id asc
