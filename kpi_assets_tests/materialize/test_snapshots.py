"""A transaction that began before a publish never sees a published load_date as empty."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Any

import psycopg
import pytest

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.retention import drop_due, find_due
from kpi_assets.warehouse.connection import LEDGER_ALONE, WarehouseError, connect, one_snapshot, url_of
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, PIPELINE_YAML, RAW_THINGS, PipelineHarness

OTHER = b"thing_id,name,weight\n7,saw,1.00\n8,nail,0.01\n9,peg,0.02\n"
STORAGES = pytest.mark.parametrize("storage", ["rows", "partitions"])
OLDER = "waiting for transactions with older snapshots"


def publish(lab: PipelineHarness, storage: str, body: bytes = GOOD) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:"))
    lab.put_things(body)
    assert not lab.build("raw.things").held


@contextmanager
def reader(lab: PipelineHarness, isolation: str = "repeatable read") -> Iterator[psycopg.Connection[Any]]:
    """Open a transaction of a user that has executed a first statement, which reads no table of the pipeline."""
    with psycopg.connect(url_of(lab.server, lab.name), application_name="dashboard") as session:
        session.execute(f"set transaction isolation level {isolation}".encode())
        session.execute("select 1")
        yield session


def names(session: psycopg.Connection[Any]) -> list[str]:
    return [name for (name,) in session.execute("select name from raw.things order by thing_id")]


@contextmanager
def rebuilding(lab: PipelineHarness) -> Iterator[tuple[Future[BuildOutcome], Event]]:
    """Build the load_date again from other bytes in a thread. The event is set when its publish waits."""
    waits = Event()

    def heard(phase: str, _done: int, _total: int) -> None:
        if phase == OLDER:
            waits.set()

    lab.put_things(OTHER)
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(lab.build, "raw.things", on_progress=heard), waits


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_partition_is_swapped_once_no_transaction_has_an_older_snapshot(lab: PipelineHarness, isolation: str) -> None:
    publish(lab, "partitions")
    with ExitStack() as opened:
        old = opened.enter_context(reader(lab, isolation))
        build, waits = opened.enter_context(rebuilding(lab))
        assert waits.wait(timeout=PATIENCE)
        later = opened.enter_context(reader(lab, isolation))  # its snapshot includes the rows of the candidate
        assert not build.done()
        assert names(old) == ["anvil", "feather"]
        old.rollback()
        assert build.result(timeout=PATIENCE).rows == 3
        assert names(later) == ["saw", "nail", "peg"]


def test_a_swap_waits_for_a_snapshot_of_ours_too(lab: PipelineHarness) -> None:
    """A comparison, a trace and a plan read a load_date that a swap would take from under them."""
    publish(lab, "partitions")
    with ExitStack() as opened:
        old = opened.enter_context(connect(lab.server, lab.name, "diff"))
        assert named(old) == "kpi diff"
        with one_snapshot(old, LEDGER_ALONE):
            old.execute("select 1")  # takes the snapshot
            assert named(old) == "kpi_diff"
            build, waits = opened.enter_context(rebuilding(lab))
            assert waits.wait(timeout=PATIENCE)
            assert names(old) == ["anvil", "feather"]
            assert not build.done()
        assert build.result(timeout=PATIENCE).rows == 3
        assert (named(old), names(old)) == ("kpi diff", ["saw", "nail", "peg"])


def named(session: psycopg.Connection[Any]) -> str:
    [(name,)] = session.execute("show application_name").fetchall()
    return str(name)


def test_rows_are_replaced_while_an_older_transaction_still_sees_the_old_ones(lab: PipelineHarness) -> None:
    publish(lab, "rows")
    with reader(lab) as old, rebuilding(lab) as (build, waits):
        assert build.result(timeout=PATIENCE).rows == 3
        assert names(old) == ["anvil", "feather"]
        assert not waits.is_set()


@STORAGES
def test_a_publish_does_not_wait_for_read_committed_transactions(lab: PipelineHarness, storage: str) -> None:
    publish(lab, storage)
    with reader(lab, "read committed") as idle, rebuilding(lab) as (build, waits):
        assert build.result(timeout=PATIENCE).rows == 3
        assert names(idle) == ["saw", "nail", "peg"]
        assert not waits.is_set()


@STORAGES
def test_a_first_publish_waits_for_nobody(lab: PipelineHarness, storage: str) -> None:
    publish(lab, storage)
    lab.put_things(GOOD, NEXT)
    with reader(lab) as old:
        assert not lab.build("raw.things", NEXT, publish_timeout=0).held
        assert old.execute(f"select count(*) from raw.things where load_date = '{DAY}'".encode()).fetchone() == (2,)


def test_a_rewrite_of_the_table_waits_for_older_snapshots(lab: PipelineHarness) -> None:
    publish(lab, "rows")
    text = lab.file("raw/things.sql", RAW_THINGS.replace("thing_id: {type: integer", "thing_id: {type: bigint"))
    assert "bigint" in text.read_text()
    lab.put_things(OTHER, NEXT)
    with reader(lab) as old:
        with pytest.raises(WarehouseError, match="so the table was not published: end that transaction"):
            lab.build("raw.things", NEXT, publish_timeout=0.5)
        assert names(old) == ["anvil", "feather"]
    assert not lab.build("raw.things", NEXT, publish_timeout=0.5).held


def test_the_session_with_the_older_snapshot_is_named_after_the_timeout(lab: PipelineHarness) -> None:
    publish(lab, "partitions")
    lab.put_things(OTHER)
    with reader(lab) as old:
        process = old.info.backend_pid
        with pytest.raises(
            WarehouseError,
            match=r"^A transaction whose snapshot is older than the build has been open for 1 seconds "
            rf"\(process {process} of {old.info.user}, dashboard\), so the table was not published: "
            r"end that transaction \(see pg_stat_activity\), and run again\.$",
        ):
            lab.build("raw.things", publish_timeout=1)
        assert names(old) == ["anvil", "feather"]
    assert lab.rows("select status from ops.pipeline_runs order by id desc limit 1") == [("failed",)]
    assert lab.build("raw.things").rows == 3


@pytest.mark.parametrize(("storage", "left"), [("rows", ""), ("partitions", "older than the build")])
def test_retention_keeps_partitions_that_an_older_snapshot_sees(lab: PipelineHarness, storage: str, left: str) -> None:
    (lab.folder / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=lab.bucket) + "retention: {raw: 1}\n")
    publish(lab, storage)
    context = lab.prepared()
    with lab.session() as session:
        found = find_due(session, context.pipeline, NEXT.replace(month=12))
    with reader(lab) as old:
        [(publish_, kept_reason)] = list(drop_due(context, found, timeout=0.5))
        assert publish_.load_date == DAY
        assert left in kept_reason
        assert bool(kept_reason) == bool(left)
        assert names(old) == ["anvil", "feather"]
