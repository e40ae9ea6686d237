"""Builds on the lake: from an object to a KPI in Postgres, published, held, released, replayed and taken away."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO
from threading import Event
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kpi_assets.errors import UserError
from kpi_assets.lake.session import EngineError
from kpi_assets.lake.tables import Tables
from kpi_assets.ledger import locks, mirrors, places, publishes, runs, schema
from kpi_assets.materialize import drop, in_lake
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.drop import drop_load_date, drop_table, published_load_date
from kpi_assets.materialize.recheck import recheck
from kpi_assets.materialize.retention import drop_due, find_due, settle_lake
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.lake import Snapshot
from kpi_assets.model.names import Relation
from kpi_assets.sources.refusals import LakeError
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets_tests.lake.conftest import LakeHarness
from kpi_assets_tests.lake.server import LakeServer
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS, failed

pytestmark = pytest.mark.nightly
RAW = RAW_THINGS.replace("grain: [thing_id]\n", "grain: [thing_id]\nstorage: lake\n", 1)
STG = """\
/* @asset
description: Things that were weighed.
owner: team:tests
grain: [thing_id]
storage: lake
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
  class: {type: smallint, description: Weight class.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
checks:
  not_null: [name]
  range: {weight: [0, 100]}
  foreign_key: {thing_id: raw.things.thing_id}
  reconcile: {source: raw.things, dropped: {unweighed: weight is null}}
@end */
select
    thing_id,
    name,
    case when weight > 10 then 2 else 1 end::smallint as class,
    weight
from raw.things
where load_date = %(load_date)s and weight is not null
"""
MART = """\
/* @asset
description: Things by class.
owner: team:tests
grain: [class]
kpi: {chart: {x: class, y: weight}}
columns:
  class: {type: smallint, description: Weight class.}
  things: {type: bigint, description: Things.}
  weight: {type: "numeric(12,2)", description: Kilograms.}
checks:
  reconcile: {source: stg.weighed, counted: sum(things)}
  all_kilograms:
    reconcile: {source: stg.weighed, sum: weight, here: weight}
@end */
select
    class,
    count(*) as things,
    sum(weight)::numeric(12, 2) as weight
