"""Rulings: one build is published although its checks fail, or kept out although all pass, and no other build is."""

from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from kpi_assets.errors import UsageError, UserError
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.decisions import look
from kpi_assets.materialize.rule import keep_out, revoke
from kpi_assets.model.decision import DecisionError
from kpi_assets.sources import decisions as objects
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline
from kpi_assets_tests.waivers import CHECK, CHECKED, HEAVIER, REASON, TOO_HEAVY, expire, waived


@pytest.fixture
def shop(shop: TwoSourcePipeline) -> TwoSourcePipeline:
    """The pipeline with a check that things of more than 50 kg fail."""
    shop.file("marts/weighed.sql", CHECKED)
    return shop


def refused(shop: PipelineHarness, day: date, *checks: str, **changes: Any) -> str:
    """Return why a build cannot be waived."""
    with pytest.raises(UserError) as error:
        waived(shop, day, *checks, **changes)
    return str(error.value)


def published(shop: TwoSourcePipeline) -> dict[str, tuple[int, list[int]]]:
    """Return the rows and the rulings of what is published of the load_date."""
    which = f"load_date = '{shop.day}' and asset not like 'decisions.%'"
    found = shop.rows(f"select asset, rows, rulings from ops.published where {which}")
    return {asset: (rows, rulings) for asset, rows, rulings in found}


def weights(shop: TwoSourcePipeline) -> list[str]:
    """Return what readers see of marts.weighed."""
    return [str(each) for (each,) in shop.rows(f"select weight from marts.weighed where load_date = '{shop.day}'")]


def rulings(shop: PipelineHarness, columns: str = "kind, asset, checks, reason, ruled_by") -> list[tuple[Any, ...]]:
    return shop.rows(f"select {columns} from ops.rulings order by object_key")


def test_a_waived_build_is_published_and_everything_made_of_it_carries_the_mark(shop: TwoSourcePipeline) -> None:
    shop.land(things=TOO_HEAVY)
    assert shop.run()["marts.weighed"] == "held"
    assert shop.status().state == "held"

    made = waived(shop, shop.day)
    assert made.object_key == f"decisions/marts.weighed/load_date={shop.day}/0001.jsonl"
    assert (made.checks, made.ruled_by, made.reason) == ({CHECK: 1.0}, "ana", REASON)
    found = shop.status()
    assert made.expires_at is not None
    until = f"{made.expires_at:%Y-%m-%d %H:%M} UTC"
    reason = f"Held, and waived by ana until {until}: marts.weighed."
    assert (found.state, found.stale_reason, found.reason) == ("stale", "released", reason)
    assert found.is_due(rebuild_on_sql_change=False)

    assert set(shop.run().values()) == {"published"}
    ruling = made.ruling_id
    assert published(shop) == {
        "raw.things": (2, []),
        "raw.labels": (1, []),
        "marts.weighed": (1, [ruling]),
        "marts.heavy": (1, [ruling]),
    }
    assert weights(shop) == ["70.00"]
    assert shop.rows(
        "select d.check_name, d.status, d.blocking, d.ruling_id from ops.data_quality_results as d "
        "inner join ops.published as p using (build_id) "
        f"where p.asset = 'marts.weighed' and p.load_date = '{shop.day}' and d.status <> 'pass'"
    ) == [(CHECK, "fail", True, ruling)]
    assert shop.status().state == "published"
    recorded = f"from ops.rulings where ruling_id = {ruling}"
    assert shop.rows(f"select used_at is not null, login = session_user {recorded}") == [(True, True)]


def test_a_ruling_lets_no_other_build_through(shop: TwoSourcePipeline) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    ruling = waived(shop, shop.day).ruling_id
    shop.run()

    shop.land(things=HEAVIER)
    assert shop.run()["marts.weighed"] == "held", "another delivery with the same fault"
    assert weights(shop) == ["70.00"], "readers keep the rows that were waived"
    assert published(shop)["marts.heavy"] == (1, [ruling])

    shop.land(things=TOO_HEAVY)
    assert shop.run()["marts.weighed"] == "published", "the same candidate, under the same ruling"
    assert published(shop)["marts.weighed"] == (1, [ruling])

    stricter = CHECKED.replace("[0, 50]", "[0, 40]")
    shop.file("marts/weighed.sql", stricter)
    assert shop.build("marts.weighed", shop.day).held, "the check is another one"
    shop.file("marts/weighed.sql", CHECKED.replace("weight is not null", "weight is not null and thing_id > 0"))
    assert shop.build("marts.weighed", shop.day).held, "the SQL is another one"
    shop.file("marts/weighed.sql", CHECKED)
    assert not shop.build("marts.weighed", shop.day).held
    shop.land(day=shop.next, things=TOO_HEAVY)
    assert shop.run(shop.next)["marts.weighed"] == "held", "each load_date has its own"


