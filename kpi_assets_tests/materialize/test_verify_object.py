"""An object that ends without a line end: a doubt, and with fewer bytes than the one before it a cut-off upload."""

from datetime import date, timedelta

import pytest

from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

HEADER = b"thing_id,name,weight\n"
CUT = HEADER + b"1,anvil,20.5"  # of 20.50 and one more record
RAW = RAW_THINGS.replace("  format: csv\n", "  format: csv\n  ends_with_line_end: WORD\n  same_bytes: ignore\n")


def place(lab: PipelineHarness, day: date) -> str:
    return f"s3://{lab.bucket}/raw/things/load_date={day}/things.csv"


def looked_at(lab: PipelineHarness, body: bytes, day: date = DAY) -> list[tuple[str, bool, str]]:
    """(verdict, holds, message) of the check, where it was made."""
    lab.put_things(body, day)
    results = lab.verify("raw.things", day).results
    return [(r.verdict, r.blocks_publish, r.message) for r in results if r.name == "ends_with_line_end"]


@pytest.fixture
def things(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW.replace("WORD", "warn"))
    return lab


def test_an_object_that_ends_with_a_line_end(things: PipelineHarness) -> None:
    assert looked_at(things, GOOD) == [("pass", False, "")]
    assert looked_at(things, GOOD.replace(b"\n", b"\r\n")) == [("pass", False, "")]
    assert looked_at(things, HEADER, NEXT) == [("pass", False, "")], "however small it is"


def test_without_a_line_end_it_is_a_warning(things: PipelineHarness) -> None:
    doubt = f"{place(things, DAY)} ends without a line end: its last record may be cut off"
    assert looked_at(things, CUT) == [("warn", False, doubt)]
    assert not things.build("raw.things").held
    assert things.rows("select thing_id, weight::text from raw.things") == [(1, "20.50")]


@pytest.mark.parametrize("word", ["warn", "hold"])
def test_without_a_line_end_and_smaller_than_the_one_before_it_is_held(things: PipelineHarness, word: str) -> None:
    things.file("raw/things.sql", RAW.replace("WORD", word))
    looked_at(things, GOOD)
    said = (
        f"{place(things, NEXT)} ends without a line end: its last record may be cut off, and it has fewer bytes than "
        f"that of {DAY} ({len(CUT)} after {len(GOOD)})"
    )
    assert looked_at(things, CUT, NEXT) == [("fail", True, said)]
    assert things.rows("select job, status, error_message from ops.pipeline_runs order by id desc limit 1") == [
        ("s3.things", "held", said)
    ]


def test_an_object_that_grew_is_not_held(things: PipelineHarness) -> None:
    looked_at(things, HEADER + b"1,a,1\n")
    assert [verdict for verdict, *_ in looked_at(things, CUT, NEXT)] == ["warn"]
    assert [verdict for verdict, *_ in looked_at(things, CUT, NEXT + timedelta(days=1))] == ["warn"], "of the same size"


def test_it_is_compared_with_the_latest_earlier_one_that_was_not_held(things: PipelineHarness) -> None:
    third, fourth = NEXT + timedelta(days=1), NEXT + timedelta(days=2)
    looked_at(things, GOOD, fourth)
    assert [verdict for verdict, *_ in looked_at(things, CUT, third)] == ["warn"], "nothing was before it"
    looked_at(things, GOOD + b"3,saw,1.00\n", DAY)
    assert [verdict for verdict, *_ in looked_at(things, GOOD[:-1], NEXT)] == ["fail"]
    [(verdict, _, message)] = looked_at(things, GOOD[:-1], third)
    assert verdict == "fail"
    assert f"fewer bytes than that of {DAY} " in message


def test_the_word_hold_holds_whatever_its_size(things: PipelineHarness) -> None:
    things.file("raw/things.sql", RAW.replace("WORD", "hold"))
    doubt = f"{place(things, DAY)} ends without a line end: its last record may be cut off"
    assert looked_at(things, CUT) == [("fail", True, doubt)]


def test_the_word_ignore_asks_nothing(things: PipelineHarness) -> None:
    things.file("raw/things.sql", RAW.replace("WORD", "ignore"))
    looked_at(things, GOOD)
    assert looked_at(things, CUT, NEXT) == []


def test_an_object_of_other_columns_is_not_asked(things: PipelineHarness) -> None:
    assert looked_at(things, b"thing_id,name\n1,anvil") == []


# ---- what releases it


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


def test_a_cut_off_object_is_held_until_the_file_says_otherwise(shop: TwoSourcePipeline) -> None:
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
