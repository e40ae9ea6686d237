"""An object without a final line end gives a warning. If it is smaller than the previous one, it is held."""

from datetime import date, timedelta

import pytest

from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

HEADER = b"thing_id,name,weight\n"
CUT = HEADER + b"1,anvil,20.5"  # the last record and a further one are cut off
RAW = RAW_THINGS.replace("  format: csv\n", "  format: csv\n  ends_with_line_end: WORD\n  same_bytes: ignore\n")


def place(lab: PipelineHarness, day: date) -> str:
    return f"s3://{lab.bucket}/raw/things/load_date={day}/things.csv"


def verdicts_of(lab: PipelineHarness, body: bytes, day: date = DAY) -> list[tuple[str, bool, str]]:
    """Land and verify an object. Return (verdict, holds, message) of the check, or nothing if it did not run."""
    lab.put_things(body, day)
    results = lab.verify("raw.things", day).results
    return [(r.verdict, r.blocks_publish, r.message) for r in results if r.name == "ends_with_line_end"]


@pytest.fixture
def things(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW.replace("WORD", "warn"))
    return lab


def test_an_object_that_ends_with_a_line_end_passes(things: PipelineHarness) -> None:
    assert verdicts_of(things, GOOD) == [("pass", False, "")]
    assert verdicts_of(things, GOOD.replace(b"\n", b"\r\n")) == [("pass", False, "")]
    assert verdicts_of(things, HEADER, NEXT) == [("pass", False, "")], "whatever the size of the object"


def test_an_object_without_a_final_line_end_is_a_warning(things: PipelineHarness) -> None:
    doubt = f"{place(things, DAY)} ends without a line end: its last record may be cut off"
    assert verdicts_of(things, CUT) == [("warn", False, doubt)]
    assert not things.build("raw.things").held
    assert things.rows("select thing_id, weight::text from raw.things") == [(1, "20.50")]


@pytest.mark.parametrize("word", ["warn", "hold"])
def test_a_smaller_object_without_a_final_line_end_is_held(things: PipelineHarness, word: str) -> None:
    things.file("raw/things.sql", RAW.replace("WORD", word))
    verdicts_of(things, GOOD)
    said = (
        f"{place(things, NEXT)} ends without a line end: its last record may be cut off, and it has fewer bytes than "
        f"that of {DAY} ({len(CUT)} after {len(GOOD)})"
    )
    assert verdicts_of(things, CUT, NEXT) == [("fail", True, said)]
    assert things.rows("select job, status, error_message from ops.pipeline_runs order by id desc limit 1") == [
        ("s3.things", "held", said)
    ]


def test_an_object_that_is_not_smaller_is_not_held(things: PipelineHarness) -> None:
    verdicts_of(things, HEADER + b"1,a,1\n")
    assert [verdict for verdict, *_ in verdicts_of(things, CUT, NEXT)] == ["warn"]
    assert [verdict for verdict, *_ in verdicts_of(things, CUT, NEXT + timedelta(days=1))] == ["warn"], (
        "an object of the same size is no cut-off upload"
    )


def test_the_size_is_compared_with_the_latest_earlier_object_that_was_not_held(things: PipelineHarness) -> None:
    third, fourth = NEXT + timedelta(days=1), NEXT + timedelta(days=2)
    verdicts_of(things, GOOD, fourth)
    assert [verdict for verdict, *_ in verdicts_of(things, CUT, third)] == ["warn"], "there is no earlier object"
    verdicts_of(things, GOOD + b"3,saw,1.00\n", DAY)
    assert [verdict for verdict, *_ in verdicts_of(things, GOOD[:-1], NEXT)] == ["fail"]
    [(verdict, _, message)] = verdicts_of(things, GOOD[:-1], third)
    assert verdict == "fail"
    assert f"fewer bytes than that of {DAY} " in message


def test_ends_with_line_end_hold_holds_an_object_of_any_size(things: PipelineHarness) -> None:
    things.file("raw/things.sql", RAW.replace("WORD", "hold"))
    doubt = f"{place(things, DAY)} ends without a line end: its last record may be cut off"
    assert verdicts_of(things, CUT) == [("fail", True, doubt)]


def test_ends_with_line_end_ignore_skips_the_check(things: PipelineHarness) -> None:
    things.file("raw/things.sql", RAW.replace("WORD", "ignore"))
    verdicts_of(things, GOOD)
    assert verdicts_of(things, CUT, NEXT) == []


def test_an_object_with_other_columns_is_not_checked_for_its_line_end(things: PipelineHarness) -> None:
    assert verdicts_of(things, b"thing_id,name\n1,anvil") == []


# ---- release of a held object


@pytest.fixture
def shop(open_shop: TwoSourcePipeline) -> TwoSourcePipeline:
    return open_shop.stock()


def test_a_cut_off_object_is_held_until_it_is_replaced(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    shop.day = shop.next
    shop.land(things=CUT)
    assert shop.run()["s3.things"] == "held"
    status = shop.status()
    assert (status.state, "s3.things: " in status.reason) == ("held", True)
    shop.land(things=GOOD + b"3,saw,1.00\n", labels=None)
    assert shop.status().state == "stale"
    assert set(shop.run().values()) == {"published"}
    assert shop.status().state == "published"


def test_a_cut_off_object_is_held_until_the_table_allows_it(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    shop.day = shop.next
    shop.land(things=CUT)
    assert shop.run()["s3.things"] == "held"
    assert shop.status().state == "held"
    shop.file("raw/things.sql", RAW.replace("WORD", "ignore"))
    assert shop.status().state == "new"
    assert set(shop.run().values()) == {"published"}
    assert shop.rows(f"select weight::text from raw.things where load_date = '{shop.day}'") == [("20.50",)]
