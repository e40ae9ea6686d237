"""The partitions of a pipeline are the load_dates of its calendar, and a window has as many as it can have at most."""

from datetime import date, datetime, timezone
from pathlib import Path
from time import perf_counter

import pytest

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.partitions import exclusions, horizon, load_dates, most_load_dates
from kpi_assets.model.calendar import Calendar
from kpi_assets.model.pipeline import Pipeline
from kpi_assets_tests.model.conftest import MART, Tree

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
WINDOW = "between %(window_start)s and %(load_date)s"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "sql")


def shop(tree: Tree, words: str) -> Pipeline:
    path = tree.root / "shop/pipeline.yaml"
    path.write_text(path.read_text() + (f"calendar: {words}\n" if words else ""))
    return tree.load()


@pytest.mark.parametrize(
    "words",
    [
        "{every: weekday, except: [2025-12-25, 2025-12-26, 2025-12-27]}",
        "{every: month-end}",
        "{every: [monday, month-start]}",
        "{every: [quarter-end, year-start], except: [2025-03-31]}",
        "{except: [2025-01-01, 2026-03-02]}",
        "",
    ],
)
def test_the_partitions_are_the_days_of_the_calendar(tree: Tree, words: str) -> None:
    found = shop(tree, words)
    began = perf_counter()
    keys = load_dates(found).get_partition_keys(current_time=NOW)
    assert perf_counter() - began < 1
    wanted = [*found.calendar.between(date(2025, 1, 1), date(2026, 3, 2))]
    if not found.calendar.is_due(NOW.date()):
        wanted.append(found.calendar.next_after(NOW.date()))  # type: ignore[arg-type]
    assert keys == [str(day) for day in wanted]
    assert (
        load_dates(found).get_serializable_unique_identifier() == load_dates(found).get_serializable_unique_identifier()
    )


def test_most_days_are_left_out_by_cron() -> None:
    ends = date(2025, 1, 1), date(2039, 12, 31)
    assert exclusions(Calendar(), *ends) == ()
    weekday = exclusions(Calendar.of(["weekday"], [date(2025, 12, 25), date(2025, 12, 27)]), *ends)
    assert weekday == ("0 0 * * 6,0", datetime(2025, 12, 25, tzinfo=timezone.utc))
    month_end = exclusions(Calendar.of(["month-end"]), *ends)
    assert month_end[0] == f"0 0 {','.join(map(str, range(1, 28)))} * *"
    assert len(month_end) == 1 + 15 * (365 - 12 - 12 * 27) + 4 - 1
    assert [horizon(date(year, 5, 5)).year for year in (2025, 2029, 2030)] == [2039, 2039, 2049]


def test_a_window_has_as_many_partitions_as_it_can_have_load_dates(tree: Tree) -> None:
    tree.write(
        "shop/marts/recent.sql",
        MART.replace("checks:", "lookback: {days: 28, rows: all}\nchecks:").replace("= %(load_date)s", WINDOW),
    )
    assert most_load_dates(shop(tree, ""), 28) == 28
    found = shop(tree, "{every: weekday}")
    assert most_load_dates(found, 28) == 20
    [recent] = [each for each in pipeline_assets(found) if each.key.path[-1] == "recent"]
    [mapping] = [dep.partition_mapping for spec in recent.specs for dep in spec.deps]
    assert (mapping.start_offset, mapping.end_offset) == (-19, 0)


def test_a_table_that_carries_on_is_no_dependency_of_its_own(tree: Tree) -> None:
    itself = "union all select thing_id, name from marts.sold where load_date = %(previous_load_date)s\n"
    tree.write("shop/marts/sold.sql", MART + itself)
    [sold] = [each for each in pipeline_assets(shop(tree, "")) if each.key.path[-1] == "sold"]
    assert [dep.asset_key.path for spec in sold.specs for dep in spec.deps] == [["shop", "raw", "things"]]


def test_dagsters_freshness_waits_for_the_longest_time_without_a_load_date(tree: Tree) -> None:
    kpi = "kpi: {chart: {x: thing_id, y: thing_id}}\nfreshness: {within_hours: 36}\nchecks:"
    tree.write("shop/marts/sold.sql", MART.replace("checks:", kpi))
    hours = []
    for words in ("", "{every: weekday, except: [2025-12-25, 2025-12-26]}"):
        [sold] = [each for each in pipeline_assets(shop(tree, words)) if each.key.path[-1] == "sold"]
        [policy] = [spec.freshness_policy for spec in sold.specs]
        hours.append(policy.fail_window.to_timedelta().total_seconds() / 3600)
    assert hours == [24 + 36, 5 * 24 + 36]
