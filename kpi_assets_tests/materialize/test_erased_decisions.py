"""Decisions about erased persons are taken out of their objects on S3, and all others stay, and find their records."""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from kpi_assets.materialize import erase as steps
from kpi_assets.materialize import erase_proof, erased_decisions
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.decisions import add
from kpi_assets.materialize.erased_decisions import Emptied
from kpi_assets.model.decision import Decision, Kind
from kpi_assets.sources import decisions as objects
from kpi_assets_tests.materialize.orders_pipeline import message
from kpi_assets_tests.materialize.test_erase import ASKED
from kpi_assets_tests.materialize.test_erasures import FOUR, RAW, accounted, deliver
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

CLEAN = """\
/* @asset
description: What customers spent.
owner: team:tests
grain: [customer_id]
quarantine:
  rows: 9
  rules:
    little: {bad_rows: "select * from {this} where spent > 5"}
columns:
  customer_id: {type: bigint, description: Customer.}
  spent: {type: "numeric(8,2)", description: Money.}
@end */
select customer_id, spent from raw.customers where load_date = %(load_date)s
"""
KEY = f"raw/customers/load_date={DAY}/customers.csv"
BAD = ["2,bo@x.org,more", "7,gus@x.org,much", "8,hal@x.org,lots", "9,eve@x.org,all"]  # on lines 6 to 9
STATES = "select line, state, split_part(decision, '/', 4) from ops.bad_rows where table_name = 'raw.customers'"


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    """Customers 1 to 4, and four records that cannot be read."""
    lab.file("raw/customers.sql", RAW.replace("grain: [customer_id]", "grain: [email]"))
    lab.file("stg/clean.sql", CLEAN)
    deliver(lab, *FOUR, *BAD)
    return lab


def build(lab: PipelineHarness) -> None:
    for name in ("raw.customers", "stg.clean"):
        assert not lab.build(name).held


def decide(
    lab: PipelineHarness, table: str, *asked: tuple[Kind, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]
) -> str:
    """Write decisions as one object on S3; return its key."""
    at = datetime(2025, 3, 2, tzinfo=timezone.utc)
    made = [Decision(kind, key, was, put, "It is so.", "ana", at) for kind, key, was, put in asked]
    context = lab.prepared()
    return add(context, context.pipeline.table(table), DAY, lambda _session, _before: made)


def on_line(kind: Kind, line: int, was: str, now: str = "") -> tuple[Kind, Any, Any, Any]:
    return kind, {"object": KEY, "line": line}, {"record": was}, {"record": now} if now else {}


def body(lab: PipelineHarness, key: str) -> str:
    return str(lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read().decode())


def erased(lab: PipelineHarness) -> BuildContext:
    """Erase the customers 2 and 4 from objects, as `kpi erase` does first."""
    context = lab.prepared()
    steps.write(context, ASKED, steps.keys_of(context, "customer", ASKED.values))
    [erasure] = steps.bring_up_all(context)
    steps.rewrite_objects(context, erasure, lambda _key, _erased: None)
    return context


