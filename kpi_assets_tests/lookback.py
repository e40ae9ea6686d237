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
SELECT = RECENT.partition("@end */\n")[2]
# Without the check that its labels are all there, for SELECTs of which that is not true.
UNRECONCILED = RECENT.replace("  reconcile: {source: raw.labels, counted: sum(things)}\n", "")
# An object of raw.labels in which a thing stands twice: it is held.
DOUBLED = b"thing_id,label\n1,heavy\n1,light\n"


def labels(**of: str) -> bytes:
    """An object of raw.labels: t1="heavy" is the label of thing 1."""
    return "".join(["thing_id,label\n", *(f"{thing[1:]},{label}\n" for thing, label in of.items())]).encode()
