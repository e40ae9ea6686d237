/* @question
title: Which pages gained visits in a week?
description: Visits by page, beside those of the load_date seven days earlier.
owner: team:web
parameters:
  at_least: {title: With at least so many visits, type: integer, default: 1, range: [1, 1000000]}
columns:
  page: {title: Page}
  visits_before: {title: A week before, format: integer}
  visits: {title: Visits, format: integer, bar: true}
@end */
-- A page that had no visits a week before has nothing there, and so has every page if that day is not published.
select
    n.page,
    b.visits as visits_before,
    n.visits
from marts.kpi_visits_by_page as n
left join marts.kpi_visits_by_page as b on n.page = b.page and b.load_date = %(load_date)s::date - 7
where n.load_date = %(load_date)s and n.visits >= %(at_least)s
order by n.visits desc, n.page asc
