"""Tiles of a load_date that grows, in a real browser: they change by themselves, and count their age."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.tick import tick
from kpi_assets.settings import settings
from kpi_assets.surface import changes
from kpi_assets_tests.clicks_pipeline import KPI, ClicksPipeline
from kpi_assets_tests.e2e.browser import BROWSER, DRIVER, Browser
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.surface.server import Client, serving

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver is installed"),
]

FRESH = "freshness: {{within_minutes: {}}}\ncolumns:"


@dataclass
class Site:
    """The pages, and the pipeline behind them."""

    client: Client
    clicks: ClicksPipeline
    browser: Browser

    def run(self, script: str) -> Any:
        """Run a script in the page."""
        return self.browser.driver.execute_script(script)

    def grow(self, *event_ids: str) -> None:
        """Land events, report that all until now have landed, and tick."""
        self.clicks.land(*event_ids)
        self.clicks.report(datetime.now(timezone.utc))
        assert not tick(self.clicks.context(), self.clicks.day, is_last=True).failed

    def shows(self, text: str) -> None:
        """Wait until the tile of the clicks shows a text."""
        read = "return document.querySelector('.tile').textContent.replace(/\\s+/g, ' ')"
        eventually(lambda: text in self.run(read), seconds=20, every=0.1)

    @property
    def streams(self) -> int:
        """How many event streams are open."""
        found: int = self.client.app.state.surface.numbers.streams
        return found


@pytest.fixture
def site(stack: Stack, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(changes, "LOOK", 0.2)
    with ClicksPipeline.open(stack, tmp_path_factory.mktemp("tiles")) as clicks:
        assert isinstance(clicks, ClicksPipeline)
        clicks.stock()
        clicks.day = datetime.now(timezone.utc).date()
        clicks.file("marts/kpi_clicks.sql", KPI.replace("columns:", FRESH.format(60), 1))
        clicks.prepared()
        with (
            serving(settings().model_copy(update={"sql_dir": clicks.root})) as client,
            Browser.open(client.address, tmp_path_factory.mktemp("profile")) as browser,
        ):
            yield Site(client, clicks, browser)


def test_a_tile_changes_by_itself_and_counts_its_age(site: Site) -> None:
    site.grow("a", "b")
    site.browser.go("/")
    site.shows("2 clicks")
    site.shows("built through")
    site.shows("s ago")
    kept = "return [document.activeElement.textContent, scrollY, window.mark, document.querySelector('#find').value]"
    site.run("window.mark = 1; document.querySelector('.tile a').focus(); document.querySelector('#find').value = 'cl'")
    before = site.run(kept)
    site.grow("c")
    site.shows("3 clicks")
    assert site.run(kept) == before, "neither the page nor what a person does on it was touched"
    eventually(lambda: site.run("return document.querySelector('#told').textContent") == "Clicks: 3 clicks", every=0.1)
    assert "restated" not in site.browser.text

    # A page that nobody looks at asks for nothing.
    eventually(lambda: site.streams == 1)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true}); "
    site.run(hide % "true" + "document.dispatchEvent(new Event('visibilitychange'))")
    eventually(lambda: site.streams == 0)
    site.grow("d")
    site.run(hide % "false" + "document.dispatchEvent(new Event('visibilitychange'))")
    site.shows("4 clicks")

    # Nobody ticks: the browser tells that the number is late, also if the server does not.
    site.clicks.file("marts/kpi_clicks.sql", KPI.replace("columns:", FRESH.format("0.5"), 1))
    site.grow("e")
    site.shows("5 clicks")
    until_late = (
        "const {due, through} = document.querySelector('.tile .age').dataset; return new Date(due) - new Date(through)"
    )
    eventually(lambda: site.run(until_late) == 30_000, every=0.1)
    site.client.app.state.surface.changes.close()
    looks = "return ['.age', '.badge'].map(css => document.querySelector('.tile ' + css).className)"
    eventually(lambda: site.run(looks) == ["age late", "badge late"], every=0.1)

    site.browser.go(f"/kpi/{site.clicks.name}/kpi_clicks")
    site.browser.read("built through", "late")
    site.run("document.querySelector('[data-part=columns] details').open = true; window.mark = 2")
    site.grow("f")
    eventually(lambda: "Clicks, " in site.browser.text and "6 clicks" in site.browser.text, every=0.1)
    assert site.run("return [document.querySelector('[data-part=columns] details').open, window.mark]") == [True, 2]
    assert [each for each in site.browser.driver.get_log("browser") if each["level"] == "SEVERE"] == []