from stg.weighed
where load_date = %(load_date)s
group by class
"""
GOOD = b"thing_id,name,weight\n1,anvil,20.50\n2,feather,\n3,nail,0.25\n4,hammer,2.00\n"
OTHER = b"thing_id,name,weight\n1,anvil,21.50\n5,saw,3.00\n"
DOUBLED = b"thing_id,name,weight\n1,anvil,20.50\n1,anvil again,20.50\n"
UNREADABLE = b"thing_id,name,weight\n1,anvil,20.50\n2,feather,light\n"
ALL = ("raw.things", "stg.weighed", "marts.classes")


@pytest.fixture
def lab(shop: LakeHarness) -> LakeHarness:
    shop.file("raw/things.sql", RAW)
    shop.file("stg/weighed.sql", STG)
    shop.file("marts/classes.sql", MART)
    return shop


def _day(lab: LakeHarness, body: bytes, day: date = DAY) -> None:
    """Publish a load_date of all tables."""
    lab.put_things(body, day)
    for name in ALL:
        outcome = lab.build(name, day)
        assert not outcome.held, outcome.results


def _publish(lab: LakeHarness, name: str, day: date = DAY) -> publishes.Publish:
    with lab.session() as session:
        return publishes.current(session, [Relation.parse(name)], day)[Relation.parse(name)]


def test_a_good_day(lab: LakeHarness) -> None:
    _day(lab, GOOD)
    assert lab.rows("select class, things, weight::text from marts.classes order by 1") == [
        (1, 2, "2.25"),
        (2, 1, "20.50"),
    ]
    assert lab.main("raw.things", "thing_id, name") == [(1, "anvil"), (2, "feather"), (3, "nail"), (4, "hammer")]
    raw, stg, mart = (_publish(lab, name) for name in ALL)
    assert (raw.rows, stg.rows, mart.rows) == (4, 3, 2)
    assert (raw.checksum_kind, stg.checksum_kind, mart.checksum_kind) == ("spark xxhash64",) * 2 + (None,)
    assert isinstance(stg.snapshot, Snapshot)
    assert (mart.snapshot, mart.inputs) == (None, {"stg.weighed": stg.publish_id})
    assert stg.size_bytes > 500
    for name, publish in (("raw.things", raw), ("stg.weighed", stg)):
        assert lab.refs(name) == [f"p{publish.build_id}"], "a tag for the publish, and no branch"
    assert lab.rows("select to_regclass('stg.weighed')") == [(None,)]
    assert lab.rows("select count(*) from pg_class where relnamespace = 'builds'::regnamespace") == [(0,)]
    by_name = {result.name: result for result in recheck(lab.context(), lab.pipeline().table("stg.weighed"), DAY)}
    assert not failed([*by_name.values()])
    assert by_name["as_published"].metric == 3
    assert by_name["reconcile"].message == "4 rows of raw.things = 3 here + 1 dropped by unweighed"


def test_what_is_shown_of_a_build(lab: LakeHarness) -> None:
    lab.put_things(GOOD)
    lab.build("raw.things")
    outcome = lab.build("stg.weighed")
    assert outcome.preview == [
        {"thing_id": "1", "name": "anvil", "class": "2", "weight": "20.50"},
        {"thing_id": "3", "name": "nail", "class": "1", "weight": "0.25"},
        {"thing_id": "4", "name": "hammer", "class": "1", "weight": "2.00"},
    ]
    assert outcome.chart.bars == []
    assert outcome.place == _publish(lab, "stg.weighed").place
    assert 10 < outcome.statements < 40


def test_a_held_day_keeps_what_readers_had_and_is_released_by_a_correction(lab: LakeHarness) -> None:
    _day(lab, GOOD)
    before = _publish(lab, "raw.things")
    lab.put_things(DOUBLED)
    outcome = lab.build("raw.things")
    assert outcome.held
    assert failed(outcome.results)["grain"].metric == 1
    assert failed(outcome.results)["grain"].samples == [{"thing_id": 1, "rows": 2}]
    assert _publish(lab, "raw.things") == before
    assert lab.refs("raw.things") == [f"c{outcome.build_id}", f"p{before.build_id}"]
    assert lab.main("raw.things", "thing_id") == [(1,), (2,), (3,), (4,)]
    [(message, candidate)] = lab.rows(
        f"select error_message, candidate from ops.pipeline_runs where id = {outcome.build_id}"
    )
    assert f"the candidate is kept as k.{lab.name}_raw.things, branch c{outcome.build_id}" in message
    assert candidate is None
    with lab.session() as session:
        [held] = [each for each in places.named(session) if each.state == "held"]
    assert (held.build_id, held.rows) == (outcome.build_id, 2)
    lab.put_things(OTHER)
    corrected = lab.build("raw.things")
    assert not corrected.held
    assert lab.refs("raw.things") == [f"p{corrected.build_id}"], "the branch of the held build and the old tag are gone"
    assert lab.main("raw.things", "thing_id") == [(1,), (5,)]
    for name in ALL[1:]:
        assert not lab.build(name).held
    assert lab.rows("select class, weight::text from marts.classes order by 1") == [(1, "3.00"), (2, "21.50")]


def test_records_that_cannot_be_read_hold_the_build_and_are_set_aside(lab: LakeHarness) -> None:
    lab.put_things(UNREADABLE)
    outcome = lab.build("raw.things")
    assert outcome.held
    assert failed(outcome.results)["quarantine"].metric == 1
    assert (outcome.rows, outcome.quarantined) == (1, 1)
    assert lab.rows("select line, column_name, value from ops.quarantine") == [(3, "weight", "light")]


def test_a_replay_has_the_same_checksums_and_a_republish_moves_main(lab: LakeHarness) -> None:
    _day(lab, GOOD)
    first = [_publish(lab, name) for name in ALL]
    _day(lab, GOOD)
    again = [_publish(lab, name) for name in ALL]
    assert [each.checksum for each in again] == [each.checksum for each in first]
    assert all(one.publish_id != other.publish_id for one, other in zip(first, again, strict=True))
    _day(lab, OTHER)
    assert lab.main("stg.weighed", "thing_id, class") == [(1, 2), (5, 1)]
    assert _publish(lab, "stg.weighed").checksum != first[1].checksum
    assert lab.refs("stg.weighed") == [f"p{_publish(lab, 'stg.weighed').build_id}"]


def test_a_day_without_rows(lab: LakeHarness) -> None:
    lab.file("raw/things.sql", RAW.replace("@end", "checks: {min_rows: {at_least: 0}}\n@end"))
    lab.file("marts/classes.sql", MART.replace("checks:\n", "checks:\n  min_rows: {at_least: 0}\n"))
    _day(lab, GOOD)
    _day(lab, b"thing_id,name,weight\n")
    assert [_publish(lab, name).rows for name in ALL] == [0, 0, 0]
    assert lab.main("raw.things") == []
    assert lab.rows("select * from marts.classes") == []
    _day(lab, OTHER)
    assert [_publish(lab, name).rows for name in ALL] == [2, 2, 2]


def test_builds_read_the_snapshot_of_the_ledger_and_not_main(lab: LakeHarness) -> None:
    _day(lab, GOOD)
    lab.engine.execute(f"delete from {lab.lake('raw.things').sql} where thing_id = 1")
    assert not lab.build("stg.weighed").held
    assert _publish(lab, "stg.weighed").rows == 3


@contextmanager
def without_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the engine fail whenever `main` is moved."""

    def fails(*_: object) -> None:
        raise EngineError("the engine has no time")

    with monkeypatch.context() as broken:
        broken.setattr(Tables, "mirror", fails)
        yield


