"""A table that looks back, for TwoSourcePipeline: the labels of each thing over three load_dates."""

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
SELECT = RECENT.partition("@end */\n")[2]
# The table without the reconcile check, for SELECTs that drop labels.
UNRECONCILED = RECENT.replace("  reconcile: {source: raw.labels, counted: sum(things)}\n", "")
# An object of raw.labels with a duplicate thing: it is held.
DOUBLED = b"thing_id,label\n1,heavy\n1,light\n"


def labels(**of: str) -> bytes:
    """Return an object of raw.labels: t1="heavy" is the label of thing 1."""
    return "".join(["thing_id,label\n", *(f"{thing[1:]},{label}\n" for thing, label in of.items())]).encode()
