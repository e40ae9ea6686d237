"""A run that is stopped: by Ctrl-C it ends in order, by SIGKILL the next run closes what it left open."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import psycopg
import pytest

from kpi_assets_tests.cli.command import Said, Site
from kpi_assets_tests.cli.conftest import Published
from kpi_assets_tests.machine import eventually

DAY, NEXT = date(2025, 4, 1), date(2025, 4, 2)
STATUSES = (
    "select job, status, error_message from ops.pipeline_runs where run_id = %s and status <> 'success' order by id"
)
DIED = "The process that ran this died before it could finish."


@pytest.fixture(scope="module", autouse=True)
def _landed(kpi: Site, published: Published) -> None:
    for day in (DAY, NEXT):
        kpi.lay(day, kpi.sample(day, 300))


@contextmanager
def stopped(kpi: Site, how: signal.Signals, *words: object) -> Iterator[tuple[str, Said]]:
    """A call that is stopped while raw.orders waits to be published; gives the run's id and what it said."""
    with psycopg.connect(kpi.url()) as reader:
        reader.execute("lock table ops.publishes in share mode")
        with kpi.start(*words) as process:
            running = "select run_id from ops.pipeline_runs where status = 'running' and job = 'raw.orders'"
            try:
                eventually(lambda: kpi.rows(running) != [], seconds=60)
                [(run_id,)] = kpi.rows(running)
                if how is signal.SIGKILL:
                    status = kpi("status", "--all")
                    assert status.line(str(DAY)).startswith(f"{DAY} 1 of 5 published running: orders ")
            finally:
                process.send_signal(how)
            if how is signal.SIGKILL:
                process.wait(20)
                reader.rollback()
            out, err = process.communicate(timeout=60)
        yield run_id, Said(process.returncode, out, err)


def dagster_status(kpi: Site, run_id: str) -> str:
    [(status,)] = kpi.rows("select status from runs where run_id = %s", run_id, database="dagster")
    return str(status)


def test_killed_midway_the_next_run_closes_it_as_failed_and_publishes(kpi: Site) -> None:
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


def test_ctrl_c_ends_a_backfill_in_order_and_not_only_its_load_date(kpi: Site) -> None:
    before = kpi.published(DAY)
    words = ("backfill", "instacart", "--from", DAY, "--to", NEXT, "--select", "+raw.orders")
    with stopped(kpi, signal.SIGINT, *words) as (run_id, said):
        assert said.code == 130
        assert said.out == ""
        assert said.err.endswith("Stopped: what was published before stays; run the load_date again for the rest.\n")
        assert "Traceback" not in said.err
    interrupted = "It was interrupted."
    assert kpi.rows(STATUSES, run_id) == [
        ("instacart", "failed", f"raw.orders: {interrupted}"),
        ("raw.orders", "failed", interrupted),
    ]
    assert dagster_status(kpi, run_id) in {"FAILURE", "CANCELED"}
    assert kpi.published(DAY) == before
    assert kpi.published(NEXT) == {}, "the next load_date was not begun"
