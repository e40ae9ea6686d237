/* @asset
description: Sales of the day by country.
owner: team:shop
grain: [country]
kpi:
  chart: {x: country, y: revenue}
columns:
  country: {type: text, description: Country.}
  invoices: {type: bigint, description: Invoices with at least one line that was sold.}
  lines: {type: bigint, description: Lines that were sold.}
  revenue: {type: numeric, description: Pounds.}
checks:
  reconcile: {source: stg.stg_lines, sum: amount, here: revenue}
@end */
select
    country,
    count(distinct invoice_no) as invoices,
    count(*) as lines,
    sum(amount) as revenue
from stg.stg_lines
where load_date = %(load_date)s
group by country
