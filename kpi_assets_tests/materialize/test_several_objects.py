"""Several objects of a load_date are read as one table; what lacks, is added, removed or replaced is noticed."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildOutcome, ObjectOutcome
from kpi_assets.materialize.verify_object import verify
from kpi_assets.plan.collect import collect
from kpi_assets.plan.status import LoadDateStatus
from kpi_assets.warehouse import quarantine
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, RAW_THINGS, PipelineHarness, failed

KEY = f"raw/things/load_date={DAY}/things.csv"
FOLDER = f"raw/things/{DAY:%Y/%m/%d}"
PATTERN = "raw/things/{load_date:%Y/%m/%d}/part-*.csv"
HEADER = b"thing_id,name,weight\n"
ONE, TWO = HEADER + b"1,anvil,20.50\n2,feather,\n", HEADER + b"3,stone,3.00\n"


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline with a raw table of several objects."""
    write(lab)
    return lab


def write(lab: PipelineHarness, words: str = "", key: str = PATTERN, budget: int = 0) -> None:
    """Write the raw table with more words of its source."""
    source = f"object: '{key}'\n" + "".join(f"  {line}\n" for line in words.splitlines())
    text = RAW_THINGS.replace("object: raw/things/load_date={load_date}/things.csv\n", source)
    lab.file("raw/things.sql", text.replace("columns:", f"quarantine: {{rows: {budget}}}\ncolumns:"))


def land(lab: PipelineHarness, **parts: bytes) -> None:
    for name, body in parts.items():
        lab.put(f"{FOLDER}/part-{name}.csv", body)


def remove(lab: PipelineHarness, key: str) -> None:
    lab.s3.delete_object(Bucket=lab.bucket, Key=key)


def plan(lab: PipelineHarness, now: datetime | None = None) -> LoadDateStatus:
    pipeline = lab.prepared().pipeline
    with lab.session() as session:
        [[status]] = collect(pipeline, lab.store, session, DAY, DAY, now)
    return status


def built(lab: PipelineHarness) -> BuildOutcome:
    return lab.build("raw.things")


def verified(lab: PipelineHarness) -> ObjectOutcome:
    return lab.verify("raw.things")


def things(lab: PipelineHarness) -> list[tuple[object, ...]]:
    return lab.rows("select thing_id, name from raw.things order by 1")


def message(outcome: ObjectOutcome, check: str = "exists") -> str:
    return failed(outcome.results)[check].message.replace(f"s3://kpi-{outcome.results[0].name}", "")


def test_all_objects_are_published_as_one_table(lab: PipelineHarness) -> None:
    land(lab, b=TWO, a=ONE, c=HEADER)
    assert plan(lab).state == "new"
    outcome = built(lab)
    assert not outcome.held
    assert things(lab) == [(1, "anvil"), (2, "feather"), (3, "stone")]
    assert lab.rows("select key, size_bytes, rows, length(sha256) from ops.manifests") == [
        (f"{FOLDER}/part-*.csv", len(ONE) + len(TWO) + len(HEADER), 3, 64)
    ]
    assert lab.rows("select key, size_bytes, rows, length(sha256) from ops.manifest_parts order by key") == [
        (f"{FOLDER}/part-a.csv", len(ONE), 2, 64),
        (f"{FOLDER}/part-b.csv", len(TWO), 1, 64),
        (f"{FOLDER}/part-c.csv", len(HEADER), 0, 64),
    ]
    assert lab.rows("select rows_extracted, rows_loaded_raw from ops.pipeline_runs where job = 'raw.things'") == [
        (3, 3)
    ]
    assert plan(lab).state == "published"
    again = built(lab)
    assert (again.checksum, again.manifest_hash) == (outcome.checksum, outcome.manifest_hash)


@pytest.mark.parametrize("change", few(1, ["added", "removed", "replaced"]))
def test_a_part_that_is_added_removed_or_replaced_makes_the_load_date_stale(lab: PipelineHarness, change: str) -> None:
    land(lab, a=ONE, b=TWO)
    built(lab)
    if change == "removed":
        remove(lab, f"{FOLDER}/part-b.csv")
    else:
        land(lab, **{"c" if change == "added" else "b": HEADER + b"4,brick,2.00\n"})
    status = plan(lab)
    assert (status.state, status.stale_reason) == ("stale", "objects")
    assert status.reason == f"Replaced since it was read: {FOLDER}/part-*.csv."
    built(lab)
    last = {"added": [3, 4], "removed": [], "replaced": [4]}[change]
    assert [row[0] for row in things(lab)] == [1, 2, *last]
    assert plan(lab).state == "published"


def test_the_parts_that_were_verified_are_read_or_none(lab: PipelineHarness) -> None:
    land(lab, a=ONE, b=TWO)
    context = lab.prepared()
    table = context.pipeline.table("raw.things")
    assert not verify(context, table, DAY).held
    land(lab, c=TWO)  # not verified: not read
    assert build(context, table, DAY).rows == 3
    land(lab, b=HEADER + b"5,pin,0.01\n")
    with pytest.raises(Exception, match=f"{FOLDER}/part-b.csv was replaced or removed after its manifest"):
        build(context, table, DAY)
    assert len(things(lab)) == 3


