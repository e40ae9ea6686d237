"""The web UI in a real browser: seeing why a partition is held, launching one, and the page of a backfill."""

import json
from pathlib import Path

import psycopg
import pytest

from kpi_assets.alerts.message import verdict_path
from kpi_assets_tests.e2e.browser import BROWSER, DRIVER, Browser
from kpi_assets_tests.e2e.web import Web

pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver is installed")

GOOD, HELD, ABSENT = "2025-04-01", "2025-04-02", "2025-04-03"


@pytest.fixture(scope="module")
def held_run(web: Web, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a run of HELD."""
    web.land(HELD, tmp_path_factory.mktemp("landed"), ["duplicate_line", "reordered_7"], orders=300)
    run_id = web.launch(HELD)
    assert web.final_status(run_id) == "CANCELED"
    return run_id


@pytest.fixture(scope="module")
def candidate(web: Web, held_run: str) -> str:
    """The name of the held candidate."""
    with psycopg.connect(web.kpi("url", "instacart").stdout.strip()) as connection:
        [(found,)] = connection.execute(
            "select candidate from ops.pipeline_runs where run_id = %s and status = 'held' and candidate is not null",
            [held_run],
        ).fetchall()
    assert isinstance(found, str)
    return found


def test_the_check_s_page_says_why_it_is_held(browser: Browser, candidate: str) -> None:
    browser.go("/assets/instacart/raw/order_products_prior?view=checks&checkDetail=grain")
    browser.read("One row per order_id, product_id; none is null.", "1 bad row", "Failed", HELD, "candidate")
    found = browser.rows()
    assert found["candidate"] == f"instacart.{candidate}"
    assert (found["metric"], found["threshold"]) == ("1", "0")
    assert json.loads(found["bad_row_1"])["rows"] == 2
    assert {*json.loads(found["bad_row_1"])} == {"order_id", "product_id", "rows"}

    browser.click("accepted_values__reordered", "*[not(*)]")
    browser.read("reordered is one of 0, 1.", '"reordered": 7')


@pytest.mark.nightly
def test_a_backfill_s_page_counts_what_was_published_and_what_was_not(
    web: Web, browser: Browser, candidate: str, tmp_path: Path
) -> None:
    web.land(GOOD, tmp_path, orders=300)
    browser.launch("instacart", f"{GOOD}, {ABSENT}", "Launch backfill")
    browser.wait("the backfill's page", lambda: "/runs/b/" in browser.driver.current_url)
    backfill_id = browser.driver.current_url.split("/runs/b/")[1][:8]
    browser.leave()
    assert web.backfilled(backfill_id, 2) == {GOOD: "SUCCESS", ABSENT: "CANCELED"}
    browser.go(f"/runs/b/{backfill_id}")
    browser.read("2 partitions", "100% completed")
    numbers = [word for word in browser.text.split("100% completed")[1].split() if word.isdigit()]
    assert numbers == ["2", "0", "1", "1"], "targeted, in progress, succeeded, failed"
    browser.go(f"/runs/b/{backfill_id}?tab=runs")
    browser.read(f"partition: {GOOD}", f"partition: {ABSENT}", "kpi/outcome: success", "kpi/outcome: missing")
    assert "kpi_process" not in browser.text


@pytest.mark.nightly
def test_the_link_of_an_alert_shows_its_failed_checks_after_a_later_day_passed(
    browser: Browser, held_run: str, candidate: str
) -> None:
    browser.go("/assets/instacart/raw/order_products_prior?view=checks&checkDetail=grain")
    browser.read("One row per order_id, product_id; none is null.", "Succeeded", GOOD)
    assert "1 bad row" not in browser.text

    browser.go(verdict_path("instacart", "raw.order_products_prior", held_run))
    browser.read(
        *(f"partition: {HELD}", "Check grain failed", "Check accepted_values__reordered failed"),
        *("bad_row_1", '"reordered": 7', f"instacart.{candidate}"),
    )
    assert {"STEP_OUTPUT", "ASSET_MATERIALIZATION"}.isdisjoint(browser.text.split())


@pytest.mark.nightly
def test_a_command_prints_the_address_at_which_the_ui_shows_a_held_load_date(web: Web, candidate: str) -> None:
    said = web.kpi("run", "instacart", "--load-date", HELD)
    assert said.returncode == 3
    with psycopg.connect(web.kpi("url", "instacart").stdout.strip()) as connection:
        [(run_id,)] = connection.execute("select run_id from ops.pipeline_runs order by id desc limit 1").fetchall()
    path = verdict_path("instacart", "raw.order_products_prior", run_id)
    assert f"  {web.address}{path}" in said.stdout.splitlines()


@pytest.mark.nightly
def test_the_alerts_of_a_command_link_to_the_running_ui(web: Web) -> None:
    said = web.kpi("alerts", "--test").stderr
    assert said.endswith(f": nothing happened {web.address}\n")


@pytest.mark.nightly
def test_the_partitions_of_a_check_show_passed_and_failed(browser: Browser, candidate: str) -> None:
    browser.go("/assets/instacart/raw/order_products_prior?view=checks&checkDetail=grain")
    browser.read("One row per order_id, product_id; none is null.")
    browser.click("Partitions", "*[@role='tablist'][contains(., 'Execution history')]//*[@role='tab']")
    browser.read("Failed (1)", "Passed (1)")


@pytest.mark.nightly
def test_a_partition_that_was_launched_is_watched_to_its_end(web: Web, browser: Browser, candidate: str) -> None:
    """This is the last test of the module, because the partition is held a second time."""
    assert web.final_status(browser.launch_run("instacart", HELD)) == "CANCELED"
    browser.read(f"partition: {HELD}", "Canceled", "Errored (0)", "Succeeded (13)")
