"""Fixtures: a sample of 1,000 orders without faults, which many tests share."""

from pathlib import Path

import pytest

from kpi_assets_tests.samples.reading import Sample, write


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write(tmp_path_factory.mktemp("sample"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder"
