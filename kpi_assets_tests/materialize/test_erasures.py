"""Loads without erased persons: whatever the object is written in, and whoever erased them."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.erasures import salt_of
from kpi_assets.model.erasure import ErasedKey, Erasure, ErasureError, Salted, mark_of
from kpi_assets.settings import settings
from kpi_assets.sources import erasures as objects
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
    quick = lab.in_postgres("select hashtextextended(v, %s::bigint) from unnest(%s::text[]) as v", salted.seed, list(values))
    keys = tuple(ErasedKey(salted.hash(v), q, f"{n:012x}") for n, (v, (q,)) in enumerate(zip(values, quick, strict=True)))
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
    assert lab.rows("select count(*) from pg_class where relnamespace = 'builds'::regnamespace and relkind = 'r'") == [(0,)]
    assert lab.build("raw.customers").checksum == outcome.checksum


def test_a_delivery_that_still_has_them_is_told_once(lab: PipelineHarness) -> None:
    deliver(lab, *THREE)
    erase(lab, "2", "3")
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
