"""A day of the shop that is held, waived by a person and launched again, as the command, the web UI and the API say.

Then the database is lost and made anew from S3.
"""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kpi_assets_tests.cli.forked import Completed
from kpi_assets_tests.e2e.web import Web

pytestmark = pytest.mark.nightly

NAME, DAY, TABLE, CHECK = "ecommerce", "2025-06-02", "staging.orders_clean", "quarantine"
REASON = "the till wrote returns as negative prices"
EVALUATED = """
query Checks($key: AssetKeyInput!, $name: String!, $partition: String) {
  assetCheckExecutions(assetKey: $key, checkName: $name, limit: 1, partition: $partition) {
    status
    evaluation {
      success severity metadataEntries { label ... on TextMetadataEntry { text } }
    }
  }
}
"""
PUBLISHED = """
select p.asset, p.rows, p.checksum, (
    select array_agg(r.object_key) from ops.rulings as r where r.ruling_id = any(p.rulings)
)
from ops.published as p where p.asset not like 'decisions.%' order by p.asset
"""
RULED = "select kind, asset, load_date, checks, reason, ruled_by, ruled_at, expires_at, object_key from ops.rulings"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A `kpi up` of the shop, of which a day has landed that a check holds."""
    folder = tmp_path_factory.mktemp("web")
    with Web.open(folder, pipeline=NAME) as opened:
        words = ["--load-date", DAY, "--orders", "500", "--events", "800", "--fault", "negative-price=6"]
        kpi(opened, "sample", NAME, *words, "--out", str(folder / "files"))
        kpi(opened, "land", NAME, "--from", str(folder / "files"))
        yield opened


def kpi(web: Web, *words: str, code: int = 0) -> str:
    said: Completed = web.kpi(*words)
    assert said.returncode == code, said.stdout + said.stderr
    return " ".join(said.stdout.split())


def rows(web: Web, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(kpi(web, "url", NAME)) as connection:
        return connection.execute(query.encode()).fetchall()


def evaluated(web: Web) -> dict[str, Any]:
    """Return the last evaluation of the check in the web UI."""
    asked = {"key": {"path": [NAME, *TABLE.split(".")]}, "name": CHECK, "partition": DAY}
    [found] = web.ask(EVALUATED, asked)["assetCheckExecutions"]
    said = {entry["label"]: entry.get("text") for entry in found["evaluation"]["metadataEntries"]}
    return {"status": found["status"], **found["evaluation"], "metadataEntries": said}


def trusts(web: Web) -> dict[str, Any]:
    """Return the trust of each KPI by the API."""
    address = f"http://127.0.0.1:{web.environment['KPI_SERVE_PORT']}/api/v1/kpis"
    with urllib.request.urlopen(address, timeout=60) as answer:
        return {each["table"]: each["trust"] for each in json.load(answer)["kpis"]}


def test_the_story_of_a_waiver_and_of_a_lost_database(web: Web) -> None:
    assert web.final_status(web.launch(DAY, pipeline=NAME)) == "CANCELED"
    assert evaluated(web)["severity"] == "ERROR"
    assert "held" in kpi(web, "plan", NAME, code=3)

    words = ("--load-date", DAY, "--check", CHECK, "--reason", REASON, "--by", "ana")
    assert f"waived {CHECK} of {TABLE} of {DAY} until " in kpi(web, "waive", NAME, TABLE, *words)
    assert web.final_status(web.launch(DAY, pipeline=NAME)) == "SUCCESS"
    found = evaluated(web)
    assert (found["status"], found["success"], found["severity"]) == ("FAILED", False, "WARN")
    assert found["metadataEntries"]["waived_by"] == "ana"
    assert found["metadataEntries"]["waived_because"] == REASON

    sentence = f"{TABLE} of {DAY} is published although {CHECK} failed: waived by ana until"
    for command in (("plan", NAME), ("status",), ("alerts", NAME)):
        assert sentence in kpi(web, *command)
    kpi(web, "recheck", NAME, "--load-date", DAY)
    before = rows(web, PUBLISHED)
    key = f"decisions/{TABLE}/load_date={DAY}/0001.jsonl"
    marked = {asset for asset, _, _, keys in before if keys == [key]}
    assert marked == {asset for asset, _, _, keys in before if keys}
    assert {TABLE, "warehouse.fact_orders", "warehouse.kpi_revenue_by_category"} <= marked
    assert not marked & {"raw.orders_json", "raw.events_csv", "staging.events_clean", "staging.products_clean"}

    told = trusts(web)
    assert {table for table, trust in told.items() if trust["waived"]} == {*told} & marked
    [said] = told["warehouse.kpi_revenue_by_category"]["waived"]
    assert {name: said[name] for name in ("table", "checks", "by", "reason", "revoked_by")} == {
        "table": TABLE,
        "checks": [CHECK],
        "by": "ana",
        "reason": REASON,
        "revoked_by": None,
    }
    assert {trust["gate"]["state"] for trust in told.values() if trust["waived"]} <= {"waived", "late"}

    ruled = rows(web, RULED)
    with psycopg.connect(kpi(web, "url", NAME), dbname="postgres", autocommit=True) as session:
        session.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(NAME)))
    kpi(web, "run", NAME, "--load-date", DAY)
    assert rows(web, PUBLISHED) == before
    assert rows(web, RULED) == ruled
