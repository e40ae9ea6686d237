"""`kpi demo storefront` plays three days: one is held, and its correction lands after the next one is published."""

import csv
import io
import re
import shutil
from collections.abc import Iterator

import pytest

from kpi_assets.embedded.stack import stop
from kpi_assets_tests.cli.command import Kpi, Output

pytestmark = pytest.mark.nightly

HISTORY = "warehouse.dim_customers"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kpi]:
    folder = tmp_path_factory.mktemp("days")
    yield Kpi(folder / "home", folder)
    stop(folder / "home")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def demo(alone: Kpi) -> Output:
    """The output of `kpi demo storefront` as the first command in a new home."""
    return alone.process("demo", "storefront")


def part(demo: Output, start: str) -> str:
    """The part of the output below the headline that begins so."""
    [found] = [each for each in f"\n{demo.out}".split("\n\n") if each.startswith(start)]
    return found


def test_a_day_is_held_and_the_history_goes_on_without_it(demo: Output) -> None:
    assert "published storefront, load_date 2025-01-06: 24 assets" in part(demo, "1. ")
    held = part(demo, "2. ")
    assert "with swapped-columns planted" in held
    assert "held production.customers: held by max_changed" in held
    assert "published storefront, load_date 2025-01-08: 24 assets" in part(demo, "3. ")


def test_the_correction_makes_only_the_later_day_stale_and_the_plan_builds_it(demo: Output) -> None:
    assert "replaced 1, unchanged 3 objects" in part(demo, "4. ")
    plan = part(demo, "5. ").splitlines()[1:]
    assert [line.partition(":")[0] for line in plan] == [
        "published 2025-01-06",
        "published 2025-01-07",
        "stale 2025-01-08",
        "published storefront, load_date 2025-01-08",
        *("published 2025-01-06", "published 2025-01-07", "published 2025-01-08"),
    ]
    assert "Built from rows that were replaced since: warehouse.dim_customers" in plan[2]


def test_a_move_is_seen_on_the_day_that_was_held_once_it_is_corrected(demo: Output) -> None:
    lines = [line.split() for line in demo.out.splitlines() if re.match(r"\s*2025-01-0\d\s", line)]
    as_of = [line[:4] for line in lines]
    zurich, chicago = ["Zürich", "Zürich"], ["Chicago", "Illinois"]
    assert as_of == [
        ["2025-01-06", *zurich, "2025-01-06"],
        ["2025-01-07", *zurich, "2025-01-06"],
        ["2025-01-08", *chicago, "2025-01-08"],
        ["2025-01-06", *zurich, "2025-01-06"],
        ["2025-01-07", *chicago, "2025-01-07"],
        ["2025-01-08", *chicago, "2025-01-07"],
    ]
    assert "1 came, 0 went, 4 changed (city 3, state 3, country 2, age_group 1), 106 unchanged." in demo.out


def test_the_scores_are_printed_by_table(demo: Output) -> None:
    assert demo.line("staging.customers 98.43 80 ").split()[3:7] == ["96.42", "100.00", "100.00", "97.32"]
    assert demo.line("in all 99.58 ").split()[-1] == "4,416"


def test_what_the_demo_left_can_be_asked_as_of_any_day(alone: Kpi, demo: Output) -> None:
    def city(day: str) -> str:
        shown = alone("show", "storefront", HISTORY, "--as-of", day, "--format", "csv", "--pii").out
        [row] = [row for row in csv.DictReader(io.StringIO(shown)) if row["customer_id"] == "C000006"]
        return row["city"]

    assert [city(day) for day in ("2025-01-06", "2025-01-07", "2025-03-01")] == ["Zürich", "Chicago", "Chicago"]


def test_many_warnings_do_not_hide_the_answer(alone: Kpi, demo: Output) -> None:
    plan = alone("plan", "storefront").out.splitlines()
    assert [line.startswith("warning ") for line in plan] == [True] * 6 + [False]
    assert plan[-2] == "warning 16 more checks: `kpi checks storefront --load-date DATE` shows those of a load_date."
    assert plan[-1] == "3 published."
    run = alone("run", "storefront", "--load-date", "2025-01-08").out
    assert "of the bad rows" not in run
    assert "`kpi checks storefront --load-date 2025-01-08` shows the rows that the warnings are about." in run
