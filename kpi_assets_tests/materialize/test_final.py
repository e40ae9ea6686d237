"""A number that is final changes no more without people being told, or not at all without a person's word."""

import pytest

from kpi_assets_tests.read.kpi_shop import KPI, MORE_THINGS
from kpi_assets_tests.two_source_pipeline import THINGS, TwoSourcePipeline
from kpi_assets_tests.waivers import waived

NAME = "marts.heavy"


def is_final(shop: TwoSourcePipeline, words: str) -> None:
    shop.file("marts/heavy.sql", KPI.replace("kpi:\n", f"kpi:\n  final: {{{words}}}\n"))


def status(shop: TwoSourcePipeline) -> tuple[str, bool, str]:
    """Return the last result of the check."""
    query = "select status, blocking, message from ops.data_quality_results where check_name = 'final' order by id desc"
    [found, *_] = shop.rows(query)
    return found


def test_a_final_number_that_changes_is_published_with_a_warning(shop: TwoSourcePipeline) -> None:
    is_final(shop, "after_days: 3")
    shop.land(things=THINGS)
    assert set(shop.run().values()) == {"published"}
    assert status(shop) == ("pass", False, ""), "the first publish changes nothing"
    assert set(shop.run().values()) == {"published"}
    assert status(shop) == ("pass", False, ""), "a replay gives the same"
    shop.land(things=MORE_THINGS)
    assert set(shop.run().values()) == {"published"}
    found, is_blocking, message = status(shop)
    assert (found, is_blocking) == ("warn", False)
    assert message.startswith("its numbers are final since 2025-")
    assert message.endswith(" 00:00 UTC, and these are others")


def test_a_final_number_is_held_and_changes_by_a_waiver(shop: TwoSourcePipeline) -> None:
    is_final(shop, "after_days: 3, on_change: hold")
    shop.land(things=THINGS)
    shop.run()
    shop.land(things=MORE_THINGS)
    assert shop.run()[NAME] == "held"
    waived(shop, shop.day, "final", table=NAME)
    assert shop.run()[NAME] == "published"
    assert shop.run()[NAME] == "published"


@pytest.mark.parametrize("days", [3660])
def test_a_provisional_number_may_change(shop: TwoSourcePipeline, days: int) -> None:
    is_final(shop, f"after_days: {days}, on_change: hold")
    shop.land(things=THINGS)
    shop.run()
    shop.land(things=MORE_THINGS)
    assert shop.run()[NAME] == "published"
