"""A load_date that grows is published with every batch: what readers are told of it, and when it was restated."""

from datetime import datetime, time, timedelta, timezone
from decimal import Decimal

import pytest

from kpi_assets.materialize.build import build
from kpi_assets.materialize.tick import finish, tick
from kpi_assets.materialize.upkeep import prune
from kpi_assets.monitoring.declared_kpis import record_declared
from kpi_assets.read.kpis import KpiState, read_kpis
from kpi_assets.stream.described import CLOSED
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.provision import READER
from kpi_assets_tests.clicks_pipeline import BY_MINUTE, KPI, ClicksPipeline
from kpi_assets_tests.examples import few

TRUST = """
select kpi, gate, load_date, publish_id, stopped_load_date, stopped_at, stopped_since, due_by, through, restated,
    restated_at
from ops.kpi_trust
"""
RESTATEMENTS = """
select kpi, load_date, measure, was, "is", was_publish_id, publish_id, cause, caused_by
from ops.restatements order by kpi, publish_id
"""
TILES = """
select kpi, measure, load_date, value, publish_id, was_publish_id, was_value, restated
from ops.kpi_tiles order by kpi, load_date
"""


def grow(clicks: ClicksPipeline, *event_ids: str) -> None:
    """Land events, and tick."""
    clicks.land(*event_ids)
    clicks.report(datetime.combine(clicks.day, time(12), timezone.utc))
    assert not tick(clicks.context(), clicks.day).failed


def kpis(clicks: ClicksPipeline, as_of: datetime | None = None) -> list[KpiState]:
    with clicks.session() as session:
        found = read_kpis(session, clicks.pipeline(), now=datetime.now(timezone.utc), as_of=as_of)
    if not as_of:
        are_as_other_tools_are_told(clicks, found)
    return found


def are_as_other_tools_are_told(clicks: ClicksPipeline, found: list[KpiState]) -> None:
    """The views ops.kpi_trust and ops.kpi_tiles say of KPIs what pages say."""
    with clicks.session() as session:
        record_declared(session, clicks.pipeline())
    with connect(clicks.server, clicks.name, "test", role=READER, read_only=True) as reader:
        trust = {row[0]: row[1:] for row in reader.execute(TRUST).fetchall()}
        tiles = reader.execute(TILES).fetchall()
        restatements = reader.execute(RESTATEMENTS).fetchall()
    for kpi in found:
        latest, stop = kpi.latest, kpi.stop
        assert latest
        turns = latest.restated
        restated = [each for each in turns if any(value != each.now[name] for name, value in each.was.items())]
        assert trust[str(kpi.table.relation)] == (
            *(kpi.gate, latest.load_date, latest.publish_id),
            *((stop.load_date, stop.asset, stop.since) if stop else (None, None, None)),
            *(kpi.due_by, kpi.through, len(restated), restated[-1].at if restated else None),
        )
    assert tiles == [
        (
            *(str(kpi.table.relation), name, point.load_date, value, point.publish_id),
            *((last.was_publish_id, last.was[name], last.was[name] != last.now[name]) if last else (None, None, False)),
        )
        for kpi in found
        for point in kpi.points
        for name, value in point.values.items()
        for last in [next((each for each in reversed(point.restated) if name in each.was), None)]
    ]
    assert restatements == [
        (
            *(str(kpi.table.relation), point.load_date, name, each.was[name], each.now[name]),
            *(each.was_publish_id, each.publish_id, each.cause, list(each.caused_by)),
        )
        for kpi in found
        for point in kpi.points
        for each in point.restated
        for name in each.was
        if each.was[name] != each.now[name]
    ]


def restated(clicks: ClicksPipeline) -> list[tuple[Decimal | None, Decimal | None, str]]:
    """Return what the number of clicks was and became, and why, each time when it was restated."""
    [point] = kpis(clicks)[0].points
    return [(each.was.get("clicks"), each.now.get("clicks"), each.why) for each in point.restated]


def publishes(clicks: ClicksPipeline) -> int:
    [(count,)] = clicks.rows("select count(*) from ops.publishes where asset = 'marts.kpi_clicks'")
    return int(count)


@pytest.mark.nightly
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
    few(
        1,
        [
            ("marts/kpi_clicks.sql", KPI, "sum(clicks)::bigint", "sum(clicks * 10)::bigint", "its SQL was changed"),
            (
                "stg/clicks_by_minute.sql",
                BY_MINUTE,
                "count(*)",
                "count(*) * 10",
                "the SQL of clicks by minute was changed",
            ),
        ],
    ),
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
    causes = "select asset, cause from ops.publishes where cause is not null order by publish_id"
    changed = f"{path.replace('/', '.').removesuffix('.sql')}"
    order = ["stg.clicks_by_minute", "marts.kpi_clicks", "marts.kpi_total"]
    assert clicks.rows(causes) == [(name, "sql") for name in order[order.index(changed) :]]


def test_what_was_changed_and_changed_back_is_told_too(clicks: ClicksPipeline) -> None:
    grow(clicks, "a")
    clicks.file("marts/kpi_clicks.sql", KPI.replace("sum(clicks)::bigint", "sum(clicks * 10)::bigint"))
    grow(clicks, "b")
    grow(clicks, "c")
    clicks.file("marts/kpi_clicks.sql", KPI)
    grow(clicks, "d")
    why = "its SQL was changed"
    assert restated(clicks) == [(1, 20, why), (30, 4, why)]
    prune(clicks.context(), clicks.day)
    assert restated(clicks) == [(1, 20, why), (30, 4, why)], "what it was stays, and what it became"


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


@pytest.mark.nightly
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
    assert left == 3, "superseded publishes of growing tables are deleted, but those that these are made from"
    assert restated(clicks) == before, "what was compared is gone, and what was found is still known"


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


def test_other_tools_are_told_how_old_a_load_date_is_that_grows(clicks: ClicksPipeline) -> None:
    clicks.file("marts/kpi_clicks.sql", KPI.replace("kpi:\n", "freshness: {within_minutes: 3}\nkpi:\n"))
    grow(clicks, "a")
    noon = datetime.combine(clicks.day, time(12), timezone.utc)
    age = "select gate, through, due_by from ops.kpi_trust where kpi = 'marts.kpi_clicks'"
    assert [kpi.through for kpi in kpis(clicks)] == [noon, None]
    assert clicks.rows(age) == [("late", noon, noon + timedelta(minutes=3))]
    clicks.report(noon + timedelta(minutes=5))  # nothing has come
    assert not tick(clicks.context(), clicks.day).failed
    later = noon + timedelta(minutes=5)
    assert clicks.rows(age) == [("late", later, later + timedelta(minutes=3))], "nothing was recorded meanwhile"
    assert [kpi.through for kpi in kpis(clicks)] == [later, None]
    now = datetime.now(timezone.utc)
    clicks.report(now)
    assert not tick(clicks.context(), clicks.day).failed
    assert clicks.rows(age) == [("published", now, now + timedelta(minutes=3))]


def test_a_batch_that_is_held_is_told(clicks: ClicksPipeline) -> None:
    grow(clicks, "a")
    clicks.land("b", kind="explode")
    tick(clicks.context(), clicks.day)
    [kpi, _] = kpis(clicks)
    assert (kpi.gate, kpi.stop.asset if kpi.stop else "", kpi.points[0].restated) == ("held", "stg.clicks", [])
