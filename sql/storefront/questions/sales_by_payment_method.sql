/* @question
title: How do people pay?
description: Sales of the days up to this one by payment method, as known on this day.
owner: team:analytics
parameters:
  days: {title: Of the last so many days, type: integer, default: 28, range: [1, 3660]}
columns:
  payment_method: {title: Method}
  transactions: {title: Purchases, format: integer}
  revenue: {title: Revenue, format: decimal2}
  share: {title: Share of revenue, format: percent1, bar: true}
@end */
-- A method that nobody used in these days has no row.
select
    m.payment_method,
    count(distinct s.transaction_id) as transactions,
    sum(s.line_total) as revenue,
    sum(s.line_total) / nullif(sum(sum(s.line_total)) over (), 0) as share
from warehouse.fact_sales as s
inner join warehouse.dim_payment_method as m on s.payment_method_sk = m.payment_method_sk
inner join warehouse.dim_date as d on s.date_sk = d.date_sk and d.is_current
where s.is_current and d.date > %(load_date)s::date - %(days)s and d.date <= %(load_date)s::date
group by m.payment_method
order by revenue desc, m.payment_method asc
