"""Runs of one load_date wait for each other: concurrent runs would replace each other's inputs."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date

import psycopg
import pytest

from kpi_assets.assets import resources
from kpi_assets.assets.resources import Run
from kpi_assets.ledger.runs import open_row
from kpi_assets.materialize.recheck import recheck
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness

WAITING = "waiting for another run of its load_date"


def nothing(_phase: str, _done: int, _total: int) -> None:
    """Ignore progress."""


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as opened:
        yield opened


@pytest.fixture
def runs(pool: ThreadPoolExecutor) -> Iterator[Callable[[str], Run]]:
    """Yield a function that opens runs; all are closed at the end of the test, so nothing waits for them longer."""
    opened = []

    def start(run_id: str) -> Run:
        opened.append(Run(run_id, "test", DAY))
        return opened[-1]

    yield start
    for run in opened:
        with suppress(psycopg.Error):  # the run is closed already
            run.close()


def test_the_second_run_of_a_load_date_begins_when_the_first_has_ended(
    lab: PipelineHarness, pool: ThreadPoolExecutor, runs: Callable[[str], Run]
) -> None:
    pipeline, waiting = lab.pipeline(), threading.Event()
    first, second = runs("first"), runs("second")
    first.context(pipeline, lab.s3, nothing, DAY)
    told = []

    def on_progress(phase: str, done: int, total: int) -> None:
        told.append((phase, done, total))
        waiting.set()

    begun = pool.submit(second.context, pipeline, lab.s3, on_progress, DAY)
    assert waiting.wait(PATIENCE)
    assert not begun.done()
    first.close()
    assert begun.result(30).run_id == "second"
    assert {phase for phase, _, _ in told} == {WAITING}
    assert [done for _, done, _ in told] == list(range(len(told)))
    assert lab.rows("select run_id, status from ops.pipeline_runs order by id") == [
        ("first", "success"),
        ("second", "running"),
    ]


def test_a_run_in_a_prepared_database_only_closes_the_rows_of_dead_processes(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = lab.prepared().pipeline
    with lab.session() as session:
        dead = open_row(session, run_id="dead", pipeline=lab.name, job="raw.things", load_date=DAY)
    monkeypatch.setattr(resources, "prepare", lambda *_: pytest.fail("the database is prepared already"))
    run = Run("new", "test", DAY, is_prepared=True)
    run.context(pipeline, lab.s3, nothing, DAY)
    assert lab.rows(f"select status from ops.pipeline_runs where id = {dead}") == [("failed",)]
    assert run.close() == {"success": []}


@pytest.mark.parametrize("other", [NEXT, None], ids=["another load_date", "no load_date at all"])
def test_a_run_of_another_load_date_does_not_wait(
    lab: PipelineHarness, runs: Callable[[str], Run], other: date | None
) -> None:
    pipeline, told = lab.pipeline(), []
    runs("first").context(pipeline, lab.s3, nothing, DAY)
    runs("second").context(pipeline, lab.s3, lambda *said: told.append(said), other)
    assert told == []


def test_a_run_keeps_its_lock_between_builds_and_does_not_wait_for_itself(
    lab: PipelineHarness, runs: Callable[[str], Run]
) -> None:
    pipeline, told, run = lab.pipeline(), [], runs("first")
    for _ in range(2):
        run.context(pipeline, lab.s3, lambda *said: told.append(said), DAY)
    assert told == []
    assert lab.rows("select run_id from ops.pipeline_runs") == [("first",)], "the run was opened once"


def test_a_recheck_waits_for_a_run_of_its_load_date(
    lab: PipelineHarness, pool: ThreadPoolExecutor, runs: Callable[[str], Run]
) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    lab.build("raw.things")
    run, waiting = runs("first"), threading.Event()
    run.context(lab.pipeline(), lab.s3, nothing, DAY)
    told = []

    def on_progress(phase: str, done: int, total: int) -> None:
        told.append(phase)
        waiting.set()

    context = lab.context(on_progress=on_progress)
    found = pool.submit(recheck, context, context.pipeline.table("raw.things"), DAY)
    assert waiting.wait(PATIENCE)
    assert lab.rows("select count(*) from ops.data_quality_results where subject = 'published'") == [(0,)]
    run.close()
    names = [(result.name, result.passed) for result in found.result(30)]
    assert names == [("as_published", True), ("grain", True), ("min_rows", True)]
    assert set(told) == {"waiting for a run of its load_date"}
