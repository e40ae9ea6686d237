"""One tick: from new objects to the KPIs that read them, and what it leaves alone."""

from datetime import date, datetime, time, timedelta, timezone

import pytest

from kpi_assets.ledger import growth
from kpi_assets.materialize import changed
from kpi_assets.materialize import tick as tick_module
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.grow import Grown, grow
from kpi_assets.materialize.tick import Seen, Tick, finish, growing_tables, tables_after, tick
from kpi_assets.model.table import Table
from kpi_assets.plan.growing import find_growing
from kpi_assets.stream.described import CLOSED
from kpi_assets_tests.clicks_pipeline import ClicksPipeline


def make_tick(clicks: ClicksPipeline, *, is_last: bool = False) -> Tick:
    return tick(clicks.context(), clicks.day, is_last=is_last)


def told(done: Tick) -> list[str]:
    """Return what a tick did, in order: batches with their numbers, and builds."""
    batches = [f"{each.relation} {each.batch}{' held' * each.held}" for each in done.grown]
    builds = [f"{each.relation}{' held' * each.held}" for each in done.built]
    return [*batches, *builds, *(f"{relation} failed" for relation in done.failed)]


ALL = ["marts.kpi_clicks", "marts.kpi_total"]


def batch(number: int) -> list[str]:
    return [f"{name} {number}" for name in ("raw.clicks", "stg.clicks", "stg.clicks_by_minute")]


def test_one_tick_takes_new_objects_up_to_the_last_kpi(clicks: ClicksPipeline) -> None:
    clicks.land("a", "b", "c")
    done = make_tick(clicks)
    assert told(done) == [*batch(1), *ALL]
    assert clicks.total() == 3
    assert (done.is_idle, done.held, done.waiting) == (False, [], [])


def test_a_tick_without_anything_new_does_nothing(clicks: ClicksPipeline) -> None:
    assert make_tick(clicks).is_idle
    clicks.land("a")
    make_tick(clicks)
    again = make_tick(clicks)
    assert (told(again), again.is_idle) == ([], True)


