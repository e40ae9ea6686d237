"""Which load_dates grow, and what the plan says of them."""

from datetime import date, datetime, time, timedelta, timezone

import pytest

from kpi_assets.ledger import growth, runs
from kpi_assets.ledger.recorded import Attempt
from kpi_assets.plan.collect import collect
from kpi_assets.plan.growing import Growing, find_growing, is_closed
from kpi_assets.plan.status import LoadDateStatus
from kpi_assets_tests.clicks_pipeline import ClicksPipeline
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), timezone.utc)


def growing(clicks: ClicksPipeline, now: datetime) -> dict[date, Growing]:
    first, last = clicks.day - timedelta(days=1), clicks.day + timedelta(days=2)
    with clicks.session() as session:
        return find_growing(clicks.pipeline(), session, clicks.store, first, last, now)


def status(clicks: ClicksPipeline, now: datetime) -> LoadDateStatus:
    with clicks.session() as session:
        [[found]] = collect(clicks.pipeline(), clicks.store, session, clicks.day, clicks.day, now)
    return found


def tick(clicks: ClicksPipeline, day: date, through: datetime | None) -> None:
    with clicks.session() as session:
        growth.record_tick(session, day, run_id="r", through=through)


def finish(clicks: ClicksPipeline, day: date) -> None:
    with clicks.session() as session:
        growth.finish(session, day)


def test_today_grows_before_anything_has_landed(clicks: ClicksPipeline) -> None:
    now = noon(clicks.day)
    assert growing(clicks, now) == {clicks.day: Growing(clicks.day, False, None, None)}
    found = status(clicks, now)
    assert (found.state, found.reason) == (
        "growing",
        "Live runs build it as events land (closed: no; through: nothing yet; lag not known).",
    )
    assert found.grows
    assert not found.is_due(rebuild_on_sql_change=True)


def test_the_plan_says_how_far_a_load_date_is_built_and_what_has_not_landed(clicks: ClicksPipeline) -> None:
    now = noon(clicks.day)
    clicks.report(now, lag=1200)
    clicks.report(now, lag=34, partition=1)
    tick(clicks, clicks.day, now - timedelta(seconds=3))
    tick(clicks, clicks.day, None)
    tick(clicks, clicks.day, now - timedelta(seconds=9))
    assert status(clicks, now).reason == (
        "Live runs build it as events land (closed: no; through: 11:59:57; lag 1,234)."
    )


def test_a_load_date_grows_until_it_is_closed_and_built(clicks: ClicksPipeline) -> None:
    tomorrow = clicks.day + timedelta(days=1)
    now = noon(tomorrow)
    clicks.report(now)
    tick(clicks, clicks.day, now)
    assert [*growing(clicks, now)] == [clicks.day, tomorrow]
    clicks.close()
    assert [each.is_closed for each in growing(clicks, now).values()] == [True, False]
    finish(clicks, clicks.day)
    assert [*growing(clicks, now)] == [tomorrow]


def test_a_tick_after_the_end_opens_a_load_date_again(clicks: ClicksPipeline) -> None:
    now = noon(clicks.day + timedelta(days=1))
    tick(clicks, clicks.day, None)
    finish(clicks, clicks.day)
    tick(clicks, clicks.day, None)
    assert clicks.day in growing(clicks, now)


def test_a_closed_load_date_that_no_run_has_touched_is_still_to_be_built(clicks: ClicksPipeline) -> None:
    years_later = noon(clicks.day + timedelta(days=800))
    assert clicks.day not in growing(clicks, years_later)
    clicks.report(years_later)
    clicks.close()
    assert growing(clicks, years_later)[clicks.day].is_closed


