"""Fixtures of tests that need a published table."""

import pytest

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
