"""What is deleted from the ledger while a load_date grows, and what stays: all that somebody may still ask for."""

from datetime import date, timedelta

import pytest

from kpi_assets.ledger import recorded
from kpi_assets.ledger.recorded import Lookback
from kpi_assets.materialize.build import build
from kpi_assets.materialize.tick import finish, tick
from kpi_assets.materialize.upkeep import EVERY, KEPT_BATCHES, Upkeep, prune
from kpi_assets.read.lineage import read_lineage
from kpi_assets.stream.described import CLOSED
from kpi_assets_tests.clicks_pipeline import BY_MINUTE, KPI, ClicksPipeline

TWO_DAYS = """\
/* @asset
description: Clicks of two days.
owner: team:tests
grain: [clicks]
lookback: {days: 2, rows: all}
columns:
  clicks: {type: numeric, description: Clicks.}
@end */
select sum(clicks) as clicks
from marts.kpi_clicks
where load_date between %(window_start)s and %(load_date)s
"""
TABLES = ["marts.kpi_clicks", "marts.kpi_total", "raw.clicks", "stg.clicks", "stg.clicks_by_minute"]


def ticked(clicks: ClicksPipeline, *event_ids: str, day: date | None = None) -> None:
    for event_id in event_ids:
        clicks.land(event_id, day=day)
        assert tick(clicks.context(), day or clicks.day).failed == {}


def counted(clicks: ClicksPipeline, relation: str, table: str = "asset", day: date | None = None) -> dict[str, int]:
    """Return the rows of a relation of ops of a load_date, by table."""
    where = f"where load_date = '{day or clicks.day}'"
    return dict(clicks.rows(f"select {table}, count(*) from ops.{relation} {where} group by 1"))


def values(clicks: ClicksPipeline) -> int:
    [(found,)] = clicks.rows(
        f"select count(*) from ops.kpi_values join ops.publishes using (publish_id) where load_date = '{clicks.day}'"
    )
    return int(found)


def test_of_what_ticks_made_superfluous_nothing_stays_but_the_batches(clicks: ClicksPipeline) -> None:
    ticked(clicks, "a", "b", "c")
    assert counted(clicks, "publishes") == dict.fromkeys(TABLES, 3)
    assert values(clicks) == 3
    shown = clicks.rows("select * from ops.published order by publish_id")
    prune(clicks.context(), clicks.day)
    assert counted(clicks, "publishes") == dict.fromkeys(TABLES, 1)
    assert counted(clicks, "pipeline_runs", "job") == dict.fromkeys(TABLES, 1)
    assert values(clicks) == 1
    assert len(counted(clicks, "data_quality_results", "build_id")) == 5
    assert set(counted(clicks, "batches").values()) == {3}
    assert clicks.rows("select * from ops.published order by publish_id") == shown
    ticked(clicks, "d")
    assert clicks.total() == 4


def test_what_was_superseded_just_now_stays(clicks: ClicksPipeline) -> None:
    ticked(clicks, "a", "b")
    prune(clicks.context(), clicks.day, older_than=timedelta(hours=1))
    assert counted(clicks, "publishes") == dict.fromkeys(TABLES, 2)
    assert counted(clicks, "pipeline_runs", "job") == dict.fromkeys(TABLES, 2)


def test_what_readers_saw_for_an_hour_stays_with_its_value_and_all_that_it_was_made_from(
    clicks: ClicksPipeline,
) -> None:
    ticked(clicks, "a", "b", "c", "d")
    [(quoted,)] = clicks.rows(
        "select publish_id from ops.publishes "
        f"where asset = 'marts.kpi_clicks' and load_date = '{clicks.day}' order by 1 offset 1 limit 1"
    )
    with clicks.session() as session:
        session.execute(
            "update ops.publishes set published_at = published_at - interval '1 hour' where publish_id = %s", [quoted]
        )
    prune(clicks.context(), clicks.day)
    one = dict.fromkeys(TABLES, 2)
    assert counted(clicks, "publishes") == {**one, "marts.kpi_total": 1}
    assert values(clicks) == 2
    with clicks.session() as session:
        nodes = read_lineage(session, clicks.pipeline(), quoted).nodes
    assert sorted(node.asset for node in nodes) == ["marts.kpi_clicks", "raw.clicks", "stg.clicks", TABLES[-1]]


