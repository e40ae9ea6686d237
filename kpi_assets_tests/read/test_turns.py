"""A load_date that grows is published with every batch: what readers are told of it, and when it was restated."""

from datetime import datetime, time, timedelta, timezone
from decimal import Decimal

import pytest

from kpi_assets.materialize.build import build
from kpi_assets.materialize.tick import finish, tick
from kpi_assets.read.kpis import KpiState, read_kpis
from kpi_assets.stream.described import CLOSED
from kpi_assets_tests.clicks_pipeline import BY_MINUTE, KPI, ClicksPipeline


def grow(clicks: ClicksPipeline, *event_ids: str) -> None:
    """Land events, and tick."""
    clicks.land(*event_ids)
    clicks.report(datetime.combine(clicks.day, time(12), timezone.utc))
    assert not tick(clicks.context(), clicks.day).failed


def kpis(clicks: ClicksPipeline, as_of: datetime | None = None) -> list[KpiState]:
    with clicks.session() as session:
        return read_kpis(session, clicks.pipeline(), now=datetime.now(timezone.utc), as_of=as_of)


def restated(clicks: ClicksPipeline) -> list[tuple[Decimal | None, Decimal | None, str]]:
    """Return what the number of clicks was and became, and why, each time when it was restated."""
    [point] = kpis(clicks)[0].points
    return [(each.was.get("clicks"), each.now.get("clicks"), each.why) for each in point.restated]


def publishes(clicks: ClicksPipeline) -> int:
    [(count,)] = clicks.rows("select count(*) from ops.publishes where asset = 'marts.kpi_clicks'")
    return int(count)


def test_more_events_are_no_restatement(clicks: ClicksPipeline) -> None:
    for number in range(6):
        grow(clicks, f"{number}a", f"{number}b")
    assert publishes(clicks) == 6
    for kpi in kpis(clicks):
        [point] = kpi.points
        assert (point.restated, kpi.gate) == ([], "published")
    [point] = kpis(clicks)[0].points
    assert point.values == {"clicks": 12}
    assert (point.checks > 0, point.warnings) == (True, 0)


@pytest.mark.parametrize(
    ("path", "text", "was", "becomes", "why"),
    [
        ("marts/kpi_clicks.sql", KPI, "sum(clicks)::bigint", "sum(clicks * 10)::bigint", "its SQL was changed"),
        ("stg/clicks_by_minute.sql", BY_MINUTE, "count(*)", "count(*) * 10", "the SQL of clicks by minute was changed"),
    ],
)
def test_sql_that_was_changed_is_a_restatement_at_its_publish(
    clicks: ClicksPipeline, path: str, text: str, was: str, becomes: str, why: str
) -> None:
    grow(clicks, "a")
    grow(clicks, "b")
    clicks.file(path, text.replace(was, becomes))
    grow(clicks, "c")
    for number in range(5):
        grow(clicks, f"d{number}")
    assert publishes(clicks) == 8
    assert restated(clicks) == [(2, 30, why)]


def test_a_replay_by_the_same_sql_is_no_restatement(clicks: ClicksPipeline) -> None:
    grow(clicks, "a")
    grow(clicks, "b")
    clicks.land("c")
    context = clicks.context()
    for name in ("raw.clicks", "stg.clicks"):
        build(context, context.pipeline.table(name), clicks.day)
    tick(context, clicks.day)
    grow(clicks, "d")
    assert (publishes(clicks), restated(clicks)) == (4, [])


def test_a_load_date_that_is_closed_is_as_it_was_before(clicks: ClicksPipeline) -> None:
    grow(clicks, "a")
    grow(clicks, "b")
    clicks.file("stg/clicks_by_minute.sql", BY_MINUTE.replace("count(*)", "count(*) * 10"))
    grow(clicks, "c")
    grow(clicks, "d")
    before = restated(clicks)
    assert before == [(2, 30, "the SQL of clicks by minute was changed")]
    clicks.put(f"raw/clicks/load_date={clicks.day}/{CLOSED}", b'{"next": {"0": 4}}')
    clicks.close()
    assert finish(clicks.context(), clicks.day) == []
    [(left,)] = clicks.rows("select count(*) from ops.publishes where asset = 'stg.clicks_by_minute'")
    assert left == 1, "superseded publishes of growing tables are deleted"
    assert [each[:2] for each in restated(clicks)] == [(2, 30)]


def test_what_readers_saw_at_an_instant_has_what_had_happened(clicks: ClicksPipeline) -> None:
    grow(clicks, "a")
    [(between,)] = clicks.rows("select clock_timestamp()")
    clicks.file("marts/kpi_clicks.sql", KPI.replace("sum(clicks)::bigint", "sum(clicks * 10)::bigint"))
    grow(clicks, "b")
    [point] = kpis(clicks, as_of=between)[0].points
    assert (point.values, point.restated) == ({"clicks": 1}, [])
    assert restated(clicks) == [(1, 20, "its SQL was changed")]


def test_a_tick_that_is_at_work_stops_nothing(clicks: ClicksPipeline) -> None:
    grow(clicks, "a")
    with clicks.session() as session:
        insert = (
            "insert into ops.pipeline_runs (run_id, pipeline_name, job, load_date, status) "
            "values ('r', %s, %s, %s, 'running')"
        )
        for job in ("raw.clicks", "marts.kpi_clicks"):
            session.execute(insert, [clicks.name, job, clicks.day])
        assert [kpi.gate for kpi in kpis(clicks)] == ["published", "published"]
        session.execute(insert, [clicks.name, "raw.clicks", clicks.day + timedelta(days=1)])
        assert [kpi.gate for kpi in kpis(clicks)] == ["running", "running"], "nothing is shown of it yet"


def test_a_batch_that_is_held_is_told(clicks: ClicksPipeline) -> None:
    grow(clicks, "a")
    clicks.land("b", kind="explode")
    tick(clicks.context(), clicks.day)
    [kpi, _] = kpis(clicks)
    assert (kpi.gate, kpi.stop.asset if kpi.stop else "", kpi.points[0].restated) == ("held", "stg.clicks", [])
