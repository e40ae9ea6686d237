"""Pages, the API and files say by whose word a number is published, and what a person typed is never markup."""

import io
import json
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest

from kpi_assets.materialize.rule import revoke
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.read.kpi_shop import KpiShop
from kpi_assets_tests.surface.server import Client
from kpi_assets_tests.two_source_pipeline import THINGS
from kpi_assets_tests.waivers import CHECK, CHECKED, TOO_HEAVY, waived

BY = "<b>ana</b>"
REASON = "<script>alert('the scale')</script> was replaced"
IN_HTML = "&lt;script&gt;alert(&#39;the scale&#39;)&lt;/script&gt; was replaced"


@pytest.fixture
def shop(kpi_shop: KpiShop) -> KpiShop:
    """The shop, whose KPI is published on a person's word."""
    kpi_shop.file("marts/weighed.sql", CHECKED)
    kpi_shop.land(things=TOO_HEAVY)
    kpi_shop.run()
    waived(kpi_shop, kpi_shop.day, by=BY, reason=REASON)
    kpi_shop.run()
    return kpi_shop


def page(pages: Client, path: str) -> str:
    found = pages.get(path)
    assert found.status == 200
    return found.data.decode()


def test_it_is_said_on_every_page_and_never_called_passed(shop: KpiShop, pages: Client) -> None:
    kpi, overview = page(pages, f"/kpi/{shop.name}/heavy"), page(pages, "/")
    for text in (kpi, overview):
        assert "is published on &lt;b&gt;ana&lt;/b&gt;&#39;s word." in text
        assert f"1 row of weighed has a value in weight that is out of range; {IN_HTML}" in text
        assert '<span class="badge waived"' in text
        assert "although checks failed." in text
        assert "<i>waived</i></span>" in text
        for never in (BY, "<script>alert", "whose data passed", "and it passed", "last good day"):
            assert never not in text
    assert ", waived</td>" in kpi
    picture = page(pages, f"/embed/{shop.name}/heavy.svg")
    assert 'class="state waived">waived<' in picture
    assert "published on &lt;b&gt;ana&lt;/b&gt;&#39;s word" in picture

    shop.land(shop.next, DOUBLED)
    shop.run(shop.next)
    for path in (f"/kpi/{shop.name}/heavy", "/"):
        text = page(pages, path)
        assert "did not reach readers; this one is published on a person&#39;s word" in text
        for never in ("last good day", "it passed", "Nothing that failed"):
            assert never not in text


def test_what_is_revoked_says_so_at_once(shop: KpiShop, pages: Client) -> None:
    path = f"/kpi/{shop.name}/heavy"
    assert "revoked" not in page(pages, path)
    [(ruling,)] = shop.rows(f"select ruling_id from ops.rulings where load_date = '{shop.day}'")
    revoke(shop.context(), ruling, "the scale is wrong <after> all", "ben")
    assert f"{IN_HTML}; ben revoked that: the scale is wrong &lt;after&gt; all." in page(pages, path)
    [said] = pages.json(f"/api/v1/kpis/{shop.name}/heavy")["trust"]["waived"]
    assert (said["revoked_by"], said["revoke_reason"]) == ("ben", "the scale is wrong <after> all")


def test_the_api_and_files_say_it(shop: KpiShop, pages: Client) -> None:
    base = f"/api/v1/kpis/{shop.name}/heavy"
    trust = pages.json(base)["trust"]
    [(until,)] = shop.rows(f"select expires_at from ops.rulings where load_date = '{shop.day}'")
    said: list[dict[str, Any]] = [
        {
            "table": "marts.weighed",
            "load_date": shop.day.isoformat(),
            "checks": [CHECK],
            "by": BY,
            "reason": REASON,
            "until": until.isoformat(),
            "revoked_by": None,
            "revoke_reason": None,
        }
    ]
    assert trust["waived"] == said
    assert trust["gate"]["state"] == "waived"
    assert trust["gate"]["reason"].endswith(f"1 row of weighed has a value in weight that is out of range; {REASON}")
    assert pages.json(f"{base}/rows")["trust"]["waived"] == said
    csv = pages.get(f"{base}/rows?format=csv")
    assert (csv.headers["X-Gate"], csv.headers["X-Waived"]) == ("waived", "1")
    file = pq.read_schema(io.BytesIO(pages.get(f"{base}/rows?format=parquet").data))
    assert json.loads(file.metadata[b"waived"]) == said
    assert shop.rows("select gate, waived from ops.kpi_trust") == [("waived", 1)]

    day = shop.day + timedelta(days=1)
    shop.land(day, THINGS)
    shop.run(day)
    assert pages.json(base)["trust"]["waived"] == []
    assert pages.json(f"{base}?load_date={shop.day}")["trust"]["waived"] == said
    assert "X-Waived" not in pages.get(f"{base}/rows?format=csv").headers
    text = page(pages, f"/kpi/{shop.name}/heavy?load_date={shop.day}")
    assert f"out of range; {IN_HTML}" in text
