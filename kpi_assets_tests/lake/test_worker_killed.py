"""A worker of a cluster that is killed in the middle of a stage changes no row: another one computes its part again."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import publishes
from kpi_assets.materialize import engine_session
from kpi_assets.model.names import Relation
from kpi_assets_tests.lake.cluster import Cluster, cluster
from kpi_assets_tests.lake.conftest import LakeHarness
from kpi_assets_tests.lake.server import lake_server, needed
from kpi_assets_tests.pipeline_harness import DAY, RAW_THINGS

pytestmark = pytest.mark.nightly
RAW = RAW_THINGS.replace("grain: [thing_id]\n", "grain: [thing_id]\nstorage: lake\n", 1)
NAME = "raw.things"
ROWS = 200_000
# About 30 MB, which are read in blocks of 4.
BODY = b"thing_id,name,weight\n" + b"".join(b"%d,%0130d,%d.25\n" % (n, n * 7919, n % 9999) for n in range(ROWS))


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Cluster]:
    """Two workers."""
    needed()
    with cluster(tmp_path) as running:
        yield running


@pytest.fixture
def lab(stack: Stack, tmp_path: Path, workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[LakeHarness]:
    """A raw table on the lake, whose engine is the cluster."""
    with lake_server(workers.settings) as server, LakeHarness.open(stack, tmp_path / "lab") as lab:
        assert isinstance(lab, LakeHarness)
        monkeypatch.setattr(engine_session, "connect", lambda _config, _name: server.connect())
        words = lab.folder / "pipeline.yaml"
        words.write_text(words.read_text() + "lake: {engine: spark, catalog: k}\n")
        lab.file("raw/things.sql", RAW)
        with server.connect() as lab.engine:
            yield lab


def _published(lab: LakeHarness) -> publishes.Publish:
    with lab.session() as session:
        return publishes.current(session, [Relation.parse(NAME)], DAY)[Relation.parse(NAME)]


def test_a_worker_that_is_killed_in_a_stage_changes_no_row(lab: LakeHarness, workers: Cluster) -> None:
    lab.put_things(BODY)
    assert not lab.build(NAME).held
    before = _published(lab)
    assert before.rows == ROWS
    victim = workers.workers[0]
    victim.mark()
    stages: list[int] = []
    killer = threading.Thread(target=lambda: stages.append(victim.kill_when_busy()))
    killer.start()
    outcome = lab.build(NAME)
    killer.join()
    assert victim.process.wait() == -9
    assert len(stages) == 1, "a task of the stage was done, and another one was not"
    assert not outcome.held
    after = _published(lab)
    assert (after.rows, after.checksum, after.checksum_kind) == (ROWS, before.checksum, before.checksum_kind)
    assert after.build_id == outcome.build_id
    [(count, total)] = lab.main(NAME, "count(*), sum(thing_id)")
    assert (count, total) == (ROWS, ROWS * (ROWS - 1) // 2)
