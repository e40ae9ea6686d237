/* @asset
description: Page visits, with one spelling of each page.
owner: team:web
grain: [visit_id]
columns:
  visit_id: {type: integer, description: Visit.}
  visitor: {type: text, description: Visitor.}
  seconds: {type: integer, description: Seconds on the page; NULL where the browser did not say.}
  page: {type: text, description: "Path of the page in lower case, without a slash at its end; / is the home page."}
checks:
  reconcile: {source: raw.visits}
@end */
select
    visit_id,
    visitor,
    seconds,
    coalesce(nullif(lower(rtrim(page, '/')), ''), '/') as page
from raw.visits
where load_date = %(load_date)s
