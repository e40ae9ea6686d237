/* @asset
description: Visits, visitors and time by page.
owner: team:web
grain: [page]
kpi:
  title: Visits by page
  chart: {x: page, y: visits}
  measures:
    visits: {title: Visits, value: sum(visits), unit: visits, better: up, alert: {change: {more_than: 0.5}}}
    pages: {title: Pages with visits, value: count(*), unit: pages}
    top_page:
      title: Share of the top page
      value: max(visits) / sum(visits)
      description: Visits of the page with the most, by all visits.
      format: percent1
      unit: of visits
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
