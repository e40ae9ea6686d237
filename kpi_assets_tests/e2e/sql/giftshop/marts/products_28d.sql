/* @asset
description: Products that were sold in the last 28 days.
owner: team:shop
grain: [stock_code]
lookback: {days: 28, rows: all}
kpi:
  chart: {x: stock_code, y: revenue}
columns:
  stock_code: {type: text, description: Product.}
  description: {type: text, description: Its name as it was typed in the last time.}
  pieces: {type: bigint, description: Pieces that were sold.}
  revenue: {type: numeric, description: Pounds.}
checks:
  reconcile: {source: stg.stg_lines, sum: amount, here: revenue}
@end */
select
    stock_code,
    (
        array_agg(description order by load_date desc, line_no desc) filter (where description is not null)
    )[1] as description,
    sum(quantity) as pieces,
    sum(amount) as revenue
from stg.stg_lines
where load_date between %(window_start)s and %(load_date)s
group by stock_code
