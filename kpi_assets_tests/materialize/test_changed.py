"""Which tables a tick builds: those that would read other publishes now than when they were built."""

from datetime import datetime, timedelta, timezone

import pytest

from kpi_assets.materialize import changed
from kpi_assets.materialize.changed import Need
from kpi_assets_tests.pipeline_harness import DAY, MART, NEXT, RAW_THINGS, PipelineHarness

WEIGHED = "marts.weighed"
SUM = """\
/* @asset
description: Weight of the last two load_dates.
owner: team:tests
grain: [weight]
lookback: {days: 2, rows: all}
columns:
  weight: {type: numeric, description: Kilograms.}
@end */
select sum(weight) as weight
from marts.weighed
where load_date between %(window_start)s and %(load_date)s
"""
THINGS = b"thing_id,name,weight\n1,anvil,20.50\n"
OTHERS = b"thing_id,name,weight\n1,anvil,21.50\n"


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/weighed.sql", MART)
    lab.file("marts/total.sql", SUM)
    lab.put_things(THINGS)
    lab.put_things(THINGS, NEXT)
    return lab


def need(lab: PipelineHarness, name: str, rest: timedelta = timedelta(), now: datetime | None = None) -> Need:
    pipeline = lab.pipeline()
    with lab.session() as session:
        return changed.need(pipeline, session, pipeline.table(name), NEXT, rest=rest, now=now)


def test_a_table_is_built_once_it_can_be_and_again_when_what_it_reads_was_published_again(lab: PipelineHarness) -> None:
    lab.prepared()
    assert need(lab, WEIGHED) == "none", "raw.things is not published"
    lab.build("raw.things", NEXT)
    assert need(lab, WEIGHED) == "now"
    lab.build(WEIGHED, NEXT)
    assert need(lab, WEIGHED) == "none"
    lab.build("raw.things", NEXT)
    assert need(lab, WEIGHED) == "now"


def test_a_publish_of_an_earlier_load_date_in_the_window_is_a_reason(lab: PipelineHarness) -> None:
    for name in ("raw.things", WEIGHED, "marts.total"):
        lab.build(name, NEXT)
    assert need(lab, "marts.total") == "none"
    lab.build("raw.things", DAY)
    assert need(lab, "marts.total") == "none", "it reads marts.weighed alone"
    lab.build(WEIGHED, DAY)
    assert need(lab, "marts.total") == "now"
    lab.build("marts.total", NEXT)
    assert need(lab, "marts.total") == "none"
    lab.build("raw.things", DAY)
    lab.build(WEIGHED, DAY)
    assert need(lab, "marts.total") == "now"


def test_other_sql_is_a_reason(lab: PipelineHarness) -> None:
    lab.build("raw.things", NEXT)
    lab.build(WEIGHED, NEXT)
    path = lab.folder / "marts/weighed.sql"
    path.write_text(path.read_text().replace("    weight\nfrom", "    weight + 0 as weight\nfrom"))
    assert need(lab, WEIGHED) == "now"


def test_a_table_rests_until_its_refresh_is_over_but_only_if_there_is_a_reason(lab: PipelineHarness) -> None:
    lab.build("raw.things", NEXT)
    rest, now = timedelta(minutes=15), datetime.now(timezone.utc)
    assert need(lab, WEIGHED, rest) == "now", "it was never published"
    lab.build(WEIGHED, NEXT)
    assert need(lab, WEIGHED, rest) == "none"
    lab.build("raw.things", NEXT)
    assert need(lab, WEIGHED, rest) == "rests"
    assert need(lab, WEIGHED, rest, now + timedelta(minutes=14)) == "rests"
    assert need(lab, WEIGHED, rest, now + timedelta(minutes=16)) == "now"


def test_what_is_held_is_not_built_again_from_the_same_rows_by_the_same_checks(lab: PipelineHarness) -> None:
    path = lab.folder / "marts/weighed.sql"
    text = path.read_text()
    path.write_text(text.replace("checks:", "checks:\n  range: {weight: [0, 10]}"))
    lab.build("raw.things", NEXT)
    assert lab.build(WEIGHED, NEXT).held
    assert need(lab, WEIGHED) == "none"
    path.write_text(text)
    assert need(lab, WEIGHED) == "now", "its checks have changed"
    path.write_text(text.replace("checks:", "checks:\n  range: {weight: [0, 10]}"))
    assert need(lab, WEIGHED) == "none"
    lab.build("raw.things", NEXT)
    assert need(lab, WEIGHED) == "now", "what it reads was published again"


def test_what_failed_is_built_again_after_a_pause(lab: PipelineHarness) -> None:
    path = lab.folder / "marts/weighed.sql"
    path.write_text(path.read_text().replace("    weight\nfrom", "    weight / (thing_id - 1) as weight\nfrom"))
    lab.build("raw.things", NEXT)
    with pytest.raises(Exception, match="division by zero"):
        lab.build(WEIGHED, NEXT)
    assert need(lab, WEIGHED) == "later"
    assert need(lab, WEIGHED, now=datetime.now(timezone.utc) + changed.AFTER_FAILURE) == "now"
