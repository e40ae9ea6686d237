"""A stopped run: after Ctrl-C it shuts down cleanly; after SIGKILL the next run closes what it left open.

In both cases its statement on the server ends too.
"""

import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from kpi_assets.cli.runner import StoppedError, failures_of
from kpi_assets_tests.cli.command import CliHarness, Output
from kpi_assets_tests.cli.conftest import Published
from kpi_assets_tests.examples import few
from kpi_assets_tests.machine import HOURS, PATIENCE, eventually

DAY, NEXT = date(2025, 4, 1), date(2025, 4, 2)
STATUSES = (
    "select job, status, error_message from ops.pipeline_runs where run_id = %s and status <> 'success' order by id"
)
DIED = "The process that ran this died before it could finish."
INTERRUPTED = "It was interrupted."
KEPT = "error: Stopped: what is published already stays; run the load_date again for the rest.\n"


@pytest.fixture(scope="module", autouse=True)
def _landed(kpi: CliHarness, published: Published) -> None:
    for day in (DAY, NEXT):
        kpi.upload(day, kpi.sample(day, 300))


@contextmanager
def stopped(kpi: CliHarness, how: signal.Signals, *words: object) -> Iterator[tuple[str, Output]]:
    """Stop a call while raw.orders waits to be published; yield the id of the run and the output."""
    with psycopg.connect(kpi.url()) as reader:
        reader.execute("lock table ops.publishes in share mode")
        with kpi.start(*words) as process:
            running = "select run_id from ops.pipeline_runs where status = 'running' and job = 'raw.orders'"
            try:
                eventually(lambda: kpi.rows(running) != [])
                [(run_id,)] = kpi.rows(running)
                if how is signal.SIGKILL:
                    status = kpi("status", "--all")
                    assert status.line(str(DAY)).startswith(f"{DAY} 1 of 5 published running: orders ")
            finally:
                process.send_signal(how)
            if how is signal.SIGKILL:
                process.wait(20)
                reader.rollback()
            out, err = process.communicate(timeout=PATIENCE)
        yield run_id, Output(process.returncode, out, err)


def dagster_status(kpi: CliHarness, run_id: str) -> str:
    [(status,)] = kpi.rows("select status from runs where run_id = %s", run_id, database="dagster")
    return str(status)


def test_after_a_kill_the_next_run_closes_the_killed_one_as_failed_and_publishes(kpi: CliHarness) -> None:
    words = ("run", "instacart", "--load-date", DAY, "--select", "+raw.orders")
    with stopped(kpi, signal.SIGKILL, *words) as (killed, said):
        assert said.code == -signal.SIGKILL
        assert kpi.rows(STATUSES, killed) == [("instacart", "running", None), ("raw.orders", "running", None)]
        assert dagster_status(kpi, killed) == "STARTED"
        assert kpi.published(DAY) == {}

    kpi(*words)

    assert kpi.rows(STATUSES, killed) == [("instacart", "failed", DIED), ("raw.orders", "failed", DIED)]
    assert dagster_status(kpi, killed) == "FAILURE"
    assert set(kpi.published(DAY)) == {"raw.orders"}
    assert kpi.rows("select count(*) from raw.orders where load_date = %s", DAY) == [(300,)]
    assert kpi.rows("select count(*) from ops.pipeline_runs where status = 'running'") == [(0,)]


@pytest.mark.nightly
def test_ctrl_c_ends_a_whole_backfill_and_not_only_its_load_date(kpi: CliHarness) -> None:
    before = kpi.published(DAY)
    words = ("backfill", "instacart", "--from", DAY, "--to", NEXT, "--select", "+raw.orders")
    with stopped(kpi, signal.SIGINT, *words) as (run_id, said):
        assert said.code == 130
        assert said.out == ""
        assert said.err.endswith(KEPT)
        assert "Traceback" not in said.err
    assert kpi.rows(STATUSES, run_id) == [
        ("instacart", "failed", f"raw.orders: {INTERRUPTED}"),
        ("raw.orders", "failed", INTERRUPTED),
    ]
    assert dagster_status(kpi, run_id) in {"FAILURE", "CANCELED"}
    assert kpi.published(DAY) == before
    assert kpi.published(NEXT) == {}, "the next load_date was not started"


