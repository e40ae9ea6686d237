"""`kpi show` says of a KPI whether its numbers are final, what they were before, and why they changed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg import Connection

from kpi_assets.cli.kpi_lines import find_kpi, say_finality, say_restated
from kpi_assets.embedded.stack import Stack
from kpi_assets.model.titles import day
from kpi_assets_tests.final_kpis import declare_final
from kpi_assets_tests.read.kpi_shop import MORE_THINGS, KpiShop


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Iterator[KpiShop]:
    with KpiShop.open(stack, tmp_path) as opened:
        assert isinstance(opened, KpiShop)
        opened.stock().prepared()
        yield opened


def said(shop: KpiShop, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    pipeline = shop.pipeline()
    with shop.session() as session:
        assert isinstance(session, Connection)
        kpi = find_kpi(session, pipeline, pipeline.table(name), shop.day)
    say_finality(kpi)
    say_restated(kpi)
    return " ".join(capsys.readouterr().out.split())


def test_each_value_that_others_took_the_place_of_has_a_line(shop: KpiShop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.land()
    shop.run()
    assert said(shop, "marts.heavy", capsys) == ""
    shop.land(things=MORE_THINGS)
    shop.run()
    [(was, now, at)] = shop.rows("select was_publish_id, publish_id, shown_until from ops.restatements")
    assert said(shop, "marts.heavy", capsys) == (
        f"restated Weight 20.5 → 30.5 on {at:%Y-%m-%d %H:%M} UTC: the source object of things was replaced (publish "
        f"{now} after {was})."
    )
    assert said(shop, "marts.weighed", capsys) == "", "it is no KPI"


@pytest.mark.parametrize(
    ("words", "days", "text"),
    [("after_days: 3", 4, "Final since {}."), ("after_days: 3660", 3661, "Provisional until {}.")],
)
def test_it_is_said_whether_numbers_are_final(
    shop: KpiShop, capsys: pytest.CaptureFixture[str], words: str, days: int, text: str
) -> None:
    declare_final(shop, words)
    shop.land()
    shop.run()
    assert said(shop, "marts.heavy", capsys) == text.format(day(shop.day + timedelta(days=days)))