def test_bad_records_name_their_own_object_and_line(lab: PipelineHarness) -> None:
    land(lab, a=ONE, b=HEADER + b"3,stone,heavy\n4,brick,2.00\n", c=HEADER + b"5,pin,0.01\nx,nail,0.01\n")
    outcome = built(lab)
    assert outcome.held
    found = failed(outcome.results)["quarantine"]
    assert found.message.startswith(f"2 unreadable records, first on {FOLDER}/part-b.csv, line 2, weight 'heavy': ")
    assert [(sample["object"], sample["line"]) for sample in found.samples] == [
        (f"{FOLDER}/part-b.csv", 2),
        (f"{FOLDER}/part-c.csv", 3),
    ]
    assert lab.rows("select object_key, line, column_name from ops.quarantine order by 1") == [
        (f"{FOLDER}/part-b.csv", 2, "weight"),
        (f"{FOLDER}/part-c.csv", 3, "thing_id"),
    ]
    write(lab, budget=2)
    assert not built(lab).held
    assert [row[0] for row in things(lab)] == [1, 2, 4, 5]
    assert lab.rows("select key, rows from ops.manifest_parts order by 1") == [
        (f"{FOLDER}/part-{name}.csv", 2) for name in "abc"
    ]


def test_an_object_that_loses_records_is_named(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    load = quarantine._load

    def lose_one(connection: Connection[Any], *args: Any) -> None:
        load(connection, *args)
        connection.execute("delete from pg_temp.records where record like '4,%'")

    monkeypatch.setattr(quarantine, "_load", lose_one)
    write(lab, budget=1)
    land(lab, a=ONE, b=HEADER + b"3,stone,heavy\n4,brick,2.00\n")
    outcome = built(lab)
    assert outcome.held
    assert failed(outcome.results)["rows_accounted"].message == (
        "4 records in the object = 2 loaded + 1 in quarantine + 1 unexplained: "
        f"{FOLDER}/part-b.csv has 2 records, and 1 arrived"
    )


def test_a_part_that_is_empty_or_has_another_header_holds(lab: PipelineHarness) -> None:
    land(lab, a=ONE, b=b"")
    outcome = verified(lab)
    assert outcome.held and outcome.manifest
    assert message(outcome, "not_empty") == f"s3://{lab.bucket}/{FOLDER}/part-b.csv has 0 bytes"
    land(lab, b=b"a,b\n1,2\n")
    assert message(verified(lab), "header").startswith(f"s3://{lab.bucket}/{FOLDER}/part-b.csv: ")
    land(lab, b=TWO[:-1], c=HEADER + b"4,nail,0.01")
    assert failed(verified(lab).results)["ends_with_line_end"].message == "; ".join(
        f"s3://{lab.bucket}/{FOLDER}/part-{name}.csv ends without a line end: its last record may be cut off"
        for name in "bc"
    )


def test_the_same_bytes_are_noticed_of_each_part(lab: PipelineHarness) -> None:
    land(lab, a=ONE, b=TWO)
    assert not failed(built(lab).results)
    land(lab, c=TWO)
    found = failed(built(lab).results)
    assert found["not_seen_before"].message == (
        f"{FOLDER}/part-c.csv has the same bytes as s3://{lab.bucket}/{FOLDER}/part-b.csv of {DAY}"
    )
    assert found["grain"].metric == 1


def test_bytes_that_differ_from_those_that_were_read_first_are_refused(lab: PipelineHarness) -> None:
    land(lab, a=ONE, b=TWO)
    built(lab)
    with lab.session() as session:
        session.execute("update ops.manifest_parts set sha256 = repeat('0', 64) where key like '%part-b%'")
    land(lab, c=HEADER)  # another state of all, in which part-b is as it was
    with pytest.raises(Exception, match=f"{FOLDER}/part-b.csv is not what it was, although S3 describes it as before"):
        built(lab)


def test_a_count_says_when_they_are_complete(lab: PipelineHarness) -> None:
    write(lab, "complete: {objects: 2}")
    lab.prepared()
    land(lab, a=ONE)
    lacks = f"1 of the 2 objects of {FOLDER}/part-*.csv have landed"
    outcome = verified(lab)
    assert outcome.manifest is None
    assert message(outcome) == f"{lacks}, in s3://{lab.bucket}"
    status = plan(lab)
    assert (status.state, status.reason) == ("incomplete", f"0 of its 1 object landed; lacking: {lacks}.")
    assert not status.is_due(rebuild_on_sql_change=True)
    land(lab, b=TWO)
    assert plan(lab).state == "new"
    assert built(lab).rows == 3
    land(lab, c=HEADER)
    outcome = verified(lab)
    assert message(outcome, "objects") == (
        "3 objects match it, and complete.objects is 2: remove what is no part of it, or correct that"
    )
    status = plan(lab)
    assert status.state == "held"
    assert "3 objects match it" in status.reason
    write(lab, "complete: {objects: 3}")
    assert plan(lab).state == "new"
    assert built(lab).rows == 3
    remove(lab, f"{FOLDER}/part-a.csv")
    status = plan(lab)
    assert (status.state, status.reason) == (
        "incomplete",
        f"0 of its 1 object landed; lacking: 2 of the 3 objects of {FOLDER}/part-*.csv have landed.",
    )
    assert len(things(lab)) == 3


@pytest.mark.parametrize("marker", ["_SUCCESS", "part-done.csv"])
def test_a_marker_says_when_they_are_complete_and_is_no_data(lab: PipelineHarness, marker: str) -> None:
    write(lab, f"complete: {{marker: 'raw/things/{{load_date:%Y/%m/%d}}/{marker}'}}")
    land(lab, a=ONE)
    lacks = f"1 object of {FOLDER}/part-*.csv landed, and their marker {FOLDER}/{marker} has not"
    assert message(verified(lab)) == f"{lacks}, in s3://{lab.bucket}"
    assert plan(lab).reason == f"0 of its 1 object landed; lacking: {lacks}."
    lab.put(f"{FOLDER}/{marker}", b"no header\n")
    assert plan(lab).state == "new"
    assert built(lab).rows == 2
    assert lab.rows("select key from ops.manifest_parts") == [(f"{FOLDER}/part-a.csv",)]
    assert plan(lab).state == "published"
    remove(lab, f"{FOLDER}/part-a.csv")
    assert "no object matches" in message(verified(lab))


def test_a_settle_time_says_when_they_are_complete(lab: PipelineHarness) -> None:
    write(lab, "complete: {settled_minutes: 30}")
    land(lab, a=ONE, b=TWO)
    newest = lab.store.manifest("", DAY, f"{FOLDER}/part-b.csv").last_modified  # type: ignore[union-attr]
    at = newest + timedelta(minutes=30)
    lacks = f"2 objects of {FOLDER}/part-*.csv landed, and are complete at {at:%Y-%m-%d %H:%M} UTC if none is added"
    assert message(verified(lab)).startswith(lacks)
    assert lacks in plan(lab, at - timedelta(minutes=1)).reason
    assert plan(lab, at + timedelta(minutes=1)).state == "new"


def test_a_pattern_that_matches_nothing_names_what_lies_near_it(lab: PipelineHarness) -> None:
    lab.put(f"{FOLDER}/Part-1.csv", ONE)
    outcome = verified(lab)
    assert outcome.manifest is None
    assert message(outcome).startswith(f"no object matches s3://{lab.bucket}/{FOLDER}/part-*.csv; near it lie")
    assert f"{FOLDER}/Part-1.csv" in message(outcome)
    assert plan(lab).state == "missing"


def test_the_plan_names_what_lies_near_a_pattern_on_a_landed_day(lab: PipelineHarness) -> None:
    other = RAW_THINGS.replace("raw/things/load_date={load_date}/things.csv", "raw/others/{load_date}.csv")
    lab.file("raw/others.sql", other)
    lab.put(f"raw/others/{DAY}.csv", ONE)
    lab.put(f"{FOLDER}/Part-1.csv", ONE)
    status = plan(lab, datetime.now(timezone.utc))
    assert status.state == "incomplete"
    assert f"lacking: {FOLDER}/part-*.csv (near it lies {FOLDER}/Part-1.csv)." in status.reason


def test_an_object_of_two_load_dates_is_held(lab: PipelineHarness) -> None:
    write(lab, key="raw/things/*{load_date}*.csv")
    lab.put(f"raw/things/a{DAY}.csv", ONE)
    lab.put(f"raw/things/a{DAY}-{DAY + timedelta(days=1)}.csv", TWO)
    outcome = verified(lab)
    assert message(outcome, "objects").startswith(
        f"s3://{lab.bucket}/raw/things/a{DAY}-{DAY + timedelta(days=1)}.csv belongs to {DAY} and "
        f"{DAY + timedelta(days=1)}, since its key has both dates: "
    )
    assert outcome.held and outcome.manifest


def test_many_parts_are_read(lab: PipelineHarness) -> None:
    for number in range(40):
        lab.put(f"{FOLDER}/part-{number:02}.csv", HEADER + b"%d,x,1.00\n" % number)
    assert built(lab).rows == 40


def test_an_optional_pattern_that_matches_nothing_is_published_without_rows(lab: PipelineHarness) -> None:
    write(lab, "optional: true\ncomplete: {objects: 2}")
    assert built(lab).rows == 0
    assert plan(lab, datetime.now(timezone.utc)).state == "published"
    land(lab, a=ONE)
    assert plan(lab).state == "incomplete"
