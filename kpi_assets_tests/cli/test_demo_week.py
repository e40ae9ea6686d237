"""`kpi demo ecommerce` plays a week: published, set aside, held, corrected and released."""

import csv
import io
import shutil
from collections.abc import Iterator

import pytest

from kpi_assets.embedded.stack import stop
from kpi_assets_tests.cli.command import Kpi, Output

pytestmark = pytest.mark.nightly

WEEK = [f"2025-06-{day:02}" for day in range(2, 9)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kpi]:
    folder = tmp_path_factory.mktemp("week")
    yield Kpi(folder / "home", folder)
    stop(folder / "home")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def demo(alone: Kpi) -> Output:
    """The output of `kpi demo ecommerce` as the first command in a new home."""
    return alone.process("demo", "ecommerce")


def test_the_week_is_published_set_aside_held_corrected_and_released(demo: Output) -> None:
    parts = f"\n{demo.out}".split("\n\n")
    assert [day for day in WEEK if f"published ecommerce, load_date {day}: 17 assets" in demo.out] == WEEK
    [monday] = [part for part in parts if part.startswith("1. ")]
    assert "Filled 2025-06-02 of the simulated APIs: products 262." in monday
    assert "landed 2 objects of 1 load_date" in monday, "the list of products is fetched"
    [tuesday] = [part for part in parts if part.startswith("2. ")]
    assert "with negative-price=2, unknown-status, null-user, conflicting-id planted" in tuesday
    assert demo.line("staging.orders_clean quarantine fail").split()[3:9] == ["11", "10", "11", "rows", "set", "aside:"]
    after = demo.out.partition("What a reader sees now")[2].partition("5. Friday")[0]
    assert "warehouse.kpi_conversion_funnel, load_date 2025-06-04" in after
    assert demo.out.count("\ncorrected row ") == 11
    assert "stale 2025-06-05: Held, and somebody decided on it since: staging.orders_clean." in demo.out
    assert [day for day in WEEK if f"published ecommerce, load_date {day}: 6 assets" in demo.out] == WEEK[4:]


def test_what_the_week_left_can_be_looked_at_and_decided_on(alone: Kpi, demo: Output) -> None:
    listed = alone("quarantine", "list", "ecommerce", "--state", "waiting", "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(listed)))
    assert [row["breaks"] for row in rows] == ["revenue_is_positive"] * 2 + [
        "accepted_values(status)",
        "not_null(user_id)",
    ]
    shown = alone("show", "ecommerce", "warehouse.daily_metrics", "--format", "csv").out
    days = {row["run_date"]: row for row in csv.DictReader(io.StringIO(shown))}
    assert [days[day]["orders_count"] for day in WEEK] == ["1000", "996", *["1000"] * 5]
    assert [days[day]["dq_failed_count"] for day in WEEK] == ["0", "1", *["0"] * 5]
