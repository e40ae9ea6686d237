"""Pages of other sites in a real browser whose user is logged into the web UI: every attack fails, and the UI works.

Against Dagster's own web server the same page succeeds, which proves that the browser sends what the guard refuses.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psutil
import pytest

from kpi_assets.instance import probe
from kpi_assets.instance.access import cookie_name, link
from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.e2e.attacker import RESOLVER, attacking
from kpi_assets_tests.e2e.browser import BROWSER, DRIVER, Browser
from kpi_assets_tests.e2e.web import Web
from kpi_assets_tests.examples import few
from kpi_assets_tests.machine import PATIENCE, eventually, free_port

pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver is installed")

SITES = [
    "evil.example",
    "127.0.0.1",
]  # the second is another port of this machine, which browsers call the *same site*
ABSENT = "2025-04-20"
RUNS = "query Runs($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}) { ... on Runs { results { runId } } } }"
COUNT = 'query Count { runsOrError(filter: {pipelineName: "instacart"}) { ... on Runs { count } } }'
ATTACKED = """
query Attacked($key: AssetKeyInput!) {
  assetOrError(assetKey: $key) { ... on Asset { assetMaterializations { runId } } }
}
"""


@contextmanager
def another_web_ui(web: Web, module: str, **environment: str) -> Iterator[Web]:
    """Start another web UI of the same home from a module, with the environment of the first."""
    parts = psutil.Process(web.process.pid).children()
    [first] = [part for part in parts if "kpi_assets.instance.web" in part.cmdline()]
    port = free_port()
    command = [sys.executable, "-m", module, "-h", "127.0.0.1", "-p", str(port), "-w", str(CHECKOUT / "workspace.yaml")]
    process = subprocess.Popen(
        command, env={**first.environ(), **environment}, cwd=first.cwd(), stderr=subprocess.PIPE, text=True
    )
    other = replace(web, address=f"http://127.0.0.1:{port}", token=environment.get("KPI_UI_TOKEN", web.token) or None)
    try:
        eventually(lambda: answers(other.address), every=0.2)
        yield other
    finally:
        process.terminate()
        process.communicate()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/server_info", timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def stock(web: Web) -> Iterator[Web]:
    """Dagster's own web server."""
    with another_web_ui(web, "dagster_webserver", KPI_UI_TOKEN="") as started:
        yield started


@pytest.fixture(scope="module")
def without_token(web: Web) -> Iterator[Web]:
    """The guarded web UI without a token."""
    with another_web_ui(web, "kpi_assets.instance.web", KPI_UI_TOKEN="") as started:
        yield started


