"""A load_date of the shop in a real browser: held beyond its budget, corrected by a person, launched again."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from kpi_assets_tests.e2e.browser import BROWSER, DRIVER, Browser
from kpi_assets_tests.e2e.web import Web

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver is installed"),
]

MONDAY = "2025-06-02"
TABLE = "/assets/ecommerce/staging/orders_clean"


def kpi(web: Web, *words: str) -> str:
    said = web.kpi(*words)
    assert said.returncode == 0, said.stderr
    return said.stdout


def launched(browser: Browser) -> str:
    """Launch a run of MONDAY in the browser, and leave its page; return the run's id."""
    run_id = browser.launch_run("ecommerce", MONDAY)
    browser.leave()
    return run_id


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A `kpi up` of the shop."""
    with Web.open(tmp_path_factory.mktemp("web"), pipeline="ecommerce") as opened:
        yield opened


@pytest.fixture(scope="module")
def held(web: Web, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The status of the launched run of a day with six negative prices, of which its budget lets five through."""
    files = tmp_path_factory.mktemp("shop")
    words = ["--load-date", MONDAY, "--orders", "500", "--events", "800", "--fault", "negative-price=6"]
    kpi(web, "sample", "ecommerce", *words, "--out", str(files))
    kpi(web, "land", "ecommerce", "--from", str(files))
    return web.final_status(launched(browser))


@pytest.fixture(scope="module")
def released(web: Web, browser: Browser, held: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The status of the run that is launched after a person has given the prices their sign back."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    kpi(web, "quarantine", "export", "ecommerce", "--out", str(path))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 6
    for row in rows:
        row["set"] = {name: abs(row["row"][name]) for name in ("unit_price", "revenue")}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    kpi(web, "quarantine", "correct", "ecommerce", "--from", str(path), "--reason", "sign lost by the till")
    return web.final_status(launched(browser))


def test_a_day_beyond_its_budget_is_held_and_its_check_says_which_rule(browser: Browser, held: str) -> None:
    assert held == "CANCELED"
    browser.go(f"{TABLE}?view=checks&checkDetail=quarantine")
    browser.read("6 rows set aside: 6 by revenue_is_positive", "Failed", MONDAY)
    found = browser.rows()
    assert (found["metric"], found["threshold"]) == ("6", "5")
    assert json.loads(found["bad_row_1"])["rules broken"] == "revenue_is_positive"


def test_after_the_correction_the_launched_day_is_released_with_all_its_orders(
    web: Web, browser: Browser, released: str
) -> None:
    assert released == "SUCCESS"
    browser.go(f"{TABLE}?partition={MONDAY}")
    browser.read("set_aside/corrected", "set_aside/waiting")
    found = browser.rows()
    assert {name: found[f"set_aside/{name}"] for name in ("waiting", "corrected", "accepted", "discarded")} == {
        "waiting": "0",
        "corrected": "6",
        "accepted": "0",
        "discarded": "0",
    }
    browser.go(f"{TABLE}?view=checks&checkDetail=reconcile")
    browser.read("500 rows of raw.orders_json = 500 here + 0 set aside + 0 dropped by duplicate")
    with psycopg.connect(web.kpi("url", "ecommerce").stdout.strip()) as connection:
        query = "select count(*), min(revenue) > 0 from warehouse.fact_orders where load_date = %s"
        assert connection.execute(query, [MONDAY]).fetchall() == [(500, True)]


def test_the_graph_shows_live_views_beside_the_tables(browser: Browser, released: str) -> None:
    browser.go("/assets/ecommerce/warehouse/daily_metrics")
    browser.read("daily_metrics", "External")
