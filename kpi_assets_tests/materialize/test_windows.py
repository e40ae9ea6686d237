"""The rows read over a window: all with `rows: all` of the reader, the latest with `versions: latest` of the table."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.recheck import recheck
from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.pipeline_harness import PipelineHarness

FIRST = date(2025, 3, 1)
# The number of a line denotes a different line on each load_date.
LINES = """\
/* @asset
description: Lines as delivered, numbered within each delivery.
owner: team:tests
grain: [line]
source: {object: "raw/lines/load_date={load_date}/lines.csv", format: csv}
columns:
  line: {type: integer, description: Number of the line.}
  country: {type: text, description: Country.}
  amount: {type: "numeric(8,2)", description: Price.}
@end */
"""
BY_COUNTRY = """\
/* @asset
description: Revenue by country.
owner: team:tests
grain: [country]
columns:
  country: {type: text, description: Country.}
  revenue: {type: numeric, description: Sum of the prices.}
@end */
select country, sum(amount) as revenue
from raw.lines
where load_date = %(load_date)s
group by country
"""
COUNTED = """\
/* @asset
description: Lines of three days by country.
owner: team:tests
grain: [country]
lookback: {days: 3, rows: all}
columns:
  country: {type: text, description: Country.}
  lines: {type: bigint, description: How many.}
checks:
  reconcile: {source: raw.lines, counted: sum(lines), dropped: {free: amount = 0}}
@end */
select country, count(*) as lines
from raw.lines
where load_date between %(window_start)s and %(load_date)s and amount > 0
group by country
"""
SEEN = """\
/* @asset
description: Lines, seen.
owner: team:tests
grain: [line]
storage: view
columns:
  line: {type: integer, description: Number of the line.}
  country: {type: text, description: Country.}
  amount: {type: "numeric(8,2)", description: Price.}
@end */
select line, country, amount from raw.lines where load_date = %(load_date)s
"""


@pytest.fixture(scope="module")
def lines(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    """A pipeline with nine load_dates of two lines each. The third load_date is missing."""
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("lines")) as lab:
        lab.file("raw/lines.sql", LINES)
        lab.file("marts/revenue_by_country.sql", BY_COUNTRY)
        for number in range(9):
            if number == 2:
                continue
            day = FIRST + timedelta(days=number)
            rows = f"1,UK,{100 + number}\n2,{'UK' if number % 2 else 'FR'},{number}.50\n3,UK,0\n"
            lab.put(f"raw/lines/load_date={day}/lines.csv", b"line,country,amount\n" + rows.encode())
            for name in ("raw.lines", "marts.revenue_by_country"):
                assert not lab.build(name, day).held
        yield lab


def built(lab: PipelineHarness, name: str, number: int, columns: str) -> tuple[list[tuple[Any, ...]], str]:
    """Build a load_date, and return its rows and the message of reconcile."""
    outcome = lab.build(name, FIRST + timedelta(days=number))
    assert not outcome.held, outcome.results
    rows = lab.rows(f"select {columns} from {name} where load_date = '{FIRST + timedelta(days=number)}' order by 1")
    return rows, {result.name: result.message for result in outcome.results}.get("reconcile", "")


def test_all_rows_of_the_window_are_read_with_rows_all(lines: PipelineHarness) -> None:
    lines.file("marts/counted.sql", COUNTED)
    said = "9 rows of raw.lines = 6 here + 3 dropped by free"
    assert built(lines, "marts.counted", 5, "country, lines") == ([("FR", 1), ("UK", 5)], said)
    absent = "6 rows of raw.lines = 4 here + 2 dropped by free"
    assert built(lines, "marts.counted", 3, "country, lines") == ([("UK", 4)], absent)


def test_reconcile_compares_sums_over_a_window(lines: PipelineHarness) -> None:
    summed = "sum: amount, here: revenue, dropped: {abroad: country <> 'UK'}}"
    text = COUNTED.replace("lines: {type: bigint,", "revenue: {type: numeric,").replace(
        "count(*) as lines", "sum(amount) as revenue"
    )
    text = text.replace("counted: sum(lines), dropped: {free: amount = 0}}", summed).replace(
        "amount > 0", "country = 'UK'"
    )
    lines.file("marts/counted.sql", text)
    said = "325.50 as sum(amount) of raw.lines = 321.00 here + 4.50 dropped by abroad"
    assert built(lines, "marts.counted", 5, "country, revenue") == ([("UK", Decimal("321.00"))], said)
    context = lines.prepared()
    again = {
        each.name: each for each in recheck(context, context.pipeline.table("marts.counted"), FIRST + timedelta(5))
    }
    assert (again["reconcile"].passed, again["reconcile"].message) == (True, said)


def test_all_rows_of_the_window_are_read_through_a_view(lines: PipelineHarness) -> None:
    lines.file("marts/seen.sql", SEEN)
    for number in (3, 4, 5):
        lines.build("marts.seen", FIRST + timedelta(days=number))
    lines.file("marts/counted.sql", COUNTED.replace("raw.lines", "marts.seen"))
    said = "9 rows of marts.seen = 6 here + 3 dropped by free"
    assert built(lines, "marts.counted", 5, "country, lines") == ([("FR", 1), ("UK", 5)], said)


def test_rows_all_of_the_reader_overrides_versions_latest_of_the_table(lines: PipelineHarness) -> None:
    lines.file("raw/lines.sql", LINES.replace("grain:", "versions: latest\ngrain:"))
    lines.file("marts/counted.sql", COUNTED.replace("{days: 3, rows: all}", "3"))
    said = "3 rows of raw.lines = 2 here + 1 dropped by free"
    assert built(lines, "marts.counted", 5, "country, lines") == ([("UK", 2)], said)
    lines.file("marts/counted.sql", COUNTED)
    assert built(lines, "marts.counted", 5, "country, lines")[0] == [("FR", 1), ("UK", 5)]


def test_the_window_examples_of_the_authoring_guide_give_the_right_rows(lines: PipelineHarness) -> None:
    guide = (CHECKOUT / "docs" / "guides" / "authoring.md").read_text()
    examples = re.findall(r"^```sql\n(/\* @asset\n.*?)```", guide, re.DOTALL | re.MULTILINE)
    week, weekday = (each for each in examples if "marts.revenue_by_country" in each)
    lines.file("marts/week.sql", week)
    uk = 101 + 103 + 104 + 105 + 106 + 107 + Decimal("1.50") + Decimal("3.50") + Decimal("5.50") + Decimal("7.50")
    said = "655.00 as sum(revenue) of marts.revenue_by_country = 655.00 here"
    assert built(lines, "marts.week", 7, "country, revenue") == ([("FR", Decimal("11.00")), ("UK", uk)], said)
    lines.file("marts/weekday.sql", weekday)
    values = "country, revenue, revenue_week_before"
    assert built(lines, "marts.weekday", 8, values)[0] == [
        ("FR", Decimal("8.50"), None),
        ("UK", Decimal("108.00"), Decimal("102.50")),
    ]
    assert built(lines, "marts.weekday", 7, values)[0] == [("UK", Decimal("114.50"), Decimal("100.00"))]
