/* @asset
description: The calendar, from 2025-01-01 to the end of the load_date's year.
owner: team:analytics
grain: [date_id]
time_limit: {minutes: 30}
columns:
  date_id: {type: date, description: The day.}
  year: {type: smallint, description: Year of the day.}
  quarter: {type: smallint, description: "Quarter of the year, 1 to 4."}
  month: {type: smallint, description: "Month of the year, 1 to 12."}
  day_of_month: {type: smallint, description: "Day of the month, 1 to 31."}
  iso_year: {type: smallint, description: Year that the ISO week belongs to.}
  iso_week: {type: smallint, description: "ISO week of the year, 1 to 53."}
  day_of_week: {type: smallint, description: "Day of the week, 1 (Monday) to 7 (Sunday)."}
  is_weekend: {type: boolean, description: Whether it is a Saturday or a Sunday.}
checks:
  load_date_is_there:
    description: The calendar goes as far as the load_date.
    bad_rows: select max(date_id) as last_date from {this} having max(date_id) < min(load_date)
@end */
select
    day::date as date_id,
    extract(year from day)::smallint as year,
    extract(quarter from day)::smallint as quarter,
    extract(month from day)::smallint as month,
    extract(day from day)::smallint as day_of_month,
    extract(isoyear from day)::smallint as iso_year,
    extract(week from day)::smallint as iso_week,
    extract(isodow from day)::smallint as day_of_week,
    extract(isodow from day) >= 6 as is_weekend
from generate_series(
    '2025-01-01'::timestamp,
    date_trunc('year', %(load_date)s::timestamp) + interval '1 year' - interval '1 day',
    interval '1 day'
) as day
