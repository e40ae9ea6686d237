"""Places of the lake in the ledger: every snapshot that it names, and what each is to it."""

from datetime import date, timedelta
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.ledger import holds, places, publishes, runs
from kpi_assets.ledger.runs import Counts
from kpi_assets.model.lake import Snapshot
from kpi_assets.model.names import Relation
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS, PipelineHarness

THINGS, OTHERS = Relation("raw", "things"), Relation("raw", "others")
KIND = "spark xxhash64"


@pytest.fixture
def ready(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.prepared()
    return lab


def at(number: int) -> Snapshot:
    return Snapshot("kpi.shop_raw.things", number)


def opened(session: Connection[Any], relation: Relation = THINGS, day: date = DAY) -> int:
    return runs.open_row(session, run_id="r1", pipeline="shop", job=str(relation), load_date=day)


def ended(session: Connection[Any], build_id: int, status: runs.Status) -> int:
    assert runs.close_build(session, build_id, status, layer="raw", counts=Counts())
    return build_id


def published(session: Connection[Any], snapshot: Snapshot | None, day: date = DAY, relation: Relation = THINGS) -> int:
    build_id = opened(session, relation, day)
    publishes.record(
        session,
        relation,
        day,
        build_id=build_id,
        run_id="r1",
        manifest_hash="m",
        code_version="c",
        rows=3,
        checksum="17",
        size_bytes=0,
        inputs={},
        columns={"thing_id": "integer"},
        place=snapshot,
        checksum_kind=KIND if snapshot else None,
    )
    return ended(session, build_id, "success")


def held(session: Connection[Any], snapshot: Snapshot | None, day: date = DAY) -> int:
    build_id = opened(session, THINGS, day)
    said = {"manifest_hash": "m", "code_version": "c", "checks_version": "k", "rows": 5, "checksum": "17"}
    holds.record(session, build_id, **said, place=snapshot, checksum_kind=KIND)  # type: ignore[arg-type]
    return ended(session, build_id, "held")


def test_a_publish_says_where_its_rows_are_and_whose_hashes_its_checksum_sums(ready: PipelineHarness) -> None:
    with ready.session() as session:
        published(session, at(41))
        published(session, None, relation=OTHERS)
        found = publishes.current(session, [THINGS, OTHERS], DAY)
    on_lake, in_postgres = found[THINGS], found[OTHERS]
    assert (on_lake.place, on_lake.snapshot, on_lake.checksum_kind) == ("kpi.shop_raw.things@41", at(41), KIND)
    assert (in_postgres.place, in_postgres.snapshot, in_postgres.checksum_kind) == (None, None, None)
    assert on_lake.checksum == in_postgres.checksum
    assert on_lake.content != in_postgres.content
    rows = ready.rows("select asset, place, checksum_kind from ops.published order by asset")
    assert rows == [("raw.others", None, None), ("raw.things", "kpi.shop_raw.things@41", KIND)]


def test_each_snapshot_that_the_ledger_names_is_found_with_its_state(ready: PipelineHarness) -> None:
    later = NEXT + timedelta(days=1)
    with ready.session() as session:
        first, second = published(session, at(1)), published(session, at(2))
        dropped = published(session, at(3), NEXT)
        publishes.record_drop(session, [THINGS], NEXT)
        held(session, at(4), later)
        last = held(session, at(5), later)
        published(session, None, relation=OTHERS)
        found = places.named(session)
        assert [(each.build_id, each.snapshot.number, each.state, each.rows) for each in found] == [
            (first, 1, "past", 3),
            (second, 2, "current", 3),
            (dropped, 3, "gone", 3),
            (last, 5, "held", 5),
        ]
        assert [each.publish_id is None for each in found] == [False, False, False, True]
        assert {(each.relation, each.load_date) for each in found} == {(THINGS, DAY), (THINGS, NEXT), (THINGS, later)}
        assert places.named(session, [OTHERS]) == []
        assert places.named(session, [THINGS], NEXT) == found[2:3]
        assert places.named(session, load_date=later) == found[3:]


def test_a_held_build_is_nobodys_once_another_has_begun(ready: PipelineHarness) -> None:
    with ready.session() as session:
        held(session, at(1))
        candidate = holds.last_candidate(session, THINGS, DAY)
        assert candidate is not None
        assert (candidate.snapshot, candidate.relation) == (at(1), None)
        building = opened(session)
        assert places.named(session) == []
        assert places.unfinished(session, THINGS) == [building]
        assert places.unfinished(session, OTHERS) == []
        ended(session, building, "failed")
        assert places.unfinished(session, THINGS) == []


def test_a_build_whose_process_died_is_not_unfinished(ready: PipelineHarness) -> None:
    with ready.session() as session, ready.session() as dying:
        building = opened(dying)
        assert places.unfinished(session, THINGS) == [building]
        dying.close()
        assert _until_gone(session) == []


def _until_gone(session: Connection[Any]) -> list[int]:
    for _ in range(200):
        if not (found := places.unfinished(session, THINGS)):
            return found
        session.execute("select pg_sleep(0.05)")
    return places.unfinished(session, THINGS)


def test_a_removed_table_has_no_current_snapshot(ready: PipelineHarness) -> None:
    with ready.session() as session:
        published(session, at(1))
        publishes.record_removal(session, THINGS)
        assert [each.state for each in places.named(session)] == ["gone"]
