/* @asset
description: Page visits as delivered, those of one day.
owner: team:web
grain: [visit_id]
source:
  object: raw/visits/load_date={load_date}/visits.csv
  format: csv
columns:
  visit_id: {type: integer, description: Visit.}
  visitor: {type: text, description: "Visitor, a random name that a browser keeps."}
  page: {type: text, description: "Path of the page as the browser asked for it, such as /Prices/."}
  seconds: {type: integer, description: Seconds on the page; NULL where the browser did not say.}
checks:
  not_null: [visitor, page]
  range:
    seconds: [0, 86400]
@end */
