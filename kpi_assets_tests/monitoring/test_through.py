"""Through which instant KPIs are built that read tables that grow, and when they are late by the minute."""

from datetime import datetime, time, timedelta, timezone

import pytest

from kpi_assets.ledger import kpis
from kpi_assets.materialize.build import build
from kpi_assets.materialize.tick import tick
from kpi_assets.monitoring import freshness
from kpi_assets.monitoring.declared_kpis import record_declared
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets.monitoring.through import through
from kpi_assets.read import said
from kpi_assets.read.kpis import read_kpis
from kpi_assets_tests.clicks_pipeline import KPI, TOTAL, ClicksPipeline

FRESH = "freshness: {within_minutes: 3}\ncolumns:"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture
def clicks(clicks: ClicksPipeline) -> ClicksPipeline:
    clicks.file("marts/kpi_clicks.sql", KPI.replace("columns:", FRESH, 1))
    clicks.file("marts/kpi_total.sql", TOTAL.replace("columns:", FRESH, 1))
    return clicks


def at(clicks: ClicksPipeline, minutes: float) -> datetime:
    """Return an instant of the load_date, so many minutes after noon."""
    return datetime.combine(clicks.day, time(12), timezone.utc) + minutes * MINUTE


def tick_at(clicks: ClicksPipeline, minutes: float) -> None:
    """Tick after the landing has said that all events until then are landed."""
    clicks.report(at(clicks, minutes))
    tick(clicks.context(), clicks.day)


def built(clicks: ClicksPipeline, name: str = "marts.kpi_total") -> float | None:
    """Return through which instant a table is built, in minutes after noon."""
    pipeline = clicks.pipeline()
    with clicks.session() as session:
        found = through(session, pipeline, pipeline.table(name), clicks.day)
    return None if found is None else (found - at(clicks, 0)) / MINUTE


def late(clicks: ClicksPipeline, minutes: float) -> list[str]:
    with clicks.session() as session:
        return [each.sentence for each in freshness.late(session, clicks.pipeline(), at(clicks, minutes))]


def test_a_kpi_is_built_through_what_had_landed(clicks: ClicksPipeline) -> None:
    assert built(clicks) is None, "nothing is published"
    clicks.land("a", "b")
    tick_at(clicks, 1)
    every = ("raw.clicks", "stg.clicks", "stg.clicks_by_minute", "marts.kpi_clicks", "marts.kpi_total")
    assert [built(clicks, name) for name in every] == [1, 1, 1, 1, 1]
    clicks.land("c")
    tick_at(clicks, 2)
    assert [built(clicks, name) for name in every] == [2, 2, 2, 2, 2]


def test_a_stream_without_events_keeps_a_kpi_fresh(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    tick_at(clicks, 1)
    tick_at(clicks, 60)
    assert built(clicks) == 60


def test_what_has_landed_and_is_not_built_makes_it_old(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    tick_at(clicks, 1)
    clicks.report(at(clicks, 30))
    assert built(clicks) == 1, "nobody ticks"
    clicks.land("b")
    context = clicks.context()
    for name in ("raw.clicks", "stg.clicks"):
        build(context, context.pipeline.table(name), clicks.day)
    assert (built(clicks, "stg.clicks"), built(clicks)) == (30, 1), "the KPI reads what was published before"


def test_a_held_batch_makes_what_reads_it_old(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    tick_at(clicks, 1)
    clicks.land("b", kind="no such kind")
    tick_at(clicks, 5)
    tick_at(clicks, 20)
    assert (built(clicks, "raw.clicks"), built(clicks, "stg.clicks"), built(clicks)) == (20, 1, 1)


def test_it_is_late_by_the_minute_and_recovers(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    tick_at(clicks, 1)
    assert late(clicks, 4) == []
    sentence = (
        f"is late since {clicks.day} 12:04 UTC: its numbers of {clicks.day} have the events until 12:01:00 UTC, and "
        "its freshness is within_minutes: 3"
    )
    assert late(clicks, 4 + 1 / 60) == [f"marts.kpi_clicks {sentence}", f"marts.kpi_total {sentence}"]
    with clicks.session() as session:
        pipeline = clicks.pipeline()
        freshness.report_late(session, pipeline)  # the load_date lies in the past
        freshness.report_late(session, pipeline)
        close_recovered(session, pipeline)
        alerts = "select kind, load_date, details, closed_at is null from ops.alerts order by id"
        told = [f"marts.kpi_clicks {sentence}", f"marts.kpi_total {sentence}"]
        assert session.execute(alerts).fetchall() == [("late", clicks.day, told, True)]
        now = datetime.now(timezone.utc)
        clicks.report(now)
        tick(clicks.context(), clicks.day)
        close_recovered(session, pipeline)
        assert [row[0] for row in session.execute(alerts).fetchall()] == ["late", "recovered"]


def test_readers_see_until_when_a_kpi_has_the_events(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    tick_at(clicks, 1)
    pipeline = clicks.pipeline()
    with clicks.session() as session:
        [kpi, _] = read_kpis(session, pipeline, now=at(clicks, 2))
        assert (kpi.late, kpi.through, kpi.due_by) == (False, at(clicks, 1), at(clicks, 4))
        [kpi, _] = read_kpis(session, pipeline, now=at(clicks, 5))
        assert (kpi.late, kpi.gate) == (True, "late")
        day = said.day(clicks.day)
        assert said.late_headline(kpi) == f"{day} is late: it has the events until 12:01 UTC."
        assert said.gate(kpi) == f"{day}, with the events until 12:01 UTC"
        assert [(banner.state, len(banner.kpis)) for banner in said.banners([kpi])] == [("late", 1)]
        [kpi, _] = read_kpis(session, pipeline, now=at(clicks, 5), as_of=datetime.now(timezone.utc))
        assert (kpi.late, kpi.through) == (False, None), "the ledger does not know it of an instant in the past"
        record_declared(session, pipeline)
        rows = session.execute("select kpi, gate, due_by from ops.kpi_trust order by kpi").fetchall()
        assert rows == [(name, "late", at(clicks, 4)) for name in ("marts.kpi_clicks", "marts.kpi_total")]
        assert kpis.latest(session, [pipeline.table("marts.kpi_total").relation]) == {
            pipeline.table("marts.kpi_total").relation: clicks.day
        }


def test_a_kpi_that_rests_is_as_old_as_what_it_read(clicks: ClicksPipeline) -> None:
    clicks.file("marts/kpi_total.sql", TOTAL.replace("columns:", "refresh: {minutes: 15}\ncolumns:", 1))
    clicks.land("a")
    tick_at(clicks, 1)
    clicks.land("b")
    tick_at(clicks, 2)
    assert (built(clicks, "marts.kpi_clicks"), built(clicks)) == (2, 1)
    tick_at(clicks, 3)
    assert (built(clicks, "marts.kpi_clicks"), built(clicks)) == (3, 1)


def test_a_new_load_date_makes_the_one_before_old(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    tick_at(clicks, 1)
    after = clicks.day + timedelta(days=1)
    clicks.land("b", day=after)
    clicks.report(at(clicks, 24 * 60))
    tick(clicks.context(), after)
    assert built(clicks) == 1
    pipeline = clicks.pipeline()
    with clicks.session() as session:
        newest = through(session, pipeline, pipeline.table("marts.kpi_total"), after)
    assert newest == at(clicks, 24 * 60)
