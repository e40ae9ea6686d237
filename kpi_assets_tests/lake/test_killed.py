"""Whatever is lost between two steps of a publish on the lake, the ledger is the truth, and later builds mend the rest.

The client, the engine, the session with Postgres and the store are lost after each step. The ledger's row is the
publish: before it readers of the ledger and of `main` see the earlier rows, and after it `main` may lag until the next
build of the table, of any load_date. What a lost build left in the lake is swept by the next one of its load_date.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import psycopg
import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.lake.session import Engine, EngineError
from kpi_assets.ledger import publishes
from kpi_assets.materialize import engine_session
from kpi_assets.model.names import Relation
from kpi_assets.settings import settings
from kpi_assets.sources.s3_objects import client
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.lake.conftest import LakeHarness
from kpi_assets_tests.lake.gate import Gate, gate
from kpi_assets_tests.lake.server import LakeServer, lake_server, needed
from kpi_assets_tests.lake.steps import STEPS, after
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.materialize.crash_points import await_no_session, locks
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS

pytestmark = pytest.mark.nightly
RAW = RAW_THINGS.replace("grain: [thing_id]\n", "grain: [thing_id]\nstorage: lake\n", 1)
NAME = "raw.things"
LOSSES = ("client", "sessions", "store", "engine")
# So that a store that is gone is noticed sooner; Iceberg itself looks for the metadata of a table for two minutes.
IMPATIENT = {
    "spark.sql.catalog.k.s3.retry.num-retries": "1",
    "spark.hadoop.fs.s3a.attempts.maximum": "1",
    "spark.hadoop.fs.s3a.retry.limit": "1",
}


class Engines:
    """A server that can be lost and started again, whose store is behind a gate."""

    def __init__(self, store: Gate) -> None:
        self.store = store
        self._running = ExitStack()
        self.server: LakeServer | None = None

    def connect(self) -> Engine:
        """Open a session, with a new server if there is none."""
        if self.server is None:
            self.server = self._running.enter_context(lake_server(IMPATIENT, endpoint=self.store.url))
        return self.server.connect()

    def kill(self) -> None:
        """End the server without a chance to end anything itself."""
        assert self.server is not None
        process = psutil.Process(self.server.spark.pid)
        for each in (*process.children(recursive=True), process):
            each.kill()

    def forget(self) -> None:
        """Give back what is left of a server that was killed."""
        self._running.close()
        self.server = None


@pytest.fixture(scope="module")
def engines(stack: Stack) -> Iterator[Engines]:
    """A server of these tests alone."""
    needed()
    with gate(client(settings()).meta.endpoint_url) as store:
        found = Engines(store)
        yield found
        found.forget()


@pytest.fixture(scope="module")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory, engines: Engines) -> Iterator[LakeHarness]:
    """A raw table with one published row, of the number 0."""
    with pytest.MonkeyPatch.context() as patch, LakeHarness.open(stack, tmp_path_factory.mktemp("killed")) as lab:
        assert isinstance(lab, LakeHarness)
        patch.setattr(engine_session, "connect", lambda _config, _name: engines.connect())
        words = lab.folder / "pipeline.yaml"
        words.write_text(words.read_text() + "lake: {engine: spark, catalog: k}\n")
        lab.file("raw/things.sql", RAW)
        lab.put_things(body(0))
        assert not lab.build(NAME).held
        yield lab


def body(number: int) -> bytes:
    """Return an object with one row."""
    return b"thing_id,name,weight\n%d,anvil,20.50\n" % number


def published(lab: LakeHarness) -> publishes.Publish:
    """Return what the ledger names."""
    with lab.session() as session:
        return publishes.current(session, [Relation.parse(NAME)], DAY)[Relation.parse(NAME)]


@contextmanager
def looking(lab: LakeHarness, engines: Engines) -> Iterator[None]:
    """Look at the lake in a session of its own, which the lost build never had."""
    with engines.connect() as lab.engine:
        yield


def numbers(lab: LakeHarness) -> tuple[list[int], list[int]]:
    """Return the rows of the snapshot that the ledger names, and those of `main`."""
    snapshot = published(lab).snapshot
    assert snapshot is not None
    named = lab.engine.rows(lab.lake(NAME).rows(DAY, snapshot.number))
    columns = list(lab.lake(NAME).columns)
    of_ledger = [row[columns.index("thing_id")] for row in named]
    day = f"select thing_id from {lab.lake(NAME).sql} where load_date = date '{DAY}'"
    lab.engine.execute(f"refresh table {lab.lake(NAME).sql}")
    return of_ledger, [number for (number,) in lab.engine.rows(day)]


def kill_client(lab: LakeHarness, engines: Engines, step: str) -> None:
    """Build in a process that is killed after a step."""
    assert engines.server is not None
    environment = {
        **os.environ,
        "KPI_SPARK_URL": engines.server.url.get_secret_value(),
        "KPI_SPARK_TOKEN": engines.server.token.get_secret_value(),
    }
    words = [str(lab.root), lab.name, lab.bucket, NAME, str(DAY), step]
    command = [sys.executable, "-m", "kpi_assets_tests.lake.steps", *words]
    assert subprocess.run(command, env=environment, check=False, timeout=PATIENCE).returncode == -9


def lose(lab: LakeHarness, engines: Engines, lost: str, step: str) -> None:
    """Build, and lose something after a step."""

    def end_sessions() -> None:
        lab.in_postgres("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", lab.name)

    if lost == "client":
        kill_client(lab, engines, step)
        return
    act = {"sessions": end_sessions, "store": engines.store.shut, "engine": engines.kill}[lost]
    with pytest.MonkeyPatch.context() as patch:
        after(patch, step, act)
        with suppress(EngineError, psycopg.Error, WarehouseError):
            assert not lab.build(NAME).held
    engines.store.open()
    if lost == "engine":
        engines.forget()


# What is published, and which row `main` shows, when something was lost after a step: the one before, the new one, or
# none. Between the tag and the end of the transaction only Postgres is needed, and after it the engine and the store.
OLD, NEW = (False, "old"), (True, "new")
EXPECTED = {
    "fill": dict.fromkeys(LOSSES, OLD),
    "audit": dict.fromkeys(LOSSES, OLD),
    "tag": {"client": OLD, "sessions": OLD, "store": (True, "old"), "engine": (True, "old")},
    "ledger": dict.fromkeys(LOSSES, (True, "old")),
    "half of main": {"client": (True, "none"), "sessions": NEW, "store": (True, "none"), "engine": (True, "none")},
    "main": dict.fromkeys(LOSSES, NEW),
}


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("lost", LOSSES)
def test_what_is_lost_after_a_step(lab: LakeHarness, engines: Engines, lost: str, step: str) -> None:
    with looking(lab, engines):
        [before] = numbers(lab)[0]
    number = before + 1
    lab.put_things(body(number))
    lab.verify(NAME)

    lose(lab, engines, lost, step)

    is_published, shown = EXPECTED[step][lost]
    await_no_session(lab)
    assert locks(lab) == []
    with looking(lab, engines):
        mirrored = {"old": [before], "new": [number], "none": []}[shown]
        assert numbers(lab) == ([number if is_published else before], mirrored)
    # Any build of the table mends its mirror and takes away what was left; a build of the load_date publishes it.
    day = NEXT if is_published else DAY
    lab.put_things(body(number), day)
    assert not lab.build(NAME, day).held
    with looking(lab, engines):
        assert numbers(lab) == ([number], [number])
        tags = lab.rows("select 'p' || build_id from ops.publishes where superseded_at is null order by 1")
        assert lab.refs(NAME) == [name for (name,) in tags], "no branch is left, and no tag of what is not published"
