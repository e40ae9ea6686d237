"""The server and the sessions that the tests of the lake share."""

from collections.abc import Iterator

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.lake.session import Engine
from kpi_assets_tests.lake.server import LakeServer, lake_server, needed


@pytest.fixture(scope="session")
def server(stack: Stack) -> Iterator[LakeServer]:
    """A Spark with Iceberg."""
    needed()
    with lake_server() as running:
        yield running


@pytest.fixture
def engine(server: LakeServer) -> Iterator[Engine]:
    """A session with it."""
    with server.connect() as connected:
        yield connected
