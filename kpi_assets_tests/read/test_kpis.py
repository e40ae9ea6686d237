"""What readers are shown of a KPI: its load_dates, those that are held, failed or late, and what was restated."""

from collections.abc import Iterator

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets_tests.read.kpi_shop import KpiShop


@pytest.fixture(scope="module")
def open_kpi_shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KpiShop]:
    with KpiShop.open(stack, tmp_path_factory.mktemp("shop")) as opened:
        assert isinstance(opened, KpiShop)
        opened.stock().prepared()
        yield opened


@pytest.fixture
def shop(open_kpi_shop: KpiShop) -> Iterator[KpiShop]:
    yield open_kpi_shop.stock()
    with open_kpi_shop.session() as session:  # the newest load_date is that of the test
        session.execute("update ops.publishes set removed_at = now(), superseded_at = coalesce(superseded_at, now())")
        session.execute("delete from ops.alert_deliveries")
        session.execute("delete from ops.alerts")


def test_a_published_load_date(shop: KpiShop) -> None:
    shop.land()
    assert shop.run()["marts.heavy"] == "published"
    kpi = shop.kpi()
    assert (kpi.gate, kpi.stops, kpi.late, kpi.due_by) == ("published", [], False, None)
    assert kpi.latest
    assert kpi.latest.values == {"kilograms": 20.5, "labels": 1}
