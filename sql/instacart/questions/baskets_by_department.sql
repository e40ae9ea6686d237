/* @question
title: What is in the baskets, by department?
description: Lines of each department, as a share of all lines of the day.
owner: team:analytics
columns:
  department: {title: Department}
  lines: {title: Lines, format: integer}
  share: {title: Share of all lines, format: percent1, bar: true}
@end */
-- A line is one product of a basket, however many pieces of it there are: the delivery does not say how many. The shares
-- are of all lines, also of those that are not among the rows shown here.
select
    p.department,
    count(*) as lines,
    count(*) / sum(count(*)) over () as share
from marts.fact_order_items as i
inner join marts.dim_products as p using (load_date, product_id)
where i.load_date = %(load_date)s
group by p.department
order by lines desc, p.department asc
limit 25