def test_the_next_tick_adds_a_batch_and_a_repeat_is_no_click(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    clicks.land("b", partition=1)
    make_tick(clicks)
    clicks.land("b", "c")
    clicks.land("d", partition=1)
    done = make_tick(clicks)
    assert told(done) == [*batch(2), *ALL]
    assert [each.repeats for each in done.grown] == [0, 1, 0]
    assert clicks.total() == 4


def test_ticks_of_one_run_look_at_a_select_only_if_something_was_published(
    clicks: ClicksPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def counted(context: BuildContext, table: Table, load_date: date) -> list[Grown]:
        looked.append(str(table.relation))
        return grow(context, table, load_date)

    monkeypatch.setattr(tick_module, "grow", counted)
    seen, context = Seen(), clicks.context()
    clicks.land("a")
    assert told(tick(context, clicks.day, seen=seen)) == [*batch(1), *ALL]
    looked.clear()
    assert tick(context, clicks.day, seen=seen).is_idle
    assert looked == ["raw.clicks"]
    clicks.land("b")
    looked.clear()
    assert told(tick(context, clicks.day, seen=seen)) == [*batch(2), *ALL]
    assert looked == ["raw.clicks", "stg.clicks", "stg.clicks_by_minute"]
    build(context, context.pipeline.table("stg.clicks"), clicks.day)  # by a person, meanwhile
    assert told(tick(context, clicks.day, seen=seen)) == [
        "stg.clicks_by_minute 1",
        "marts.kpi_clicks",
        "marts.kpi_total",
    ]
    assert clicks.total() == 2


def test_a_held_batch_stops_what_follows_and_the_load_date_is_not_idle_for_ever(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    make_tick(clicks)
    clicks.land("b", kind="explode")
    done = make_tick(clicks)
    assert told(done) == ["raw.clicks 2", "stg.clicks 2 held"]
    assert [str(each) for each in done.held] == ["stg.clicks"]
    again = make_tick(clicks)
    assert (again.is_idle, [str(each) for each in again.held]) == (True, ["stg.clicks"])
    assert clicks.total() == 1
    path = clicks.folder / "stg/clicks.sql"
    path.write_text(path.read_text().replace("[view, cart]", "[view, cart, explode]"))
    done = make_tick(clicks)
    assert done.held == []
    assert clicks.total() == 2


def test_a_kpi_that_fails_keeps_no_other_from_being_built_and_is_tried_again_after_a_pause(
    clicks: ClicksPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (clicks.folder / "marts/kpi_total.sql").read_text()
    clicks.file("marts/kpi_broken.sql", text.replace("sum(clicks) as", "sum(clicks / (clicks - clicks)) as"))
    clicks.land("a")
    done = make_tick(clicks)
    assert told(done) == [*batch(1), *ALL, "marts.kpi_broken failed"]
    assert "division by zero" in str(done.failed)
    assert done.through is None
    again = make_tick(clicks)
    assert [str(each) for each in again.waiting] == ["marts.kpi_broken"]
    assert not again.is_idle
    monkeypatch.setattr(changed, "AFTER_FAILURE", timedelta(0))
    assert told(make_tick(clicks)) == ["marts.kpi_broken failed"]


def test_a_growing_table_that_fails_rests_too(clicks: ClicksPipeline) -> None:
    text = (clicks.folder / "stg/clicks.sql").read_text()
    clicks.file(
        "stg/clicks.sql", text.replace("select event_id,", "select (1 / (stream_position - 0))::text as event_id,")
    )
    clicks.land("a")
    done = make_tick(clicks)
    assert told(done) == ["raw.clicks 1", "stg.clicks failed"]
    again = make_tick(clicks)
    assert (told(again), [str(each) for each in again.waiting]) == ([], ["stg.clicks"])


def test_a_backfill_of_the_load_date_gives_the_same_rows_and_growth_goes_on_from_it(clicks: ClicksPipeline) -> None:
    for names in (("a", "b"), ("b", "c"), ("c", "d")):
        clicks.land(*names)
        make_tick(clicks)
    grown = clicks.rows(
        f"select asset, rows, checksum from ops.published where load_date = '{clicks.day}' "
        "and asset in ('raw.clicks', 'stg.clicks', 'marts.kpi_clicks', 'marts.kpi_total') order by asset"
    )
    assert [row[:2] for row in grown] == [
        *(("marts.kpi_clicks", 1), ("marts.kpi_total", 1), ("raw.clicks", 6), ("stg.clicks", 4)),
    ]
    context = clicks.context()
    for table in context.pipeline.tables.values():
        build(context, table, clicks.day)
    replayed = clicks.rows(
        f"select asset, rows, checksum from ops.published where load_date = '{clicks.day}' "
        "and asset in ('raw.clicks', 'stg.clicks', 'marts.kpi_clicks', 'marts.kpi_total') order by asset"
    )
    assert replayed == grown
    assert make_tick(clicks).is_idle
    clicks.land("d", "e")
    assert told(make_tick(clicks))[-2:] == ALL
    assert clicks.total() == 5


def test_what_is_built_through_which_instant(clicks: ClicksPipeline) -> None:
    noon = datetime.combine(clicks.day, time(12), timezone.utc)
    clicks.land("a")
    assert make_tick(clicks).through == noon, "the newest event, where no landing reports"
    assert make_tick(clicks).through is None, "nothing is known, and the ledger keeps what it knew"
    clicks.land("b")
    clicks.report(noon + timedelta(seconds=9))
    assert make_tick(clicks).through == noon + timedelta(seconds=9)
    clicks.report(noon + timedelta(hours=3))
    assert make_tick(clicks).through == noon + timedelta(hours=3), "nothing came, so all is built"
    with clicks.session() as session:
        known = growth.between(session, clicks.day, clicks.day)[clicks.day]
    assert (known.through, known.run_id, known.finished_at) == (noon + timedelta(hours=3), clicks.run_id, None)


def test_a_held_batch_keeps_the_instant_of_the_one_before(clicks: ClicksPipeline) -> None:
    noon = datetime.combine(clicks.day, time(12), timezone.utc)
    clicks.land("a")
    clicks.report(noon)
    make_tick(clicks)
    clicks.land_values([b'{"event_id": null}'] * 21)
    clicks.report(noon + timedelta(hours=1))
    held = make_tick(clicks)
    assert told(held) == ["raw.clicks 2 held"]
    assert held.through == noon


def test_after_the_closing_every_object_is_looked_for_also_of_a_partition_that_is_new(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    make_tick(clicks)
    clicks.land("b", partition=1)
    assert make_tick(clicks).is_idle, "a listing once a minute finds it"
    assert told(make_tick(clicks, is_last=True)) == [*batch(2), *ALL]
    assert make_tick(clicks, is_last=True).is_idle


def test_a_load_date_that_is_finished_stays_so_until_the_next_tick(clicks: ClicksPipeline) -> None:
    make_tick(clicks)
    finish(clicks.context(), clicks.day)
    with clicks.session() as session:
        assert growth.between(session, clicks.day, clicks.day)[clicks.day].finished_at
    make_tick(clicks)
    with clicks.session() as session:
        assert growth.between(session, clicks.day, clicks.day)[clicks.day].finished_at is None


def test_what_a_load_date_lacks_that_is_closed_is_told_until_it_is_there(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    make_tick(clicks)
    clicks.report(datetime.combine(clicks.day, time(23), timezone.utc))
    clicks.put(f"raw/clicks/load_date={clicks.day}/{CLOSED}", b'{"next": {"0": 2}}')
    clicks.close()
    sentence = (
        f"raw.clicks of {clicks.day} is built up to position 1 of partition 0, and landed up to 2: look what holds it "
        "with `kpi status`."
    )

    def told_of() -> tuple[dict[date, list[str]], bool]:
        """Return what lacks, and whether a live run would look again."""
        pipeline, now = clicks.pipeline(), datetime.now(timezone.utc)
        with clicks.session() as session:
            growing = find_growing(pipeline, session, clicks.store, clicks.day, clicks.day, now)
            return growth.with_problems(session), clicks.day in growing

    assert finish(clicks.context(), clicks.day) == [sentence]
    assert told_of() == ({clicks.day: [sentence]}, False)
    clicks.land("b")
    context = clicks.context()
    build(context, context.pipeline.table("raw.clicks"), clicks.day)
    assert told_of() == ({clicks.day: [sentence]}, True)
    make_tick(clicks, is_last=True)
    assert finish(clicks.context(), clicks.day) == []
    assert told_of() == ({}, False)


def test_tables_that_come_from_no_stream_are_not_of_a_tick(clicks: ClicksPipeline) -> None:
    clicks.file(
        "marts/fixed.sql",
        """\
        /* @asset
        description: Fixed.
        owner: team:tests
        grain: [n]
        columns:
          n: {type: integer, description: Number.}
        @end */
        select 1 as n
        """,
    )
    pipeline = clicks.pipeline()
    assert [str(each.relation) for each in growing_tables(pipeline, clicks.day)] == [
        *("raw.clicks", "stg.clicks", "stg.clicks_by_minute")
    ]
    assert [str(each.relation) for each in tables_after(pipeline, clicks.day)] == ALL
    (clicks.folder / "marts/fixed.sql").unlink()