@pytest.mark.nightly
def test_what_a_later_load_date_was_made_from_stays_so_that_the_plan_sees_what_changed(clicks: ClicksPipeline) -> None:
    clicks.file("marts/two_days.sql", TWO_DAYS)
    following = clicks.day + timedelta(days=1)
    ticked(clicks, "a")
    ticked(clicks, "x", day=following)
    ticked(clicks, "b", "c")

    def other_inputs() -> list[str]:
        versions = {"marts.two_days": clicks.pipeline().table("marts.two_days").code_version}
        window = [Lookback("marts.two_days", 2, ["marts.kpi_clicks"])]
        with clicks.session() as session:
            return recorded.read(session, versions, [], following, following, ignored=[], lookbacks=window)[
                following
            ].other_inputs

    prune(clicks.context(), clicks.day)
    assert counted(clicks, "publishes") == {
        **dict.fromkeys(TABLES, 2),
        "marts.kpi_total": 1,
        "marts.two_days": 1,
    }
    assert other_inputs() == ["marts.two_days"]
    ticked(clicks, "y", day=following)
    assert clicks.rows(f"select clicks from marts.two_days where load_date = '{following}'") == [(5,)]
    prune(clicks.context(), following)
    assert counted(clicks, "publishes") == {**dict.fromkeys(TABLES, 1), "marts.two_days": 1}
    assert other_inputs() == []


def test_it_stays_known_since_when_a_check_fails(clicks: ClicksPipeline) -> None:
    alert = "checks:\n  few: {severity: alert, bad_rows: 'select * from {this} where clicks > 2'}\n@end"
    clicks.file("marts/kpi_clicks.sql", KPI.replace("@end", alert))
    ticked(clicks, *"abcdef")
    query = (
        "select status from ops.data_quality_results "
        f"where check_name like '%few%' and load_date = '{clicks.day}' order by id"
    )
    assert clicks.rows(query) == [("pass",)] * 2 + [("warn",)] * 4
    prune(clicks.context(), clicks.day)
    assert clicks.rows(query) == [("warn",), ("warn",)], "the first, and that of what readers see"
    prune(clicks.context(), clicks.day)
    assert clicks.rows(query) == [("warn",), ("warn",)]


def test_what_was_held_is_forgotten_when_it_is_over_but_not_before(clicks: ClicksPipeline) -> None:
    ticked(clicks, "a")
    clicks.land("b", kind="explode")
    assert tick(clicks.context(), clicks.day).held
    prune(clicks.context(), clicks.day)
    held = f"select count(*) from ops.holds join ops.pipeline_runs on id = build_id where load_date = '{clicks.day}'"
    assert clicks.rows(held) == [(1,)]
    path = clicks.folder / "stg/clicks.sql"
    path.write_text(path.read_text().replace("[view, cart]", "[view, cart, explode]"))
    ticked(clicks, "c")
    prune(clicks.context(), clicks.day)
    assert clicks.rows(held) == [(0,)]
    assert counted(clicks, "pipeline_runs", "job") == dict.fromkeys(TABLES, 1)


SUMS = """
select asset, count(*), sum(objects), sum(records), sum(rows), sum(repeats), sum(quarantined)
from ops.batches where load_date = '{day}' group by 1 order by 1
"""
BAD = "select line, record from ops.bad_rows where load_date = '{day}' order by 2"


