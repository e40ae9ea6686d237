"""Instacart with raw, staging and facts on the lake: the oracle's KPIs, and what Postgres would hold is held.

The engine is a cluster of two workers, so that each table with rows is shuffled between two processes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize import engine_session
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext, UpstreamError
from kpi_assets.materialize.verify_object import verify
from kpi_assets.samples import GENERATORS
from kpi_assets_tests import shipped
from kpi_assets_tests.lake import instacart
from kpi_assets_tests.lake.cluster import Cluster, cluster
from kpi_assets_tests.lake.server import LakeServer, end_connections, lake_server, needed
from kpi_assets_tests.model.portable.fixtures import differences
from kpi_assets_tests.oracle import kpis
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness
from kpi_assets_tests.sql.cases import all_cases
from kpi_assets_tests.test_oracle import land_all, published, run_all

# Each builds up to 14 tables twice, and a table on Spark takes some twenty statements.
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]
IN_POSTGRES = instacart.SHIPPED
# What holds a raw table stands before what holds the tables that read it, so there are several days.
DAYS = {
    "records": [
        *("duplicate_line", "reordered_7", "short_row", "backslash_dot", "dow_9", "bad_number", "duplicate_order"),
        "bad_utf8",
    ],
    "orphans": ["orphan_product", "orphan_order"],
    "an order without lines": ["prior_order_without_lines"],
    "a header of another order": ["swapped_header"],
}
CASES = 94  # fixtures whose rows SQL alone makes
VIEW = "stg.stg_order_products_prior"  # in Postgres, where it has no checks of its own; on the lake it has rows
Metrics = Mapping[str, Mapping[str, float | None]]


@pytest.fixture(scope="module")
def workers(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two workers."""
    needed()
    with cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def server(workers: Cluster) -> Iterator[LakeServer]:
    """A Spark with Iceberg that computes on the cluster."""
    with lake_server(workers.settings) as running:
        yield running


@pytest.fixture
def labs(
    stack: Stack, tmp_path: Path, server: LakeServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[PipelineHarness, PipelineHarness]]:
    """The pipeline on the lake, and as it is shipped."""
    monkeypatch.setattr(engine_session, "connect", lambda _config, _name: server.connect())
    files = instacart.write(tmp_path)
    with (
        PipelineHarness.open(stack, tmp_path / "lake", files) as on_lake,
        PipelineHarness.open(stack, tmp_path / "postgres", IN_POSTGRES) as in_postgres,
    ):
        yield on_lake, in_postgres
    end_connections()


def _write(folder: Path, faults: list[str] | None = None, orders: int = 300) -> Path:
    folder.mkdir()
    GENERATORS["instacart"].write(folder, load_date=DAY, orders=orders, seed=1, faults=faults or ())
    return folder


def _held(context: BuildContext) -> Metrics:
    """Build what can be built; return the checks that did not pass, with their metrics, of each table."""
    found: dict[str, Mapping[str, float | None]] = {}
    for table in context.pipeline.tables.values():
        if table.has_object:
            outcome = verify(context, table, DAY)
            if outcome.held:
                found[table.object_name] = {each.name: each.metric for each in outcome.results if not each.passed}
                continue
        try:
            results = build(context, table, DAY).results
        except UpstreamError:
            found[str(table.relation)] = {"not built": None}
        else:
            found[str(table.relation)] = {each.name: each.metric for each in results if not each.passed}
    return found


def test_the_fixtures_are_equal_on_the_cluster(server: LakeServer, workers: Cluster) -> None:
    cases = [case for case in all_cases() if case.pipeline == "instacart"]
    found, ran = differences(server.spark, shipped.PIPELINES, cases)
    assert found == []
    assert ran == CASES
    assert all(each.tasks() for each in workers.workers)


def test_a_day_on_the_lake_equals_the_oracle(
    labs: tuple[PipelineHarness, PipelineHarness], workers: Cluster, tmp_path: Path
) -> None:
    on_lake, in_postgres = labs
    before = [each.tasks() for each in workers.workers]
    folder = _write(tmp_path / "day")
    for lab in labs:
        context = lab.prepared()
        land_all(context, folder, DAY)
        run_all(context, DAY)
    counts = "select asset, rows from ops.published where asset not like 'marts.kpi%' order by asset"
    assert on_lake.rows(counts) == in_postgres.rows(counts)
    by_kpi = "select asset, rows, checksum from ops.published where asset like 'marts.kpi%' order by asset"
    assert on_lake.rows(by_kpi) == in_postgres.rows(by_kpi), "KPIs are in Postgres, with the checksums of Postgres"
    metrics = (
        "select table_name, check_name, status, metric_value, message from ops.data_quality_results "
        "where subject = 'candidate' order by 1, 2"
    )
    found, wanted = on_lake.rows(metrics), in_postgres.rows(metrics)
    assert {each[:2] for each in found} - {each[:2] for each in wanted} == {(VIEW, "grain")}
    assert [each for each in found if each[0] != VIEW] == wanted
    shown, expected = published(in_postgres, DAY), kpis(folder)
    assert shown == expected
    assert (
        on_lake.rows("select * from marts.kpi_orders_by_dow order by order_dow"),
        on_lake.rows("select * from marts.kpi_products_reorder order by product_id"),
        on_lake.rows("select * from marts.kpi_orders_by_dow_28d order by order_dow"),
    ) == (
        in_postgres.rows("select * from marts.kpi_orders_by_dow order by order_dow"),
        in_postgres.rows("select * from marts.kpi_products_reorder order by product_id"),
        in_postgres.rows("select * from marts.kpi_orders_by_dow_28d order by order_dow"),
    )
    after = [each.tasks() for each in workers.workers]
    assert all(now > then for now, then in zip(after, before, strict=True)), "both workers took part"


@pytest.mark.parametrize("day", DAYS)
def test_planted_faults_are_held_with_the_counts_of_postgres(
    labs: tuple[PipelineHarness, PipelineHarness], tmp_path: Path, day: str
) -> None:
    on_lake, in_postgres = labs
    folder = _write(tmp_path / "day", DAYS[day])
    found = []
    for lab in (on_lake, in_postgres):
        context = lab.prepared()
        land_all(context, folder, DAY)
        found.append(_held(context))
    assert {name: of for name, of in found[0].items() if name != VIEW} == {
        name: of for name, of in found[1].items() if name != VIEW
    }
    assert any(found[0].values())
    quarantined = "select table_name, line, column_name, value, reason from ops.quarantine order by 1, 2"
    assert on_lake.rows(quarantined) == in_postgres.rows(quarantined)
