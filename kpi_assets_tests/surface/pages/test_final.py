"""Pages, the API and files say whether a number is final."""

import io
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from kpi_assets.model.titles import day
from kpi_assets.settings import settings
from kpi_assets_tests.final_kpis import BY_DAY, begin, declare_final
from kpi_assets_tests.read.kpi_shop import KPI, KpiShop
from kpi_assets_tests.surface.server import serving

WORDS = {"final": "X-Final", "final_at": "X-Final-At", "final_through": "X-Final-Through"}  # of trust: the header


@pytest.mark.parametrize(
    ("words", "kpi", "days", "text", "trust"),
    [
        ("after_days: 3", KPI, 4, "final since {}", (True, "{}T00:00:00+00:00", None)),
        ("after_days: 3660", KPI, 3661, "provisional until {}", (False, "{}T00:00:00+00:00", None)),
        ("after_days: 1, by: day", BY_DAY, -1, "the days up to {} are final", (None, None, "{}")),
    ],
)
def test_pages_and_api_say_whether_a_number_is_final(
    kpi_shop: KpiShop, words: str, kpi: str, days: int, text: str, trust: tuple[bool | None, str | None, str | None]
) -> None:
    begin(kpi_shop)
    declare_final(kpi_shop, words, kpi)
    kpi_shop.land()
    kpi_shop.run()
    at = kpi_shop.day + timedelta(days=days)
    said = text.format(day(at))
    with serving(settings(), {kpi_shop.name: kpi_shop.pipeline()}) as pages:
        assert f"<dt>Final</dt><dd>{said}</dd>" in pages.get(f"/kpi/{kpi_shop.name}/heavy").data.decode()
        assert f"</time>, {said}</span>" in pages.get("/").data.decode()
        base = f"/api/v1/kpis/{kpi_shop.name}/heavy"
        found = pages.json(base)["trust"]
        csv = pages.get(f"{base}/rows?format=csv").headers
        file = pq.read_schema(io.BytesIO(pages.get(f"{base}/rows?format=parquet").data)).metadata
    expected = [each.format(at) if isinstance(each, str) else each for each in trust]
    assert [found[name] for name in WORDS] == expected
    for name, value in zip(WORDS, expected, strict=True):
        written = str(value).lower() if isinstance(value, bool) else value
        assert csv.get(WORDS[name]) == written
        assert file.get(name.encode()) == (None if written is None else written.encode())


def test_a_kpi_that_does_not_say_when_has_no_line_for_it(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    with serving(settings(), {kpi_shop.name: kpi_shop.pipeline()}) as pages:
        for path in (f"/kpi/{kpi_shop.name}/heavy", "/"):
            text = pages.get(path).data.decode()
            assert "<dt>Final</dt>" not in text
            assert "provisional" not in text
        found = pages.json(f"/api/v1/kpis/{kpi_shop.name}/heavy")["trust"]
        headers = pages.get(f"/api/v1/kpis/{kpi_shop.name}/heavy/rows?format=csv").headers
    assert [found[name] for name in WORDS] == [None, None, None]
    assert not [name for name in WORDS.values() if name in headers]
