"""A day of the shop that is restated and rolled back, as the command, the web UI, the pages and the API say.

Then the database is lost and made anew from S3, which knows what is kept out, and not what readers saw before that.
"""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kpi_assets_tests.cli.forked import Completed
from kpi_assets_tests.e2e.web import NOTHING, Web

pytestmark = pytest.mark.nightly

NAME, DAY, ROOT, KPI = "ecommerce", "2025-06-02", "raw.events_csv", "warehouse.kpi_conversion_funnel"
NOT_BELOW_ROOT = {
    "raw.orders_json",
    "raw.products_json",
    "staging.orders_clean",
    "staging.products_clean",
    "warehouse.dim_date",
    "warehouse.dim_product",
}
REASON = "half of the events of a browser were lost"
PUBLISHED = """
select asset, rows, checksum from ops.published where asset not like 'decisions.%' order by asset
"""
RULED = """
select kind, asset, load_date, manifest_hash, code_version, rows, checksum, reason, ruled_by, ruled_at, object_key
from ops.rulings
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A `kpi up` of the shop, of which what readers saw is kept."""
    with Web.open(tmp_path_factory.mktemp("web"), f"{NOTHING}rollback: {{keep: 2}}\n", NAME) as opened:
        yield opened


def kpi(web: Web, *words: str, code: int = 0) -> str:
    said: Completed = web.kpi(*words)
    assert said.returncode == code, said.stdout + said.stderr
    return " ".join(said.stdout.split())


def rows(web: Web, query: str, *values: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(kpi(web, "url", NAME)) as connection:
        return connection.execute(query.encode(), values or None).fetchall()


def served(web: Web, path: str) -> str:
    """Return what the pages or the API answer."""
    address = f"http://127.0.0.1:{web.environment['KPI_SERVE_PORT']}{path}"
    with urllib.request.urlopen(address, timeout=60) as answer:
        return str(answer.read().decode())


def materialized(web: Web) -> int:
    """Return how often the web UI shows that the root was built."""
    query = "query Events($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset { "
    query += "assetMaterializations(limit: 100) { runId } } } }"
    found = web.ask(query, {"key": {"path": [NAME, *ROOT.split(".")]}})["assetOrError"]
    return len(found["assetMaterializations"])


def lose_the_database(web: Web) -> None:
    with psycopg.connect(kpi(web, "url", NAME), dbname="postgres", autocommit=True) as session:
        session.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(NAME)))


def test_the_story_of_a_rollback_and_of_a_lost_database(web: Web, tmp_path: Path) -> None:
    words = ["--load-date", DAY, "--orders", "500", "--events", "800"]
    kpi(web, "sample", NAME, *words, "--out", str(tmp_path))
    kpi(web, "land", NAME, "--from", str(tmp_path))
    assert web.final_status(web.launch(DAY, pipeline=NAME)) == "SUCCESS"
    good = rows(web, PUBLISHED)
    [events] = tmp_path.rglob("events.csv")
    all_events = events.read_bytes()
    events.write_bytes(b"".join(all_events.splitlines(keepends=True)[:-100]))
    kpi(web, "land", NAME, "--from", str(tmp_path), "--replace")
    assert web.final_status(web.launch(DAY, pipeline=NAME)) == "SUCCESS"
    bad = rows(web, PUBLISHED)
    differing = {before[0] for before, after in zip(good, bad, strict=True) if before != after}
    assert {ROOT, KPI} <= differing
    assert "warehouse.fact_orders" not in differing

    [(publish,)] = rows(
        web, f"select min(publish_id) from ops.publishes where asset = '{ROOT}' and load_date = '{DAY}'"
    )
    command = ("rollback", NAME, "--load-date", DAY, "--to", str(publish), "--reason", REASON, "--by", "ana", "--yes")
    assert "rolled back" in kpi(web, *command)
    assert rows(web, PUBLISHED) == good
    ruled = rows(web, RULED)
    assert [(row[0], row[1]) for row in ruled] == [("hold", ROOT)]

    for said in (kpi(web, "plan", NAME, code=3), kpi(web, "alerts", NAME)):
        assert f"rolled back by ana: {REASON}" in said

    # The web UI is not told of it: what readers see was materialized before, and a run by hand is held.
    before = materialized(web)
    assert web.final_status(web.launch(DAY, pipeline=NAME)) == "CANCELED"
    assert materialized(web) == before
    assert rows(web, PUBLISHED) == good
    kept_out = re.compile(rf"kept out by ana on \S+ \S+ UTC: {REASON}")
    for said in (kpi(web, "plan", NAME, code=3), kpi(web, "alerts", NAME)):
        assert kept_out.search(said), said

    base = f"/api/v1/kpis/{NAME}/{KPI.partition('.')[2]}"
    gate = json.loads(served(web, base))["trust"]["gate"]
    assert (gate["state"], gate["table"]) == ("held", ROOT)
    why = f"ana keeps events csv out as it was built: {REASON}"
    assert gate["reason"] == why
    causes = [each["cause"] for each in json.loads(served(web, f"{base}/restatements"))["restatements"]]
    assert set(causes) == {"objects", "rollback"}
    for path in ("/", f"/kpi/{NAME}/{KPI.partition('.')[2]}"):
        page = served(web, path)
        assert "Newer rows of Mon 2 Jun are kept out." in page
        assert f"{why[:1].upper()}{why[1:]}" in page
    assert "events csv was rolled back to what it was before" in page

    lose_the_database(web)
    kpi(web, "run", NAME, "--load-date", DAY, code=3)
    assert rows(web, RULED) == ruled
    # What was condemned stays out, and S3 has nothing else to put in its place.
    assert rows(web, PUBLISHED) == [row for row in good if row[0] in NOT_BELOW_ROOT]

    events.write_bytes(all_events)
    kpi(web, "land", NAME, "--from", str(tmp_path), "--replace")
    kpi(web, "run", NAME, "--load-date", DAY)
    assert rows(web, PUBLISHED) == good, "as the ledger of the lost database said"


def test_the_story_of_a_restatement_and_of_a_lost_database(web: Web, tmp_path: Path) -> None:
    """What is shown after a restatement comes from S3 again, with the rulings of the test before."""
    words = ["--load-date", DAY, "--orders", "500", "--events", "800"]
    kpi(web, "sample", NAME, *words, "--out", str(tmp_path))
    [events] = tmp_path.rglob("events.csv")
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:-50]))
    kpi(web, "land", NAME, "--from", str(tmp_path), "--replace")
    kpi(web, "run", NAME, "--load-date", DAY)
    shown, ruled = rows(web, PUBLISHED), rows(web, RULED)
    values = "select kpi, measure, value from ops.kpi_tiles order by 1, 2"
    numbers = rows(web, values)
    assert rows(web, "select distinct cause from ops.restatements") == [("objects",)]
    lose_the_database(web)
    kpi(web, "run", NAME, "--load-date", DAY)
    assert rows(web, PUBLISHED) == shown
    assert rows(web, values) == numbers
    assert rows(web, RULED) == ruled
    assert rows(web, "select count(*) from ops.restatements") == [(0,)]
