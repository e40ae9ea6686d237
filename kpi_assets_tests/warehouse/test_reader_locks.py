"""A reader in one snapshot sees the rows of the publish that the ledger names, whenever a partition is swapped."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize import publish, retention, rollback
from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.model.names import Relation
from kpi_assets.warehouse import reader_locks
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot
from kpi_assets.warehouse.provision import BUILDER, READER
from kpi_assets.warehouse.reader_locks import BeingReplacedError
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.materialize.kept_pipeline import KeptPipeline
from kpi_assets_tests.paused import Pause, pause_after
from kpi_assets_tests.pipeline_harness import DAY, GOOD, PIPELINE_YAML, RAW_THINGS, PipelineHarness

OTHER = b"thing_id,name,weight\n7,saw,1.00\n8,nail,0.01\n9,peg,0.02\n"
THINGS = """\
/* @asset
description: Things.
owner: team:tests
grain: [thing_id]
storage: partitions
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: "Name, any text."}
@end */
select thing_id, name from raw.things where load_date = %(load_date)s
"""
PERSONAL = THINGS.replace('text."}', 'text.", pii: name}')
SEEN = """\
/* @asset
description: Things, as some see them.
owner: team:tests
grain: [thing_id]
storage: view
columns:
  thing_id: {type: integer, description: Thing.}
@end */
select thing_id from marts.things where load_date = %(load_date)s
"""
# The text of marts.things, the relation that is read, and as whom: with a right on all of it, on some columns, and on
# a view alone.
WHO = {
    "builder": (THINGS, "marts.things", BUILDER),
    "reader": (THINGS, "marts.things", READER),
    "reader of some columns": (PERSONAL, "marts.things", READER),
    "reader of a view": (PERSONAL, "marts.seen", READER),
}
READERS = pytest.mark.parametrize("who", WHO)
WAITS = "select mode from pg_locks where relation = 'marts.things'::regclass and not granted"
Told = tuple[int, int]


@pytest.fixture
def lab(stack: Stack, tmp_path: Path) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path) as made:
        yield made


def published(lab: PipelineHarness, text: str = THINGS) -> None:
    """Publish two things, and write an object of three for the next build."""
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/things.sql", text)
    lab.file("marts/seen.sql", SEEN)
    lab.put_things(GOOD)
    for name in ("raw.things", "marts.things", "marts.seen"):
        assert not lab.build(name).held
    lab.put_things(OTHER)
    assert lab.build("raw.things").rows == 3


@contextmanager
def reading(lab: PipelineHarness, role: str) -> Iterator[Connection[Any]]:
    with connect(lab.server, lab.name, "test", role=role, read_only=True) as session:
        yield session


def lock(session: Connection[Any], *relations: Relation) -> None:
    with one_snapshot(session, relations):
        pass


def told(session: Connection[Any], relation: str = "marts.things") -> Told:
    """Return how many rows the ledger says there are, and how many there are."""
    [(said,)] = session.execute("select rows from ops.published where asset = %s", [relation]).fetchall()
    [(rows,)] = session.execute(f"select count(thing_id) from {relation} where load_date = '{DAY}'".encode()).fetchall()
    return said, rows


def wait_for(lab: PipelineHarness, query: str, result: list[tuple[Any, ...]], over: Callable[[], bool]) -> None:
    """Wait until a query has this result; until then nothing may be `over`."""
    deadline = time.monotonic() + PATIENCE
    while lab.rows(query) != result:
        assert not over(), "it did not wait"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def rebuilding(lab: PipelineHarness, pause: Pause) -> Iterator[Future[BuildOutcome]]:
    """Build marts.things again in a thread, until the pause."""
    with ThreadPoolExecutor(1) as pool:
        build = pool.submit(lab.build, "marts.things")
        try:
            pause.wait()
            yield build
        finally:
            pause.over.set()


def before_the_transaction(patch: pytest.MonkeyPatch) -> Pause:
    """Pause a publish after it has waited for older snapshots, and before its transaction."""
    return pause_after(patch, publish.measures, "of_candidate")


def before_the_commit(patch: pytest.MonkeyPatch) -> Pause:
    """Pause a publish when the partition is swapped and the ledger written, and before it commits."""
    return pause_after(patch, publish, "release")


@READERS
def test_a_swap_waits_for_who_has_locked_first(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    text, relation, role = WHO[who]
    published(lab, text)
    pause = before_the_transaction(monkeypatch)
    with reading(lab, role) as session, rebuilding(lab, pause) as build:
        with one_snapshot(session, [Relation.parse(relation)]):
            session.execute("select 1")  # takes the snapshot, at the latest
            pause.over.set()
            wait_for(lab, WAITS, [("AccessExclusiveLock",)], build.done)
            assert told(session, relation) == (2, 2)
        assert build.result(timeout=PATIENCE).rows == 3
        with one_snapshot(session, [Relation.parse(relation)]):
            assert told(session, relation) == (3, 3)


@READERS
def test_who_comes_during_a_swap_waits_and_reads_what_it_publishes(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    text, relation, role = WHO[who]
    published(lab, text)
    pause = before_the_commit(monkeypatch)

    def read() -> Told:
        with reading(lab, role) as session, one_snapshot(session, [Relation.parse(relation)]):
            return told(session, relation)

    with ThreadPoolExecutor(1) as pool, rebuilding(lab, pause) as build:
        found = pool.submit(read)
        wait_for(lab, WAITS, [("AccessShareLock",)], found.done)
        pause.over.set()
        assert found.result(timeout=PATIENCE) == (3, 3)
        assert build.result(timeout=PATIENCE).rows == 3


def test_postgres_mixes_two_publishes_for_who_has_not_locked(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is why readers lock. If it fails with another version of PostgreSQL, they need not any more."""
    published(lab)
    pause = before_the_transaction(monkeypatch)
    with reading(lab, READER) as session, rebuilding(lab, pause) as build, one_snapshot(session, LEDGER_ALONE):
        session.execute("select 1")
        pause.over.set()
        assert build.result(timeout=PATIENCE).rows == 3
        assert told(session) == (2, 3)