def test_decisions_about_a_person_are_gone_and_the_others_find_their_records(lab: PipelineHarness) -> None:
    build(lab)
    first = decide(
        lab,
        "raw.customers",
        on_line("discard", 6, BAD[0]),
        on_line("discard", 7, BAD[1]),
        on_line("correct", 8, BAD[2], "8,hal@x.org,5.00"),
        on_line("correct", 9, BAD[3], "4,eve@x.org,6.00"),
    )
    second = decide(lab, "raw.customers", on_line("correct", 6, BAD[0], "2,bo@x.org,7.00"))
    before = body(lab, first).splitlines(keepends=True)
    assert lab.build("raw.customers").rows == 7
    hashes = "select manifest_hash, checksum from ops.publishes where asset = 'decisions.raw__customers'"
    known = lab.rows(hashes)

    context = erased(lab)

    # Of customer 4, the record that somebody corrected to be about this person goes, too.
    assert body(lab, KEY) == "customer_id,email,spent\n" + "".join(f"{row}\n" for row in (*FOUR[::2], *BAD[1:3]))
    assert [*erased_decisions.left(context)] == [
        f"s3://{lab.bucket}/{first} has 2 decisions about erased persons",
        f"s3://{lab.bucket}/{second} has 1 decisions about erased persons",
    ]
    assert [*erased_decisions.texts_left(context, ["BO@x.org"])] == [
        f"s3://{lab.bucket}/{key} holds an identifier" for key in (first, second)
    ]
    assert erased_decisions.take_out(context, 1) == Emptied(3)
    assert body(lab, first) == f"\n{before[1]}{before[2]}\n"
    assert body(lab, second) == "\n"
    assert erased_decisions.take_out(context, 1) == Emptied()
    assert [*erased_decisions.left(context)] == []
    assert [*erased_decisions.texts_left(context, ["bo@x.org", "eve@x.org"])] == []
    assert not {each for row in known for each in row} & {each for row in lab.rows(hashes) for each in row}

    outcome = lab.build("raw.customers")
    assert accounted(outcome) == "4 records in the object = 3 loaded + 1 in quarantine + 0 erased"
    assert message(outcome) == "by decision: 1 corrected, 1 discarded"
    assert lab.rows(f"{STATES} order by line") == [(4, "discarded", "0001.jsonl:2"), (5, "corrected", "0001.jsonl:3")]
    third = decide(lab, "raw.customers", on_line("discard", 4, BAD[1]))
    assert third.endswith("/0003.jsonl")


def test_decisions_on_rows_go_by_the_key_of_the_person(lab: PipelineHarness) -> None:
    deliver(lab, *FOUR, "5,eve@x.org,8.00", "6,fay@x.org,8.00")
    build(lab)
    key = decide(
        lab,
        "stg.clean",
        ("discard", {"customer_id": 4}, {"spent": 8}, {}),
        ("correct", {"customer_id": 5}, {"spent": 8}, {"spent": 1.5}),
        ("correct", {"customer_id": 6}, {"spent": 8}, {"customer_id": 4, "spent": 1}),
    )
    kept = body(lab, key).splitlines(keepends=True)[1]
    assert message(lab.build("stg.clean")) == "by decision: 2 corrected, 1 discarded"
    context = erased(lab)
    assert erased_decisions.take_out(context, 1) == Emptied(2)
    assert body(lab, key) == f"\n{kept}\n"
    build(lab)
    assert lab.rows("select customer_id, spent::text from stg.clean order by 1") == [
        *[(1, "1.00"), (3, "4.00"), (5, "1.50")]
    ]
    waits = "select key, state from ops.bad_rows where table_name = 'stg.clean' order by state"
    assert lab.rows(waits) == [({"customer_id": 5}, "corrected"), ({"customer_id": 6}, "waiting")]
    cause = "select cause from ops.publishes where asset = 'stg.clean' order by publish_id desc limit 1"
    assert lab.rows(cause) == [("erasure",)]


def test_an_erased_decision_alone_is_the_cause_of_other_rows(lab: PipelineHarness) -> None:
    """The object has the person no more when the erasure comes: what differs is the decision."""
    deliver(lab, "6,fay@x.org,8.00")
    build(lab)
    decide(lab, "stg.clean", ("correct", {"customer_id": 6}, {"spent": 8}, {"customer_id": 2, "spent": 1}))
    assert not lab.build("stg.clean").held
    context = erased(lab)
    assert erased_decisions.take_out(context, 1) == Emptied(1)
    assert not lab.build("stg.clean").held
    cause = "select cause from ops.publishes where asset = 'stg.clean' order by publish_id"
    assert [each for (each,) in lab.rows(cause)] == [None, "decision", "erasure"]


@pytest.mark.parametrize("is_built", [False, True])
@pytest.mark.parametrize(
    ("was", "now"), [("9,eve@x.org,all", "4,eve@x.org,6.00"), ("4,dan@x.org,much", "9,eve@x.org,6.00")]
)
def test_an_object_on_whose_records_somebody_has_decided_is_read(
    lab: PipelineHarness, was: str, now: str, *, is_built: bool
) -> None:
    """Its rows alone would not prove that nobody is in it, whether a record was or became one about the person."""
    deliver(lab, *FOUR[::2], was)
    build(lab)
    decide(lab, "raw.customers", on_line("correct", 4, was, now))
    if is_built:
        assert lab.build("raw.customers").rows == 3
    context = lab.prepared()
    keys = steps.keys_of(context, "customer", ASKED.values)
    assert [each.records for each in steps.count(context, "customer", keys)] == [1]
    context = erased(lab)
    assert body(lab, KEY) == f"customer_id,email,spent\n{FOUR[0]}\n{FOUR[2]}\n"
    assert erased_decisions.take_out(context, 1) == Emptied(1)
    build(lab)
    assert erase_proof.prove(context) == []