def test_a_lagging_main_is_repaired_by_the_next_build(lab: LakeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many load_dates lag, and also what is published no more."""
    days = [DAY + timedelta(days=n) for n in range(4)]
    for day in days[:2]:
        lab.put_things(GOOD, day)
        lab.build("raw.things", day)
    with without_mirror(monkeypatch):
        table = lab.pipeline().table("raw.things")
        with lab.session() as session:
            found = published_load_date(session, lab.pipeline(), table, DAY, place="the test")
        with pytest.raises(EngineError, match="the engine has no time"):
            drop_load_date(lab.context(), found)
        with monkeypatch.context() as patch:
            patch.setattr(mirrors, "lagging", lambda *_: {})
            for day in days[1:]:
                lab.put_things(OTHER, day)
                assert not lab.build("raw.things", day).held
    shown = [(DAY, 4), (days[1], 4)]
    assert lab.main("raw.things", "distinct load_date, count(*) over (partition by load_date)") == shown
    lab.put_things(b"thing_id,name,weight\n", days[3] + timedelta(days=1))
    lab.build("raw.things", days[3] + timedelta(days=1))
    shown = [(day, 2) for day in days[1:]]
    assert lab.main("raw.things", "distinct load_date, count(*) over (partition by load_date)") == shown


def test_main_has_a_load_date_once_when_another_build_moves_it_first(
    lab: LakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the ledger's commit of a build and its own turn."""
    after = in_lake.InLake.after_publish
    meanwhile = iter([NEXT])

    def later(place: in_lake.InLake, *given: Any) -> None:
        if day := next(meanwhile, None):
            assert not lab.build("raw.things", day).held
            assert [*settle_lake(lab.context())] == []
            assert lab.main("raw.things", "thing_id") == [(1,), (1,), (2,), (3,), (4,), (5,)]
        after(place, *given)

    monkeypatch.setattr(in_lake.InLake, "after_publish", later)
    lab.put_things(GOOD)
    lab.put_things(OTHER, NEXT)
    lab.verify("raw.things", NEXT)
    assert not lab.build("raw.things").held
    assert lab.main("raw.things", "thing_id") == [(1,), (1,), (2,), (3,), (4,), (5,)]
    tags = sorted(f"p{_publish(lab, 'raw.things', day).build_id}" for day in (DAY, NEXT))
    assert lab.refs("raw.things") == tags


def test_one_session_at_a_time_changes_what_a_table_has_besides_snapshots(lab: LakeHarness) -> None:
    lab.put_things(GOOD)
    lab.build("raw.things")
    name, context = locks.lake_lock(Relation.parse("raw.things")), lab.context()
    with lab.session() as other, ThreadPoolExecutor(2) as pool:
        assert locks.try_lock(other, name)
        waiting = [
            pool.submit(build, context, context.pipeline.table("raw.things"), DAY),
            pool.submit(lambda: [*settle_lake(lab.context())]),
        ]
        done, _ = wait(waiting, timeout=8)
        assert done == set()
        assert [each.name for each in locks.holders(other) if each.name.startswith("lake ")] == [name]
        locks.unlock(other, name)
        assert not waiting[0].result(120).held
        waiting[1].result(120)
    assert lab.main("raw.things", "thing_id") == [(1,), (2,), (3,), (4,)]
    assert lab.refs("raw.things") == [f"p{_publish(lab, 'raw.things').build_id}"]


def test_a_sweep_keeps_the_tag_of_a_build_that_is_published_meanwhile(
    lab: LakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other build has its tag, and is published between two questions of the sweep to the ledger."""
    is_tagged, may_publish, put_in, unfinished = Event(), Event(), in_lake.InLake.put_in, places.unfinished

    def waiting(place: in_lake.InLake, context: Any, connection: Any, audited: Any, *given: Any) -> Any:
        if audited.candidate.load_date == NEXT:
            is_tagged.set()
            assert may_publish.wait(120)
        return put_in(place, context, connection, audited, *given)

    def published_meanwhile(*given: Any) -> list[int]:
        if is_tagged.is_set() and not may_publish.is_set():
            may_publish.set()
            eventually(lambda: lab.rows(f"select 1 from ops.published where load_date = '{NEXT}'") == [(1,)])
        return unfinished(*given)

    lab.put_things(GOOD)
    lab.put_things(OTHER, NEXT)
    lab.verify("raw.things", NEXT)
    assert not lab.build("raw.things").held
    monkeypatch.setattr(in_lake.InLake, "put_in", waiting)
    monkeypatch.setattr(places, "unfinished", published_meanwhile)
    with ThreadPoolExecutor(1) as pool:
        context = lab.context()
        other = pool.submit(build, context, context.pipeline.table("raw.things"), NEXT)
        assert is_tagged.wait(120)
        again = lab.build("raw.things")
        assert not other.result(120).held
    assert lab.refs("raw.things") == sorted([f"p{again.build_id}", f"p{other.result().build_id}"])
    assert lab.main("raw.things", "thing_id") == [(1,), (1,), (2,), (3,), (4,), (5,)]


def test_the_same_bytes_under_another_key_are_noticed(lab: LakeHarness) -> None:
    """By ETag and size, since nobody has read the bytes but the engine."""
    lab.file("raw/things.sql", RAW.replace("  format: csv\n", "  format: csv\n  same_bytes: hold\n"))
    lab.put_things(GOOD)
    lab.put_things(OTHER, NEXT)
    assert not lab.build("raw.things").held
    assert not lab.build("raw.things", NEXT).held
    later = NEXT + timedelta(days=1)
    lab.put_things(GOOD, later)
    outcome = lab.build("raw.things", later)
    assert outcome.held
    [result] = failed(outcome.results).values()
    assert (result.name, result.metric) == ("not_seen_before", 1)
    assert result.message.endswith(f"/load_date={DAY}/things.csv of {DAY}"), result.message
    lab.put_things(GOOD + b"9,nine,9.00\n", later)
    assert failed(lab.build("raw.things", later).results) == {}


def test_a_window_reads_each_load_date_in_its_own_snapshot(lab: LakeHarness) -> None:
    lab.file(
        "stg/weighed.sql",
        STG.replace("storage: lake\n", "storage: lake\nlookback: 2\n")
        .replace("load_date = %(load_date)s", "load_date between %(window_start)s and %(load_date)s")
        .replace("  foreign_key: {thing_id: raw.things.thing_id}\n", "")
        .replace("  reconcile: {source: raw.things, dropped: {unweighed: weight is null}}\n", ""),
    )
    lab.file("raw/things.sql", RAW.replace("storage: lake\n", "storage: lake\nversions: latest\n"))
    lab.put_things(GOOD)
    lab.put_things(OTHER, NEXT)
    for name, day in (("raw.things", DAY), ("raw.things", NEXT), ("stg.weighed", NEXT)):
        assert not lab.build(name, day).held
    publish = _publish(lab, "stg.weighed", NEXT)
    table = lab.lake("stg.weighed")
    assert publish.snapshot is not None
    found = lab.engine.rows(f"select thing_id, weight from ({table.rows(NEXT, publish.snapshot.number)}) order by 1")
    assert [(number, str(weight)) for number, weight in found] == [
        (1, "21.50"),
        (3, "0.25"),
        (4, "2.00"),
        (5, "3.00"),
    ]
    assert publish.inputs.keys() == {"raw.things", f"raw.things@{DAY}"}


def test_retention_and_a_drop_take_rows_away(lab: LakeHarness) -> None:
    words = lab.folder / "pipeline.yaml"
    words.write_text(words.read_text() + "retention: {raw: 1, stg: 1}\n")
    _day(lab, GOOD)
    _day(lab, OTHER, NEXT)
    with lab.session() as session:
        due = find_due(session, lab.pipeline(), NEXT + timedelta(days=1))
    dropped = [*drop_due(lab.context(), due)]
    assert {(publish.asset, publish.load_date, why) for publish, why in dropped} == {
        ("raw.things", DAY, ""),
        ("stg.weighed", DAY, ""),
    }
    assert lab.main("raw.things", "thing_id") == [(1,), (5,)]
    assert lab.refs("raw.things") == [f"p{_publish(lab, 'raw.things', NEXT).build_id}"]
    context, table = lab.context(), lab.pipeline().table("raw.things")
    with lab.session() as session:
        found = published_load_date(session, lab.pipeline(), table, NEXT, place="the test")
    drop_load_date(context, found)
    assert lab.main("raw.things") == []
    assert lab.refs("raw.things") == []


def test_rows_that_are_gone_are_noticed(lab: LakeHarness) -> None:
    _day(lab, GOOD)
    publish = _publish(lab, "stg.weighed")
    table = lab.lake("stg.weighed")
    lab.engine.execute(f"drop table {table.sql} purge")
    [result] = recheck(lab.context(), lab.pipeline().table("stg.weighed"), DAY)
    assert (result.name, result.passed) == ("as_published", False)
    assert "its rows are gone" in result.message
    assert not lab.build("stg.weighed").held
    assert _publish(lab, "stg.weighed").checksum == publish.checksum


def test_what_a_killed_build_leaves_is_swept_by_the_next_one(lab: LakeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the tag and the ledger: nothing is published, and nothing of it stays."""
    _day(lab, GOOD)
    before = _publish(lab, "raw.things")

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as broken:
        broken.setattr(in_lake.InLake, "put_in", killed)
        broken.setattr(in_lake.InLake, "drop", lambda *_: None)
        lab.put_things(OTHER)
        with pytest.raises(SystemExit):
            lab.build("raw.things")
    [(build,)] = lab.rows("select max(id) from ops.pipeline_runs where job = 'raw.things'")
    assert lab.refs("raw.things") == [f"c{build}", f"p{before.build_id}", f"p{build}"]
    assert _publish(lab, "raw.things") == before
    assert lab.main("raw.things", "thing_id") == [(1,), (2,), (3,), (4,)]
    again = lab.build("raw.things")
    assert lab.refs("raw.things") == [f"p{again.build_id}"]
    assert lab.main("raw.things", "thing_id") == [(1,), (5,)]


def test_an_object_that_is_replaced_while_it_is_read_fails_the_build(
    lab: LakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = Tables.fill

    def replaced_meanwhile(tables: Tables, *given: Any) -> int:
        snapshot = fill(tables, *given)
        lab.put_things(OTHER)
        return snapshot

    monkeypatch.setattr(Tables, "fill", replaced_meanwhile)
    lab.put_things(GOOD)
    with pytest.raises(LakeError, match="was replaced while it was read: run the load_date again"):
        lab.build("raw.things")
    assert lab.refs("raw.things") == []


def test_parquet_is_read_as_it_is(lab: LakeHarness) -> None:
    lab.file("raw/things.sql", RAW.replace("things.csv", "things.parquet").replace("format: csv", "format: parquet"))
    key = f"raw/things/load_date={DAY}/things.parquet"

    def put(weights: list[Decimal | None]) -> None:
        columns = {
            "thing_id": pa.array([1, 2], pa.int64()),
            "name": pa.array(["anvil", None], pa.string()),
            "weight": pa.array(weights, pa.decimal128(10, 2)),
        }
        body = BytesIO()
        pq.write_table(pa.table(columns), body)
        lab.put(key, body.getvalue())

    put([Decimal("20.50"), None])
    assert not lab.build("raw.things").held
    assert lab.main("raw.things", "thing_id, name, weight") == [(1, "anvil", Decimal("20.50")), (2, None, None)]
    put([Decimal("20000.00"), None])
    outcome = lab.build("raw.things")
    assert outcome.held
    messages = " ".join(result.message for result in failed(outcome.results).values())
    assert "1 of 2 records have a value that its column does not hold as it is" in messages


def test_two_load_dates_of_one_table_are_built_at_once(lab: LakeHarness) -> None:
    context = lab.prepared()
    days = [DAY + timedelta(days=n) for n in range(3)]
    table = context.pipeline.table("raw.things")
    for day in days:
        lab.put_things(GOOD, day)
        assert not verify(context, table, day).held
    with ThreadPoolExecutor(len(days)) as pool:
        outcomes = [*pool.map(lambda day: build(context, table, day), days)]
    assert [outcome.held for outcome in outcomes] == [False] * 3
    assert lab.main("raw.things", "count(distinct load_date), count(*)") == [(3, 12)]
    assert lab.refs("raw.things") == sorted(f"p{outcome.build_id}" for outcome in outcomes)


def test_what_nobody_builds_any_more_is_settled(lab: LakeHarness) -> None:
    lab.put_things(GOOD)
    lab.build("raw.things")
    publish, table = _publish(lab, "raw.things"), lab.lake("raw.things")
    lab.engine.execute(f"alter table {table.sql} create branch c999999")
    lab.engine.execute(f"alter table {table.sql} create branch of_a_person")
    lab.engine.execute(f"delete from {table.sql} where thing_id = 1")
    assert [*settle_lake(lab.context())] == [
        "raw.things on the lake: dropped c999999",
        f"raw.things on the lake: moved main for {DAY}",
    ]
    assert lab.main("raw.things", "thing_id") == [(1,), (2,), (3,), (4,)]
    assert lab.refs("raw.things") == ["of_a_person", f"p{publish.build_id}"]
    assert [*settle_lake(lab.context())] == []


def test_a_table_moves_to_the_lake_by_a_drop_and_never_by_itself(lab: LakeHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    (lab.folder / "stg/weighed.sql").unlink()
    (lab.folder / "marts/classes.sql").unlink()
    lab.put_things(GOOD)
    lab.build("raw.things")
    lab.file("raw/things.sql", RAW)
    with pytest.raises(DefinitionError, match=r"was published with storage: rows; to change it, run `kpi drop "):
        lab.build("raw.things")
    lab.file("stg/weighed.sql", STG)
    with pytest.raises(UpstreamError, match=r"was published in Postgres, before its file said storage: lake"):
        lab.build("stg.weighed")
    for _ in range(2):
        drop_table(lab.server, lab.name, Relation.parse("raw.things"), lambda *_: None)
        lab.build("raw.things")
        assert lab.main("raw.things", "thing_id") == [(1,), (2,), (3,), (4,)]
        assert lab.refs("raw.things") == [f"p{_publish(lab, 'raw.things').build_id}"]
    (lab.folder / "stg/weighed.sql").unlink()
    lab.file("raw/things.sql", RAW_THINGS)
    with pytest.raises(DefinitionError, match=r"was published with storage: lake; to change it, run `kpi drop "):
        lab.build("raw.things")


def test_a_drop_that_was_interrupted_is_done_by_a_second_one(
    lab: LakeHarness, server: LakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the ledger's commit, and before the table on the lake is gone."""

    def fails(*_: object) -> None:
        raise EngineError("the engine has no time")

    lab.put_things(GOOD)
    lab.build("raw.things")
    relation = Relation.parse("raw.things")
    with monkeypatch.context() as broken:
        broken.setattr(Tables, "drop", fails)
        with pytest.raises(EngineError, match="the engine has no time"):
            drop_table(lab.server, lab.name, relation, lambda *_: None)
    assert lab.rows("select asset from ops.published") == []
    assert lab.main("raw.things", "thing_id") == [(1,), (2,), (3,), (4,)]
    with lab.session() as session:
        assert mirrors.is_on_lake(session, relation)
    drop_table(lab.server, lab.name, relation, lambda *_: None)
    with lab.session() as session, server.connect() as engine:
        assert not Tables(engine, schema.identity(session)).exists(lab.lake("raw.things"))
        assert not mirrors.is_on_lake(session, relation)


def test_a_table_is_not_dropped_while_it_is_built(lab: LakeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.put_things(GOOD)
    lab.build("raw.things")
    monkeypatch.setattr(drop, "READER_TIMEOUT", 1.0)
    with lab.session() as building:
        runs.open_row(building, run_id="r", pipeline=lab.name, job="raw.things", load_date=NEXT)
        with pytest.raises(UserError, match=r"A build of raw\.things is in progress, so nothing was dropped"):
            drop_table(lab.server, lab.name, Relation.parse("raw.things"), lambda *_: None)
    assert _publish(lab, "raw.things").rows == 4
    assert lab.main("raw.things", "thing_id") == [(1,), (2,), (3,), (4,)]
