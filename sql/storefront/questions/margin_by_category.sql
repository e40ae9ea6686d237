/* @question
title: Which categories earn, and which only sell?
description: Revenue and margin by category, over all sales that are known on this day.
owner: team:analytics
columns:
  category: {title: Category}
  revenue: {title: Revenue, format: decimal2}
  revenue_with_cost: {title: Of which the cost is known, format: decimal2}
  profit: {title: Profit, format: decimal2}
  margin: {title: Margin, format: percent1, bar: true, description: Profit as a share of the revenue whose cost is known.}
@end */
-- The margin is over the sales whose cost is known, above and below the line: with the others' revenue below it, a missing
-- cost would look like a poor margin. The category is that of the product on the day of the sale. Sales of products that no
-- export ever had are in the last row.
select
    coalesce(p.category, 'Not in any export') as category,
    sum(s.line_total) as revenue,
    coalesce(sum(s.line_total) filter (where s.cost is not null), 0) as revenue_with_cost,
    sum(s.profit) as profit,
    sum(s.profit) / nullif(sum(s.line_total) filter (where s.cost is not null), 0) as margin
from warehouse.fact_sales as s
left join warehouse.dim_products as p on s.product_sk = p.product_sk
where s.is_current
group by p.category
order by p.category is null asc, revenue desc, category asc
