"""The run log: a row is closed once, by its own process or, if that died, by the next process that looks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import run_states, runs
from kpi_assets.ledger.runs import Counts
from kpi_assets.model.names import Relation
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS, PipelineHarness

DIED = "The process that ran this died before it could finish."
ROWS = "select job, status, error_message, ended_at is not null from ops.pipeline_runs order by id"


@pytest.fixture
def ready(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline whose database is ready and whose run log is empty."""
    lab.file("raw/things.sql", RAW_THINGS)
    lab.prepared()
    return lab


def opened(session: Connection[Any], job: str, run_id: str = "r1", day: object = DAY) -> int:
    return runs.open_row(session, run_id=run_id, pipeline="shop", job=job, load_date=day)


def closed(session: Connection[Any], row_id: int, status: runs.Status, layer: Any = "raw", **more: Any) -> bool:
    return runs.close_build(session, row_id, status, layer=layer, counts=more.pop("counts", Counts()), **more)


@contextmanager
def another(lab: PipelineHarness) -> Iterator[Connection[Any]]:
    """Yield a session that stands for another process. On exit, wait until the server has noticed its end."""
    with lab.session() as session:
        yield session
        pid = session.info.backend_pid
    eventually(lambda: lab.rows(f"select 1 from pg_stat_activity where pid = {pid}") == [])


def test_only_rows_of_ended_sessions_are_closed_as_dead(ready: PipelineHarness) -> None:
    with ready.session() as alive:
        mine = opened(alive, "raw.alive")
        with another(ready) as dying:
            opened(dying, "raw.dying")
            assert runs.close_dead_rows(alive) == []
        assert runs.close_dead_rows(alive) == [("r1", "raw.dying")]
        assert ready.rows(ROWS) == [("raw.alive", "running", None, False), ("raw.dying", "failed", DIED, True)]
        assert closed(alive, mine, "success")
        assert runs.close_dead_rows(alive) == []
    assert ready.rows(ROWS)[0] == ("raw.alive", "success", None, True)


def test_a_live_row_with_the_same_id_in_another_database_keeps_no_dead_row_open(
    ready: PipelineHarness, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("other")) as other:
        other.file("raw/things.sql", RAW_THINGS)
        other.prepared()
        with other.session() as living, ready.session() as looking:
            numbers = {opened(living, "raw.living")}
            with another(ready) as dying:
                numbers.add(opened(dying, "raw.dying"))
            assert len(numbers) == 1
            assert runs.close_dead_rows(looking) == [("r1", "raw.dying")]
            assert runs.close_dead_rows(living) == []


def test_a_closed_row_does_not_change(ready: PipelineHarness) -> None:
    with ready.session() as session:
        row = opened(session, "raw.things")
        assert closed(session, row, "success", counts=Counts(3, 2, 1))
        assert not closed(session, row, "failed", error="too late")
    assert ready.rows(
        "select status, error_message, rows_extracted, rows_loaded_raw, rows_quarantined from ops.pipeline_runs"
    ) == [("success", None, 3, 2, 1)]


def test_loaded_rows_are_recorded_in_the_column_of_their_layer(ready: PipelineHarness) -> None:
    with ready.session() as session:
        for layer in ("raw", "staging", "marts"):
            closed(session, opened(session, f"{layer}.t"), "success", layer, counts=Counts(loaded=5))
    assert ready.rows(
        "select rows_loaded_raw, rows_loaded_staging, rows_loaded_marts from ops.pipeline_runs order by id"
    ) == [(5, None, None), (None, 5, None), (None, None, 5)]


def test_the_row_of_a_run_has_the_sums_of_its_own_builds(ready: PipelineHarness) -> None:
    with ready.session() as session:
        run = opened(session, "shop")
        closed(session, opened(session, "raw.a"), "success", counts=Counts(10, 9, 1))
        closed(session, opened(session, "raw.b"), "success", counts=Counts(5, 5, 0))
        closed(session, opened(session, "stg.a"), "success", "staging", counts=Counts(loaded=9))
        closed(session, opened(session, "marts.k"), "success", "marts", counts=Counts(loaded=7))
        closed(session, opened(session, "marts.l"), "success", "marts", counts=Counts(loaded=2))
        closed(session, opened(session, "raw.a", "r2"), "held", counts=Counts(100, 100, 100), error="of another run")
        assert runs.close_run(session, run, "r1") == "success"
    assert ready.rows(
        "select status, rows_extracted, rows_loaded_raw, rows_loaded_staging, rows_loaded_marts, rows_quarantined, "
        "error_message, execution_seconds is not null, ended_at >= started_at from ops.pipeline_runs where job = 'shop'"
    ) == [("success", 15, 14, 9, 9, 1, None, True, True)]


@pytest.mark.parametrize(
    ("builds", "error", "status", "said"),
    [
        ([], None, "success", None),
        (["success", "held"], None, "held", "t1: why 1"),
        (["held", "failed", "success"], None, "failed", "t0: why 0; t1: why 1"),
        (["success"], "the run itself", "failed", "the run itself"),
        (["held"], "the run itself", "failed", "t0: why 0"),
    ],
)
def test_the_row_of_a_run_has_the_worst_status_of_its_builds(
    ready: PipelineHarness, builds: list[runs.Status], error: str | None, status: str, said: str | None
) -> None:
    with ready.session() as session:
        run = opened(session, "shop")
        for number, each in enumerate(builds):
            why = None if each == "success" else f"why {number}"
            closed(session, opened(session, f"t{number}"), each, error=why)
        assert runs.close_run(session, run, "r1", error) == status
    assert ready.rows("select status, error_message from ops.pipeline_runs where job = 'shop'") == [(status, said)]


def test_a_run_whose_build_is_still_open_is_failed(ready: PipelineHarness) -> None:
    with ready.session() as session:
        run = opened(session, "shop")
        with another(ready) as dying:
            opened(dying, "raw.things")
        assert runs.close_run(session, run, "r1") == "failed"


def test_the_latest_status_is_that_of_the_last_build_that_ended(ready: PipelineHarness) -> None:
    things = Relation("raw", "things")
    with ready.session() as session:
        assert runs.latest_status(session, things, DAY) is None
        closed(session, opened(session, "raw.things"), "success")
        closed(session, opened(session, "raw.things"), "held")
        closed(session, opened(session, "raw.things", day=NEXT), "failed")
        opened(session, "raw.things")
        assert runs.latest_status(session, things, DAY) == "held"
        assert runs.latest_status(session, things, NEXT) == "failed"


def test_run_states_are_listed_by_load_date_and_by_run(ready: PipelineHarness) -> None:
    with ready.session() as session:
        opened(session, "shop")
        closed(session, opened(session, "s3.things"), "success")
        closed(session, opened(session, "raw.things"), "held", error="grain")
        closed(session, opened(session, "raw.things", "r2"), "success")
        closed(session, opened(session, "raw.things", "r3", NEXT), "failed", error="no server")
        opened(session, "raw.others", "r3", NEXT)
        assert run_states.by_load_date(session) == {
            DAY: {"s3.things": "published", "raw.things": "published"},
            NEXT: {"raw.things": "failed", "raw.others": "running"},
        }
        assert run_states.of_run(session, "r1") == {"s3.things": ("success", None), "raw.things": ("held", "grain")}
        assert run_states.of_run(session, "r3") == {
            "raw.things": ("failed", "no server"),
            "raw.others": ("running", None),
        }
