"""An object with the bytes of another load_date or source gives a warning, or is held with `same_bytes: hold`."""

from datetime import date, timedelta

import pytest

from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.results import CheckResult
from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness

THIRD = NEXT + timedelta(days=1)
OTHER = GOOD.replace(b"20.50", b"21.50")
RAW = RAW_THINGS.replace("  format: csv\n", "  format: csv\n  same_bytes: WORD\n")
RAW_SOUTH = RAW.replace("raw/things/", "raw/south/")


@pytest.fixture
def things(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW.replace("WORD", "warn"))
    return lab


def built(lab: PipelineHarness, body: bytes | None, day: date, table: str = "things") -> CheckResult:
    """Put `body` unless it is None, build the table, and return the result of not_seen_before."""
    if body is not None:
        lab.put(f"raw/{table}/load_date={day}/things.csv", body)
    [result] = [r for r in lab.build(f"raw.{table}", day).results if r.name == "not_seen_before"]
    return result


def same_as(lab: PipelineHarness, day: date, table: str = "things", more: str = "") -> str:
    key = f"raw/{table}/load_date={day}/things.csv"
    return f"the object has the same bytes as s3://{lab.bucket}/{key} of {day}{more}"


def outcome_of(result: CheckResult) -> tuple[str, float | None, str]:
    return result.verdict, result.metric, result.message


def test_the_same_bytes_as_those_of_another_load_date_are_a_warning(things: PipelineHarness) -> None:
    assert outcome_of(built(things, GOOD, DAY)) == ("pass", 0, "")
    again = built(things, GOOD, NEXT)
    assert outcome_of(again) == ("warn", 1, same_as(things, DAY))
    assert again.samples == [
        {"load_date": str(DAY), "object": f"s3://{things.bucket}/raw/things/load_date={DAY}/things.csv"}
    ]
    assert outcome_of(built(things, OTHER, THIRD)) == ("pass", 0, "")
    assert things.rows("select load_date, rows from ops.published order by 1") == [(DAY, 2), (NEXT, 2), (THIRD, 2)]


def test_same_bytes_hold_holds_the_build_until_the_object_changes(things: PipelineHarness) -> None:
    things.file("raw/things.sql", RAW.replace("WORD", "hold"))
    built(things, GOOD, DAY)
    assert outcome_of(built(things, GOOD, NEXT)) == ("fail", 1, same_as(things, DAY))
    assert things.rows("select load_date from ops.published") == [(DAY,)]
    assert outcome_of(built(things, OTHER, NEXT)) == ("pass", 0, "")
    assert things.rows("select load_date from ops.published order by 1") == [(DAY,), (NEXT,)]


def test_same_bytes_ignore_skips_the_check(things: PipelineHarness) -> None:
    things.file("raw/things.sql", RAW.replace("WORD", "ignore"))
    for day in (DAY, NEXT):
        things.put_things(GOOD, day)
        assert "not_seen_before" not in [result.name for result in things.build("raw.things", day).results]


def test_a_replay_is_no_repetition_and_has_the_same_result(things: PipelineHarness) -> None:
    things.file("raw/things.sql", RAW.replace("WORD", "hold"))
    built(things, GOOD, DAY)
    built(things, GOOD, NEXT)
    assert outcome_of(built(things, None, DAY)) == ("pass", 0, "")
    assert outcome_of(built(things, GOOD, DAY)) == ("pass", 0, ""), "the same object was landed again"
    assert outcome_of(built(things, None, NEXT)) == ("fail", 1, same_as(things, DAY))


def test_the_object_that_landed_later_is_the_repetition(things: PipelineHarness) -> None:
    assert outcome_of(built(things, GOOD, NEXT)) == ("pass", 0, "")
    assert outcome_of(built(things, GOOD, DAY)) == ("warn", 1, same_as(things, NEXT))
    assert outcome_of(built(things, None, NEXT)) == ("pass", 0, "")
    assert outcome_of(built(things, GOOD, THIRD)) == ("warn", 2, same_as(things, NEXT, more=" and 1 more"))


def test_replaced_bytes_do_not_count_as_delivered_before(things: PipelineHarness) -> None:
    built(things, GOOD, DAY)
    built(things, OTHER, DAY)
    assert outcome_of(built(things, GOOD, NEXT)) == ("pass", 0, "")
    assert outcome_of(built(things, GOOD, DAY)) == ("pass", 0, ""), "the first object with these bytes is no repetition"


def test_the_same_bytes_in_another_source_are_a_repetition(things: PipelineHarness) -> None:
    things.file("raw/south.sql", RAW_SOUTH.replace("WORD", "hold"))
    built(things, GOOD, DAY)
    assert outcome_of(built(things, GOOD, DAY, "south")) == ("fail", 1, same_as(things, DAY))
    assert outcome_of(built(things, None, DAY)) == ("pass", 0, "")
    assert outcome_of(built(things, GOOD, NEXT, "south")) == ("fail", 2, same_as(things, DAY, "south", " and 1 more"))


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_all_parts_of_an_object_are_compared(
    things: PipelineHarness, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpi_assets.sources.store.PART", 16)
    things.file("raw/things.sql", RAW.replace("WORD", "warn").replace("grain:", f"storage: {storage}\ngrain:"))
    built(things, GOOD, DAY)
    assert outcome_of(built(things, OTHER, NEXT)) == ("pass", 0, "")
    assert outcome_of(built(things, GOOD, THIRD)) == ("warn", 1, same_as(things, DAY))


def test_an_object_without_rows_is_no_repetition(things: PipelineHarness) -> None:
    none = "checks: {min_rows: {at_least: 0, of_previous: 0}}\n@end"
    things.file("raw/things.sql", RAW.replace("WORD", "hold").replace("@end", none))
    header = b"thing_id,name,weight\n"
    assert outcome_of(built(things, header, DAY)) == ("pass", 0, "")
    assert outcome_of(built(things, header, NEXT)) == ("pass", 0, "")


def test_a_recheck_does_not_compare_objects(things: PipelineHarness) -> None:
    built(things, GOOD, DAY)
    context = things.prepared()
    found = recheck(context, context.pipeline.table("raw.things"), DAY)
    assert "not_seen_before" not in [result.name for result in found]
