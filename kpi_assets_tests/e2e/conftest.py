"""One `kpi up` for all tests of this folder; the last of them ends it."""

from collections.abc import Iterator

import pytest

from kpi_assets_tests.e2e.browser import Browser
from kpi_assets_tests.e2e.web import Web


@pytest.fixture(scope="package")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A running `kpi up` that starts no runs by itself."""
    with Web.open(tmp_path_factory.mktemp("web")) as started:
        yield started


@pytest.fixture(scope="module")
def browser(web: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that is logged in."""
    with Browser.open(web.address, tmp_path_factory.mktemp("profile")) as opened:
        opened.driver.get(web.link)
        yield opened
