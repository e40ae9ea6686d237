"""Concurrent builds and readers: each build is complete, and each reader sees a single version."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildOutcome, UpstreamError
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.examples import few
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.materialize.crash_points import GOOD_ROWS, THINGS, at, leftover_builds, locks, statuses
from kpi_assets_tests.pipeline_harness import DAY, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness

SAW = b"thing_id,name,weight\n7,saw,1.00\n"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as opened:
        yield opened


def declare(lab: PipelineHarness, storage: str) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:"))


@pytest.mark.parametrize("storage", few(1, ["rows", "partitions"]))
def test_twenty_builds_of_one_load_date_in_four_threads_are_all_published(
    lab: PipelineHarness, pool: ThreadPoolExecutor, storage: str
) -> None:
    declare(lab, storage)
    lab.put_things(GOOD)
    lab.verify("raw.things")
    context = lab.prepared()
    table = context.pipeline.table("raw.things")

    outcomes = list(pool.map(lambda number: build(replace(context, run_id=f"run-{number}"), table, DAY), range(20)))

    assert {(outcome.held, outcome.rows) for outcome in outcomes} == {(False, 2)}
    assert lab.rows("select count(*), count(distinct run_id) from ops.publishes") == [(20, 20)]
    last = max(outcome.publish_id or 0 for outcome in outcomes)
    assert lab.rows("select publish_id from ops.published") == [(last,)]
    assert lab.rows(THINGS) == GOOD_ROWS
    assert statuses(lab, "raw.things") == [("success", None)] * 20
    assert leftover_builds(lab) == []
    assert locks(lab) == []
    in_partitions = lab.rows("select count(*) from pg_inherits where inhparent = 'raw.things'::regclass")
    assert in_partitions == [(1 if storage == "partitions" else 0,)]


@pytest.mark.parametrize("isolation", few(1, ["read committed", "repeatable read", "serializable"]))
@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_two_first_load_dates_may_be_published_at_once(
    lab: PipelineHarness, pool: ThreadPoolExecutor, storage: str, isolation: str
) -> None:
    declare(lab, storage)
    lab.prepared()
    with lab.session() as session:
        session.execute(f"alter database {lab.name} set default_transaction_isolation = '{isolation}'")
    lab.put_things(GOOD, DAY)
    lab.put_things(SAW, NEXT)
    for day in (DAY, NEXT):
        lab.verify("raw.things", day)
    both = threading.Barrier(2, timeout=PATIENCE)
    context = lab.prepared()
    table = context.pipeline.table("raw.things")

    def one(day: object) -> BuildOutcome:
        return build(replace(context, on_progress=at("publishing", lambda: both.wait() and None)), table, day)

    assert [outcome.rows for outcome in pool.map(one, (DAY, NEXT))] == [2, 1]

    assert lab.rows("select load_date, thing_id from raw.things order by 1, 2") == [(DAY, 1), (DAY, 2), (NEXT, 7)]
    assert lab.rows("select load_date, rows from ops.published order by 1") == [(DAY, 2), (NEXT, 1)]
    assert [status for status, _ in statuses(lab, "raw.things")] == ["success", "success"]
    assert leftover_builds(lab) == []


def publishing_while_read(
    lab: PipelineHarness, pool: ThreadPoolExecutor, waiting: threading.Event
) -> Future[BuildOutcome]:
    """Build SAW in another thread, and set `waiting` when its publish waits for a reader."""
    lab.put_things(SAW)
    hear = at("waiting for a reader to finish", waiting.set)
    return pool.submit(lab.build, "raw.things", on_progress=hear)


def test_a_publish_waits_for_a_long_select_which_keeps_its_rows(lab: PipelineHarness, pool: ThreadPoolExecutor) -> None:
    declare(lab, "partitions")
    lab.put_things(GOOD)
    lab.build("raw.things")
    waiting = threading.Event()
    with lab.session() as reader:
        reader.execute("begin")
        reader.execute(f"declare long_select cursor for {THINGS}")
        first = reader.execute("fetch 1 from long_select").fetchall()
        published = publishing_while_read(lab, pool, waiting)
        assert waiting.wait(PATIENCE)

        assert first + reader.execute("fetch all from long_select").fetchall() == GOOD_ROWS
        assert reader.execute(THINGS).fetchall() == GOOD_ROWS, "a second SELECT of the transaction sees the same rows"
        reader.execute("commit")
        assert published.result(30).rows == 1
        assert reader.execute(THINGS).fetchall() == [(7, "saw", "1.00")]
    assert lab.rows("select count(*) from ops.publishes") == [(2,)]
    assert leftover_builds(lab) == []


@pytest.mark.nightly
def test_other_readers_are_served_while_a_publish_waits_for_one(lab: PipelineHarness, pool: ThreadPoolExecutor) -> None:
    declare(lab, "partitions")
    lab.put_things(GOOD)
    lab.build("raw.things")
    waiting = threading.Event()
    with lab.session() as reader, lab.session() as other:
        reader.execute("begin")
        reader.execute(THINGS)
        published = publishing_while_read(lab, pool, waiting)
        assert waiting.wait(PATIENCE)
        other.execute("set statement_timeout = '20s'")
        assert other.execute(THINGS).fetchall() == GOOD_ROWS
        reader.execute("commit")
        assert published.result(30).rows == 1


def test_a_publish_fails_if_a_reader_outlasts_its_timeout(lab: PipelineHarness) -> None:
    declare(lab, "partitions")
    lab.put_things(GOOD)
    first = lab.build("raw.things")
    lab.put_things(SAW)
    with lab.session() as reader:
        reader.execute("begin")
        reader.execute(THINGS)
        with pytest.raises(WarehouseError) as failure:
            lab.build("raw.things", publish_timeout=0)

        assert str(failure.value) == (
            "A reader has held the table for 0 seconds, so it was not published (canceling statement due to lock "
            "timeout): end that query (see pg_stat_activity), and run again."
        )
        assert reader.execute(THINGS).fetchall() == GOOD_ROWS
    assert lab.rows("select publish_id, superseded_at from ops.publishes") == [(first.publish_id, None)]
    assert statuses(lab, "raw.things")[1:] == [("failed", str(failure.value))]
    assert leftover_builds(lab) == []
    assert lab.build("raw.things").rows == 1


@pytest.mark.parametrize("again", [GOOD, SAW], ids=["the same rows", "other rows"])
def test_a_build_is_not_published_if_its_input_was_published_again_meanwhile(
    lab: PipelineHarness, again: bytes
) -> None:
    declare(lab, "rows")
    lab.file("marts/weighed.sql", MART)
    lab.put_things(GOOD)
    lab.build("raw.things")

    def correct_the_input() -> None:
        lab.put_things(again)
        lab.build("raw.things")

    with pytest.raises(UpstreamError) as failure:
        lab.build("marts.weighed", on_progress=at("checking", correct_the_input))

    assert str(failure.value) == (
        "marts.weighed of 2025-03-01 was not published: raw.things was published again while it was being built; "
        "build it again."
    )
    assert lab.rows("select to_regclass('marts.weighed')") == [(None,)]
    assert lab.rows("select count(*) from ops.publishes where asset = 'marts.weighed'") == [(0,)]
    assert statuses(lab, "marts.weighed") == [("failed", str(failure.value))]
    assert leftover_builds(lab) == []
    assert lab.build("marts.weighed").rows == 1
    assert lab.rows("select thing_id from marts.weighed") == [(7 if again == SAW else 1,)]


def test_rows_and_ledger_change_at_the_same_moment(lab: PipelineHarness, pool: ThreadPoolExecutor) -> None:
    declare(lab, "partitions")
    lab.put_things(GOOD)
    lab.build("raw.things")
    stop = threading.Event()

    def read() -> set[tuple[int, int]]:
        seen = set()
        with lab.session() as session:
            while not stop.is_set():
                seen.add(
                    session.execute(
                        "select p.rows, (select count(*) from raw.things) from ops.published as p"
                    ).fetchone()
                )
        return seen

    readers = [pool.submit(read) for _ in range(2)]
    try:
        for body in [SAW, GOOD] * 3:
            lab.put_things(body)
            lab.build("raw.things")
    finally:
        stop.set()
    assert set().union(*(reader.result(30) for reader in readers)) == {(1, 1), (2, 2)}