def test_a_rewritten_table_is_read_as_it_is_after_it(lab: PipelineHarness) -> None:
    """To a snapshot that is older, all its rows are gone: the new ones are written by a later transaction."""
    published(lab, PERSONAL.replace("storage: partitions", "storage: rows"))

    def read() -> Told:
        with reading(lab, READER) as session, one_snapshot(session, [Relation("marts", "things")]):
            return told(session)

    with ThreadPoolExecutor(1) as pool, lab.session() as session:
        with session.transaction():
            session.execute("drop view marts.seen")
            session.execute("alter table marts.things alter column thing_id type bigint")
            found = pool.submit(read)
            wait_for(lab, WAITS, [("AccessShareLock",)], found.done)
        assert found.result(timeout=PATIENCE) == (2, 2)


@READERS
def test_who_waits_for_too_long_is_told_so_and_the_publish_goes_on(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    text, relation, role = WHO[who]
    published(lab, text)
    monkeypatch.setattr(reader_locks, "PATIENCE", 1.0)
    pause = before_the_commit(monkeypatch)
    with reading(lab, role) as session, rebuilding(lab, pause) as build:
        since = time.monotonic()
        with pytest.raises(BeingReplacedError) as error:
            lock(session, Relation.parse(relation))
        assert 0.9 < time.monotonic() - since < PATIENCE
        assert str(error.value) == (
            f"The rows of {relation} are being replaced, and could not be read for 1 seconds: ask again in a moment."
        )
        assert error.value.transient
        with one_snapshot(session, [Relation("raw", "things"), Relation("ops", "published")]):
            assert session.execute("select rows from ops.published where asset = 'marts.things'").fetchall() == [(2,)]
        pause.over.set()
        assert build.result(timeout=PATIENCE).rows == 3
        with one_snapshot(session, [Relation.parse(relation)]):
            assert told(session, relation) == (3, 3)


def test_the_sentence_names_at_most_three_tables(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    published(lab)
    monkeypatch.setattr(reader_locks, "PATIENCE", 0.1)
    names = [Relation("marts", name) for name in ("things", "seen", "a", "b")]
    with reading(lab, READER) as session, rebuilding(lab, before_the_commit(monkeypatch)):
        with pytest.raises(BeingReplacedError, match=r"^The rows of marts\.a, marts\.b, marts\.seen or others are "):
            lock(session, *names)
        names.remove(Relation("marts", "b"))
        with pytest.raises(BeingReplacedError, match=r"^The rows of marts\.a, marts\.seen, marts\.things are being"):
            lock(session, *names)


@pytest.mark.parametrize(
    ("text", "reads", "locked"),
    [
        (THINGS, ["marts.things"], ["marts.things"]),
        (PERSONAL, ["marts.things"], ["marts.things"]),
        (THINGS, ["marts.seen"], ["marts.things"]),  # the table that a view shows
        (PERSONAL, ["marts.seen"], ["marts.seen", "marts.things"]),  # by reading the view
        (THINGS, ["raw.things"], []),  # kpi_reader may not read it
        (THINGS, ["marts.things", "raw.things", "marts.nothing", "none.at_all", "ops.published"], ["marts.things"]),
        (THINGS, ["ops.publishes"], []),
        (THINGS, [], []),
    ],
)
def test_what_is_locked_and_no_partition_of_it(
    lab: PipelineHarness, text: str, reads: list[str], locked: list[str]
) -> None:
    published(lab, text)
    with reading(lab, READER) as session:
        session.execute("set lock_timeout = '7s'")
        with one_snapshot(session, [Relation.parse(each) for each in reads]):
            found = session.execute(
                "select relation::regclass::text, mode from pg_locks where pid = pg_backend_pid() and "
                "relation <> all(select oid from pg_class where relnamespace = 'pg_catalog'::regnamespace) "
                "order by 1"
            ).fetchall()
            assert found == [(each, "AccessShareLock") for each in locked]
            assert session.execute("show lock_timeout").fetchall() == [("7s",)]
            assert session.execute("show transaction_isolation").fetchall() == [("repeatable read",)]


def test_a_table_that_is_dropped_before_it_is_locked_is_left_out(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(lab)
    pause = pause_after(monkeypatch, reader_locks, "_find")

    def read() -> list[tuple[Any, ...]]:
        with reading(lab, READER) as session, one_snapshot(session, [Relation("marts", "things")]):
            return session.execute("select to_regclass('marts.things')").fetchall()

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(read)
        pause.wait()
        with lab.session() as session:
            session.execute("drop table marts.things cascade")
        pause.over.set()
        assert found.result(timeout=PATIENCE) == [(None,)]


def test_a_reader_of_another_table_waits_for_nobody(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    published(lab)
    with rebuilding(lab, before_the_commit(monkeypatch)) as build, lab.session() as session:
        session.execute("set statement_timeout = '1s'")
        with one_snapshot(session, [Relation("raw", "things")]):
            assert told(session, "raw.things") == (3, 3)
        assert not build.done()


def test_retention_drops_no_rows_that_a_reader_has_locked(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab.folder / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=lab.bucket) + "retention: {raw: 1}\n")
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", "storage: partitions\ngrain:"))
    lab.put_things(GOOD)
    assert lab.build("raw.things").rows == 2
    context = lab.prepared()
    with lab.session() as session:
        due = retention.find_due(session, context.pipeline, DAY + timedelta(days=300))
    pause = pause_after(monkeypatch, retention, "wait_for_snapshots")
    with reading(lab, BUILDER) as reader, ThreadPoolExecutor(1) as pool:
        dropping = pool.submit(lambda: [*retention.drop_due(context, due, timeout=PATIENCE)])
        pause.wait()
        with one_snapshot(reader, [Relation("raw", "things")]):
            reader.execute("select 1")
            pause.over.set()
            waits = WAITS.replace("marts.things", "raw.things")
            wait_for(lab, waits, [("AccessExclusiveLock",)], dropping.done)
            assert told(reader, "raw.things") == (2, 2)
        assert [(each.asset, reason) for each, reason in dropping.result(timeout=PATIENCE)] == [("raw.things", "")]
        assert reader.execute("select count(*) from ops.published").fetchall() == [(0,)]


def test_a_rollback_waits_for_who_has_locked_first(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KeptPipeline.open(stack, tmp_path) as shop:
        assert isinstance(shop, KeptPipeline)
        good = shop.stock().publish(20.5)
        shop.publish(30, 40)
        pause = pause_after(monkeypatch, rollback, "wait_for_snapshots")
        query = (
            "select p.rows, (select count(*) from marts.weighed as w where w.load_date = p.load_date) "
            f"from ops.published as p where asset = 'marts.weighed' and load_date = '{shop.day}'"
        ).encode()
        waits = "select count(*) from pg_locks where relation = 'marts.weighed'::regclass and not granted"
        with reading(shop, READER) as reader, ThreadPoolExecutor(1) as pool:
            rolling = pool.submit(shop.roll_back, good)
            pause.wait()
            with one_snapshot(reader, [Relation("marts", "weighed")]):
                reader.execute("select 1")
                pause.over.set()
                wait_for(shop, waits, [(1,)], rolling.done)
                assert reader.execute(query).fetchall() == [(2, 2)]
            rolling.result(timeout=PATIENCE)
            assert reader.execute(query).fetchall() == [(1, 1)]
