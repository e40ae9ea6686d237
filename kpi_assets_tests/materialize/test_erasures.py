"""Loads without erased persons: whatever the object is written in, and whoever erased them."""

import gzip
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest

from kpi_assets.errors import UsageError
from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.erasures import salt_of
from kpi_assets.model.decision import Decision
from kpi_assets.model.erasure import ErasedKey, Erasure, ErasureError, Salted, mark_of
from kpi_assets.settings import settings
from kpi_assets.sources import erasures as objects
from kpi_assets.sources.objects import TakenError
from kpi_assets.sources.refusals import LakeError
from kpi_assets_tests.materialize.orders_pipeline import a_decision
from kpi_assets_tests.materialize.test_parquet import parquet
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

RAW = """\
/* @asset
description: Customers as delivered.
owner: team:tests
grain: [customer_id]
source:
  object: raw/customers/load_date={load_date}/customers.csv
  format: csv
subject: {customer: customer_id}
quarantine: {rows: 5}
columns:
  customer_id: {type: bigint, description: Customer., pii: id}
  email: {type: text, description: Address., pii: email}
  spent: {type: "numeric(8,2)", description: Money.}
@end */
"""
HEADER = "customer_id,email,spent\n"
THREE = ["1,ana@x.org,1.00", "2,bob@x.org,2.00", "3,cyd@x.org,4.00"]
FOUR = [*THREE, "4,dan@x.org,8.00"]
HERE = "select customer_id, email, spent::text from raw.customers order by 1"


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/customers.sql", RAW)
    return lab


def deliver(lab: PipelineHarness, *rows: str) -> None:
    lab.put(f"raw/customers/load_date={DAY}/customers.csv", (HEADER + "".join(f"{row}\n" for row in rows)).encode())


def erase(lab: PipelineHarness, *values: str, kind: str = "customer", **changes: Any) -> str:
    """Write the erasure of some persons to S3, as `kpi erase` does first; return the key of its object."""
    salt = salt_of(settings())
    salted = Salted.of(salt, lab.name, kind)
    quick = lab.in_postgres(
        "select hashtextextended(v, %s::bigint) from unnest(%s::text[]) as v", salted.seed, list(values)
    )
    keys = tuple(
        ErasedKey(salted.hash(v), q, f"{n:012x}") for n, (v, (q,)) in enumerate(zip(values, quick, strict=True))
    )
    now = datetime.now(timezone.utc).replace(microsecond=0)
    words = {"request": "REQ-7", "reason": "they asked for it", "by": "ana", "at": now, "salt": mark_of(salt)}
    _, key = objects.add(lab.store, Erasure(**{"pipeline": lab.name, "kind": kind, **words, "keys": keys, **changes}))
    return key


def accounted(outcome: BuildOutcome) -> str:
    return next(result.message for result in outcome.results if result.name == "rows_accounted")


def test_a_person_who_was_erased_is_not_loaded_and_every_record_is_accounted_for(lab: PipelineHarness) -> None:
    deliver(lab, *THREE)
    before = lab.build("raw.customers")
    assert accounted(before) == "3 records in the object = 3 loaded + 0 in quarantine"
    assert erase(lab, "2", "9") == "erasures/0001.json"

    outcome = lab.build("raw.customers")

    assert not outcome.held
    assert lab.rows(HERE) == [(1, "ana@x.org", "1.00"), (3, "cyd@x.org", "4.00")]
    assert accounted(outcome) == "3 records in the object = 2 loaded + 0 in quarantine + 1 erased"
    runs = "select rows_extracted, rows_loaded_raw, rows_quarantined, rows_erased from ops.pipeline_runs "
    assert lab.rows(f"{runs} where job = 'raw.customers' order by id") == [(3, 3, 0, None), (3, 2, 0, 1)]
    erasures = "select erasure, kind, request, reason, erased_by, keys, object_key from ops.erasures"
    assert lab.rows(erasures) == [(1, "customer", "REQ-7", "they asked for it", "ana", 2, "erasures/0001.json")]
    assert lab.rows("select count(*) from pg_class where relnamespace = 'builds'::regnamespace and relkind = 'r'") == [
        (0,)
    ]
    assert lab.build("raw.customers").checksum == outcome.checksum