def test_a_ruling_that_lacks_a_check_that_fails_lets_nothing_through(shop: TwoSourcePipeline) -> None:
    both = CHECKED.replace("checks:", "checks:\n  light: {bad_rows: 'select * from {this} where weight > 60'}")
    shop.file("marts/weighed.sql", both)
    shop.land(things=TOO_HEAVY)
    shop.run()
    name = f"marts.weighed of {shop.day}"
    assert refused(shop, shop.day, CHECK) == (
        f"{name} is held by light (1 bad row) too, and stays so unless that is waived with it: add --check light."
    )
    made = waived(shop, shop.day, CHECK, "light")
    assert made.checks == {CHECK: 1.0, "light": 1.0}
    # The same candidate, and fewer checks than fail: as if it had been written by hand.
    body = shop.s3.get_object(Bucket=shop.bucket, Key=made.object_key)["Body"].read()
    shop.put(made.object_key, body.replace(b', "light": 1.0', b""))
    assert shop.build("marts.weighed", shop.day).held
    shop.put(made.object_key, body)
    assert not shop.build("marts.weighed", shop.day).held


def test_what_nobody_may_waive(shop: TwoSourcePipeline) -> None:
    name = f"marts.weighed of {shop.day}"
    assert refused(shop, shop.day) == f"The latest build of {name} is not held: there is nothing to waive."
    shop.land(things=b"thing_id,name,weight\n1,anvil,20.50\n1,anvil,20.50\n")
    assert shop.run()["raw.things"] == "held"
    assert refused(shop, shop.day, "grain", table="raw.things") == (
        f"grain of raw.things of {shop.day} cannot be waived: rows that break their key cannot be stored under it."
    )
    shop.file("marts/weighed.sql", CHECKED.replace("[0, 50]}", "[0, 50], waivable: false}"))
    shop.land(things=TOO_HEAVY)
    shop.run()
    assert refused(shop, shop.day) == f"{CHECK} of {name} cannot be waived: its file says `waivable: false`."
    broken = "checks:\n  broken: {bad_rows: 'select 1 / (weight - weight) from {this}'}"
    shop.file("marts/weighed.sql", CHECKED.replace("checks:", broken))
    assert shop.build("marts.weighed", shop.day).held
    assert refused(shop, shop.day, CHECK, "broken") == (
        f"broken of {name} cannot be waived: the check itself failed, so that nobody knows what is wrong: mend the "
        "check."
    )
    assert refused(shop, shop.day, "not_null__weight") == (
        f"not_null__weight does not hold {name}: what holds it is {CHECK}, broken."
    )
    shop.file("marts/weighed.sql", CHECKED)
    assert refused(shop, shop.day) == f"weighed.sql has changed since {name} was held: run it again first."


def test_a_check_that_became_unwaivable_holds_the_build_again(shop: TwoSourcePipeline) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    waived(shop, shop.day)
    shop.file("marts/weighed.sql", CHECKED.replace("[0, 50]}", "[0, 50], waivable: false}"))
    assert shop.build("marts.weighed", shop.day).held


def test_a_reason_and_the_hours_are_asked_for(shop: TwoSourcePipeline) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    with pytest.raises(UsageError, match="fewer than 10 characters"):
        waived(shop, shop.day, reason="because  ")
    yaml = shop.folder / "pipeline.yaml"
    yaml.write_text(yaml.read_text() + "waivers: {most_hours: 5}\n")
    assert refused(shop, shop.day, hours=6) == (
        f"A waiver of {shop.name} may be used for 1 to 5 hours, as pipeline.yaml says (waivers: most_hours): give "
        "other --hours than 6."
    )
    made = waived(shop, shop.day)
    assert made.expires_at is not None
    assert made.expires_at - made.ruled_at == timedelta(hours=5)
    assert refused(shop, shop.day) == (
        f"ana waived this already on {made.ruled_at:%Y-%m-%d %H:%M} UTC ({REASON}): `kpi run {shop.name} --load-date "
        f"{shop.day} --select marts.weighed+` publishes it."
    )


