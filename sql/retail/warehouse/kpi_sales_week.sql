/* @asset
description: Sales of the load_date's week up to the load_date, by retailer. On the last day of the week they are those of the whole week.
owner: team:analytics
grain: [retailer_id, week_start]
kpi:
  title: Sales of the week so far
  chart: {x: retailer_id, y: revenue}
  measures:
    revenue:
      title: Revenue of the week so far
      value: sum(revenue)
      description: >-
        From the first day of the week to the load_date. Days that are not published are not in it. Compared with the same day of the week before.
      format: decimal2
      better: up
    revenue_per_day:
      title: Revenue per day, week so far
      value: sum(revenue) / max(days)
      description: Of the week so far, by the days of the retailer with sales on the most days.
      format: decimal2
      better: up
    basket:
      title: Average basket, week so far
      value: sum(revenue) / sum(transactions)
      description: Revenue by transaction over all retailers and days of the week so far.
      format: decimal2
      better: up
    days:
      title: Days with sales, week so far
      value: max(days)
      description: Of the retailer with the most. Fewer days than have passed mean that one is held or missing.
      unit: days
      compare: 1
freshness: {within_hours: 36}
# Every day of the week counts, as its load_date delivered it.
lookback: {days: 7, rows: all}
time_limit: {minutes: 30}
columns:
  retailer_id: {type: text, description: Retailer.}
  week_start: {type: date, description: Monday of the week.}
  is_final: {type: boolean, description: Whether the load_date is the last day of the week.}
  days: {type: bigint, description: "Days with sales of the retailer. A load_date that is held or missing is not in them, until it is published."}
  transactions: {type: bigint, description: Number of transactions.}
  sales: {type: bigint, description: "Number of sales, each one product of a transaction."}
  quantity: {type: bigint, description: Number of pieces.}
  revenue: {type: "numeric(30,2)", description: Sum of total_amount.}
  average_basket: {type: "numeric(20,2)", description: Mean revenue of a transaction.}
checks:
  reconcile:
    source: warehouse.kpi_sales_day
    sum: revenue
    dropped:
      other_week: date_trunc('week', sales_date::timestamp) <> date_trunc('week', %(load_date)s::timestamp)
  every_sale_is_here:
    description: Every sale of the week is counted.
    reconcile:
      source: warehouse.kpi_sales_day
      sum: sales
      dropped:
        other_week: date_trunc('week', sales_date::timestamp) <> date_trunc('week', %(load_date)s::timestamp)
@end */
select
    retailer_id,
    date_trunc('week', %(load_date)s::timestamp)::date as week_start,
    date_trunc('week', %(load_date)s::timestamp + interval '1 day')
    > date_trunc('week', %(load_date)s::timestamp) as is_final,
    count(distinct sales_date) as days,
    sum(transactions)::bigint as transactions,
    sum(sales)::bigint as sales,
    sum(quantity)::bigint as quantity,
    sum(revenue)::numeric(30, 2) as revenue,
    (sum(revenue) / sum(transactions))::numeric(20, 2) as average_basket
from warehouse.kpi_sales_day
where
    load_date between %(window_start)s and %(load_date)s
    and date_trunc('week', sales_date::timestamp) = date_trunc('week', %(load_date)s::timestamp)
group by retailer_id
