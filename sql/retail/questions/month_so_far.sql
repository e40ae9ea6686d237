/* @question
title: How is the month going?
description: Sales of the month up to this day, by retailer.
owner: team:analytics
columns:
  retailer_id: {title: Retailer}
  month_start: {title: Month of}
  is_final: {title: Month is over, labels: {"true": "yes", "false": "no"}}
  days: {title: Days with sales, format: integer}
  revenue: {title: Revenue, format: decimal2}
  share: {title: Share, format: percent1, bar: true}
  revenue_a_day: {title: Revenue a day, format: decimal2, description: Over the days with sales.}
@end */
-- A day that is held or missing is in no number yet. So retailers are compared by the day with sales, not by the calendar's.
select
    retailer_id,
    month_start,
    is_final,
    days,
    revenue,
    revenue / nullif(sum(revenue) over (), 0) as share,
    revenue / nullif(days, 0) as revenue_a_day
from warehouse.kpi_sales_month
where load_date = %(load_date)s
order by revenue desc, retailer_id asc
