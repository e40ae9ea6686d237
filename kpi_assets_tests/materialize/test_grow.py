"""A load_date grows by audited batches, and has the rows that one build of all its objects gives."""

import gzip
import itertools
import json
import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from kpi_assets.ledger import batches, streams
from kpi_assets.ledger.streams import Position
from kpi_assets.materialize.close import close
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.decide import Asked, UndecidableError, decide
from kpi_assets.materialize.grow import Grown, grow
from kpi_assets.materialize.recheck import recheck
from kpi_assets.materialize.retention import drop_due, find_due
from kpi_assets.stream import links
from kpi_assets.stream.described import CLOSED
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.crash_points import at
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness, failed
from kpi_assets_tests.streams import RAW_CLICKS, STG_CLICKS, StreamLab, click, write_files

TABLES = ("raw.clicks", "stg.clicks", "marts.clicks_by_type")
SHOWN = "select asset, load_date, rows, checksum, manifest_hash from ops.published where load_date = '{}' order by 1"


@pytest.fixture(autouse=True)
def sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call lists the objects, since tests do not wait for a minute."""
    monkeypatch.setattr(links, "SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(links, "FULL_SECONDS", 0.0)


@pytest.fixture
def stream(lab: PipelineHarness) -> StreamLab:
    write_files(lab)
    return StreamLab(lab)


def grown(stream: StreamLab, *tables: str) -> list[Grown]:
    """Grow tables as a tick does."""
    context = stream.lab.prepared()
    return [each for name in tables or TABLES for each in grow(context, context.pipeline.table(name), stream.day)]


def published(stream: StreamLab) -> list[tuple[Any, ...]]:
    return stream.lab.rows(SHOWN.format(stream.day))


def totals(stream: StreamLab) -> dict[str, tuple[int, ...]]:
    """Return (rows, records, repeats, quarantined) of each growing table, from its last batch."""
    with stream.lab.session() as session:
        relations = {name: stream.lab.pipeline().table(name).relation for name in TABLES}
        found = {name: batches.last(session, relation, stream.day) for name, relation in relations.items()}
    return {
        name: (each.total_rows, each.total_records, each.total_repeats, each.total_quarantined)
        for name, each in found.items()
        if each
    }


def replayed(stream: StreamLab) -> None:
    """Build the whole load_date, as `kpi run` does."""
    for name in TABLES:
        assert not stream.lab.build(name, stream.day).held


def test_a_batch_goes_from_the_objects_to_the_rollup(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(10)])
    stream.land(1, [click(n) for n in range(10, 15)])
    raw, stg, rollup = grown(stream)
    assert (raw.batch, raw.objects, raw.records, raw.rows, raw.held) == (1, 2, 15, 15, False)
    assert (stg.batch, stg.records, stg.rows, stg.repeats) == (1, 15, 15, 0)
    assert rollup.rows == 3
    assert raw.through == datetime(2025, 3, 1, 0, 0, 0, 4000, timezone.utc)
    assert grown(stream) == []

    stream.land(0, [click(15, user_id=None, colour={"a": [1.50]}), click(0)])
    raw, stg, rollup = grown(stream)
    assert (raw.batch, raw.records, raw.rows) == (2, 2, 2)
    assert (stg.batch, stg.records, stg.rows, stg.repeats) == (2, 2, 1, 1)
    assert (rollup.batch, rollup.rows) == (2, 1)
    assert stream.lab.rows(
        "select user_id, amount::text, unexpected, tags, batch from raw.clicks where user_id is null "
        "and event_id = 'e000015'"
    ) == [(None, "15.25", {"colour": {"a": [1.5]}}, {"n": 15, "deep": [1, "zwei", None]}, 2)]
    assert stream.lab.rows(
        "select asset, rows, (inputs ->> 'raw.clicks') is null from ops.published order by asset"
    ) == [
        ("marts.clicks_by_type", 4, True),
        ("raw.clicks", 17, True),
        ("stg.clicks", 16, False),
    ]


def land_at_random(stream: StreamLab, seed: int, objects: int = 24) -> None:
    """Land objects of three partitions with repeats, poison and unknown fields; a key stays in its partition."""
    chosen = random.Random(seed)
    for number in range(objects):
        partition = number % 3
        values: list[Any] = []
        for _ in range(chosen.randrange(1, 40)):
            identity = chosen.randrange(200) * 3 + partition
            kind = chosen.random()
            if kind < 0.02:
                values.append(b"no json \xff")
            elif kind < 0.04:
                values.append(click(identity, amount="much"))
            elif kind < 0.06:
                values.append(click(identity, sudden=kind))
            else:
                values.append(click(identity))
        stream.land(partition, values)


@pytest.mark.parametrize("at_once", few(1, [5, 1, 24]))
def test_growth_gives_what_a_replay_gives(lab: PipelineHarness, at_once: int) -> None:
    write_files(lab)
    lab.file("raw/clicks.sql", RAW_CLICKS.replace("share: 0.01", "share: 0.2"))
    stream = StreamLab(lab)
    bodies: list[int] = []
    chosen = random.Random(3)
    for _ in range(24 // at_once):
        land_at_random(stream, chosen.randrange(1000), at_once)
        bodies.append(len(grown(stream)))
    assert bodies == [3] * (24 // at_once)
    before, of_growth = published(stream), totals(stream)

    replayed(stream)

    assert published(stream)[1:] == before[1:]  # the grain of the rollup names the batch
    after = totals(stream)
    assert {name: after[name] for name in TABLES[:2]} == {name: of_growth[name] for name in TABLES[:2]}
    assert after["raw.clicks"][3] > 0
    assert after["stg.clicks"][2] > 0
    assert lab.rows("select sum(events)::bigint from marts.clicks_by_type") == [(after["stg.clicks"][0],)]


@pytest.mark.nightly
def test_a_load_date_goes_on_growing_after_a_replay(stream: StreamLab) -> None:
    for start in (0, 10, 20):
        stream.land(0, [click(n) for n in range(start, start + 10)])
        grown(stream)
    assert not stream.lab.build("stg.clicks").held  # the rollup has batches that are no more
    stream.land(0, [click(n) for n in range(25, 35)])

    found = grown(stream)

    assert [(each.relation.table, each.batch, each.rows, each.repeats) for each in found] == [
        ("clicks", 4, 10, 0),
        ("clicks", 4, 5, 5),
        ("clicks_by_type", 1, 3, 0),
    ]
    assert stream.lab.rows("select batch, count(*) from stg.clicks group by 1 order by 1") == [(1, 30), (4, 5)]
    assert stream.lab.rows("select sum(events)::bigint from marts.clicks_by_type") == [(35,)]
    assert not stream.lab.build("raw.clicks").held
    assert [(each.relation.table, each.batch, each.rows) for each in grown(stream)] == [
        ("clicks", 1, 35),
        ("clicks_by_type", 1, 3),
    ]
    assert grown(stream) == []
    stream.land(1, [click(40)])
    assert [(each.batch, each.rows) for each in grown(stream)] == [(2, 1), (2, 1), (2, 1)]


def test_other_sql_builds_the_load_date_as_a_whole(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(10)])
    grown(stream)
    stream.land(0, [click(n) for n in range(10, 20)])
    stream.lab.file("raw/clicks.sql", RAW_CLICKS.replace("  tags: {type: jsonb, description: Anything.}\n", ""))

    found = grown(stream)

    assert [(each.batch, each.rows) for each in found] == [(1, 20), (1, 20), (1, 3)]
    assert (found[0].objects, found[0].records) == (2, 20)
    assert stream.lab.rows("select count(*), count(unexpected -> 'tags') from raw.clicks") == [(20, 20)]


# ---- what comes again


def test_what_comes_again_in_a_batch_in_another_one_and_after_midnight_is_left_out_once(stream: StreamLab) -> None:
    stream.land(0, [click(1, user_id=1), click(2), click(1, user_id=2), click(1, user_id=3)])
    [_, first, _] = grown(stream)
    assert (first.rows, first.repeats) == (2, 2)
    stream.land(0, [click(2), click(3)])
    [_, second, _] = grown(stream)
    assert (second.rows, second.repeats) == (1, 1)
    tomorrow = stream.next_day(NEXT)
    tomorrow.land(0, [click(3), click(4)])
    [_, third, _] = grown(tomorrow)
    assert (third.rows, third.repeats) == (1, 1)
    assert stream.lab.rows("select load_date, event_id, user_id from stg.clicks order by 1, 2") == [
        (DAY, "e000001", 1),
        (DAY, "e000002", 2),
        (DAY, "e000003", 3),
        (NEXT, "e000004", 4),
    ]
    before = published(stream), published(tomorrow)
    replayed(stream)
    replayed(tomorrow)
    assert [rows[1:] for rows in (published(stream), published(tomorrow))] == [rows[1:] for rows in before]


def test_a_key_that_the_next_load_date_has_already_is_left_out_of_the_late_batch(stream: StreamLab) -> None:
    stream.land(0, [click(1)])
    grown(stream)
    tomorrow = StreamLab(stream.lab, NEXT, ends={1: 0})
    tomorrow.land(1, [click(7)])
    grown(tomorrow)
    stream.land(0, [click(7), click(8)])
    [_, late, _] = grown(stream)
    assert (late.rows, late.repeats) == (1, 1)
    before = published(stream)
    replayed(stream)
    assert published(stream)[1:] == before[1:]
    assert stream.lab.rows("select event_id, count(*) from stg.clicks group by 1 having count(*) > 1") == []


# ---- chains


def test_a_link_that_is_missing_is_waited_for_and_then_holds(
    stream: StreamLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.land(0, [click(n) for n in range(10)])
    grown(stream)
    key, body = stream.land(0, [click(n) for n in range(10, 20)], put=False)
    later, _ = stream.land(0, [click(n) for n in range(20, 30)])
    stream.land(1, [click(40)])
    assert [(each.batch, each.rows) for each in grown(stream, "raw.clicks")] == [(2, 1)]  # of the other partition
    assert grown(stream, "raw.clicks") == []

    monkeypatch.setattr(links, "GAP_SECONDS", 0.0)
    stream.land(1, [click(41)])
    [held] = grown(stream, "raw.clicks")
    assert (held.held, held.rows) == (True, 0)
    assert failed(held.results)["chain"].message == (
        f"The object of partition 0 from position 10 is missing before {later}: look whether landing (`kpi stream`) "
        "goes on, and restore the object if somebody removed it"
    )
    assert grown(stream, "raw.clicks") == []  # it is held already
    assert stream.lab.rows(
        "select status, error_message like 'held by%chain%' from ops.pipeline_runs order by id desc limit 1"
    ) == [("held", True)]
    assert stream.lab.rows("select kind from ops.alerts where closed_at is null") == [("held",)]

    stream.lab.put(key, body)
    assert [(each.batch, each.rows, each.held) for each in grown(stream, "raw.clicks")] == [(3, 21, False)]
    assert stream.lab.rows("select count(*) from raw.clicks") == [(32,)]


@pytest.mark.parametrize(
    ("broken", "reason"),
    few(
        2,
        [
            (
                lambda body: body[:-20],
                "is cut off: it ends before its gzip does: restore the object that was landed there.",
            ),
            (lambda _: b"something else", "is damaged: it cannot be unpacked as gzip: restore the object"),
            (
                lambda body: gzip.compress(gzip.decompress(body).replace(b'"records":5', b'"records":4')),
                "and its first line counts 4",
            ),
            (
                lambda body: gzip.compress(gzip.decompress(body).replace(b'"from":10', b'"from":9')),
                "is another link than its key says",
            ),
        ],
    ),
    ids=["truncated", "damaged", "wrong count", "wrong place"],
)
@pytest.mark.parametrize("as_whole", few(1, [False, True]))
def test_an_object_that_is_not_whole_holds_until_it_is_restored(
    stream: StreamLab, broken: Any, reason: str, as_whole: bool
) -> None:
    stream.land(0, [click(n) for n in range(10)])
    grown(stream)
    key, body = stream.land(0, [click(n) for n in range(10, 15)], put=False)
    stream.lab.put(key, broken(body))
    if as_whole:
        outcome = stream.lab.build("raw.clicks")
        assert outcome.held
        results = outcome.results
    else:
        [held] = grown(stream, "raw.clicks")
        assert held.held
        results = held.results
    assert key in failed(results)["chain"].message
    assert reason in failed(results)["chain"].message
    assert stream.lab.rows("select count(*) from raw.clicks") == [(10,)]

    stream.lab.put(key, body)
    assert [(each.rows, each.held) for each in grown(stream, "raw.clicks")] == [(5, False)]


# ---- gates


def test_a_release_that_breaks_the_contract_is_held_and_recovers_with_the_contract(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(100)])
    grown(stream)
    stream.land(0, [click(n, user_id=f"user-{n}") for n in range(100, 150)])
    held, *others = grown(stream)
    assert (held.held, held.batch, held.records, held.rows, held.quarantined, others) == (True, 2, 50, 0, 50, [])
    assert failed(held.results)["quarantine"].metric == 50
    stream.land(0, [click(n) for n in range(150, 160)])
    assert grown(stream) == []  # not tried again at once
    assert stream.lab.rows("select count(*) from raw.clicks") == [(100,)]

    stream.lab.file("raw/clicks.sql", RAW_CLICKS.replace("user_id: {type: bigint", "user_id: {type: text"))
    stream.lab.file("stg/clicks.sql", STG_CLICKS.replace("user_id: {type: bigint", "user_id: {type: text"))

    assert [(each.batch, each.rows, each.held) for each in grown(stream)] == [
        (1, 160, False),
        (1, 160, False),
        (1, 3, False),
    ]


def test_a_batch_that_a_check_holds_stops_its_table_and_none_before_it(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(5)])
    grown(stream)
    stream.lab.file("stg/clicks.sql", STG_CLICKS.replace("  not_null:", "  range: {user_id: [1, 100]}\n  not_null:"))
    stream.land(0, [click(5, user_id=500)])
    [raw, held] = grown(stream)
    assert (raw.held, held.held, held.batch) == (False, True, 2)
    stream.land(0, [click(6)])
    assert [(each.relation.schema, each.batch) for each in grown(stream)] == [("raw", 3)]
    stream.lab.file("stg/clicks.sql", STG_CLICKS)
    assert [(each.relation.schema, each.batch, each.held) for each in grown(stream)] == [
        ("stg", 2, False),
        ("stg", 3, False),
        ("marts", 2, False),
        ("marts", 3, False),
    ]


def test_a_value_that_only_postgres_refuses_is_set_aside_too(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(10)])
    bad, _ = stream.land(0, [click(10, occurred_at="2025-02-30T00:00:00Z"), click(11), b"{}x"])
    [raw, *_] = grown(stream)
    assert (raw.records, raw.rows, raw.quarantined) == (13, 11, 2)
    assert stream.lab.rows("select object_key, line, column_name, value from ops.bad_rows order by line") == [
        (bad, 1, "occurred_at", "2025-02-30T00:00:00Z"),
        (bad, 3, None, None),
    ]
    stream.land(0, [b"more"])
    grown(stream)
    assert stream.lab.rows("select count(*) from ops.bad_rows") == [(3,)]


# ---- the end of a load_date


def ended(stream: StreamLab) -> None:
    """Say that nothing is landed any more, as landing does."""
    following = {str(partition): position for partition, position in stream.ends.items()}
    stream.lab.put(f"{stream.prefix}{CLOSED}", json.dumps({"next": following}).encode())


def test_a_load_date_is_closed_when_all_that_was_landed_is_built(stream: StreamLab) -> None:
    for start in (0, 5, 10):
        stream.land(0, [click(n) for n in range(start, start + 5)])
        grown(stream)
    key, _ = stream.land(0, [click(20), b"no json"])
    context = stream.lab.prepared()
    assert close(context, DAY) == ["raw.clicks of 2025-03-01 is not closed: its stream clicks is still landed."]
    ended(stream)
    assert close(context, DAY) == [
        "raw.clicks of 2025-03-01 is built up to position 15 of partition 0, and landed up to 17: look what holds it "
        "with `kpi status`."
    ]
    grown(stream, "raw.clicks")
    assert close(context, DAY) == [
        "stg.clicks of 2025-03-01 lacks batches that raw.clicks has: look what holds it with `kpi status`."
    ]
    grown(stream)
    before = published(stream)

    assert close(context, DAY) == []

    body = stream.lab.s3.get_object(Bucket=stream.lab.bucket, Key=f"{stream.prefix}_manifest.json.gz")["Body"].read()
    manifest = json.loads(gzip.decompress(body))
    assert [each["from"] for each in manifest["objects"]] == [0, 5, 10, 15]
    assert (manifest["records"], manifest["objects"][-1]["key"]) == (17, key)
    assert published(stream) == before
    assert stream.lab.rows("select asset, count(*) from ops.publishes group by 1 order by 1") == [
        ("marts.clicks_by_type", 1),
        ("raw.clicks", 1),
        ("stg.clicks", 1),
    ]
    assert stream.lab.rows("select count(distinct build_id) from ops.data_quality_results") == [(3,)]
    assert stream.lab.rows("select count(*) from ops.bad_rows") == [(1,)]
    assert stream.lab.rows("select count(*) from ops.batches") == [(12,)]
    replayed(stream)
    assert published(stream)[1:] == before[1:]
    assert close(context, DAY) == []
    assert stream.lab.rows("select first_position from ops.stream_objects order by 1") == [(0,), (15,)]


def test_a_gap_at_midnight_keeps_the_next_load_date_open(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(5)])
    ended(stream)
    tomorrow = stream.next_day(NEXT)
    tomorrow.land(0, [click(5)], put=False)
    tomorrow.land(0, [click(6)])
    ended(tomorrow)
    grown(stream)
    grown(tomorrow)
    context = stream.lab.prepared()
    assert close(context, DAY) == []
    assert close(context, NEXT) == [
        "raw.clicks of 2025-03-02 begins at position 6 of partition 0, and the load_date before ended at 5: "
        "`kpi doctor` says which object is missing."
    ]


def test_nobody_decides_on_an_event_that_was_set_aside(stream: StreamLab) -> None:
    stream.land(0, [click(1), b"no json"])
    grown(stream)
    context = stream.lab.prepared()
    [(row,)] = stream.lab.rows("select id from ops.bad_rows")
    sentence = (
        f"Row {row} of raw.clicks of 2025-03-01 cannot be decided on: it is an event of the stream clicks, whose "
        "objects and batches are never changed: change clicks.sql so that it can be read and replay the load_date with "
        "`kpi run`, or have its producer send it again as a new event."
    )
    for kind in ("correct", "accept", "discard"):
        with pytest.raises(UndecidableError) as error:
            [*decide(context, Asked(kind, {row: {}}, "a test", "a test"))]
        assert str(error.value) == sentence
    assert [*context.store.entries("decisions/")] == []


# ---- what it costs


def test_no_batch_reads_the_rows_of_its_load_date(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(3000)])
    grown(stream)
    scanned = (
        "select sum(seq_scan)::bigint from pg_stat_user_tables where relid in (select inhrelid from pg_inherits where "
        "inhparent in ('raw.clicks'::regclass, 'stg.clicks'::regclass))"
    )
    stream.lab.rows("select pg_stat_force_next_flush()")
    [(before,)] = stream.lab.rows(scanned)
    for start in (3000, 3050):
        stream.land(0, [click(n) for n in range(start - 20, start + 50)])
        [_, stg, _] = grown(stream)
        assert stg.repeats == 20
    assert stream.lab.rows(scanned) == [(before,)]


def test_a_batch_has_at_most_so_many_records(lab: PipelineHarness) -> None:
    write_files(lab)
    path = lab.folder / "pipeline.yaml"
    path.write_text(path.read_text() + "live: {most_records: 10}\n")
    stream = StreamLab(lab)
    for start in range(0, 20, 4):
        stream.land(0, [click(n) for n in range(start, start + 4)])
    stream.land(1, [click(n) for n in range(20, 35)])  # longer than a batch: an object is never cut
    sizes = [[each.records for each in grown(stream, "raw.clicks")] for _ in range(6)]
    assert sorted(itertools.chain(*sizes)) == [4, 8, 8, 15]
    assert lab.rows("select count(*) from raw.clicks") == [(35,)]


# ---- beside others


def test_a_replay_reads_the_batches_that_were_there_when_it_began(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(10)])
    grown(stream)
    stream.land(0, [click(n) for n in range(10, 15)])

    outcome = stream.lab.build("stg.clicks", on_progress=at("selecting", lambda: grown(stream, "raw.clicks")))

    assert (outcome.held, outcome.rows) == (False, 10)
    assert [(each.relation.schema, each.batch, each.rows) for each in grown(stream)] == [
        ("stg", 2, 5),
        ("marts", 1, 3),  # its batches were built from rows that are no more
    ]


def test_a_replay_whose_input_is_built_as_a_whole_meanwhile_is_not_published(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(10)])
    grown(stream)
    before = published(stream)
    with pytest.raises(UpstreamError, match=r"raw\.clicks was published again while it was being built"):
        stream.lab.build("stg.clicks", on_progress=at("publishing", lambda: stream.lab.build("raw.clicks")))
    assert published(stream)[2] == before[2]


def test_published_batches_are_rechecked_as_one(stream: StreamLab) -> None:
    for start in (0, 5, 10):
        stream.land(0, [click(n) for n in range(start, start + 7)])
        grown(stream)
    for name in TABLES:
        context = stream.lab.prepared()
        assert failed(recheck(context, context.pipeline.table(name), DAY)) == {}
    stream.lab.rows("delete from stg.clicks where event_id = 'e000003' returning 1")
    results = failed(recheck(context, context.pipeline.table("stg.clicks"), DAY))
    assert set(results) == {"as_published", "reconcile"}
    assert results["reconcile"].message == "21 rows of raw.clicks = 16 here + 4 repeats + 1 unexplained"


def test_what_retention_dropped_is_built_again_from_the_objects(stream: StreamLab) -> None:
    for start in (0, 5):
        stream.land(0, [click(n) for n in range(start, start + 5)])
        grown(stream)
    before = published(stream)
    path = stream.lab.folder / "pipeline.yaml"
    path.write_text(path.read_text() + "retention: {raw: 3, stg: 35}\n")
    context = stream.lab.prepared()
    with stream.lab.session() as session:
        due = find_due(session, context.pipeline, DAY + timedelta(days=10))
    assert [(reason, each.asset) for each, reason in drop_due(context, due)] == [("", "raw.clicks")]
    replayed(stream)
    assert published(stream)[1:] == before[1:]
    stream.land(0, [click(11)])
    assert [(each.batch, each.rows) for each in grown(stream)] == [(2, 1), (2, 1), (2, 1)]


def test_what_is_built_reaches_as_far_as_what_was_landed(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(10)])
    stream.land(1, [click(n) for n in range(10, 15)])
    stream.lab.prepared()
    noon = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
    landed = [Position("clicks", 0, 10, 10, noon), Position("clicks", 1, 5, 5, noon + timedelta(seconds=1))]
    with stream.lab.session() as session:
        streams.write_positions(session, landed)
    raw, stg, rollup = grown(stream)
    assert (raw.through, stg.through, rollup.through) == (noon, noon, noon)
    later = [Position("clicks", 0, 30, 30, noon + timedelta(seconds=9)), landed[1]]
    with stream.lab.session() as session:
        streams.write_positions(session, later)
    stream.land(1, [click(15)])
    [raw] = grown(stream, "raw.clicks")
    assert raw.through == datetime(2025, 3, 1, 0, 0, 0, 9000, timezone.utc)  # partition 0 has more than was found
