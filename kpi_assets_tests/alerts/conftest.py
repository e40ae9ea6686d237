"""A web server for each test, and one database for all tests of a module, emptied before each."""

from collections.abc import Iterator

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.fixtures.database import clear_ledger
from kpi_assets_tests.alerts.receivers import Web
from kpi_assets_tests.pipeline_harness import RAW_THINGS, PipelineHarness


@pytest.fixture
def web() -> Iterator[Web]:
    with Web.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("shared")) as opened:
        opened.file("raw/things.sql", RAW_THINGS)
        opened.prepared()
        yield opened


@pytest.fixture
def ready(shared: PipelineHarness) -> PipelineHarness:
    """A pipeline whose database is ready and whose ops tables are empty."""
    with shared.session() as session:
        clear_ledger(session)
    return shared