def test_an_expired_ruling_publishes_nothing_new_and_a_replay_again(shop: TwoSourcePipeline) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    made = waived(shop, shop.day)
    expire(shop, made)
    assert shop.build("marts.weighed", shop.day).held

    shop.s3.delete_object(Bucket=shop.bucket, Key=made.object_key)
    shop.build("marts.weighed", shop.day)
    made = waived(shop, shop.day)
    assert not shop.build("marts.weighed", shop.day).held
    expire(shop, made)
    again = shop.build("marts.weighed", shop.day)
    assert not again.held, "what was given once is given again"
    assert again.waiver is not None
    assert again.waiver.was_used


def test_a_use_that_a_restored_database_lacks_still_covers_a_replay(shop: TwoSourcePipeline) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    made = waived(shop, shop.day)
    assert not shop.build("marts.weighed", shop.day).held
    expire(shop, made)
    shop.build("marts.weighed", shop.day)  # the ledger knows the state of the objects that has this time
    with shop.session() as session:
        session.execute("update ops.rulings set used_at = null where ruling_id = %s", [made.ruling_id])
    again = shop.build("marts.weighed", shop.day)
    assert not again.held, "S3 knows that it was used"
    assert published(shop)["marts.weighed"] == (1, [made.ruling_id])
    assert shop.rows(f"select used_at is not null from ops.rulings where ruling_id = {made.ruling_id}") == [(True,)]


def test_a_ruling_that_expires_before_the_publish_holds(
    shop: TwoSourcePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    made = waived(shop, shop.day)

    def meanwhile(phase: str, _done: int, _total: int) -> None:
        if phase == "publishing":
            with shop.session() as session:
                session.execute("update ops.rulings set expires_at = clock_timestamp() - interval '1 second'")

    context = shop.prepared(on_progress=meanwhile)
    outcome = build(context, context.pipeline.table("marts.weighed"), shop.day)
    assert outcome.held
    assert outcome.waiver is None
    assert "marts.weighed" not in published(shop)
    assert rulings(shop, "used_at")[-1] == (None,)
    key = made.object_key.replace(".jsonl", ".used")
    assert [*shop.store.entries(key)] == []


@pytest.mark.parametrize("moment", ["before", "publishing", "after"])
def test_a_revoked_ruling_counts_no_more(shop: TwoSourcePipeline, moment: str) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    made = waived(shop, shop.day)

    def take_back() -> None:
        taken = revoke(shop.context(), made.ruling_id, "the scale is wrong after all", "ben")
        assert (taken.revoked_by, taken.revoke_reason) == ("ben", "the scale is wrong after all")

    def meanwhile(phase: str, _done: int, _total: int) -> None:
        if phase == moment:
            take_back()

    if moment == "before":
        take_back()
    context = shop.prepared(on_progress=meanwhile)
    outcome = build(context, context.pipeline.table("marts.weighed"), shop.day)
    assert outcome.held is (moment != "after")
    if moment == "after":
        shop.build("marts.heavy", shop.day)
        assert shop.status().state == "published"
        take_back()
        found = shop.status()
        assert (found.state, found.stale_reason) == ("stale", "decisions")
        assert shop.build("marts.weighed", shop.day).held
        assert weights(shop) == ["70.00"], "readers keep the rows"
        assert published(shop)["marts.weighed"] == (1, [made.ruling_id])
        assert shop.status().state == "held"
    else:
        assert "marts.weighed" not in published(shop)
    with pytest.raises(UserError, match=f"Ruling {made.ruling_id} was revoked by ben on .*: the scale is wrong"):
        revoke(shop.context(), made.ruling_id, "the scale is wrong after all", "ana")


def test_a_build_that_somebody_keeps_out_is_held_although_all_pass(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    context = shop.context()
    table = context.pipeline.table("marts.weighed")
    made = keep_out(context, table, shop.day, "the tills were wrong", "ana")
    assert (made.kind, made.checks, made.expires_at) == ("hold", {}, None)
    outcome = shop.build("marts.weighed", shop.day)
    [result] = [each for each in outcome.results if each.blocks_publish]
    assert outcome.held
    assert result.name == "not_ruled_out"
    assert result.message == f"kept out by ana on {made.ruled_at:%Y-%m-%d %H:%M} UTC: the tills were wrong"
    held = shop.status()
    assert held.state == "held"
    assert f"marts.weighed: held by not_ruled_out ({result.message}); " in held.reason
    assert refused(shop, shop.day, "not_ruled_out") == (
        f"not_ruled_out of marts.weighed of {shop.day} cannot be waived: somebody keeps this build out: `kpi revoke` "
        "takes that back."
    )
    shop.file("marts/weighed.sql", CHECKED.replace("[0, 50]", "[0, 60]"))
    assert shop.build("marts.weighed", shop.day).held, "other checks do not bring the rows back"
    shop.land(things=TOO_HEAVY)
    shop.file("marts/weighed.sql", CHECKED.replace("[0, 50]", "[0, 80]"))
    assert set(shop.run().values()) == {"published"}, "a new delivery is another build"
    shop.land()
    assert shop.run()["marts.weighed"] == "held"
    revoke(shop.context(), made.ruling_id, "the tills were right", "ana")
    assert set(shop.run().values()) == {"published"}


def test_a_database_that_is_rebuilt_from_s3_has_the_same_rulings(lab: PipelineHarness, shop: TwoSourcePipeline) -> None:
    del lab
    columns = (
        "kind, asset, load_date, manifest_hash, code_version, checks_version, rows, checksum, checks, reason, "
        "ruled_by, ruled_at, expires_at, used_at is not null, revoked_at, revoked_by, revoke_reason, object_key"
    )
    what = "asset, rows, checksum, manifest_hash, rulings = '{}'"
    shop.land(things=TOO_HEAVY)
    shop.land(day=shop.next, things=HEAVIER)
    shop.run()
    shop.run(shop.next)
    used = waived(shop, shop.day)
    shop.run()
    revoked = waived(shop, shop.next)
    revoke(shop.context(), revoked.ruling_id, "it was wrong after all", "ben")
    assert shop.run(shop.next)["marts.weighed"] == "held"
    expire(shop, used)
    shop.run()
    days = f"load_date in ('{shop.day}', '{shop.next}')"

    def facts() -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        return (
            shop.rows(f"select {columns} from ops.rulings where {days} order by object_key"),
            shop.rows(f"select load_date, {what} from ops.published where {days} order by 1, 2"),
        )

    before = facts()
    assert len(before[0]) == 2
    with connect(shop.server, "postgres", "test") as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(shop.name)))
    shop._ready = None
    shop.prepared()
    shop.run()
    assert shop.run(shop.next)["marts.weighed"] == "held"
    assert facts() == before


