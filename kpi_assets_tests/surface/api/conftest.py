"""A shop with a KPI that is served: one load_date was restated, the next one is published, and a third one is held."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import settings
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.read.kpi_shop import KpiShop
from kpi_assets_tests.surface.server import Client, serving

# Two labels, one of which a spreadsheet would execute and a page must escape.
THINGS = b"thing_id,name,weight\n1,anvil,20.50\n2,feather,0.10\n3,stone,9.40\n"
CORRECTED = b"thing_id,name,weight\n1,anvil,30.50\n2,feather,0.10\n3,stone,9.40\n"
HOSTILE = '=HYPERLINK("https://evil.example","<script>alert(1)</script>")'
LABELS = f'thing_id,label\n1,heavy\n2,"{HOSTILE.replace(chr(34), chr(34) * 2)}"\n3,heavy\n'.encode()


@dataclass
class Site:
    """The app, the shop behind it, and an instant at which the first load_date was not yet restated."""

    client: Client
    shop: KpiShop
    before: datetime

    @property
    def base(self) -> str:
        """The address of the KPI."""
        return f"/api/v1/kpis/{self.shop.name}/heavy"

    @property
    def first(self) -> date:
        """The load_date that was restated."""
        return self.shop.day

    @property
    def latest(self) -> date:
        """The newest load_date that is published."""
        return self.shop.day + timedelta(days=1)

    @property
    def held(self) -> date:
        """The load_date that is held."""
        return self.shop.day + timedelta(days=2)


@pytest.fixture(scope="module")
def site(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with KpiShop.open(stack, tmp_path_factory.mktemp("shop")) as shop:
        assert isinstance(shop, KpiShop)
        shop.stock().prepared()
        days = [shop.day + timedelta(days=number) for number in range(3)]
        for day in days[:2]:
            shop.land(day, THINGS, LABELS)
            assert set(shop.run(day).values()) == {"published"}
        [(before,)] = shop.rows("select clock_timestamp()")
        shop.land(days[0], CORRECTED, LABELS)
        assert set(shop.run(days[0]).values()) == {"published"}
        shop.land(days[2], DOUBLED, LABELS)
        assert shop.run(days[2])["raw.things"] == "held"
        with serving(settings(), {shop.name: shop.pipeline()}) as client:
            yield Site(client, shop, before)
