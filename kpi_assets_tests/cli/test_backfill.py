"""`kpi backfill` builds each landed load_date of a range; a held one stops no other, and a repeat changes nothing."""

from datetime import date

import pytest

from kpi_assets_tests.cli.command import CliHarness, Output
from kpi_assets_tests.cli.conftest import ORDERS
from kpi_assets_tests.shipped import ASSETS

FIRST, LATE, LAST = date(2025, 8, 1), date(2025, 8, 2), date(2025, 8, 3)
BAD, ABSENT, GOOD = date(2025, 3, 1), date(2025, 3, 2), date(2025, 3, 3)
RANGE = ("backfill", "instacart", "--from", BAD, "--to", GOOD)
CHECKSUMS = (
    "select load_date, asset, rows, checksum, manifest_hash, code_version from ops.published "
    "where load_date between %s and %s order by 1, 2"
)


@pytest.fixture(scope="module")
def said(kpi: CliHarness) -> Output:
    kpi.upload(BAD, kpi.sample(BAD, 300, ["reordered_7"]))
    kpi.upload(GOOD, kpi.sample(GOOD, 300, ["prior_order_without_lines"]))
    return kpi(*RANGE, code=3)


def test_the_summary_names_each_landed_load_date_and_counts_the_missing_ones(said: Output) -> None:
    summary = [" ".join(line.split()) for line in said.out.partition("instacart: 2025-03-01 to")[2].splitlines()]
    assert summary[-4:] == [
        f"{BAD} held 12 raw.order_products_prior (held)",
        f"{GOOD} published 19",
        "",
        "2 load_dates run, 1 not landed",
    ]
    assert str(ABSENT) not in said.out


def test_the_held_load_date_is_explained(said: Output) -> None:
    assert said.line("accepted_values__reordered fail") == (
        "raw.order_products_prior accepted_values__reordered fail 1 0 1 bad row"
    )


def test_a_load_date_with_a_warning_is_named_and_published(said: Output) -> None:
    assert said.line("prior_orders_without_lines warn") == (
        "marts.fact_orders prior_orders_without_lines warn 1 0 1 bad row"
    )
    assert said.line("published instacart") == f"published instacart, load_date {GOOD}: {ASSETS} assets"


def test_the_other_load_dates_are_published(kpi: CliHarness, said: Output) -> None:
    assert [len(kpi.published(day)) for day in (BAD, ABSENT, GOOD)] == [7, 0, 14]
    assert kpi.rows(
        "select load_date, sum(total_orders)::int from marts.kpi_orders_by_dow where load_date between %s and %s "
        "group by 1",
        *(BAD, GOOD),
    ) == [(GOOD, 300)]


@pytest.mark.nightly
def test_a_second_backfill_publishes_the_same_tables(kpi: CliHarness, said: Output) -> None:
    first, ids = kpi.rows(CHECKSUMS, BAD, GOOD), kpi.published(GOOD)
    kpi("backfill", "instacart", "--from", GOOD, "--to", GOOD)
    assert kpi.rows(CHECKSUMS, BAD, GOOD) == first
    assert all(kpi.published(GOOD)[name] > before for name, before in ids.items()), "the tables were built again"


def test_a_range_in_which_nothing_landed_builds_nothing(kpi: CliHarness, said: Output) -> None:
    empty = kpi("backfill", "instacart", "--from", ABSENT, "--to", ABSENT)
    assert empty.out.splitlines()[-1] == "0 load_dates run, 1 not landed"


@pytest.mark.nightly
def test_a_late_load_date_is_built_and_then_only_the_tables_that_look_back_on_it(kpi: CliHarness) -> None:
    only = ("backfill", "instacart", "--from", FIRST, "--to", LAST, "--only", "missing,stale")
    for day, seed in ((FIRST, 1), (LAST, 3)):
        kpi.upload(day, kpi.sample(day, ORDERS, seed=seed))
    kpi(*only)
    before = kpi.published(LAST)
    kpi.upload(LATE, kpi.sample(LATE, ORDERS, seed=2))
    summary = [" ".join(line.split()) for line in kpi(*only).out.splitlines()]
    assert [f"{LATE} published 19", f"{LAST} published 1", "", "2 run; left as they were: 1 published."] == summary[-4:]
    after = kpi.published(LAST)
    assert [name for name in after if after[name] != before[name]] == ["marts.kpi_orders_by_dow_28d"]
    assert kpi(*only).out.splitlines()[-1] == "0 run; left as they were: 3 published."
