/* @question
title: In which aisles do people buy again what they know?
description: Lines whose product the user had ordered before, as a share of all lines of the aisle.
owner: team:analytics
parameters:
  at_least: {title: With at least so many lines, type: integer, default: 100, range: [1, 1000000]}
  without_first_orders: {title: Without the first order of each user, type: boolean, default: false}
columns:
  aisle: {title: Aisle}
  department: {title: Department}
  lines: {title: Lines, format: integer}
  reorder_rate: {title: Bought before, format: percent1, bar: true}
@end */
-- The rate is of lines, not of orders: a basket with ten lines of an aisle counts ten times there. Nothing in a first order
-- can have been bought before, so an aisle that new users like has a lower rate; the reader may leave these orders out.
select
    p.aisle,
    p.department,
    count(*) as lines,
    avg(i.reordered) as reorder_rate
from marts.fact_order_items as i
inner join marts.fact_orders as o using (load_date, order_id)
inner join marts.dim_products as p using (load_date, product_id)
where i.load_date = %(load_date)s and (o.order_number > 1 or not %(without_first_orders)s)
group by p.aisle_id, p.aisle, p.department
having count(*) >= %(at_least)s
order by reorder_rate desc, lines desc, p.aisle asc
limit 25
