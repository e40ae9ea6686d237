"""Fixtures of tests that need a published table."""

import pytest

from kpi_assets_tests.pipeline_harness import GOOD, RAW_THINGS, PipelineHarness


@pytest.fixture
def things(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline whose raw.things is published with GOOD_ROWS: 1 weighs 20.50, 2 was not weighed."""
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    lab.build("raw.things")
    return lab