def test_whoever_finds_every_number_taken_is_told_to_try_again(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object, **__: object) -> None:
        raise TakenError(lab.bucket, "erasures/0001.json")

    monkeypatch.setattr(type(lab.store), "put", taken)
    with pytest.raises(LakeError, match=rf"^Others write erasures to {lab.bucket} all the time: give the command ag"):
        erase(lab, "2")


def test_a_delivery_that_still_has_them_is_told_once(lab: PipelineHarness) -> None:
    deliver(lab, *FOUR)
    erase(lab, "2", "3", at=datetime.now(timezone.utc) + timedelta(minutes=1))
    lab.build("raw.customers")
    alerts = "select kind, details, closed_at is not null from ops.alerts"
    assert lab.rows(alerts) == []  # their object landed before
    erase(lab, "1", at=datetime.now(timezone.utc) - timedelta(days=1))
    lab.build("raw.customers")
    lab.build("raw.customers")
    sentence = (
        f"raw.customers: the source still delivers 1 erased customer in s3://{lab.bucket}/raw/customers/"
        f"load_date={DAY}/customers.csv: they were left out; have them taken out where the file is made"
    )
    assert lab.rows(alerts) == [("erased", [sentence], True)]


def test_rows_stay_with_another_key_where_sums_must_not_change(lab: PipelineHarness) -> None:
    raw = RAW.replace("type: bigint", "type: text").replace("@end", "erase: values\n@end")
    lab.file("raw/customers.sql", raw)
    deliver(lab, *THREE, '"a b",eve@x.org,8.00')
    erase(lab, "2", "a b")
    outcome = lab.build("raw.customers")
    replaced = [("erased-000000000000", None, "2.00"), ("erased-000000000001", None, "8.00")]
    assert lab.rows(HERE) == [("1", "ana@x.org", "1.00"), ("3", "cyd@x.org", "4.00"), *replaced]
    assert accounted(outcome) == "4 records in the object = 4 loaded + 0 in quarantine + 0 erased"
    assert lab.build("raw.customers").checksum == outcome.checksum


def test_the_spellings_of_an_address_are_one_person_and_a_person_may_have_several_kinds(lab: PipelineHarness) -> None:
    both = "subject: {customer: customer_id, address: lower(trim(email))}"
    lab.file("raw/customers.sql", RAW.replace("subject: {customer: customer_id}", both))
    deliver(lab, *THREE, "5, BOB@x.org,8.00", "6,bob@x.or,8.00", "7,,8.00")
    erase(lab, "bob@x.org", kind="address")
    erase(lab, "3", "bob@x.or")  # the second is the key of no customer
    outcome = lab.build("raw.customers")
    assert [row[0] for row in lab.rows(HERE)] == [1, 6, 7]
    assert accounted(outcome) == "6 records in the object = 3 loaded + 0 in quarantine + 3 erased"
    assert lab.rows("select object_key, kind from ops.erasures order by 1") == [
        ("erasures/0001.json", "address"),
        ("erasures/0002.json", "customer"),
    ]


JSON = {"format: csv": "format: json\n  compression: gzip\n  whole: record", ".csv": ".json.gz"}


def test_json_parquet_and_several_objects_are_handled_alike(lab: PipelineHarness) -> None:
    raw = RAW
    for old, new in JSON.items():
        raw = raw.replace(old, new)
    lab.file("raw/customers.sql", raw)
    records = [dict(zip(("customer_id", "email", "spent"), row.split(","), strict=True)) for row in THREE]
    body = "".join(json.dumps({**each, "customer_id": int(each["customer_id"])}) + "\n" for each in records)
    lab.put(f"raw/customers/load_date={DAY}/customers.json.gz", gzip.compress(body.encode()))
    erase(lab, "2")
    assert accounted(lab.build("raw.customers")) == "3 records in the object = 2 loaded + 0 in quarantine + 1 erased"
    assert [each["email"] for (each,) in lab.rows("select record from raw.customers order by record::text")] == [
        "ana@x.org",
        "cyd@x.org",
    ]

    lab.file("raw/buyers.sql", RAW.replace("customers", "buyers").replace("csv", "parquet"))
    money = pa.array([1, 2, 4], pa.decimal128(8, 2))
    emails = ["ana@x.org", "bob@x.org", "cyd@x.org"]
    made = parquet({"customer_id": pa.array([1, 2, 3], pa.int64()), "email": emails, "spent": money})
    lab.put(f"raw/buyers/load_date={DAY}/buyers.parquet", made)
    assert accounted(lab.build("raw.buyers")) == "3 records in the object = 2 loaded + 0 in quarantine + 1 erased"

    lab.file("raw/parts.sql", RAW.replace("customers/load_date={load_date}/customers.csv", "parts/{load_date}/*.csv"))
    for name, rows in (("a", THREE[:2]), ("b", THREE[2:])):
        lab.put(f"raw/parts/{DAY}/{name}.csv", (HEADER + "\n".join(rows) + "\n").encode())
    parts = lab.build("raw.parts")
    assert accounted(parts) == "3 records in the object = 2 loaded + 0 in quarantine + 1 erased"
    assert not parts.held, "nothing of the two objects is lost"


