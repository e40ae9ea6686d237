/* @asset
description: Visits, visitors and time by page.
owner: team:web
grain: [page]
kpi:
  chart: {x: page, y: visits}
columns:
  page: {type: text, description: Path of the page.}
  visits: {type: bigint, description: All visits of the page.}
  visitors: {type: bigint, description: Different visitors among them.}
  avg_seconds: {type: "numeric(10,1)", description: "Mean seconds of a visit, over the visits whose time is known; NULL if there is none."}
checks:
  range:
    visits: [1, null]
    visitors: [1, null]
  reconcile: {source: stg.stg_visits, counted: sum(visits)}
@end */
select
    page,
    count(*) as visits,
    count(distinct visitor) as visitors,
    avg(seconds)::numeric(10, 1) as avg_seconds
from stg.stg_visits
where load_date = %(load_date)s
group by page