def test_a_build_between_the_erasure_and_the_emptied_decision_has_the_erasure_as_its_cause(
    lab: PipelineHarness,
) -> None:
    deliver(lab, *FOUR[::2], BAD[3])
    build(lab)
    decide(lab, "raw.customers", on_line("correct", 4, BAD[3], "4,eve@x.org,1.50"))
    build(lab)
    context = lab.prepared()
    steps.write(context, ASKED, steps.keys_of(context, "customer", ASKED.values))
    build(lab)
    [erasure] = steps.bring_up_all(context)
    steps.rewrite_objects(context, erasure, lambda _key, _erased: None)
    assert erased_decisions.take_out(context, 1) == Emptied(1)
    build(lab)
    causes = (
        "select asset, cause, differences -> 0 ->> 'difference' from ops.publishes where asset !~ '^(s3|decisions)' "
    )
    tables = ("raw.customers", "stg.clean")
    assert lab.rows(f"{causes} order by publish_id") == [
        *((name, None, None) for name in tables),
        *((name, "decision", "decision") for name in tables),
        *((name, "erasure", "erased") for name in tables),
        *((name, None, None) for name in tables),
    ]


def test_a_decision_on_an_object_that_is_gone_goes_by_its_words(lab: PipelineHarness) -> None:
    build(lab)
    key = decide(lab, "raw.customers", on_line("discard", 6, BAD[0]), on_line("discard", 7, BAD[1]))
    lab.s3.delete_object(Bucket=lab.bucket, Key=KEY)
    context = erased(lab)
    assert erased_decisions.take_out(context, 1) == Emptied(1)
    assert [json.loads(line)["key"]["line"] for line in body(lab, key).splitlines() if line] == [7]


def test_who_was_killed_between_two_objects_of_decisions_goes_on(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(lab)
    keys = [decide(lab, "raw.customers", on_line("discard", 6, BAD[0])) for _ in range(2)]
    context = erased(lab)

    left, empty = iter([1]), objects.empty_lines

    def killed(*given: Any) -> Any:
        if not next(left, 0):
            raise KeyboardInterrupt
        return empty(*given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(objects, "empty_lines", killed)
        erased_decisions.take_out(context, 1)
    assert [body(lab, key) == "\n" for key in keys] == [True, False]
    assert erased_decisions.take_out(context, 1) == Emptied(1)
    assert [body(lab, key) for key in keys] == ["\n", "\n"]
    assert lab.rows("select emptied from ops.erasures") == [({"decisions": 2},)]


def test_who_was_killed_after_the_last_object_of_decisions_has_left_nothing_that_confirms_a_guess(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(lab)
    key = decide(lab, "raw.customers", on_line("discard", 6, BAD[0]))
    lab.build("raw.customers")
    hashes = "select manifest_hash, checksum from ops.publishes where asset = 'decisions.raw__customers'"
    [(known, _)] = lab.rows(hashes)
    context, empty = erased(lab), objects.empty_lines

    def killed(*given: Any) -> Any:
        empty(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(objects, "empty_lines", killed)
        erased_decisions.take_out(context, 1)
    assert body(lab, key) == "\n"
    assert erased_decisions.take_out(context, 1) == Emptied()
    assert known not in [each for row in lab.rows(hashes) for each in row]


def test_earlier_versions_of_decisions_are_gone_too(lab: PipelineHarness) -> None:
    lab.s3.put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": "Enabled"})
    build(lab)
    key = decide(lab, "raw.customers", on_line("discard", 6, BAD[0]))
    assert erased_decisions.take_out(erased(lab), 1) == Emptied(1)
    versions = lab.s3.list_object_versions(Bucket=lab.bucket, Prefix=key).get("Versions", [])
    assert [each["IsLatest"] for each in versions] == [True]