def test_a_table_that_is_loaded_in_slices_is_made_again_as_a_whole(lab: PipelineHarness) -> None:
    lab.file("raw/customers.sql", RAW.replace("subject:", "storage: partitions\nsubject:"))
    deliver(lab, *(f"{number},p{number}@x.org,1.00" for number in range(1, 401)))
    erase(lab, "7", "400", "401")
    outcome = lab.build("raw.customers", writers=3, slice_bytes=900)
    assert accounted(outcome) == "400 records in the object = 398 loaded + 0 in quarantine + 2 erased"
    assert lab.rows("select count(*), min(customer_id), max(customer_id) from raw.customers") == [(398, 1, 399)]


def test_a_record_that_cannot_be_read_is_left_out_too_and_so_is_one_that_was_corrected(
    lab: PipelineHarness, decided: list[Decision]
) -> None:
    deliver(lab, *THREE, "4,dan@x.org,much", "5,eve@x.org,more", "6,fay@x.org,most")
    erase(lab, "4", "8")
    decided.append(
        a_decision(
            "correct",
            {"object": f"raw/customers/load_date={DAY}/customers.csv", "line": 6},
            {"record": "5,eve@x.org,more"},
            1,
            {"record": "8,eve@x.org,1.00"},
        )
    )
    outcome = lab.build("raw.customers")
    assert accounted(outcome) == "6 records in the object = 3 loaded + 1 in quarantine + 2 erased"
    assert [row[0] for row in lab.rows(HERE)] == [1, 2, 3]
    assert lab.rows("select record, corrected from ops.quarantine") == [("6,fay@x.org,most", None)]


def test_without_the_right_salt_nothing_is_loaded(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(lab, *THREE)
    lab.build("raw.customers")
    erase(lab, "2", salt="0" * 16)
    with pytest.raises(ErasureError) as error:
        lab.build("raw.customers")
    assert str(error.value) == (
        "erasures/0001.json was made with another salt than KPI_ERASURE_SALT, so that its persons cannot be "
        "recognized: set that to what it was then."
    )
    without = settings().model_copy(update={"erasure_salt": None})
    with pytest.raises(UsageError, match="KPI_ERASURE_SALT is missing"):
        lab.build("raw.customers", settings=without)
    assert len(lab.rows(HERE)) == 3


def test_what_is_no_erasure_of_the_pipeline_erases_nobody(lab: PipelineHarness) -> None:
    deliver(lab, *THREE)
    erase(lab, "2", pipeline="another_one")
    erase(lab, "2", kind="seller")
    assert accounted(lab.build("raw.customers")) == "3 records in the object = 3 loaded + 0 in quarantine"
    lab.put("erasures/0003.json", b"{}")
    with pytest.raises(ErasureError, match=r"erasures/0003\.json is no erasure"):
        lab.build("raw.customers")


def test_only_the_loader_may_read_the_hashes(lab: PipelineHarness) -> None:
    lab.prepared()
    roles = ("kpi_loader", "kpi_builder", "kpi_reader", "kpi_reviewer", "kpi_decider")
    may = "select has_table_privilege('{}', 'ops.erased_keys', 'select')"
    assert {role: lab.rows(may.format(role))[0][0] for role in roles} == {role: role == roles[0] for role in roles}
