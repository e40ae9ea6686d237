"""After a rollback, pages, the API and files show the earlier numbers again, and say who keeps out what came after."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.rollback import roll_back
from kpi_assets.model.titles import day
from kpi_assets.settings import settings
from kpi_assets_tests.materialize.kept_pipeline import KeptPipeline, things
from kpi_assets_tests.surface.server import Client, serving

REASON = "<b>the scale</b> was wrong"
SAID = f"ana keeps things out as it was built: {REASON}"
IN_HTML = "Ana keeps things out as it was built: &lt;b&gt;the scale&lt;/b&gt; was wrong"


@dataclass
class Site:
    """The app, and the shop behind it, of which a load_date was published with 20.5 kg, with 30, and rolled back."""

    client: Client
    shop: KeptPipeline
    before: str  # an instant at which readers saw 30

    def page(self, path: str) -> str:
        found = self.client.get(path)
        assert found.status == 200
        return found.data.decode()

    @property
    def base(self) -> str:
        return f"/api/v1/kpis/{self.shop.name}/heavy"

    @property
    def publishes(self) -> list[int]:
        """The publishes of the KPI, the oldest first."""
        query = "select publish_id from ops.publishes where asset = 'marts.heavy' order by 1"
        return [publish for (publish,) in self.shop.rows(query)]


@pytest.fixture(scope="module")
def site(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with KeptPipeline.open(stack, tmp_path_factory.mktemp("pipeline")) as shop:
        assert isinstance(shop, KeptPipeline)
        shop.stock()
        good = shop.publish(20.5)
        before = shop.publish(30)
        roll_back(shop.context(), shop.planned(good), REASON, "ana")
        assert before.at
        with serving(settings(), {shop.name: shop.pipeline()}) as client:
            yield Site(client, shop, before.at.isoformat().replace("+00:00", "Z"))


def test_the_pages_show_the_numbers_again_and_say_who_keeps_out_what(site: Site) -> None:
    of_day = day(site.shop.day)
    kpi, overview = site.page(f"/kpi/{site.shop.name}/heavy"), site.page("/")
    for text in (kpi, overview):
        assert f"<strong>Newer rows of {of_day} are kept out.</strong>" in text
        assert IN_HTML in text
        assert "<b>the scale" not in text
        assert "and a person keeps out what took its place." in text
        assert "20.50" in text
        for never in ("did not pass", "A correction", "Nothing that failed"):
            assert never not in text
    assert f"It shows {of_day} as it was before." in kpi
    assert f"All KPIs show {of_day} as it was before." in overview
    assert f"{of_day} restated, 30.00 → 20.50" in overview
    assert f"{of_day}: 30.00 → <b>20.50</b>" in kpi
    assert "things was rolled back to what it was before" in kpi
    then = site.page(f"/kpi/{site.shop.name}/heavy?as_of={site.before}")
    assert "30.00" in then
    assert "kept out" not in then
    picture = site.page(f"/embed/{site.shop.name}/heavy.svg")
    assert "20.50" in picture
    assert "newer rows are kept out" in picture


def test_the_api_says_that_it_was_rolled_back_and_by_whom(site: Site) -> None:
    kpi = site.client.json(site.base)
    [measure] = kpi["measures"]
    assert (measure["value"], measure["text"]) == (20.5, "20.50")
    trust = kpi["trust"]
    first, second, third = site.publishes
    [(root,)] = site.shop.rows("select publish_id from ops.published where asset = 'raw.things'")
    assert (trust["publish_id"], trust["restated"], trust["waived"]) == (third, 2, [])
    gate = {name: trust["gate"][name] for name in ("state", "table", "load_date", "reason")}
    assert gate == {"state": "held", "table": "raw.things", "load_date": str(site.shop.day), "reason": SAID}
    told = [
        {name: each[name] for name in ("was", "now", "was_publish_id", "publish_id", "cause", "why")}
        for each in site.client.json(f"{site.base}/restatements")["restatements"]
    ]
    assert told == [
        {
            "was": 30,
            "now": 20.5,
            "was_publish_id": second,
            "publish_id": third,
            "cause": "rollback",
            "why": "things was rolled back to what it was before",
        },
        {
            "was": 20.5,
            "now": 30,
            "was_publish_id": first,
            "publish_id": second,
            "cause": "objects",
            "why": "the source object of things was replaced",
        },
    ]
    [caused, _] = [each["caused_by"] for each in site.client.json(f"{site.base}/restatements")["restatements"]]
    assert caused == [root]
    series = site.client.json(f"{site.base}/series?measure=heaviest")
    [point] = series["points"]
    assert (point["value"], point["restated_from"]) == (20.5, [20.5, 30])
    [stop] = series["not_published"]
    assert (stop["state"], stop["reason"], stop["shown_instead"]) == ("held", SAID, third)
    csv = site.client.get(f"{site.base}/rows?format=csv")
    assert csv.headers["X-Gate"] == "held"
    assert csv.data.decode().splitlines() == ["load_date,label,weight", f"{site.shop.day},heavy,20.50"]
    assert site.shop.rows("select kpi, gate, restated from ops.kpi_trust order by kpi") == [
        ("marts.heavy", "held", 2),
        ("marts.shown", "held", 2),
    ]


def test_a_view_of_it_is_shown_again_too(site: Site) -> None:
    base = f"/api/v1/kpis/{site.shop.name}/shown"
    [measure] = site.client.json(base)["measures"]
    assert measure["value"] == 20.5
    causes = [each["cause"] for each in site.client.json(f"{base}/restatements")["restatements"]]
    assert causes == ["rollback", "objects"]
    assert IN_HTML in site.page(f"/kpi/{site.shop.name}/shown")


def test_a_corrected_delivery_ends_it(site: Site) -> None:
    site.shop.land(things=things(25))
    assert set(site.shop.run().values()) == {"published"}
    text = site.page(f"/kpi/{site.shop.name}/heavy")
    assert "kept out" not in text
    assert "25.00" in text
    assert site.client.json(site.base)["trust"]["gate"]["state"] == "published"
    newest = site.client.json(f"{site.base}/restatements")["restatements"][0]
    assert (newest["was"], newest["now"], newest["cause"]) == (20.5, 25, "objects")
