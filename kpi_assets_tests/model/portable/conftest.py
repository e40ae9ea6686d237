"""A Spark for the tests of this folder."""

from collections.abc import Iterator

import pytest

from kpi_assets_tests.model.portable.spark import OnSpark


@pytest.fixture(scope="session")
def spark() -> Iterator[OnSpark]:
    """A Spark in ANSI mode."""
    with OnSpark.open() as running:
        yield running