def test_the_batches_of_a_closed_load_date_are_merged_when_it_is_older_than_the_retention(
    clicks: ClicksPipeline,
) -> None:
    for number in range(5):
        clicks.land_values([clicks.event(f"{number}", clicks.day), clicks.event("again", clicks.day), b"poison"])
        assert tick(clicks.context(), clicks.day).failed == {}
    day, much_later = clicks.day, clicks.day + timedelta(days=KEPT_BATCHES + 1)
    before = clicks.rows(SUMS.format(day=day))
    assert before == [
        ("raw.clicks", 5, 5, 15, 10, 0, 5),
        ("stg.clicks", 5, 0, 10, 6, 4, 0),
        ("stg.clicks_by_minute", 5, 0, 5, 5, 0, 0),
    ]
    bad = clicks.rows(BAD.format(day=day))
    assert len(bad) == 5
    prune(clicks.context(), day)
    prune(clicks.context(), much_later)
    assert clicks.rows(SUMS.format(day=day)) == before, "it is not closed"
    clicks.put(f"raw/clicks/load_date={day}/{CLOSED}", b'{"next": {"0": 15}}')
    clicks.close()
    assert finish(clicks.context(), day) == []
    prune(clicks.context(), much_later - timedelta(days=1))
    assert clicks.rows(SUMS.format(day=day)) == before, "it is not old enough"
    prune(clicks.context(), much_later)
    assert [(row[0], row[1]) for row in clicks.rows(SUMS.format(day=day))] == [(row[0], 2) for row in before]
    assert [row[2:] for row in clicks.rows(SUMS.format(day=day))] == [row[2:] for row in before]
    query = "select batch, merged_from from ops.batches where asset = 'raw.clicks' and load_date = %s order by 1"
    assert clicks.rows(query.replace("%s", f"'{day}'")) == [(1, None), (5, 2)]
    assert clicks.rows(BAD.format(day=day)) == bad, "what was set aside is still there"
    assert tick(clicks.context(), day).is_idle
    prune(clicks.context(), much_later)
    assert [row[2:] for row in clicks.rows(SUMS.format(day=day))] == [row[2:] for row in before]


@pytest.mark.nightly
def test_of_merged_batches_a_new_table_is_built_as_a_whole_and_what_comes_late_is_added(clicks: ClicksPipeline) -> None:
    ticked(clicks, "a", "b", "c")
    day = clicks.day
    clicks.put(f"raw/clicks/load_date={day}/{CLOSED}", b'{"next": {"0": 3}}')
    clicks.close()
    assert finish(clicks.context(), day) == []
    prune(clicks.context(), day + timedelta(days=KEPT_BATCHES + 1))
    clicks.file("stg/more.sql", BY_MINUTE)
    clicks.prepared()
    assert tick(clicks.context(), day).failed == {}
    rows = f"select batch, clicks from stg.more where load_date = '{day}'"
    assert clicks.rows(rows) == [(1, 3)]
    ticked(clicks, "d")
    assert clicks.total() == 4
    assert clicks.rows(f"{rows} order by 1") == [(1, 3), (4, 1)]


@pytest.mark.nightly
def test_of_a_load_date_that_was_built_as_a_whole_that_stays_known(clicks: ClicksPipeline) -> None:
    ticked(clicks, "a", "b", "c")
    day, context = clicks.day, clicks.context()
    build(context, context.pipeline.table("raw.clicks"), day)
    ticked(clicks, "d", "e", "f")
    clicks.put(f"raw/clicks/load_date={day}/{CLOSED}", b'{"next": {"0": 6}}')
    clicks.close()
    assert finish(clicks.context(), day) == []
    prune(clicks.context(), day + timedelta(days=KEPT_BATCHES + 1))
    kept = f"select batch, merged_from, superseded_at is null from ops.batches where load_date = '{day}' "
    assert clicks.rows(f"{kept} and asset = 'raw.clicks' order by build_id") == [
        *((1, None, False), (3, 2, False)),
        *((1, None, True), (4, 2, True)),
    ]
    assert clicks.rows(f"select ops.has_continued('raw.clicks', '{day}', 0, 0)") == [(False,)]


def test_a_live_run_prunes_with_its_first_tick_and_then_every_ten_minutes(
    clicks: ClicksPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned: list[timedelta] = []
    monkeypatch.setattr(
        "kpi_assets.materialize.upkeep.prune", lambda _context, _day, *, older_than: pruned.append(older_than)
    )
    now = [0.0]
    upkeep = Upkeep(clicks.context(), clicks.day, clock=lambda: now[0])
    for now[0], times in ((0.0, 1), (5.0, 1), (599.0, 1), (600.0, 2), (1199.0, 2), (1200.0, 3)):
        upkeep.after_tick()
        assert pruned == [EVERY] * times
