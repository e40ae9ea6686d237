/* @asset
description: Sales of the last 7 days by country.
owner: team:shop
grain: [country]
lookback: {days: 7, rows: all}
kpi:
  chart: {x: country, y: revenue}
columns:
  country: {type: text, description: Country.}
  days: {type: bigint, description: Days of the last 7 on which something was sold there.}
  revenue: {type: numeric, description: Pounds.}
checks:
  reconcile: {source: marts.sales_by_country, sum: revenue}
@end */
select
    country,
    count(*) as days,
    sum(revenue) as revenue
from marts.sales_by_country
where load_date between %(window_start)s and %(load_date)s
group by country