def test_what_landed_lately_is_found_on_s3(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    look_back = clicks.pipeline().config.automation.look_back_days
    assert clicks.day in growing(clicks, noon(clicks.day + timedelta(days=look_back)))
    assert clicks.day not in growing(clicks, noon(clicks.day + timedelta(days=look_back + 1)))


def test_a_stream_that_something_else_lands_is_closed_by_the_clock(clicks: ClicksPipeline) -> None:
    end = datetime.combine(clicks.day + timedelta(days=1), time(), timezone.utc)
    with clicks.session() as session:
        pipeline = clicks.pipeline()
        assert not is_closed(pipeline, session, clicks.day, end + timedelta(minutes=9))
        assert is_closed(pipeline, session, clicks.day, end + timedelta(minutes=10))
    clicks.report(end)
    with clicks.session() as session:
        assert not is_closed(pipeline, session, clicks.day, end + timedelta(days=9)), "`kpi stream` will say so"


def test_a_load_date_of_which_nothing_landed_is_missing_and_not_stale(clicks: ClicksPipeline) -> None:
    found = status(clicks, noon(clicks.day + timedelta(days=30)))
    assert (found.state, found.reason, found.tables_to_build) == ("missing", "No event of it has landed.", ())


def test_a_live_run_does_not_make_its_load_date_running(clicks: ClicksPipeline) -> None:
    pipeline = clicks.pipeline()
    with clicks.session() as session:
        runs.open_row(session, run_id="live", pipeline=pipeline.name, job=pipeline.live_job, load_date=clicks.day)
        [[found]] = collect(pipeline, clicks.store, session, clicks.day, clicks.day, noon(clicks.day))
    assert found.state == "growing"


def test_a_load_date_is_stuck_once_it_is_closed_and_held_by_the_checks_as_they_are(clicks: ClicksPipeline) -> None:
    now = noon(clicks.day + timedelta(days=1))
    clicks.report(now)
    table = clicks.pipeline().table("stg.clicks")
    with clicks.session() as session:
        row = runs.open_row(session, run_id="r", pipeline=clicks.name, job=str(table.relation), load_date=clicks.day)
        session.execute(
            "insert into ops.holds (build_id, manifest_hash, code_version, checks_version, inputs) "
            "values (%s, 'x', %s, %s, '{}')",
            [row, table.code_version, table.checks_version],
        )
        runs.close_build(session, row, "held", layer="staging", counts=runs.Counts(), error="held by range")
    tick(clicks, clicks.day, None)
    assert not growing(clicks, now)[clicks.day].is_stuck, "events may still land"
    clicks.close()
    assert growing(clicks, now)[clicks.day].is_stuck
    found = status(clicks, now)
    assert found.state == "held"
    assert found.reason == ("It grows (closed: yes; through: nothing yet; lag 0). stg.clicks: held by range.")
    clicks.file("stg/clicks.sql", (clicks.folder / "stg/clicks.sql").read_text().replace("[view, cart]", "[view]"))
    assert not growing(clicks, now)[clicks.day].is_stuck, "its checks have changed"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "growing"), (180, "growing"), (181, "late")], ids=["now", "fresh", "late"]
)
def test_a_load_date_is_late_when_its_tiles_are_older_than_their_freshness_allows(seconds: int, expected: str) -> None:
    now, within = noon(date(2025, 3, 1)), timedelta(minutes=3)
    found = Growing(now.date(), False, now - timedelta(seconds=seconds), 0, within=within)
    assert found.state({}, now)[0] == expected


def test_a_load_date_that_is_over_is_late_by_its_end_only() -> None:
    day, within = date(2025, 3, 1), timedelta(minutes=3)
    end = datetime(2025, 3, 2, tzinfo=timezone.utc)
    assert not Growing(day, False, end, 0, within=within).is_late(end + timedelta(days=3))
    assert Growing(day, False, end - timedelta(minutes=4), 0, within=within).is_late(end + timedelta(days=3))


def test_what_failed_is_named_before_what_is_late() -> None:
    now = noon(date(2025, 3, 1))
    attempts = {"stg.clicks": Attempt("failed", "no room", now, None)}
    found = Growing(now.date(), False, now - timedelta(hours=1), 5, within=timedelta(minutes=3))
    assert found.state(attempts, now) == (
        "failed",
        "It grows (closed: no; through: 11:00:00; lag 5). stg.clicks: no room.",
    )


def test_other_pipelines_grow_never(shop: TwoSourcePipeline) -> None:
    with shop.session() as session:
        assert find_growing(shop.pipeline(), session, shop.store, shop.day, shop.next, noon(shop.day)) == {}
