"""A command that waits says for which process, in a terminal and on a pipe; Ctrl-C ends it with one sentence."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection
from pydantic import SecretStr

from kpi_assets.cli.runner import STOPPED_MESSAGE
from kpi_assets.ledger import locks
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests.cli import small
from kpi_assets_tests.cli.command import KPI, CliHarness
from kpi_assets_tests.cli.small import NAME
from kpi_assets_tests.machine import PATIENCE, eventually
from kpi_assets_tests.terminal import in_terminal

DAY, NEXT = date(2025, 7, 1), date(2025, 7, 2)
# The command, with messages that come sooner than in real use.
SOON = [sys.executable, "-c", "from kpi_assets import cli, waiting; waiting.EVERY = 0.5; cli.main()"]
RUN = ["run", NAME, "--load-date", str(NEXT)]
# Ctrl-C arrives while the modules of the command are loaded.
EARLY = """
import sys
class Early:
    def find_spec(self, name, *_):
        if name == 'kpi_assets.cli.app':
            raise KeyboardInterrupt
sys.meta_path.insert(0, Early())
from kpi_assets.cli import main
main()
"""


@pytest.fixture(scope="module")
def environment(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a pipeline of which one load_date is published and the next one has landed."""
    sql = small.write_sql(tmp_path_factory.mktemp("waits") / "sql")
    for day in (DAY, NEXT):
        small.upload(kpi, day)
    kpi("run", NAME, "--load-date", DAY, KPI_SQL_DIR=str(sql))
    return {**kpi.environment, "KPI_SQL_DIR": str(sql)}


@pytest.fixture
def other(kpi: CliHarness, environment: dict[str, str]) -> Iterator[Connection[Any]]:
    """A session that holds the lock of the load_date, as another run would."""
    with connect(SecretStr(kpi.servers["KPI_POSTGRES_URL"]), NAME, "0a1b2c3d run") as session:
        assert locks.try_lock(session, locks.run_lock(NEXT))
        yield session


@pytest.mark.nightly
def test_a_command_that_waits_names_the_process_it_waits_for(
    kpi: CliHarness, environment: dict[str, str], other: Connection[Any]
) -> None:
    waiting = "select count(*) from pg_stat_activity where datname = 'small' and application_name like 'kpi % run'"
    with subprocess.Popen(
        [*SOON, *RUN], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        line = next(line for line in process.stderr if line.startswith("waiting"))
        eventually(lambda: kpi.rows(waiting, database=NAME) == [(2,)])
        locks.unlock(other, locks.run_lock(NEXT))
        out, err = process.communicate(timeout=PATIENCE)
    assert line.startswith("waiting for another run of its load_date for ")
    pid = other.info.backend_pid
    assert f" s: process {pid} of kpi (kpi 0a1b2c3d run) since 20" in line
    assert line.endswith(" UTC\n")
    assert process.returncode == 0, err
    assert f"published small, load_date {NEXT}: 3 assets" in out


def test_ctrl_c_in_a_terminal_prints_one_sentence(
    kpi: CliHarness, environment: dict[str, str], other: Connection[Any]
) -> None:
    told = "waiting for another run of its load_date for"
    code, printed = in_terminal([*SOON, *RUN], {**environment, "TERM": "xterm"}, lambda said: told in said)
    assert code == 130
    assert printed.rstrip().endswith(f"Stopped: {STOPPED_MESSAGE.partition(' ')[2]}")
    assert "Traceback" not in printed
    rows = "select job, status from ops.pipeline_runs where load_date = %s and status = 'running'"
    assert kpi.rows(rows, NEXT, database=NAME) == []
    assert [each.name for each in locks.holders(other)] == [f"run {NEXT}"], "only the lock of the other run is left"


def test_ctrl_c_while_the_web_ui_starts_prints_one_sentence(
    kpi: CliHarness, environment: dict[str, str], tmp_path: Path
) -> None:
    """The processes that the command starts are not in the group of the terminal."""
    fresh = {**environment, "KPI_HOME": str(tmp_path / "home"), "TERM": "xterm", **kpi.servers}
    code, printed = in_terminal([KPI, "up"], fresh, lambda said: "Starting the web UI" in said)
    assert code in {0, 130}, "the web UI is up, or about to be"
    assert "Traceback" not in printed
    assert not (tmp_path / "home" / "run" / "services.json").exists()


def test_ctrl_c_while_a_command_is_loaded_prints_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, env=os.environ, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: Stopped.\n")
