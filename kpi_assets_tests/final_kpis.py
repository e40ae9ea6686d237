"""KPIs of the two-source pipeline whose numbers are final some days after the load_date, and how they are declared."""

from kpi_assets_tests.read.kpi_shop import KPI
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

NAME = "marts.heavy"
# Weight of the things of two days.
RECENT = """\
/* @asset
description: Weight of the things of two days.
owner: team:tests
grain: [what]
lookback: {days: 2, rows: all}
columns:
  what: {type: text, description: What is added up.}
  weight: {type: numeric, description: Kilograms.}
@end */
select 'all' as what, sum(weight) as weight
from marts.weighed
where load_date between %(window_start)s and %(load_date)s
"""
MEASURED = """\
kpi:
  chart: {x: what, y: weight}
  measures:
    kilograms: {title: Weight, value: sum(weight), format: decimal1, unit: kg}
"""
OVER_A_WINDOW = RECENT.replace("columns:\n", f"{MEASURED}columns:\n")
OF_RECENT = """\
/* @asset
description: Weight of the things of two days, as a KPI.
owner: team:tests
grain: [what]
kpi:
  chart: {x: what, y: weight}
columns:
  what: {type: text, description: What is added up.}
  weight: {type: numeric, description: Kilograms.}
@end */
select what, weight from marts.recent where load_date = %(load_date)s
"""
# What each of the last three days weighed.
BY_DAY = """\
/* @asset
description: Weight of the things of each of three days.
owner: team:tests
grain: [day]
lookback: {days: 3, rows: all}
kpi:
  chart: {x: day, y: weight}
columns:
  day: {type: date, description: Day.}
  weight: {type: numeric, description: Kilograms.}
@end */
select load_date as day, sum(weight) as weight
from marts.weighed
where load_date between %(window_start)s and %(load_date)s
group by load_date
"""


def declare_final(shop: TwoSourcePipeline, words: str, kpi: str = KPI) -> None:
    """Write the file of the KPI with these words of `final`."""
    shop.file("marts/heavy.sql", kpi.replace("kpi:\n", f"kpi:\n  final: {{{words}}}\n"))


def begin(shop: TwoSourcePipeline) -> None:
    """Let the pipeline begin with `day`, so that its windows lack nothing before."""
    path = shop.folder / "pipeline.yaml"
    path.write_text(path.read_text().replace("start_date: 2025-01-01", f"start_date: {shop.day}"))
