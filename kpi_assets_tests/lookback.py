"""A table that looks back in the shop: the labels that each thing has, over three load_dates."""

RECENT = """\
/* @asset
description: Things by label, over the last three load_dates.
owner: team:tests
grain: [label]
lookback: 3
kpi:
  chart: {x: label, y: things}
columns:
  label: {type: text, description: Label.}
  things: {type: bigint, description: Things whose latest label it is.}
checks:
  min_rows: {at_least: 0, of_previous: 0}
  reconcile: {source: raw.labels, counted: sum(things)}
@end */
select label, count(*) as things
from raw.labels
where load_date between %(window_start)s and %(load_date)s
group by label
"""
