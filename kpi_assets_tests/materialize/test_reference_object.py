"""A reference object is overwritten in place, and each load_date has the state that had landed by its end.

In a bucket with versions and in one without. When an object was written is what the test says.
"""

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.metadata import table_key
from kpi_assets.model.names import Relation
from kpi_assets.plan.collect import collect
from kpi_assets.plan.status import LoadDateStatus
from kpi_assets.plan.unexpected import find_unexpected
from kpi_assets.settings import settings
from kpi_assets.sources.s3_objects import client
from kpi_assets.sources.store import Store
from kpi_assets_tests.pipeline_harness import RAW_THINGS, PipelineHarness, failed

KEY = "reference/things.csv"
THINGS = RAW_THINGS.replace("raw/things/load_date={load_date}/things.csv", KEY)
HEADER = b"thing_id,name,weight\n"
A, B, C = (HEADER + b"%d,thing,1.00\n" % number for number in (1, 2, 3))
FIRST = date(2025, 3, 1)
NOW = datetime(2025, 3, 20, 12, tzinfo=timezone.utc)


def day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline whose only source is a reference object."""
    lab.s3 = client(settings())
    lab.store = Store.on_s3(lab.s3, lab.bucket)
    lab.written = {}  # version or ETag -> when it was written

    def say_when(parsed: dict[str, Any], **_: object) -> None:
        state = parsed.get("VersionId") or parsed.get("ETag")
        if state in lab.written:
            parsed["LastModified"] = lab.written[state]

    lab.s3.meta.events.register("after-call.s3.HeadObject", say_when)
    lab.file("raw/things.sql", THINGS)
    return lab


def keep_versions(lab: PipelineHarness) -> None:
    lab.s3.put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": "Enabled"})


def overwrite(lab: PipelineHarness, body: bytes, at: date) -> None:
    """Overwrite the object, at noon of a day."""
    made = lab.s3.put_object(Bucket=lab.bucket, Key=KEY, Body=body)
    noon = datetime(at.year, at.month, at.day, 12, tzinfo=timezone.utc)
    lab.written[made.get("VersionId") or made["ETag"]] = noon


def plan(lab: PipelineHarness, last: int = 10, *, first: int = 1) -> list[LoadDateStatus]:
    pipeline = lab.prepared().pipeline
    with lab.session() as session:
        [statuses] = collect(pipeline, lab.store, session, day(first), day(last), NOW)
    return statuses


def states(lab: PipelineHarness, last: int = 10) -> list[str]:
    return [status.state for status in plan(lab, last)]


def things(lab: PipelineHarness) -> list[tuple[int, int]]:
    return [
        ((load_date - FIRST).days + 1, thing)
        for load_date, thing in lab.rows("select load_date, thing_id from raw.things order by 1, 2")
    ]


def build(lab: PipelineHarness, *numbers: int) -> None:
    for number in numbers:
        outcome = lab.build("raw.things", day(number))
        assert not failed(outcome.results), "the same bytes for each load_date are no repetition"


def test_each_load_date_has_the_state_that_had_landed(lab: PipelineHarness) -> None:
    overwrite(lab, A, day(3))
    assert states(lab, 4) == ["new"] * 4
    build(lab, 1, 2, 3, 4)  # the first known state, for those before it too
    overwrite(lab, B, day(5))
    assert states(lab, 6) == ["published"] * 4 + ["new"] * 2
    build(lab, 6, 5)
    overwrite(lab, C, day(6))
    status = plan(lab, 7)
    assert [each.state for each in status] == ["published"] * 5 + ["stale", "new"]
    assert status[5].reason == f"Replaced since it was read: {KEY}."
    build(lab, 7, 6)
    assert things(lab) == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 3), (7, 3)]
    assert states(lab, 7) == ["published"] * 7
    hashes = lab.rows("select count(distinct manifest_hash), count(*) from ops.manifests")
    assert hashes == [(3, 8)], "the same state has the same hash on each load_date"


def test_a_state_that_is_gone_is_named_and_what_was_published_from_it_stays(lab: PipelineHarness) -> None:
    overwrite(lab, A, day(3))
    build(lab, 3)
    overwrite(lab, B, day(5))
    place = f"s3://{lab.bucket}/{KEY}"
    gone = f"{place} was overwritten at 2025-03-05 12:00 UTC, and {day(4)} needs its state of 2025-03-03 12:00 UTC"
    statuses = plan(lab, 6)
    assert [each.state for each in statuses] == ["incomplete"] * 2 + ["published", "incomplete"] + ["new"] * 2
    assert statuses[3].reason.startswith(gone)
    assert not statuses[3].is_due(rebuild_on_sql_change=True)
    outcome = lab.verify("raw.things", day(4))
    assert outcome.manifest is None
    assert failed(outcome.results)["exists"].message.startswith(gone)
    build(lab, 5, 6)
    assert things(lab) == [(3, 1), (5, 2), (6, 2)]
    overwrite(lab, A, day(7))
    build(lab, 4)
    overwrite(lab, B, day(8))
    assert things(lab) == [(3, 1), (4, 1), (5, 2), (6, 2)], "the way out that the sentence names"
    assert [each.state for each in plan(lab, 6)] == ["incomplete"] * 2 + ["published"] * 4
    lab.file(
        "raw/things.sql",
        RAW_THINGS.replace("raw/things/load_date={load_date}/things.csv", KEY).replace("integer", "bigint"),
    )
    assert [each.state for each in plan(lab, 6)] == ["incomplete"] * 4 + ["stale"] * 2
    lab.s3.delete_object(Bucket=lab.bucket, Key=KEY)
    assert "was removed, and 2025-03-06 needs" in plan(lab, 6)[5].reason


def test_what_reads_published_rows_is_built_although_their_state_is_gone(lab: PipelineHarness) -> None:
    lab.file(
        "marts/thing_names.sql",
        """\
        /* @asset
        description: Names of things.
        owner: team:tests
        grain: [thing_id]
        columns:
          thing_id: {type: integer, description: Thing.}
        @end */
        select thing_id from raw.things where load_date = %(load_date)s
        """,
    )
    overwrite(lab, A, day(3))
    build(lab, 3)
    overwrite(lab, B, day(5))
    [status] = plan(lab, 3, first=3)
    assert (status.state, status.tables_to_build) == ("stale", ("marts.thing_names",))
    assert lab.build("marts.thing_names", day(3)).rows == 1
    assert plan(lab, 3, first=3)[0].state == "published"


@pytest.mark.nightly
def test_a_bucket_with_versions_gives_every_state_again(lab: PipelineHarness) -> None:
    keep_versions(lab)
    overwrite(lab, A, day(3))
    build(lab, 3)
    overwrite(lab, B, day(5))
    build(lab, 5)
    overwrite(lab, C, day(7))
    assert states(lab, 8) == ["new", "new", "published", "new", "published", "new", "new", "new"]
    build(lab, 8, 6, 2, 4, 7, 1)
    assert things(lab) == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3), (8, 3)]
    assert states(lab, 8) == ["published"] * 8
    before = lab.rows("select load_date, checksum from ops.published order by 1")
    build(lab, *range(1, 9))
    assert lab.rows("select load_date, checksum from ops.published order by 1") == before
    version = lab.rows(f"select version_id from ops.manifests where load_date = '{day(3)}'")[0][0]
    lab.s3.delete_object(Bucket=lab.bucket, Key=KEY, VersionId=version)
    outcome = lab.verify("raw.things", day(3))
    assert "which is gone" in failed(outcome.results)["exists"].message


def test_the_same_bytes_again_are_the_same_state(lab: PipelineHarness) -> None:
    overwrite(lab, A, day(3))
    build(lab, 3, 4)
    overwrite(lab, A, day(6))
    assert states(lab, 5) == ["new", "new", "published", "published", "new"]
    overwrite(lab, B, day(7))
    build(lab, 7)
    overwrite(lab, A, day(8))
    assert states(lab, 8) == ["new", "new", "published", "published", "new", "new", "published", "new"]


def test_it_does_not_make_a_load_date_landed_or_late(lab: PipelineHarness) -> None:
    other = RAW_THINGS.replace("raw/things/load_date={load_date}/things.csv", "raw/others/{load_date}.csv")
    lab.file("raw/others.sql", other)
    overwrite(lab, A, day(1))
    [status] = plan(lab, 4, first=4)
    assert (status.state, status.landed, status.reason) == ("missing", 0, "None of its 1 object lies on S3.")
    lab.put(f"raw/others/{day(4)}.csv", A)
    assert plan(lab, 4, first=4)[0].state == "new"


def test_it_has_not_landed_for_the_days_on_which_it_is_not_due(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", THINGS.replace("format: csv", "format: csv\n  every: monday"))
    overwrite(lab, A, day(1))
    assert list(find_unexpected(lab.prepared().pipeline, lab.store, day(1), day(10))) == []


def test_a_replaced_object_is_read_again_beside_a_state_that_is_gone(lab: PipelineHarness) -> None:
    other = RAW_THINGS.replace("raw/things/load_date={load_date}/things.csv", "raw/others/{load_date}.csv")
    lab.file("raw/others.sql", other)
    overwrite(lab, A, day(3))
    lab.put(f"raw/others/{day(3)}.csv", A)
    build(lab, 3)
    lab.build("raw.others", day(3))
    overwrite(lab, B, day(5))
    assert plan(lab, 3, first=3)[0].state == "published"
    lab.put(f"raw/others/{day(3)}.csv", C)
    [status] = plan(lab, 3, first=3)
    assert (status.state, status.tables_to_build) == ("stale", ("s3.others", "raw.others"))
    keys = {key for asset in pipeline_assets(lab.pipeline()) for key in asset.keys}
    assert {table_key(lab.name, Relation.parse(name)) for name in status.tables_to_build} < keys, "the sensor's names"


def test_an_object_that_was_never_there_is_missing(lab: PipelineHarness) -> None:
    assert plan(lab, 1)[0].state == "missing"
    outcome = lab.verify("raw.things", day(1))
    assert failed(outcome.results)["exists"].message == f"s3://{lab.bucket}/{KEY} is not there"