@pytest.fixture(scope="module")
def browser(web: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The browser of the victim: logged in, with names of another site that resolve to this machine."""
    with Browser.open(web.address, tmp_path_factory.mktemp("profile"), RESOLVER) as opened:
        opened.driver.get(link(web.address, web.token))
        opened.read("Overview")
        yield opened


@pytest.fixture(scope="module")
def attacker_port() -> Iterator[int]:
    with attacking() as port:
        yield port


@dataclass
class Attack:
    """The outcome of a page: what its script saw, what its frame showed, and each answer of the web UI."""

    seen: dict[str, str]
    frame: str
    answers: set[tuple[str, int]]  # (method, status)


def attack(browser: Browser, site: str, attacker_port: int, target: str) -> Attack:
    browser.leave()  # a page of the UI goes on asking
    browser.network()
    browser.driver.get(f"http://{site}:{attacker_port}/?{target}")
    browser.wait("the end of the attack", lambda: browser.driver.execute_script("return Boolean(window.DONE)"))
    seen = browser.driver.execute_script("return window.DONE")
    browser.driver.switch_to.frame("embedded")
    frame = browser.text
    browser.driver.switch_to.default_content()
    methods: dict[str, str] = {}
    found: set[tuple[str, int]] = set()
    for event, params in browser.network():
        if event == "Network.requestWillBeSent":
            methods[params["requestId"]] = params["request"]["method"]
        elif (
            event == "Network.responseReceived"
            and params["response"]["url"].startswith(target)
            and params["requestId"] in methods  # otherwise it is a late answer to the page before
        ):
            found.add((methods[params["requestId"]], params["response"]["status"]))
    return Attack(seen, frame, found)


def history(web: Web) -> tuple[int, int]:
    """Return the numbers of runs and of materializations of the asset that pages try to wipe."""
    return web.ask(COUNT, {})["runsOrError"]["count"], materializations(web, "attacked")


def materializations(web: Web, *key: str) -> int:
    found = web.ask(ATTACKED, {"key": {"path": key}})["assetOrError"]
    return len(found.get("assetMaterializations", []))


def remember(stock: Web) -> None:
    """Give a history to the asset that pages try to wipe."""
    address, kind = f"{stock.address}/report_asset_materialization/attacked", {"Content-Type": "application/json"}
    request = urllib.request.Request(address, b"{}", kind)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.status == 200


@pytest.mark.nightly
def test_the_ui_works_through_the_guard(web: Web, browser: Browser) -> None:
    """After a login with the printed address, a run is launched and watched over the websocket to its end."""
    browser.go("/server_info")
    browser.driver.delete_all_cookies()
    browser.network()
    browser.driver.get(web.link)
    browser.read("Overview")
    assert "token" not in browser.driver.current_url
    [cookie] = browser.driver.get_cookies()
    port = int(web.address.rpartition(":")[2])
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (cookie_name(port), True, "Strict")

    browser.launch("instacart", ABSENT, "Launch 1 run")
    browser.wait("the run's page", lambda: "/runs/" in browser.driver.current_url)
    assert web.final_status(browser.driver.current_url.split("/runs/")[1][:36]) == "CANCELED"
    browser.read(f"partition: {ABSENT}", "Canceled")  # the page is not reloaded
    browser.go("/assets/instacart/marts/kpi_orders_by_dow")
    browser.read("Orders and reorder behavior by day of the week.")
    drawn = "return [...document.images].some(i => i.src.includes('/kpi/chart/') && i.naturalHeight > 50)"
    browser.wait("the chart", lambda: browser.driver.execute_script(drawn))

    seen = browser.network()
    answered = [params["response"] for event, params in seen if event == "Network.responseReceived"]
    ours = [answer for answer in answered if answer["url"].startswith(web.address)]
    assert len(ours) > 20
    assert [(answer["url"], answer["status"]) for answer in ours if answer["status"] >= 400] == []
    opened = {params["url"] for event, params in seen if event == "Network.webSocketCreated"}
    assert opened == {f"{web.address.replace('http', 'ws')}/graphql"}
    told = [params["response"]["payloadData"] for event, params in seen if event == "Network.webSocketFrameReceived"]
    assert any("PipelineRunLogsSubscriptionSuccess" in text for text in told), (
        "events of the run were pushed over the websocket"
    )


@pytest.mark.parametrize("site", few(1, SITES))
@pytest.mark.parametrize("token", few(1, ["with the token", "without a token"]))
def test_a_page_of_another_site_launches_wipes_and_sees_nothing(
    web: Web, stock: Web, browser: Browser, attacker_port: int, site: str, token: str, request: pytest.FixtureRequest
) -> None:
    target = web if token == "with the token" else request.getfixturevalue("without_token")
    remember(stock)
    before = history(web)
    assert before[1] >= 1
    found = attack(browser, site, attacker_port, target.address)
    assert found.seen == dict.fromkeys(("text", "blob", "both", "json", "report", "socket"), "refused")
    assert {status for _, status in found.answers} <= {403, 405, 415}, found.answers
    assert {"GET", "POST"} <= {method for method, _ in found.answers}, "the requests did arrive"
    assert "Runs" not in found.frame
    assert history(web) == before
    assert launched(web, site) == []
    assert materializations(web, "reported", site) == 0


def launched(web: Web, site: str) -> list[str]:
    """Return the ways by which an attack launched runs."""
    ways = ("image", "text", "form", "blob", "both", "json")
    found = {way: web.ask(RUNS, {"tags": [{"key": "attack", "value": f"{site} {way}"}]}) for way in ways}
    return [way for way, answer in found.items() if answer["runsOrError"]["results"]]


@pytest.mark.parametrize("token", few(1, ["with the token", "without a token"]))
def test_a_name_that_was_rebound_to_this_machine_is_not_answered(
    web: Web, browser: Browser, token: str, request: pytest.FixtureRequest
) -> None:
    target = web if token == "with the token" else request.getfixturevalue("without_token")
    port = target.address.rpartition(":")[2]
    for path in ("/", "/server_info", "/graphql", f"/?token={web.token}"):
        browser.driver.get(f"http://rebound.example:{port}{path}")
        browser.read("This server does not answer to the host name in this address", "KPI_UI_HOSTS")


@pytest.mark.nightly
@pytest.mark.parametrize("site", SITES)
def test_the_same_page_gets_everywhere_without_the_guard(
    web: Web, stock: Web, browser: Browser, attacker_port: int, site: str
) -> None:
    """With Dagster's own web server each of the tests above would fail."""
    remember(stock)
    runs, kept = history(web)
    found = attack(browser, site, attacker_port, stock.address)
    assert {"image", "text", "form"} <= set(launched(web, site))
    assert history(web)[0] >= runs + 3
    assert (kept >= 1, history(web)[1]) == (True, 0), "the history was deleted"
    assert materializations(web, "reported", site) == 1
    assert json.loads(found.seen["socket"]) == {"type": "connection_ack"}
    assert "Runs" in found.frame
    assert ("POST", 200) in found.answers
    browser.driver.get(f"http://rebound.example:{stock.address.rpartition(':')[2]}/server_info")
    browser.read("dagster_webserver_version")
    with pytest.raises(Exception, match="answers to any host name"):
        probe.check(stock.address)


@pytest.mark.nightly
def test_a_link_in_a_chat_opens_its_page(web: Web, browser: Browser, attacker_port: int) -> None:
    """The browser sends no cookie if a link of another site leads here; the page opens all the same."""
    browser.driver.get(f"http://evil.example:{attacker_port}/link?{web.address}/runs?q=x")
    browser.click("Look at this", "a")
    browser.read("Overview", "Runs", "Created")
    assert browser.driver.current_url.startswith(f"{web.address}/runs")


@pytest.mark.nightly
def test_a_link_that_is_followed_without_the_cookie_says_how_to_log_in(
    web: Web, browser: Browser, attacker_port: int
) -> None:
    browser.go("/server_info")
    browser.driver.delete_all_cookies()
    browser.driver.get(f"http://evil.example:{attacker_port}/link?{web.address}/runs")
    browser.click("Look at this", "a")
    browser.read("needs the token of the web UI", "kpi url")
    browser.go("/?token=wrong")
    browser.read("needs the token of the web UI")
    assert browser.driver.get_cookies() == []
    browser.driver.get(link(web.address, web.token))
    browser.read("Overview")
