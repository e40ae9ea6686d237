"""`kpi backfill`: each landed load_date of a range; one that is held stops no other, and twice is as once."""

from datetime import date

import pytest

from kpi_assets_tests.cli.command import Said, Site
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
def said(kpi: Site) -> Said:
    kpi.lay(BAD, kpi.sample(BAD, 300, ["reordered_7"]))
    kpi.lay(GOOD, kpi.sample(GOOD, 300, ["prior_order_without_lines"]))
    return kpi(*RANGE, code=3)


def test_the_summary_tells_of_each_landed_load_date_and_how_many_were_not(said: Said) -> None:
    summary = [" ".join(line.split()) for line in said.out.partition("instacart: 2025-03-01 to")[2].splitlines()]
    assert summary[-4:] == [
        f"{BAD} held 12 raw.order_products_prior (held)",
        f"{GOOD} published 19",
        "",
        "2 landed, 1 of the 3 load_dates not landed",
    ]
    assert str(ABSENT) not in said.out


def test_the_held_one_is_explained(said: Said) -> None:
    assert said.line("accepted_values__reordered fail") == (
        "raw.order_products_prior accepted_values__reordered fail 1 0 1 bad row"
    )


def test_what_only_warns_is_said_and_published(said: Said) -> None:
    assert said.line("prior_orders_without_lines warn") == (
        "marts.fact_orders prior_orders_without_lines warn 1 0 1 bad row"
    )
    assert said.line("published instacart") == f"published instacart, load_date {GOOD}: {ASSETS} assets"


def test_the_others_are_published(kpi: Site, said: Said) -> None:
    assert [len(kpi.published(day)) for day in (BAD, ABSENT, GOOD)] == [7, 0, 14]
    assert kpi.rows(
        "select load_date, sum(total_orders)::int from marts.kpi_orders_by_dow where load_date between %s and %s "
        "group by 1",
        *(BAD, GOOD),
    ) == [(GOOD, 300)]


def test_a_second_backfill_publishes_the_same_tables(kpi: Site, said: Said) -> None:
    first, ids = kpi.rows(CHECKSUMS, BAD, GOOD), kpi.published(GOOD)
    kpi("backfill", "instacart", "--from", GOOD, "--to", GOOD)
    assert kpi.rows(CHECKSUMS, BAD, GOOD) == first
    assert all(kpi.published(GOOD)[name] > before for name, before in ids.items()), "they were built again"


def test_a_range_of_which_nothing_is_landed(kpi: Site, said: Said) -> None:
    empty = kpi.process("backfill", "instacart", "--from", ABSENT, "--to", ABSENT)
    assert empty.out.splitlines()[-1] == "0 landed, 1 of the 1 load_dates not landed"


def test_a_late_load_date_is_built_and_of_those_that_look_back_on_it_only_what_does(kpi: Site) -> None:
    only = ("backfill", "instacart", "--from", FIRST, "--to", LAST, "--only", "missing,stale")
    for day, seed in ((FIRST, 1), (LAST, 3)):
        kpi.lay(day, kpi.sample(day, ORDERS, seed=seed))
    kpi(*only)
    before = kpi.published(LAST)
    kpi.lay(LATE, kpi.sample(LATE, ORDERS, seed=2))
    summary = [" ".join(line.split()) for line in kpi(*only).out.splitlines()]
    assert [f"{LATE} published 19", f"{LAST} published 1", "", "2 run; left as they were: 1 published."] == summary[-4:]
    after = kpi.published(LAST)
    assert [name for name in after if after[name] != before[name]] == ["marts.kpi_orders_by_dow_28d"]
    assert kpi(*only).out.splitlines()[-1] == "0 run; left as they were: 3 published."
