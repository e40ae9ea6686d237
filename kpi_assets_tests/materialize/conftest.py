"""Fixtures of tests that need a published table."""

from dataclasses import replace

import pytest

from kpi_assets.materialize import build as building
from kpi_assets.model.decision import Decision
from kpi_assets_tests.materialize.orders_pipeline import PRODUCTS, RAW
from kpi_assets_tests.pipeline_harness import GOOD, RAW_THINGS, PipelineHarness


@pytest.fixture
def things(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline whose raw.things is published with GOOD_ROWS: 1 weighs 20.50, 2 was not weighed."""
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    lab.build("raw.things")
    return lab


@pytest.fixture
def orders(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline with raw orders and products; `declare` writes the table with rules (orders_pipeline.py)."""
    lab.file("raw/orders.sql", RAW)
    lab.file("raw/products.sql", PRODUCTS)
    return lab


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[Decision]:
    """Decisions that each build gets as inputs."""
    found: list[Decision] = []
    resolve = building.resolve_inputs
    monkeypatch.setattr(building, "resolve_inputs", lambda *given: replace(resolve(*given), decisions=tuple(found)))
    return found