@pytest.mark.parametrize("how", few(1, [signal.SIGINT, signal.SIGKILL]))
def test_the_statement_on_the_server_ends_with_the_command(kpi: CliHarness, sql: Path, how: signal.Signals) -> None:
    before = kpi.published(DAY).get("stg.stg_orders")
    file = sql / "instacart/stg/stg_orders.sql"
    file.write_text(f"{file.read_text()}    and {HOURS}\n")
    words = ("run", "instacart", "--load-date", DAY, "--select", "+stg.stg_orders")
    sessions = "select state from pg_stat_activity where application_name like 'kpi % stg.stg_orders 2025-04-01'"
    with kpi.start(*words, KPI_SQL_DIR=str(sql)) as process:
        eventually(lambda: kpi.rows(f"{sessions} and query like 'create table%generate_series%'") == [("active",)])
        process.send_signal(how)
        out, err = process.communicate(timeout=PATIENCE)

    if how is signal.SIGINT:
        assert process.returncode == 130
        assert [line.split()[:2] for line in err.splitlines()[:-1]] == [
            ["s3.orders", "verified"],
            ["raw.orders", "published"],
            ["stg.stg_orders", "failed"],
        ]
        assert (out, err.splitlines()[-1] + "\n") == ("", KEPT)
        assert kpi.rows(sessions) == []
        [(run_id, error)] = kpi.rows(
            "select run_id, error_message from ops.pipeline_runs where job = 'stg.stg_orders' order by id desc limit 1"
        )
        assert (error, dagster_status(kpi, run_id)) == (INTERRUPTED, "FAILURE")
    eventually(lambda: kpi.rows(sessions) == [])
    assert kpi.published(DAY).get("stg.stg_orders") == before

    kpi(*words)  # no lock is left
    assert kpi.published(DAY)["stg.stg_orders"] != before
    left = "relnamespace = 'builds'::regnamespace and relname ~ '^stg__stg_orders__20250401__' and not relispartition"
    assert kpi.rows(f"select relname from pg_class where relkind in ('r', 'p') and {left}") == []


def stopped_at(event_type: str) -> dg.ExecuteInProcessResult:
    """Execute a run that is stopped while Dagster writes the first event of the type."""

    class Stop(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            event = record.__dict__["dagster_meta"]["dagster_event"]
            if event and event.event_type_value == event_type:
                os.kill(os.getpid(), signal.SIGINT)

    @dg.logger
    def stop(_context: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("stop", logging.DEBUG)
        logger.addHandler(Stop())
        return logger

    @dg.job(logger_defs={"stop": stop})
    def job() -> None:
        dg.op(name="raw__orders")(lambda: None)()

    return job.execute_in_process(raise_on_error=False, run_config={"loggers": {"stop": {}}})


@pytest.mark.parametrize(("event_type", "steps_that_failed"), [("PIPELINE_START", 0), ("STEP_START", 1)])
def test_a_run_is_stopped_during_a_step_or_between_steps(event_type: str, steps_that_failed: int) -> None:
    ran = stopped_at(event_type)
    assert sum(event.is_step_failure for event in ran.all_events) == steps_that_failed
    with pytest.raises(StoppedError, match=KEPT.removeprefix("error: ").strip()):
        failures_of(ran.job_def.name, ran.all_events)


def test_ctrl_c_outside_of_a_run_is_one_sentence(kpi: CliHarness, tmp_path: Path) -> None:
    words = ("--load-date", DAY, "--orders", 3_000_000, "--out", tmp_path)
    with kpi.start("sample", "instacart", *words) as process:
        eventually((tmp_path / ".partial").exists)
        for _ in range(5):  # numpy sometimes swallows the signal, so a person presses the keys again
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                out, err = process.communicate(timeout=4)
                break
    assert (process.returncode, out, err) == (130, "", "error: Stopped.\n")
