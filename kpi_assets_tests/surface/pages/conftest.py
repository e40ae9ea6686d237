"""The shop whose KPI has measures, and its pages."""

from collections.abc import Iterator

import pytest

from kpi_assets.settings import settings
from kpi_assets_tests.read.conftest import kpi_shop, open_kpi_shop
from kpi_assets_tests.read.kpi_shop import KpiShop
from kpi_assets_tests.surface.server import Client, serving

__all__ = ["kpi_shop", "open_kpi_shop"]


@pytest.fixture(scope="module")
def pages(open_kpi_shop: KpiShop) -> Iterator[Client]:
    """The pages of the shop."""
    with serving(settings(), {open_kpi_shop.name: open_kpi_shop.pipeline()}) as client:
        yield client
