/* @asset
description: Sales of the day by country, and of the same weekday a week before.
owner: team:shop
grain: [country]
lookback: {days: 8, rows: all}
columns:
  country: {type: text, description: Country.}
  revenue: {type: numeric, description: Pounds of the day.}
  revenue_week_before: {type: numeric, description: Pounds a week before; NULL if nothing was sold there then.}
checks:
  min_rows: {at_least: 1}
@end */
select
    today.country,
    today.revenue,
    before.revenue as revenue_week_before
from marts.sales_by_country as today
left join marts.sales_by_country as before
    on
        today.country = before.country
        and before.load_date between %(window_start)s and %(load_date)s
        and before.load_date = %(load_date)s::date - 7
where today.load_date = %(load_date)s
