/* @asset
description: What came back on the day, by country.
owner: team:shop
grain: [country]
kpi:
  chart: {x: country, y: returned}
columns:
  country: {type: text, description: Country.}
  lines: {type: bigint, description: Lines that were cancelled.}
  returned: {type: numeric, description: Pounds.}
checks:
  reconcile: {source: raw.cancellations, counted: sum(lines)}
@end */
select
    country,
    count(*) as lines,
    -sum(quantity * unit_price) as returned
from raw.cancellations
where load_date = %(load_date)s
group by country
