"""The numbers that readers are shown equal those that DuckDB computes from the CSV files, and those of `kpi show`."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.model.number_format import write
from kpi_assets.read.breakdown import read_breakdown
from kpi_assets.read.kpis import KpiState, read_kpis
from kpi_assets.read.rows import read_rows
from kpi_assets.read.tiles import tile_of
from kpi_assets.samples import GENERATORS
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot
from kpi_assets.warehouse.provision import READER
from kpi_assets_tests.oracle import FILES, Kpis, kpis
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness
from kpi_assets_tests.read.shown import shown_lineage
from kpi_assets_tests.test_oracle import INSTACART, land_all, run_all

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    GENERATORS["instacart"].write(folder, load_date=DAY, orders=3000, seed=3)
    return folder


@pytest.fixture(scope="module")
def instacart(stack: Stack, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("sql"), INSTACART) as lab:
        context = lab.prepared()
        land_all(context, files, DAY)
        run_all(context, DAY)
        yield lab


@pytest.fixture(scope="module")
def oracle(files: Path) -> Kpis:
    return kpis(files)


@pytest.fixture(scope="module")
def states(instacart: PipelineHarness) -> dict[str, KpiState]:
    pipeline = instacart.pipeline()
    with (
        connect(instacart.server, instacart.name, "test", role=READER) as connection,
        one_snapshot(connection, LEDGER_ALONE),
    ):
        found = read_kpis(connection, pipeline, now=NOW)
    return {kpi.table.relation.table: kpi for kpi in found}


def text(value: Fraction, style: str) -> str:
    return write(Decimal(value.numerator) / Decimal(value.denominator), style)


def test_measures_of_orders(states: dict[str, KpiState], oracle: Kpis) -> None:
    kpi = states["kpi_orders_by_dow"]
    orders = sum(row[1] for row in oracle.by_dow)
    known = [(Fraction(row[2]), Fraction(row[3]), row[1]) for row in oracle.by_dow if row[2] is not None]
    weight = sum(count for _, _, count in known)
    assert tile_of(kpi, "orders").value == orders
    assert tile_of(kpi, "items_per_order").text == text(sum(n * count for n, _, count in known) / weight, "decimal2")
    share = tile_of(kpi, "orders_with_reorder")
    assert share.text == text(sum(n * count for _, n, count in known) / weight, "percent1")
    assert tile_of(states["kpi_orders_by_dow_28d"], "orders").value == sum(row[1] for row in oracle.by_dow_28d)


def test_measures_of_products(states: dict[str, KpiState], oracle: Kpis) -> None:
    kpi = states["kpi_products_reorder"]
    shown = [row for row in oracle.by_product if not row[5]]
    assert 0 < len(shown) < len(oracle.by_product)
    rate = Fraction(sum(row[3] for row in shown), sum(row[2] for row in shown))
    assert tile_of(kpi, "products").value == len(shown)
    assert tile_of(kpi, "reorder_rate").text == text(rate, "percent1")
    assert tile_of(kpi, "top_product").value == max(row[2] for row in shown)


def test_the_rows_behind_them(instacart: PipelineHarness, oracle: Kpis) -> None:
    pipeline = instacart.pipeline()
    table = pipeline.table("marts.kpi_products_reorder")
    with (
        connect(instacart.server, instacart.name, "test", role=READER) as connection,
        one_snapshot(connection, LEDGER_ALONE),
    ):
        found = read_breakdown(connection, pipeline, table, DAY)
    with instacart.session() as session:
        assert found.rows == read_rows(session, pipeline, table, DAY, place="the test").rows
    shown = [row for row in oracle.by_product if not row[5]]
    assert [tuple(row) for row in found.rows] == [tuple(map(str, row[:5])) for row in shown]
    assert (found.total, found.left_out) == (len(shown), len(oracle.by_product) - len(shown))


def test_every_record_of_the_files_is_accounted_for(instacart: PipelineHarness, files: Path) -> None:
    pipeline = instacart.pipeline()
    with (
        connect(instacart.server, instacart.name, "test", role=READER) as connection,
        one_snapshot(connection, LEDGER_ALONE),
    ):
        found = shown_lineage(connection, pipeline, "marts.kpi_products_reorder", DAY)
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in files.glob("*.csv")}
    assert {file.sha256 for file in found.files} <= digests
    rows = sum(node.rows for node in found.raw)
    assert (found.records, found.set_aside, found.is_accounted) == (rows, 0, True)
    assert {node.asset for node in found.raw} <= {f"raw.{name.replace('__', '_')}" for name in FILES}
    assert found.passed == len(found.checks) > 40
