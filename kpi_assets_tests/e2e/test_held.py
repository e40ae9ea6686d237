"""The asset graph after a good day and a held one, read with the query of the web UI."""

from pathlib import Path

import pytest

from kpi_assets_tests.e2e.web import Web

pytestmark = pytest.mark.nightly

GOOD, BAD = "2025-03-03", "2025-03-04"  # BAD is held
HELD = "raw.order_products_prior"
BEHIND = {
    "stg.stg_order_products_prior",
    "marts.fact_order_items",
    "marts.fact_orders",
    "marts.kpi_orders_by_dow",
    "marts.kpi_orders_by_dow_28d",
    "marts.kpi_products_reorder",
}
GRAPH = """
query Graph($keys: [AssetKeyInput!]) {
  assetNodes(assetKeys: $keys) {
    assetKey { path }
    partitionStats { numMaterialized numFailed numMaterializing }
    assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } }
  }
}
"""
KEYS = "query Keys { assetNodes { assetKey { path } } }"
SKIPPED = """
query Skipped($id: ID!) {
  logsForRun(runId: $id) { ... on EventConnection { events { ... on ExecutionStepSkippedEvent { stepKey } } } }
}
"""
State = tuple[dict[str, int], dict[str, str]]


def graph(web: Web) -> dict[str, State]:
    """Return the numbers of partitions by status for each table and object, and the state of each check."""
    nodes = web.ask(KEYS, {})["assetNodes"]
    keys = [{"path": node["assetKey"]["path"]} for node in nodes if node["assetKey"]["path"][0] == "instacart"]
    return {
        ".".join(node["assetKey"]["path"][1:]): (
            node["partitionStats"],
            {
                check["name"]: (check["executionForLatestMaterialization"] or {}).get("status")
                for check in node["assetChecksOrError"]["checks"]
            },
        )
        for node in web.ask(GRAPH, {"keys": keys})["assetNodes"]
    }


def is_red(state: State) -> bool:
    """Return whether the UI shows this state in red."""
    partitions, checks = state
    return partitions["numFailed"] > 0 or not {"FAILED", "EXECUTION_FAILED"}.isdisjoint(checks.values())


@pytest.fixture(scope="module")
def before(web: Web, tmp_path_factory: pytest.TempPathFactory) -> dict[str, State]:
    """The graph after the good day."""
    for day, faults in ((GOOD, []), (BAD, ["duplicate_line"])):
        web.land(day, tmp_path_factory.mktemp("landed"), faults, orders=300)
    assert web.materialize(GOOD) == "SUCCESS"
    return graph(web)


def test_only_the_held_table_turns_red_and_the_tables_after_it_stay_unchanged(
    web: Web, before: dict[str, State]
) -> None:
    assert [name for name, state in before.items() if is_red(state)] == []
    run_id = web.launch(BAD)
    assert web.final_status(run_id) == "CANCELED"
    after = graph(web)
    assert [name for name, state in after.items() if is_red(state)] == [HELD]
    assert {name for name, status in after[HELD][1].items() if status != "SUCCEEDED"} == {"grain"}
    assert {name: after[name] for name in BEHIND} == {name: before[name] for name in BEHIND}
    assert set(after["marts.fact_orders"][1].values()) == {"SUCCEEDED"}
    assert after[HELD][0] == before[HELD][0], "the held table has no new materialization"
    events = web.ask(SKIPPED, {"id": run_id})["logsForRun"]["events"]
    skipped = {event["stepKey"] for event in events if event}
    assert skipped == {f"instacart__{name.replace('.', '__')}" for name in BEHIND}


def test_nothing_is_red_after_the_correction(web: Web, before: dict[str, State], tmp_path: Path) -> None:
    web.kpi("sample", "instacart", "--load-date", BAD, "--orders", "300", "--out", str(tmp_path))
    assert web.kpi("land", "instacart", "--load-date", BAD, "--from", str(tmp_path), "--replace").returncode == 0
    assert web.materialize(BAD) == "SUCCESS"
    after = graph(web)
    assert [name for name, state in after.items() if is_red(state)] == []
    assert after[HELD][0]["numMaterialized"] == before[HELD][0]["numMaterialized"] + 1
