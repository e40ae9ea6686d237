"""One `kpi up` for all tests of this folder; the last of them ends it."""

import os
import shutil
import signal
from collections.abc import Iterator

import pytest

from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.e2e.web import Web


@pytest.fixture(scope="package")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """`kpi up` in a home of its own, with its own copy of the sql tree; ended by Ctrl-C."""
    folder = tmp_path_factory.mktemp("web")
    ours = ("KPI_", "AWS_", "DAGSTER_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment["KPI_HOME"] = str(folder / "home")
    shutil.copytree(CHECKOUT / "sql", folder / "sql")
    environment["KPI_SQL_DIR"] = str(folder / "sql")
    with (folder / "sql" / "instacart" / "pipeline.yaml").open("a") as text:
        text.write("automation: {start: none}\n")  # what runs is what the tests launch
    started = Web(f"http://127.0.0.1:{39000 + os.getpid() % 1000}", environment)
    try:
        started.start()
        yield started
    finally:
        if started.process.poll() is None:
            started.process.send_signal(signal.SIGINT)
            started.process.wait(60)
