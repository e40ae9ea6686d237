"""Builds on the lake: from an object to a KPI in Postgres, published, held, released, replayed and taken away."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kpi_assets.lake.tables import Tables
from kpi_assets.ledger import places, publishes
from kpi_assets.materialize import in_lake
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


def test_a_lagging_main_is_repaired_by_the_next_build(lab: LakeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Tables, "mirror", lambda *_: None)
        lab.put_things(GOOD)
        lab.build("raw.things")
    assert lab.main("raw.things") == []
    lab.put_things(OTHER, NEXT)
    lab.build("raw.things", NEXT)
    assert lab.main("raw.things", "thing_id") == [(1,), (1,), (2,), (3,), (4,), (5,)]


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
