"""A load_date of the shop that was rolled back, in a real browser: a click holds it, and a correction releases it."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from kpi_assets_tests.e2e.browser import BROWSER, DRIVER, Browser
from kpi_assets_tests.e2e.web import NOTHING, Web

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver is installed"),
]

NAME, MONDAY, KPI = "ecommerce", "2025-06-02", "kpi_conversion_funnel"
REASON = "half of the events of a browser were lost"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A `kpi up` of the shop, of which what readers saw is kept."""
    with Web.open(tmp_path_factory.mktemp("web"), f"{NOTHING}rollback: {{keep: 2}}\n", NAME) as opened:
        yield opened


def kpi(web: Web, *words: str) -> str:
    said = web.kpi(*words)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


def events_shown(web: Web) -> int:
    with psycopg.connect(kpi(web, "url", NAME).strip()) as connection:
        query = "select count(*)::int from raw.events_csv where load_date = %s"
        [(found,)] = connection.execute(query, [MONDAY]).fetchall()
        return int(found)


def test_a_click_on_what_was_rolled_back_holds_it_until_it_is_corrected(
    web: Web, browser: Browser, tmp_path: Path
) -> None:
    kpi(web, "sample", NAME, "--load-date", MONDAY, "--orders", "500", "--events", "800", "--out", str(tmp_path))
    [events] = tmp_path.rglob("events.csv")
    every = events.read_bytes()
    kpi(web, "land", NAME, "--from", str(tmp_path))
    kpi(web, "run", NAME, "--load-date", MONDAY)
    good = events_shown(web)
    events.write_bytes(b"".join(every.splitlines(keepends=True)[:-100]))
    kpi(web, "land", NAME, "--from", str(tmp_path), "--replace")
    kpi(web, "run", NAME, "--load-date", MONDAY)
    assert events_shown(web) < good
    with psycopg.connect(kpi(web, "url", NAME).strip()) as connection:
        query = "select min(publish_id) from ops.publishes where asset = 'raw.events_csv' and load_date = %s"
        [(publish,)] = connection.execute(query, [MONDAY]).fetchall()
    back = ("rollback", NAME, "--load-date", MONDAY, "--to", str(publish), "--reason", REASON, "--by", "ana", "--yes")
    kpi(web, *back)
    assert events_shown(web) == good

    run_id = browser.launch_run(NAME, MONDAY)
    assert web.final_status(run_id) == "CANCELED"
    browser.read("Canceled", "A gate held raw.events_csv. What follows was skipped.")
    browser.leave()
    assert events_shown(web) == good

    pages = f"http://127.0.0.1:{web.environment['KPI_SERVE_PORT']}"
    for path in ("/", f"/kpi/{NAME}/{KPI}"):
        browser.driver.get(f"{pages}{path}")
        browser.read("Newer rows of Mon 2 Jun are kept out.", f"Ana keeps events csv out as it was built: {REASON}")
    browser.read("events csv was rolled back to what it was before")

    events.write_bytes(b"".join(every.splitlines(keepends=True)[:-50]))
    kpi(web, "land", NAME, "--from", str(tmp_path), "--replace")
    assert web.final_status(browser.launch_run(NAME, MONDAY)) == "SUCCESS"
    browser.leave()
    assert events_shown(web) == good - 50
    browser.driver.get(f"{pages}/kpi/{NAME}/{KPI}")
    browser.wait("the end of the hold", lambda: "kept out" not in browser.text)
