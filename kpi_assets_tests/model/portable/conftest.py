"""A Spark for the tests of this folder."""

import os
import shutil
from collections.abc import Iterator

import pytest

from kpi_assets_tests.model.portable.spark import OnSpark


@pytest.fixture(scope="session")
def spark() -> Iterator[OnSpark]:
    """A Spark in ANSI mode; its JVM needs Java, which must be installed."""
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Spark runs on Java 17 or 21, which a machine has or has not: no package of Python brings it")
    with OnSpark.open() as running:
        yield running