def test_a_use_that_s3_does_not_know_of_is_written_by_the_next_build(
    shop: TwoSourcePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    made = waived(shop, shop.day)
    key = made.object_key.replace(".jsonl", ".used")

    def fails(_store: Store, _key: str) -> None:
        raise LakeError("S3 is away.")

    with monkeypatch.context() as patched:
        patched.setattr("kpi_assets.materialize.publish.add_use", fails)
        assert not shop.build("marts.weighed", shop.day).held, "it is published, whatever becomes of the note"
    assert [*shop.store.entries(key)] == []
    assert shop.status().stale_reason == "unbuilt", "only marts.heavy"
    assert not shop.build("marts.weighed", shop.day).held
    assert [entry.key for entry in shop.store.entries(key)] == [key]


def test_a_note_of_a_use_makes_nothing_stale(shop: TwoSourcePipeline) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    made = waived(shop, shop.day)
    shop.run()
    assert [*shop.store.entries(made.object_key.replace(".jsonl", ".used"))] != []
    assert shop.status().state == "published"


def test_what_is_published_without_its_ruling_makes_what_read_it_stale(shop: TwoSourcePipeline) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    waived(shop, shop.day)
    shop.run()
    shop.file("marts/weighed.sql", CHECKED.replace("[0, 50]", "[0, 80]"))
    assert not shop.build("marts.weighed", shop.day).held, "the check was wrong, and passes now"
    assert published(shop)["marts.weighed"] == (1, [])
    found = shop.status()
    assert (found.stale_reason, found.tables_to_build) == ("inputs", ("marts.heavy",))
    shop.build("marts.heavy", shop.day)
    assert published(shop)["marts.heavy"] == (1, [])
    assert shop.status().state == "published"


def test_two_people_who_waive_at_once_get_one_ruling(shop: TwoSourcePipeline) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    made = waived(shop, shop.day)
    context = shop.context()
    table = context.pipeline.table("marts.weighed")
    found = objects.find(shop.store, table.relation, shop.day)
    earlier = objects.DecisionObjects(table.relation, shop.day)
    said = objects.read(shop.store, table, found)
    with pytest.raises(LakeError, match="was written by somebody else just now, and nothing was decided here"):
        objects.add(shop.store, earlier, said.rulings)
    assert [each.key for each in said.rulings] == [made.object_key]


BROKEN = {
    b'{"kind": "waive"}': "it lacks the word candidate: write kind, candidate, checks, reason, by, at, until",
    b'{"kind": "revoke", "ruling": "1", "reason": "xxxxxxxxxx", "by": "a", "at": "2025-03-01T09:30:00Z"}': (
        "its ruling is '1': write a whole number"
    ),
}


@pytest.mark.parametrize("body", BROKEN)
def test_an_object_that_is_no_ruling_fails_the_build(shop: TwoSourcePipeline, body: bytes) -> None:
    shop.land()
    shop.run()
    key = f"decisions/marts.weighed/load_date={shop.day}/0001.jsonl"
    shop.put(key, body)
    with pytest.raises(DecisionError) as error:
        shop.build("marts.weighed", shop.day)
    assert str(error.value) == f"{key} is no ruling: {BROKEN[body]}."


def test_a_ruling_whose_object_is_removed_holds_no_longer(shop: TwoSourcePipeline) -> None:
    shop.land(things=TOO_HEAVY)
    shop.run()
    made = waived(shop, shop.day)
    shop.run()
    shop.s3.delete_object(Bucket=shop.bucket, Key=made.object_key)
    assert shop.build("marts.weighed", shop.day).held
    assert shop.rows(
        f"select revoked_at is not null, revoke_reason from ops.rulings where ruling_id = {made.ruling_id}"
    ) == [(True, "its object is gone from S3")]


def test_only_who_may_decide_writes_rulings(shop: TwoSourcePipeline) -> None:
    shop.prepared()
    can = {
        role: [
            bool(shop.rows(f"select has_table_privilege('{role}', 'ops.rulings', '{verb}')")[0][0])
            for verb in ("select", "insert", "update", "delete")
        ]
        for role in ("kpi_loader", "kpi_builder", "kpi_reader", "kpi_reviewer", "kpi_decider")
    }
    assert can == {
        "kpi_loader": [True, False, False, False],
        "kpi_builder": [True, False, False, False],
        "kpi_reader": [True, False, False, False],
        "kpi_reviewer": [True, False, False, False],
        "kpi_decider": [True, True, True, False],
    }
    assert shop.rows("select has_table_privilege('kpi_decider', 'ops.publishes', 'insert')") == [(False,)]
    function = "'ops.record_rulings(text, date, jsonb)'"
    assert shop.rows(f"select has_function_privilege('kpi_reader', {function}, 'execute')") == [(False,)]


@pytest.mark.parametrize("role", ["kpi_loader", "kpi_builder"])
def test_a_ruling_that_a_login_that_builds_makes_up_publishes_nothing(shop: TwoSourcePipeline, role: str) -> None:
    """It can record one: a build repeats in the ledger what it says that S3 has. But what counts is read from S3."""
    shop.land(things=TOO_HEAVY)
    assert shop.run()["marts.weighed"] == "held"
    made = waived(shop, shop.day)
    [(row,)] = shop.rows(f"select to_jsonb(r) from ops.rulings as r where ruling_id = {made.ruling_id}")
    shop.s3.delete_object(Bucket=shop.bucket, Key=made.object_key)
    forged = {**row, "object_key": made.object_key.replace("0001", "0007"), "ruled_by": "nobody"}
    with shop.session() as session:
        session.execute("delete from ops.rulings where ruling_id = %s", [made.ruling_id])
        session.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        for statement in ("insert into ops.rulings default values", "update ops.rulings set rows = rows"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table rulings"):
                session.execute(statement.encode())
        session.execute("select ops.record_rulings('marts.weighed', %s, %s)", [shop.day, Jsonb([forged])])

    said = f"ruled_by, revoked_at is null, used_at is null from ops.rulings where load_date = '{shop.day}'"
    assert shop.rows(f"select {said}") == [("nobody", True, True)], "`kpi rulings` prints it"
    assert shop.status().state == "held", "a plan asks S3 too"
    assert shop.run()["marts.weighed"] == "held"
    assert published(shop).keys() == {"raw.things", "raw.labels"}
    assert shop.rows(f"select {said}") == [("nobody", True, True)]

    given = waived(shop, shop.day, by="ben")
    assert set(shop.run().values()) == {"published"}
    assert published(shop)["marts.weighed"] == (1, [given.ruling_id])
    assert shop.rows(f"select ruled_by, revoke_reason, used_at is null {said[said.index('from') :]} order by 1") == [
        ("ben", None, False),
        ("nobody", "its object is gone from S3", True),
    ], "the next ruling on the table ends what S3 has not"


def test_no_ruling_is_asked_for_where_none_can_be(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    context = shop.context(asks_for_rulings=False)
    nobody = BuildContext(context.pipeline, context.server, Store.on_s3(None, shop.bucket), "x", asks_for_rulings=False)
    with shop.session() as session:
        assert look(nobody, session, context.pipeline.table("marts.weighed"), shop.day).rulings == ()
