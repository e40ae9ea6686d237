"""Decisions as an input of builds: S3 is the truth, each build reads it, and the plan knows what was built without."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timezone
from typing import Any

import pytest

from kpi_assets.ledger import decisions as ledger
from kpi_assets.ledger import incidents, run_states
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.decisions import add, look
from kpi_assets.materialize.drop import published_tables
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.decision import Decision, DecisionError
from kpi_assets.sources import decisions as objects
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, PipelineHarness
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

SHOWN = """\
/* @asset
description: Things that were weighed, as a view.
owner: team:tests
grain: [thing_id]
storage: view
columns:
  thing_id: {type: integer, description: Thing.}
@end */
select thing_id from marts.weighed where load_date = %(load_date)s
"""
AT = datetime(2025, 3, 2, 9, 30, tzinfo=timezone.utc)
QUARANTINED = "quarantine: {rows: 1}\n@end"


def decision(place: str, line: int = 2, record: str = "x,anvil,1", by: str = "ana") -> Decision:
    return Decision("discard", {"object": place, "line": line}, {"record": record}, {}, "a test", by, AT)


def put(lab: PipelineHarness, name: str, day: date, *decisions: Decision | bytes, number: int = 1) -> str:
    """Put an object of decisions by hand, as another machine would."""
    key = f"decisions/{name}/load_date={day}/{number:04}.jsonl"
    lab.put(key, b"".join(each if isinstance(each, bytes) else each.line().encode() for each in decisions))
    return key


def decide(lab: PipelineHarness, name: str, day: date, *decisions: Decision) -> str:
    """Decide as the command does."""
    context = lab.context()
    return add(context, context.pipeline.table(name), day, lambda _session, _made: decisions)


def stale(shop: TwoSourcePipeline) -> tuple[str, str | None, str, tuple[str, ...]]:
    found = shop.status()
    return found.state, found.stale_reason, found.reason, found.tables_to_build


def test_a_table_without_decisions_has_none_in_the_ledger(things: PipelineHarness) -> None:
    assert things.rows("select asset, inputs from ops.publishes") == [("raw.things", {})]


def test_a_decision_makes_a_published_load_date_stale_and_only_what_it_must_is_built(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    before = shop.status()
    key = decide(shop, "raw.things", shop.day, decision(shop.key("things")))
    assert key == f"decisions/raw.things/load_date={shop.day}/0001.jsonl"
    after = shop.status()
    reason = "Built before somebody decided on it: raw.things."
    assert stale(shop) == ("stale", "decisions", reason, ("raw.things", "marts.weighed", "marts.heavy"))
    assert after.is_due(rebuild_on_sql_change=False)
    assert after.input_fingerprint != before.input_fingerprint

    shop.build("raw.things", shop.day)
    assert shop.status().state == "published", "its rows are the same, so that what reads it need not be built"
    decide(shop, "raw.things", shop.day, decision(shop.key("things"), 3))
    assert stale(shop)[:2] == ("stale", "decisions")
    assert shop.status().input_fingerprint not in {before.input_fingerprint, after.input_fingerprint}
    shop.run()
    assert shop.status().state == "published"


def test_an_object_that_was_put_by_hand_or_removed_is_noticed(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    key = put(shop, "raw.things", shop.day, decision(shop.key("things")))
    put(shop, "raw.things", shop.next, decision(shop.key("things")))
    put(shop, "raw.unknown", shop.day, decision(shop.key("things")))
    shop.put("decisions/raw.things/load_date=soon/0001.jsonl", b"")
    assert stale(shop)[:2] == ("stale", "decisions")
    shop.build("raw.things", shop.day)
    assert shop.status().state == "published"
    shop.s3.delete_object(Bucket=shop.bucket, Key=key)
    assert stale(shop)[:2] == ("stale", "decisions")
    shop.build("raw.things", shop.day)
    assert shop.status().state == "published"
    with shop.session() as session:
        known = ledger.current(session, shop.pipeline().table("raw.things").relation, shop.day)
    assert known is not None
    assert (known.rows, known.size_bytes) == (0, 0)


def test_the_sensor_of_a_pipeline_on_which_nobody_may_decide_lists_nothing(shop: TwoSourcePipeline) -> None:
    shop.file("marts/shown.sql", SHOWN)
    pipeline = shop.pipeline()
    assert [objects.may_be_decided(table) for table in pipeline.tables.values()] == [True, True, False, False, False]
    may = {str(relation): objects.may_be_ruled_on(table) for relation, table in pipeline.tables.items()}
    assert [name for name, each in may.items() if not each] == ["marts.shown"]
    tables = {relation: table for relation, table in pipeline.tables.items() if not may[str(relation)]}
    nobody = Store.on_s3(None, shop.bucket)  # any request fails
    assert objects.find_all(nobody, replace(pipeline, tables=tables), shop.day, shop.day) == {}


def test_a_held_load_date_can_be_built_again_after_a_decision(shop: TwoSourcePipeline) -> None:
    shop.land(things=DOUBLED)
    assert shop.run()["raw.things"] == "held"
    assert shop.status().state == "held"
    put(shop, "raw.things", shop.day, decision(shop.key("things")))
    reason = "Held, and somebody decided on it since: raw.things."
    assert stale(shop) == ("stale", "released", reason, ())
    assert shop.run()["raw.things"] == "held", "nothing in it is decided on"
    assert shop.status().state == "held", "it was held in the knowledge of the decision"


def test_the_inputs_of_a_build_have_the_decisions_and_their_publish(shop: TwoSourcePipeline) -> None:
    shop.land()
    first, second = (decision(shop.key("things"), line) for line in (2, 3))
    put(shop, "raw.things", shop.day, first)
    put(shop, "raw.things", shop.day, second, number=2)
    outcome = shop.build("raw.things", shop.day)
    context = shop.context()
    with shop.session() as session:
        found = look(context, session, context.pipeline.table("raw.things"), shop.day)
    assert [(each.key["line"], each.place.rpartition("/")[2]) for each in found.decisions] == [
        (2, "0001.jsonl:1"),
        (3, "0002.jsonl:1"),
    ]
    assert found.publish is not None
    assert shop.rows(f"select inputs from ops.publishes where publish_id = {outcome.publish_id}") == [
        ({"decisions.raw__things": found.publish.publish_id},)
    ]
    assert (found.publish.asset, found.publish.rows) == ("decisions.raw__things", 2)


BROKEN = b'{"kind": "approve"}\n'


def test_a_broken_decision_fails_the_build_before_anything_is_built(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    key = put(shop, "raw.things", shop.day, decision(shop.key("things")), BROKEN)
    sentence = f"Line 2 of {key} is no decision on raw.things: its kind is 'approve': write correct, accept or discard."
    with pytest.raises(DecisionError) as error:
        shop.run()
    assert str(error.value) == sentence
    found = shop.status()
    assert (found.state, found.stale_reason, found.reason) == ("failed", "decisions", f"raw.things failed: {sentence}")
    assert shop.rows(f"select count(*) from raw.things where load_date = '{shop.day}'") == [(2,)], "readers keep theirs"
    with pytest.raises(DecisionError):
        decide(shop, "raw.things", shop.day, decision(shop.key("things")))

    put(shop, "raw.things", shop.day, decision(shop.key("things")))
    assert shop.status().input_fingerprint != found.input_fingerprint
    shop.run()
    assert shop.status().state == "published"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("1.jsonl", "1.jsonl lies among the decisions and has no number: rename it as the next one"),
        ("0001.json", "0001.json lies among the decisions and has no number: rename it as the next one"),
        ("ana/0001.jsonl", "ana/0001.jsonl lies among the decisions and has no number: rename it as the next one"),
    ],
)
def test_an_object_without_a_number_is_not_passed_over(things: PipelineHarness, name: str, sentence: str) -> None:
    things.put(f"decisions/raw.things/load_date={DAY}/{name}", b"")
    with pytest.raises(DecisionError, match=sentence):
        things.build("raw.things")


def test_so_many_objects_and_bytes_are_read_and_no_more(
    things: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "MOST_OBJECTS", 2)
    for _ in range(2):
        decide(things, "raw.things", DAY, decision("a"))
    things.build("raw.things")
    with pytest.raises(DecisionError) as error:
        decide(things, "raw.things", DAY, decision("a"))
    size = len(decision("a").line())
    assert str(error.value) == (
        f"The decisions on raw.things of {DAY} would be 3 objects of {3 * size} bytes, and at most 2 objects of "
        "33,554,432 bytes are read: correct so many rows at their source, and deliver the object again."
    )
    monkeypatch.setattr(objects, "MOST_BYTES", 2 * size)
    things.build("raw.things")
    monkeypatch.setattr(objects, "MOST_BYTES", 2 * size - 1)
    with pytest.raises(DecisionError, match=f"are 2 objects of {2 * size} bytes, and at most 2 objects of"):
        things.build("raw.things")


def test_an_object_that_changes_while_it_is_read_is_not_read(things: PipelineHarness) -> None:
    table = things.pipeline().table("raw.things")
    key = put(things, "raw.things", DAY, decision("a"))
    listed = objects.find(things.store, table.relation, DAY)
    put(things, "raw.things", DAY, decision("b"))
    for _ in ("replaced", "removed"):
        with pytest.raises(LakeError) as error:
            objects.read(things.store, table, listed)
        assert str(error.value) == (
            f"s3://{things.bucket}/{key} was replaced or removed just now, while it was read: run the load_date again."
        )
        assert error.value.transient
        things.s3.delete_object(Bucket=things.bucket, Key=key)


def test_decisions_on_a_table_that_sets_nothing_aside_are_not_read(shop: TwoSourcePipeline) -> None:
    put(shop, "marts.weighed", shop.day, BROKEN)
    shop.land()
    assert set(shop.run().values()) == {"published"}
    assert shop.status().state == "published"


def test_a_decision_that_is_made_during_a_build_is_not_overlooked(things: PipelineHarness) -> None:
    context = things.prepared(on_progress=lambda phase, _done, _total: meanwhile(phase))
    made = list[str]()

    def meanwhile(phase: str) -> None:
        if phase == "publishing" and not made:
            made.append(decide(things, "raw.things", DAY, decision("a")))

    things.verify("raw.things")
    with pytest.raises(UpstreamError) as error:
        build(context, context.pipeline.table("raw.things"), DAY)
    assert str(error.value) == (
        f"raw.things of {DAY} was not published: somebody decided on it while it was being built; build it again."
    )
    assert things.rows("select asset from ops.publishes") == [("raw.things",), ("decisions.raw__things",)]
    things.build("raw.things")


def test_what_several_people_decide_at_once_is_kept(things: PipelineHarness) -> None:
    things.prepared()
    with ThreadPoolExecutor(4) as pool:
        keys = [
            *pool.map(lambda n: decide(things, "raw.things", DAY, decision("a", n + 1, by=f"person {n}")), range(8))
        ]
    assert sorted(key.rpartition("/")[2] for key in keys) == [f"000{n}.jsonl" for n in range(1, 9)]
    context = things.context()
    with things.session() as session:
        found = look(context, session, context.pipeline.table("raw.things"), DAY)
    assert sorted(each.by for each in found.decisions) == [f"person {n}" for n in range(8)]
    assert things.rows("select rows from ops.published where asset like 'decisions.%'") == [(8,)]


def test_whoever_decides_sees_what_was_decided_before(things: PipelineHarness) -> None:
    context = things.prepared()
    seen: list[list[str]] = []

    def decided(_session: Any, made: Sequence[Decision]) -> list[Decision]:
        seen.append([each.by for each in made])
        return [decision("a", by=f"person {len(seen)}")]

    for _ in range(2):
        add(context, context.pipeline.table("raw.things"), DAY, decided)
    assert seen == [[], ["person 1"]]


def test_a_store_that_refuses_to_overwrite_is_believed(things: PipelineHarness) -> None:
    store, relation = things.store, things.pipeline().table("raw.things").relation
    stale_listing = objects.find(store, relation, DAY)
    objects.add(store, stale_listing, [decision("a", by="ana")])
    with pytest.raises(LakeError) as error:
        objects.add(store, stale_listing, [decision("a", by="bob")])
    assert str(error.value) == (
        f"s3://{things.bucket}/decisions/raw.things/load_date={DAY}/0001.jsonl was written by somebody else just now, "
        "and nothing was decided here: give the command again."
    )
    key = objects.find(store, relation, DAY).entries[0].key
    body = things.s3.get_object(Bucket=things.bucket, Key=key)["Body"].read()
    assert json.loads(body)["by"] == "ana"

    things.put(f"decisions/raw.things/load_date={DAY}/", b"")  # a "folder" of some tools
    assert [entry.key.rpartition("/")[2] for entry in objects.find(store, relation, DAY).entries] == ["0001.jsonl"]
    with pytest.raises(LakeError, match="the bucket does not exist"):
        objects.add(Store.on_s3(things.s3, "nowhere"), stale_listing, [decision("a")])


def test_an_empty_database_gets_the_decisions_from_s3(things: PipelineHarness) -> None:
    put(things, "raw.things", DAY, decision("a"))
    first = things.build("raw.things")
    published = "select manifest_hash, checksum, rows, size_bytes from ops.published order by asset"
    before = things.rows(published)
    things.in_postgres(f'drop database "{things.name}" with (force)')
    things._ready = None
    prepare(things.pipeline(), things.server)
    again = things.build("raw.things")
    assert things.rows(published) == before
    assert (again.checksum, again.rows) == (first.checksum, first.rows)


def test_decisions_are_no_table_for_those_who_read_the_ledger(shop: TwoSourcePipeline) -> None:
    shop.land()
    key = put(shop, "raw.things", shop.day, decision(shop.key("things")))
    shop.run()
    assert objects.places([decision("a")], key) == [f"{key}:1"]
    with shop.session() as session:
        assert not [each for each in published_tables(session) if each.asset.startswith("decisions.")]
        assert "decisions.raw__things" not in run_states.by_load_date(session)[shop.day]
        assert "decisions.raw__things" not in run_states.of_run(session, shop.run_id)
        assert "decisions.raw__things" not in run_states.of_run_by_load_date(session, shop.run_id)[shop.day]
        assert shop.day not in {each["load_date"] for each in incidents.open_incidents(session)}
    assert shop.rows("select distinct status from ops.pipeline_runs where job like 'decisions.%'") == [("success",)]
