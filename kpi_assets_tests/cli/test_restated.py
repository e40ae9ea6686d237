"""`kpi show` says below the rows of a KPI what they were before, and why they changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import Connection

from kpi_assets.cli.restated import find_restated, say_restated
from kpi_assets.embedded.stack import Stack
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
        say_restated(find_restated(session, pipeline, pipeline.table(name), shop.day))
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
