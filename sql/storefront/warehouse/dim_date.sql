/* @asset
description: The calendar, from 2020-01-01 to the end of the load_date's year.
owner: team:analytics
grain: [date_sk]
# A history of what never changes is one version a day: a new year adds its days, and no load_date repeats the others.
storage: history
history: {surrogate_key: date_version}
columns:
  date: {type: date, description: The day.}
  date_sk: {type: integer, description: "The day as a number, yyyymmdd."}
  year: {type: smallint, description: Year of the day.}
  quarter: {type: smallint, description: "Quarter of the year, 1 to 4."}
  month: {type: smallint, description: "Month of the year, 1 to 12."}
  day_of_month: {type: smallint, description: "Day of the month, 1 to 31."}
  day_of_week: {type: smallint, description: "Day of the week, 1 (Monday) to 7 (Sunday)."}
  is_weekend: {type: boolean, description: Whether it is a Saturday or a Sunday.}
checks:
  load_date_is_there:
    description: The calendar goes as far as the load_date.
    bad_rows: select max(date) as last_date from {this} having max(date) < min(load_date)
@end */
-- production.transactions_clean drops sales before this calendar begins and after the load_date: change both together.
select
    day::date as date,
    to_char(day, 'YYYYMMDD')::integer as date_sk,
    extract(year from day)::smallint as year,
    extract(quarter from day)::smallint as quarter,
    extract(month from day)::smallint as month,
    extract(day from day)::smallint as day_of_month,
    extract(isodow from day)::smallint as day_of_week,
    extract(isodow from day) >= 6 as is_weekend
from generate_series(
    '2020-01-01'::timestamp,
    date_trunc('year', %(load_date)s::timestamp) + interval '1 year' - interval '1 day',
    interval '1 day'
) as day
