"""The pages for readers in Chromium: held, restated and past days, questions, phone, print, dark, keyboard alone.

The pictures of the README and the docs are taken here: `KPI_TEST_PICTURES=docs/images` says into which folder.
"""

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from kpi_assets.embedded.stack import Stack
from kpi_assets.model.titles import day
from kpi_assets.settings import settings
from kpi_assets_tests.e2e.browser import BROWSER, DRIVER, Browser
from kpi_assets_tests.surface.server import Client, serving
from kpi_assets_tests.surface.week import CORRECTED, NASTY, ORDERS, InstacartWeek

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver is installed"),
]

PICTURES = os.environ.get("KPI_TEST_PICTURES", "")
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
KPI = "/kpi/instacart/kpi_orders_by_dow"
PRODUCTS = "/kpi/instacart/kpi_products_reorder"
QUESTION = "/questions/instacart/products_people_come_back_for"
LATEST_ORDERS = str(ORDERS[-1])


@dataclass
class Site:
    """The pages, the pipeline behind them, and a browser on them."""

    client: Client
    week: InstacartWeek
    browser: Browser

    def go(self, path: str) -> str:
        """Open a page; return its text."""
        self.browser.go(path)
        return self.browser.text

    def run(self, script: str, *values: Any) -> Any:
        """Return what a script returns."""
        return self.browser.driver.execute_script(script, *values)

    def emulate(self, command: str, **words: Any) -> None:
        """Send a command of Chromium's protocol."""
        self.browser.driver.execute_cdp_cmd(command, words)

    def screen(self, width: int, height: int) -> None:
        """Set the size of the window, without its frame."""
        self.emulate(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def scheme(self, name: str) -> None:
        """Prefer the light or the dark theme."""
        self.emulate("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, name: str) -> None:
        """Take a picture of the window. Pictures that are kept are small."""
        data = base64.b64decode(self.browser.driver.get_screenshot_as_base64())
        assert data.startswith(b"\x89PNG")
        assert len(data) < 150_000, f"{name} has {len(data):,} bytes"
        if PICTURES:
            Path(PICTURES, f"{name}.png").write_bytes(data)

    def console(self) -> list[str]:
        """Return what Chromium complained of since the last call; among it whatever breaks the policy of a page."""
        return [
            entry["message"] for entry in self.browser.driver.get_log("browser") if "/favicon" not in entry["message"]
        ]

    def violations(self) -> list[str]:
        """Return what axe finds."""
        self.run(files("axe_core_python").joinpath("axe.min.js").read_text())
        found = self.browser.driver.execute_async_script(
            "const done = arguments[1]; axe.run(document, arguments[0]).then(found => done(found.violations))", RULES
        )
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found for node in each["nodes"]
        ]


@pytest.fixture(scope="module")
def week(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstacartWeek]:
    with InstacartWeek.filled(stack, tmp_path_factory.mktemp("week")) as filled:
        yield filled


@pytest.fixture(scope="module")
def open_site(week: InstacartWeek, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        serving(settings(), {week.name: week.pipeline()}) as client,
        Browser.open(client.address, tmp_path_factory.mktemp("profile"), "--hide-scrollbars") as browser,
    ):
        yield Site(client, week, browser)


@pytest.fixture
def site(open_site: Site) -> Iterator[Site]:
    """The site in a window of its usual size, in the light theme; no page complained of anything at the end."""
    open_site.emulate("Emulation.setScriptExecutionDisabled", value=False)
    open_site.screen(1100, 760)
    open_site.emulate("Emulation.setEmulatedMedia", media="")
    open_site.scheme("light")
    open_site.console()
    yield open_site
    assert open_site.console() == []


def test_the_overview_says_once_that_a_day_is_held(site: Site) -> None:
    text = site.go("/")
    assert text.count("is held: its data did not pass.") == 1
    assert f"All KPIs show {day(site.week.latest)}, the last good day." in text
    assert "1 row of order products prior stands twice" in text
    assert f"{day(site.week.restated)} restated, {ORDERS[4]} → {CORRECTED}" in text
    [lead, *_] = site.browser.driver.find_elements(By.CSS_SELECTOR, ".tile.lead")
    assert LATEST_ORDERS in lead.text
    site.screen(1280, 720)
    site.picture("overview")
    site.scheme("dark")
    site.picture("overview_dark")
    site.browser.click("Loyalty", "a")
    site.browser.wait("the board", lambda: site.run("return document.title") == "Loyalty · KPIs")
    assert "Orders of 28 days" not in site.browser.text


def test_the_page_of_a_kpi_answers_whether_it_can_be_trusted(site: Site) -> None:
    text = site.go(KPI)
    for words in ("Can I trust it?", "every one accounted for", "Team analytics", "Where it comes from", "sha256"):
        assert words in text
    assert site.run("return document.querySelectorAll('.chart.wide .stop.held').length") == 1
    site.screen(1100, 850)
    site.picture("kpi")


def test_a_click_on_a_day_shows_it_and_another_what_readers_saw_before(site: Site) -> None:
    site.go(KPI)
    was, now = str(ORDERS[4]), str(CORRECTED)
    place = f'.wide a.pt[href*="load_date={site.week.restated}"]'
    site.run("document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true}))", place)
    site.browser.read(
        f"You see {day(site.week.restated, year=True)}.", f"Orders, {day(site.week.restated)}: {now} orders"
    )
    site.browser.click("see it before", "a")
    site.browser.read("You see what readers saw at", "These are not today's numbers.")
    site.browser.read(f"Orders, {day(site.week.restated)}: {was} orders", "the rows behind it were replaced since")
    assert "→" not in site.run("return document.querySelector('#trust + dl').innerText")
    site.picture("as_of")
    site.browser.click("Back to now", "a")
    site.browser.read("Can I trust it?", f"{was} → {now}")


def test_names_of_products_that_are_markup_are_shown_as_text(site: Site) -> None:
    text = site.go(f"{PRODUCTS}?load_date={site.week.nasty}")
    assert text.count(NASTY) == 15
    assert site.run("return document.images.length") == 0


def test_a_question_is_asked_with_its_parameters(site: Site) -> None:
    site.go("/questions")
    site.browser.click("people come back for", "a")
    site.browser.wait("the question", lambda: site.browser.driver.current_url.endswith(QUESTION))
    [field] = site.browser.driver.find_elements(By.CSS_SELECTOR, ".ask input[type=number]")
    field.clear()
    field.send_keys("3", Keys.ENTER)
    site.browser.wait("the answer", lambda: "=3" in site.browser.driver.current_url)
    assert "Made of" in site.browser.text
    assert site.run("return document.querySelectorAll('td .bar').length") > 3
    site.screen(1000, 620)
    site.picture("question")


def test_it_works_on_a_phone(site: Site) -> None:
    site.screen(390, 844)
    for path in ("/", KPI, PRODUCTS, QUESTION, "/questions", "/api", "/nothing"):
        site.go(path)
        assert site.run("return document.documentElement.scrollWidth <= innerWidth"), path
    site.console()  # that /nothing is not there
    site.go(KPI)
    shown = "return [...document.querySelectorAll('.chart')].filter(e => e.checkVisibility()).map(e => e.classList[1])"
    assert set(site.run(shown)) == {"narrow"}
    site.picture("phone")


def test_it_prints_what_can_be_read_on_paper(site: Site) -> None:
    site.scheme("dark")
    site.go("/")
    site.emulate(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert site.run("return getComputedStyle(document.querySelector('.top')).display") == "none"
    assert site.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert base64.b64decode(site.browser.driver.print_page()).startswith(b"%PDF")


def test_the_keyboard_alone_is_enough(site: Site) -> None:
    site.go("/")

    def press(*keys: str) -> Any:
        for key in keys:
            site.browser.driver.switch_to.active_element.send_keys(key)
        return site.browser.driver.switch_to.active_element

    assert press(Keys.TAB).text == "Skip to the numbers"
    press(Keys.ENTER)
    assert site.browser.driver.switch_to.active_element.get_attribute("id") == "main"
    press("/")
    assert site.browser.driver.switch_to.active_element.get_attribute("id") == "find"
    press(*"busiest")
    assert site.run("return [...document.querySelectorAll('.tile')].filter(e => e.checkVisibility()).length") < 4
    press(Keys.ENTER)
    site.browser.read("KPIs with “busiest”")
    site.go(KPI)
    site.run("document.querySelector('.wide .pt').focus()")
    tip = "return getComputedStyle(document.activeElement.querySelector('.tip')).opacity"
    press(Keys.TAB)
    site.browser.wait("the tooltip", lambda: site.run(tip) == "1")
    link = site.run("return document.activeElement.getAttribute('href')")
    press(Keys.ENTER)
    site.browser.wait("the day", lambda: site.browser.driver.current_url.endswith(link))


def test_it_works_without_a_script(site: Site) -> None:
    site.emulate("Emulation.setScriptExecutionDisabled", value=True)
    site.browser.go("/?find=busiest")
    text = site.browser.driver.find_element(By.TAG_NAME, "main").text
    assert "Busiest day" in text
    assert " UTC" in text, "times are read from a clock"
    site.browser.go(f"{KPI}?last=30")
    assert "Can I trust it?" in site.browser.driver.find_element(By.TAG_NAME, "main").text
    assert not site.browser.driver.find_element(By.ID, "theme").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", KPI, PRODUCTS, QUESTION, "/questions", "/api", "/nothing", f"{KPI}?load_date=x"])
def test_axe_finds_nothing(site: Site, path: str, scheme: str) -> None:
    site.scheme(scheme)
    site.go(path)
    site.run("for (const each of document.querySelectorAll('details')) each.open = true")
    assert site.violations() == []
    site.console()  # a page of a problem is one that Chromium complains of


def test_no_link_leads_nowhere(site: Site) -> None:
    links: set[str] = set()
    for path in ("/", KPI, PRODUCTS, f"{KPI}?load_date={site.week.restated}", QUESTION, "/questions", "/api"):
        site.go(path)
        links |= set(site.run("return [...document.querySelectorAll('[href]')].map(e => e.href.baseVal ?? e.href)"))
    ours = {link for link in links if link.startswith((site.client.address, "/"))}
    assert len(ours) > 30
    pages = {link for link in ours if "#" not in link and not link.endswith("/events")}  # that stream has no end
    answers = {link: site.client.get(link.removeprefix(site.client.address)) for link in pages}
    assert {link: (found.status, found.data[:200]) for link, found in answers.items() if found.status != 200} == {}


def test_the_theme_is_chosen_and_kept(site: Site) -> None:
    site.go("/")
    background = "return getComputedStyle(document.body).backgroundColor"
    light = site.run(background)
    site.browser.driver.find_element(By.ID, "theme").click()
    dark = site.run(background)
    assert dark != light
    site.go(KPI)
    assert site.run(background) == dark
    site.browser.driver.find_element(By.ID, "theme").click()
    assert site.run(background) == light
    site.run("localStorage.removeItem('theme')")


def test_a_picture_is_drawn_as_an_image(site: Site) -> None:
    site.browser.go("/embed/instacart/kpi_orders_by_dow.svg?measure=orders")
    assert LATEST_ORDERS in site.run("return document.documentElement.textContent")
    site.screen(340, 170)
    site.picture("embed")


def test_who_looks_sees_newer_numbers_and_what_is_new(site: Site) -> None:
    site.go("/")
    assert site.week.deliver(site.week.latest, 377, seed=3) == "published"
    assert site.week.deliver(site.week.held, 390) == "published"
    site.browser.read(f"All good: all 3 KPIs show {day(site.week.held, year=True)}, whose data passed.", "new")
    told = [each.text for each in site.browser.driver.find_elements(By.CSS_SELECTOR, ".re")]
    assert f"new {day(site.week.latest)} restated, {LATEST_ORDERS} → 377" in told
    site.picture("all_good")
    site.go("/")
    assert not site.browser.driver.find_elements(By.CSS_SELECTOR, ".new")


def test_the_numbers_are_those_of_the_api(site: Site) -> None:
    found = json.loads(site.client.get("/api/v1/kpis").data)["kpis"]
    text = site.go("/")
    for kpi in found:
        for measure in kpi["measures"]:
            assert measure["text"] in text, measure
