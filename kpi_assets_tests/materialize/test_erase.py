"""The steps of an erasure: each may be interrupted and done again, and the receipt is the same."""

import json
from dataclasses import replace
from datetime import date
from threading import Timer
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.errors import UsageError, UserError
from kpi_assets.ledger import erasures as ledger
from kpi_assets.ledger import runs
from kpi_assets.ledger.erasures import RecordedErasure
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize import erase as steps
from kpi_assets.materialize import erase_proof, erase_receipt
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.erase import Asked, Counted
from kpi_assets.materialize.erasures import mask_of
from kpi_assets.model.erasure import ErasedKey
from kpi_assets.model.names import Relation
from kpi_assets.sources import erasures as objects
from kpi_assets_tests.materialize.test_erasures import FOUR, HEADER, RAW, deliver, erase
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness

MART = """\
/* @asset
description: What customers spent.
owner: team:tests
grain: [customer_id]
columns:
  customer_id: {type: bigint, description: Customer.}
  spent: {type: "numeric(8,2)", description: Money.}
@end */
select customer_id, spent from raw.customers where load_date = %(load_date)s
"""
PEOPLE = """\
/* @asset
description: Customers through time.
owner: team:tests
grain: [customer_id]
storage: history
history: {surrogate_key: person_sk, max_changed: 1}
columns:
  customer_id: {type: bigint, description: Customer.}
  spent: {type: "numeric(8,2)", description: Money.}
@end */
select customer_id, spent from raw.customers where load_date = %(load_date)s
"""
FACTS = """\
/* @asset
description: What was spent by whom.
owner: team:tests
grain: [spent]
columns:
  spent: {type: "numeric(8,2)", description: Money.}
  person_sk: {type: bigint, description: Version of the customer.}
@end */
select spent, person_sk from marts.people where is_current
"""
AMOUNTS = """\
/* @asset
description: What was ever spent at once.
owner: team:tests
grain: [spent]
storage: history
history: {surrogate_key: amount_sk, max_changed: 1}
columns:
  spent: {type: "numeric(8,2)", description: Money.}
@end */
select distinct spent from raw.customers where load_date = %(load_date)s
"""
BOTH = """\
/* @asset
description: Who is known anywhere.
owner: team:tests
grain: [place, customer_id]
columns:
  place: {type: text, description: Where.}
  customer_id: {type: bigint, description: Who.}
@end */
select 'shop' as place, customer_id from raw.customers where load_date = %(load_date)s
union all
select 'club' as place, customer_id from raw.members where load_date = %(load_date)s
"""
ASKED = Asked("customer", ["2", "04"], "REQ-1", "asked to be erased", "ana")


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline with customers 1 to 4, of whom a candidate is held, too."""
    lab.file("raw/customers.sql", RAW)
    lab.file("marts/spent.sql", MART)
    deliver(lab, *FOUR, "2,twice@x.org,1.00")
    assert lab.build("raw.customers").held
    deliver(lab, *FOUR, "2,twice,", "5,eve@x.org,much", "2,bob@x.org,more")
    deliver(lab, *FOUR, "5,eve@x.org,much", "2,bob@x.org,more")
    build(lab)
    return lab


def build(lab: PipelineHarness) -> None:
    assert not lab.build("raw.customers").held
    assert not lab.build("marts.spent").held


def begun(lab: PipelineHarness) -> tuple[BuildContext, RecordedErasure]:
    context = lab.prepared()
    steps.write(context, ASKED, steps.keys_of(context, "customer", ASKED.values))
    [erasure] = steps.bring_up_all(context)
    return context, erasure


def test_each_step_can_be_done_again(lab: PipelineHarness) -> None:
    context = lab.prepared()
    keys = steps.keys_of(context, "customer", ASKED.values)
    assert steps.count(context, "customer", keys) == [Counted(Relation("raw", "customers"), 1, 3)]
    assert lab.rows("select count(*) from ops.erasures") == [(0,)]
    context, erasure = begun(lab)
    assert (erasure.keys, erasure.applied_at) == (2, None)
    with lab.session() as session:
        behind = f"erasure 1 is not applied to this database: `kpi erase {lab.name} --apply` goes on"
        assert steps.behind(context.pipeline, context.store, session) == behind
    assert len(erase_proof.prove(context)) == 3  # the object and both tables

    first = steps.rewrite_objects(context, erasure, lambda _key, _erased: None)
    assert steps.rewrite_objects(context, erasure, lambda _key, _erased: None) == first
    assert [(each.records_before, each.records_erased, each.records_after) for each in first] == [(6, 3, 3)]
    assert steps.still_shown(context, [erasure], [DAY, NEXT]) == [DAY]
    build(lab)
    assert steps.still_shown(context, [erasure], [DAY, NEXT]) == []
    assert erase_proof.prove(context) == []
    texts = "select string_agg(t::text, ' ') from (select q::text from ops.quarantine as q union all "
    texts += "select d::text from ops.data_quality_results as d union all select r::text from ops.pipeline_runs as r "
    texts += "union all select a::text from ops.alerts as a) as t"
    assert "bob@x.org" in lab.rows(texts)[0][0]

    counts = steps.empty(context, 1)
    assert counts["quarantine"] == 2
    assert counts["publishes"] == 2
    assert set(steps.empty(context, 1).values()) == {0}
    assert "bob@x.org" not in lab.rows(texts)[0][0]
    assert "eve@x.org" in lab.rows(texts)[0][0]  # of the latest build, which has no erased person
    wiped = steps.write_files_anew(context)
    assert wiped.refused == []

    until = date(2026, 1, 4)
    wiped = replace(wiped, wal=False)
    key = erase_receipt.receipt(context, erasure, wiped, until, ["one version"], store_is_vacuumed=True)
    body = lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read()
    assert erase_receipt.receipt(context, erasure, wiped, until) == key  # its ledger row was not written yet
    assert lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read() == body
    said = json.loads(body)
    assert (said["persons"], said["gone_from_backups_by"], said["receipt_before"]) == (2, "2026-01-04", None)
    assert said["versions_of_decisions_kept"] == ["one version"]
    assert said["emptied"] == {"decisions": 0, **counts}, "of both attempts"
    assert (said["wal"].split()[0], said["object_store"].split()[0]) == ("segments", "vacuumed:")
    assert said["rebuilt"] == [f"marts.spent of {DAY}", f"raw.customers of {DAY}"]
    with lab.session() as session:
        assert steps.behind(context.pipeline, context.store, session) == ""
        every = ledger.every(session)
    assert erase_receipt.broken_receipts(context, every) == []
    assert erase_receipt.broken_receipts(context, [replace(every[0], receipt_sha256="0" * 64)]) == [
        "erasures/0001.receipt.json is not the receipt that was written"
    ]
    assert erase_proof.verify(context, erasure, ["2", "4"]) == []
    assert erase_proof.verify(context, erasure, ["3"]) == ["1 identifiers were never erased"]


def test_the_cause_of_what_is_built_again_is_the_erasure(lab: PipelineHarness) -> None:
    context, erasure = begun(lab)
    steps.rewrite_objects(context, erasure, lambda _key, _erased: None)
    build(lab)
    causes = "select asset, cause, erasure from ops.publishes order by publish_id"
    assert lab.rows(causes) == [
        ("raw.customers", None, 1),
        ("marts.spent", None, None),
        ("raw.customers", "erasure", None),
        ("marts.spent", "erasure", None),
    ]


def test_a_fact_of_a_version_that_is_gone_is_found(lab: PipelineHarness) -> None:
    lab.file("marts/people.sql", PEOPLE)
    lab.file("marts/facts.sql", FACTS)
    for name in ("marts.people", "marts.facts"):
        assert not lab.build(name).held
    context = lab.prepared()
    assert erase_proof.prove(context) == []
    with lab.session() as session:
        session.execute("delete from marts.people where customer_id = 2")
    assert erase_proof.prove(context) == [
        "marts.facts has 1 rows whose person_sk is that of nobody in marts.people any more"
    ]


def test_somebody_of_another_kind_with_the_same_number_is_not_taken_for_the_person(lab: PipelineHarness) -> None:
    """Member 200002 stays, in a table of both kinds and in ops; customer 200004 is found there as ever."""
    as_members = RAW.replace("raw/customers/", "raw/members/").replace("customer: customer_id", "member: customer_id")
    lab.file("raw/members.sql", as_members)
    lab.file("marts/both.sql", BOTH)
    deliver(lab, "3,cyd@x.org,4.00", "200002,bob@x.org,1.00", "200004,dan@x.org,2.00")
    members = f"raw/members/load_date={DAY}/customers.csv"
    lab.put(members, b"customer_id,email,spent\n200002,eve@x.org,1.00\n200002,eve@x.org,much\n")
    for name in ("raw.customers", "raw.members", "marts.both"):
        assert not lab.build(name).held
    context, values = lab.prepared(), ["200002", "200004"]
    steps.write(context, replace(ASKED, values=values), steps.keys_of(context, "customer", values))
    [erasure] = steps.bring_up_all(context)
    steps.rewrite_objects(context, erasure, lambda _key, _erased: None)
    for name in ("raw.customers", "marts.spent", "marts.both"):
        lab.build(name)
    assert lab.rows("select place, customer_id from marts.both order by 1") == [("club", 200002), ("shop", 3)]
    assert erase_proof.prove(context) == []
    steps.empty(context, 1)
    assert lab.rows("select count(*) from ops.quarantine where record like '200002,%'") == [(1,)]
    assert erase_proof.verify(context, erasure, values) == []

    put = f"insert into marts.both select '{DAY}', 'shop', * from unnest(array[200002, 200004]) returning 1"
    assert len(lab.rows(put)) == 2
    assert erase_proof.prove(context) == ["marts.both has 1 rows of erased persons"]
    lab.s3.delete_object(Bucket=lab.bucket, Key=members)
    assert erase_proof.prove(context) == ["marts.both has 3 rows of erased persons"]
    found = erase_proof.verify(context, erasure, values)
    assert found == ["marts.both has 3 rows of erased persons", "ops.quarantine has 1 rows that hold an identifier"]


def test_a_history_about_no_person_loses_what_only_erased_persons_brought(lab: PipelineHarness) -> None:
    """It shows no key, and needs none: it has no value of a person, and each load_date is built again."""
    lab.file("marts/amounts.sql", AMOUNTS)
    for day in (DAY, NEXT):
        lab.put(f"raw/customers/load_date={day}/customers.csv", (HEADER + "\n".join(FOUR) + "\n").encode())
        for name in ("raw.customers", "marts.amounts"):
            assert not lab.build(name, day).held
    amounts = "select spent::text, effective_date::text, is_current from marts.amounts order by spent"
    assert [row[0] for row in lab.rows(amounts)] == ["1.00", "2.00", "4.00", "8.00"]
    context, erasure = begun(lab)
    steps.rewrite_objects(context, erasure, lambda _key, _erased: None)
    for day in (DAY, NEXT):
        for name in ("raw.customers", "marts.amounts"):
            lab.build(name, day)
    assert lab.rows(amounts) == [("1.00", str(DAY), True), ("4.00", str(DAY), True)]
    assert "marts.amounts" not in " ".join(erase_proof.prove(context))


def test_builds_that_began_before_the_erasure_are_waited_for(lab: PipelineHarness) -> None:
    context = lab.prepared()
    keys = steps.keys_of(context, "customer", ASKED.values)

    def running(session: Connection[Any], job: str) -> int:
        return runs.open_row(session, run_id="other", pipeline=lab.name, job=job, load_date=DAY)

    def ended(session: Connection[Any], build_id: int) -> None:
        assert runs.close_build(session, build_id, "failed", layer="raw", counts=Counts(), error="stopped")

    def rewritten() -> int:
        impatient = replace(context, publish_timeout=0.0)
        return len(steps.rewrite_objects(impatient, erasure, lambda _key, _erased: None))

    with lab.session() as session:
        before, of_mart = running(session, "raw.customers"), running(session, "marts.spent")
        steps.write(context, ASKED, keys)
        [erasure] = steps.bring_up_all(context)
        later = running(session, "raw.customers")
        with pytest.raises(UserError) as error:
            rewritten()
        assert str(error.value) == (
            "A build of raw.customers that began before the erasure is still running: give "
            f"`kpi erase {lab.name} --apply` once it is over."
        )
        assert lab.rows("select count(*) from ops.manifest_links") == [(0,)], "no object was touched"
        assert erase_proof.prove(context) != []

        ending = Timer(1, ended, [session, before])
        ending.start()
        assert len(steps.rewrite_objects(context, erasure, lambda _key, _erased: None)) == 1, "it waited until the end"
        ending.join()
        assert rewritten() == 1, "nor does it wait for a build that began later, or of another table"
        ended(session, later)
        ended(session, of_mart)


def test_a_build_whose_process_is_gone_is_not_waited_for(lab: PipelineHarness) -> None:
    with lab.session() as session:
        runs.open_row(session, run_id="other", pipeline=lab.name, job="raw.customers", load_date=DAY)
    context, erasure = begun(lab)
    impatient = replace(context, publish_timeout=0.0)
    assert len(steps.rewrite_objects(impatient, erasure, lambda _key, _erased: None)) == 1


def test_a_key_is_found_however_it_is_spelled(lab: PipelineHarness) -> None:
    lab.file("raw/customers.sql", RAW.replace("customer: customer_id", "customer: lower(trim(email))"))
    of_email = MART.replace("customer_id: {type: bigint", "email: {type: text").replace("customer_id", "email")
    lab.file("marts/spent.sql", of_email)
    deliver(lab, "1,  Bob@X.org,1.00", "2,bob@x.org,2.00", "3,ana@x.org,4.00")
    build(lab)
    context = lab.prepared()
    steps.write(context, ASKED, steps.keys_of(context, "customer", ["BOB@x.org"]))
    steps.bring_up_all(context)
    assert erase_proof.prove(context) == [
        "raw.customers has 2 rows of erased persons",
        "marts.spent has 2 rows of erased persons",
        f"s3://{lab.bucket}/raw/customers/load_date={DAY}/customers.csv has 2 records of erased persons",
    ]


def test_the_cause_is_the_erasure_too_if_a_build_came_before_the_object_was_written_again(lab: PipelineHarness) -> None:
    context, erasure = begun(lab)
    build(lab)
    steps.rewrite_objects(context, erasure, lambda _key, _erased: None)
    build(lab)
    causes = "select asset, cause, differences -> 0 ->> 'difference' from ops.publishes order by publish_id"
    assert lab.rows(causes) == [
        *(("raw.customers", None, None), ("marts.spent", None, None)),
        *(("raw.customers", "erasure", "erased"), ("marts.spent", "erasure", "erased")),
        *(("raw.customers", None, None), ("marts.spent", None, None)),
    ]
    by = "select caused_by from ops.publishes where cause = 'erasure' order by publish_id"
    assert lab.rows(by) == [([3],), ([3],)]


def test_what_was_kept_or_set_aside_before_a_correction_goes_too(lab: PipelineHarness) -> None:
    yaml = lab.folder / "pipeline.yaml"
    yaml.write_text(yaml.read_text() + "rollback: {keep: 2, days: 14}\n")
    deliver(lab, FOUR[0], FOUR[2])
    build(lab)
    kept = "select count(*) from ops.versions where relation is not null"
    assert lab.rows(kept) == [(2,)]
    context, erasure = begun(lab)
    steps.rewrite_objects(context, erasure, lambda _key, _erased: None)
    assert erase_proof.prove(context) != []  # the kept rows
    assert steps.empty(context, 1)["quarantine"] == 1
    assert erase_proof.prove(context) == []
    assert lab.rows(kept) == [(0,)]
    assert lab.rows("select checksum from ops.versions order by 1") == [("erased 1",), ("erased 2",)]
    assert sorted(lab.rows("select left(record, 7) from ops.quarantine")) == [("5,eve@x",), ("removed",)]


def test_a_database_with_rows_is_behind_an_erasure_that_was_not_made_in_it(lab: PipelineHarness) -> None:
    context = lab.prepared()
    steps.check_not_behind(context)
    begun(lab)
    steps.check_not_behind(context)
    erase(lab, "3")
    erase(lab, "1")
    for _ in range(2):
        with pytest.raises(UserError) as error:
            steps.check_not_behind(context)
        assert str(error.value) == (
            f"Nothing is built for {lab.name}, since erasures 2, 3 are not applied to this database: "
            f"`kpi erase {lab.name} --apply` goes on."
        )
    with lab.session() as session:
        for number in (2, 3):
            ledger.finish(session, number, "0" * 64)
    steps.check_not_behind(context)


def test_a_database_that_is_behind_forgets_objects_that_were_written_again(
    lab: PipelineHarness,
) -> None:
    digests = "select etag, sha256, manifest_hash from ops.manifests where manifest_hash in (select manifest_hash from "
    digests += "ops.publishes where asset = 'raw.customers') order by manifest_id"
    [known] = lab.rows(digests)
    erase(lab, "2")
    deliver(lab, *FOUR[:1], *FOUR[2:], "5,eve@x.org,much")  # as the erasure did whose database is lost
    context = lab.prepared()
    [erasure] = steps.bring_up_all(context)
    assert erasure.was_behind
    for _ in range(2):
        assert steps.rewrite_objects(context, erasure, lambda _key, _erased: None) == []
        mask = mask_of(context)
        masked = [(mask(etag), mask(sha256), mask(hash_)[:16]) for etag, sha256, hash_ in [known]]
        assert lab.rows(digests) == masked
    assert lab.rows("select erasure from ops.publishes where asset = 'raw.customers'") == [(1,)]


def test_a_database_without_rows_is_not_behind(lab: PipelineHarness) -> None:
    lab.rows("with all_of_them as (delete from ops.publishes returning 1) select count(*) from all_of_them")
    erase(lab, "3")
    steps.check_not_behind(lab.prepared())


def test_what_nobody_can_be_is_refused_by_its_place(lab: PipelineHarness) -> None:
    context = lab.prepared()
    with pytest.raises(UserError) as error:
        steps.keys_of(context, "customer", ["1", "canary", "3"])
    assert str(error.value) == (
        f"Identifier 2 of 3 can be no customer of {lab.name}: no table could hold it; nobody was erased."
    )
    with pytest.raises(UsageError, match=r"names persons of the kind 'seller'"):
        steps.subject_tables(context.pipeline, "seller")


def test_two_who_erase_at_once_get_numbers_of_their_own(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    context, _ = begun(lab)
    listed = objects.find(context.store)
    looks = iter([listed, objects.find])

    def find(store: object) -> object:
        found = next(looks, objects.find)
        return [] if found is listed else real(store)  # type: ignore[arg-type]

    real = objects.find
    monkeypatch.setattr(objects, "find", find)
    assert steps.write(context, ASKED, [ErasedKey(b"x" * 32, 1, "a")]) == 2
