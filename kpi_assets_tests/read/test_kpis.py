"""What readers are shown of a KPI: its load_dates, those that are held, failed or late, and what was restated."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from kpi_assets.ledger import publishes, runs
from kpi_assets.materialize.build import build
from kpi_assets.materialize.measures import find_outdated, refresh
from kpi_assets.materialize.recheck import recheck
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.names import Relation
from kpi_assets.monitoring import freshness, thresholds
from kpi_assets.read import said
from kpi_assets.read.kpis import FailedCheck, read_kpis
from kpi_assets.read.tiles import tile_of, tiles_of
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.read.kpi_shop import KPI, LATE, MORE_THINGS, KpiShop
from kpi_assets_tests.two_source_pipeline import THINGS, WEIGHED

KILOGRAMS = Decimal("20.50")


def test_a_published_load_date(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    assert kpi_shop.run()["marts.heavy"] == "published"
    kpi = kpi_shop.kpi()
    assert (kpi.gate, kpi.stops, kpi.late, kpi.due_by) == ("published", [], False, None)
    assert kpi.latest
    assert kpi.latest.values == {"kilograms": KILOGRAMS, "labels": 1}


def test_a_newer_load_date_that_is_held(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(kpi_shop.next, things=DOUBLED)
    assert kpi_shop.run(kpi_shop.next)["raw.things"] == "held"
    kpi = kpi_shop.kpi()
    assert kpi.gate == "held"
    assert kpi.latest
    assert kpi.latest.load_date == kpi_shop.day
    assert kpi.stop
    stop = kpi.stop
    assert (stop.load_date, stop.state, stop.asset, stop.kept, stop.told) == (
        kpi_shop.next,
        "held",
        "raw.things",
        None,
        [],
    )
    assert stop.checks == [FailedCheck("raw.things", "grain", Decimal(1), Decimal(0), 2)]
    with kpi_shop.session() as session:
        [(ended,)] = session.execute("select ended_at from ops.pipeline_runs where id = %s", [stop.build_id]).fetchall()
    assert stop.since == ended
    # Before it was held there was nothing to tell, and while it was built, that it was.
    assert kpi_shop.kpi(as_of=ended - timedelta(microseconds=1)).gate == "running"
    assert kpi_shop.kpi(as_of=kpi.latest.published_at).gate == "published"


def test_a_correction_that_is_held_until_it_is_put_back(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(things=DOUBLED)
    kpi_shop.run()
    kpi = kpi_shop.kpi()
    assert kpi.gate == "held"
    assert kpi.latest and kpi.stop
    assert (kpi.stop.load_date, kpi.stop.kept, kpi.stop.is_correction) == (kpi_shop.day, kpi.latest.publish_id, True)
    kpi_shop.land()  # the object that was published
    context = kpi_shop.context()
    verify(context, context.pipeline.table("raw.things"), kpi_shop.day)
    kpi = kpi_shop.kpi()
    assert (kpi.gate, kpi.stops) == ("published", [])


def test_a_correction_that_is_held_further_down(kpi_shop: KpiShop) -> None:
    checked = WEIGHED.replace("@end", "checks: {range: {weight: [0, 25]}}\n@end")
    kpi_shop.file("marts/weighed.sql", checked)
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    kpi = kpi_shop.kpi()
    assert kpi.stop
    assert (kpi.gate, kpi.stop.asset, kpi.stop.checks[0].name, kpi.stop.is_correction) == (
        "held",
        "marts.weighed",
        "range__weight",
        True,
    )
    kpi_shop.land()
    context = kpi_shop.context()
    verify(context, context.pipeline.table("raw.things"), kpi_shop.day)
    build(context, context.pipeline.table("raw.things"), kpi_shop.day)
    kpi = kpi_shop.kpi()
    assert (kpi.gate, kpi.stops) == ("published", [])


def test_an_object_that_is_held(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(kpi_shop.next, labels=b"thing_id,wrong\n1,heavy\n")
    kpi_shop.run(kpi_shop.next)
    kpi = kpi_shop.kpi()
    assert kpi.stop
    assert (kpi.stop.asset, kpi.stop.state, [check.name for check in kpi.stop.checks]) == (
        "s3.labels",
        "held",
        ["header"],
    )


def test_a_newer_load_date_that_failed_and_one_that_runs(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    with kpi_shop.session() as session:
        of_jobs: list[tuple[str, runs.Status]] = [("s3.things", "success"), ("raw.things", "failed")]
        for job, status in of_jobs:
            row = runs.open_row(session, run_id="r", pipeline=kpi_shop.name, job=job, load_date=kpi_shop.next)
            assert kpi_shop.kpi().gate == "running"
            runs.close_build(session, row, status, layer="raw", counts=runs.Counts(), error="no")
        kpi = kpi_shop.kpi()
        assert kpi.stop
        assert (kpi.gate, kpi.stop.asset, kpi.stop.run_id, kpi.stop.build_id) == ("failed", "raw.things", "r", row)
        # A build that is not about the KPI is nobody's business.
        row = runs.open_row(session, run_id="r", pipeline=kpi_shop.name, job="raw.other", load_date=kpi_shop.next)
        runs.close_build(session, row, "held", layer="raw", counts=runs.Counts(), error="no")
    assert kpi_shop.kpi().gate == "failed"
    kpi_shop.land(kpi_shop.next)
    kpi_shop.run(kpi_shop.next)
    assert kpi_shop.kpi().gate == "published"


def test_who_was_told(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(kpi_shop.next, things=DOUBLED)
    kpi_shop.run(kpi_shop.next)
    with kpi_shop.session() as session:
        [(alert,)] = session.execute("select id from ops.alerts where load_date = %s", [kpi_shop.next]).fetchall()
        session.execute(
            "insert into ops.alert_deliveries (alert_id, channel, delivered_at) values "
            "(%(id)s, 'slack', now()), (%(id)s, 'log', now()), (%(id)s, 'email', null), "
            "(%(id)s, 'webhook', now() - interval '1 s')",
            {"id": alert},
        )
    stop = kpi_shop.kpi().stop
    assert stop
    assert stop.told == ["webhook", "slack"]


def test_a_measure_beyond_its_threshold(kpi_shop: KpiShop) -> None:
    kpi_shop.file("marts/heavy.sql", KPI.replace("better: up,", "better: up, alert: {below: 25},"))
    kpi_shop.land()
    kpi_shop.run()
    before = kpi_shop.kpi()
    assert before.breached == {}
    with kpi_shop.session() as session:
        thresholds.report_breached(session, kpi_shop.pipeline())
        [(since,)] = session.execute("select opened_at from ops.alerts where kind = 'breached'").fetchall()
    kpi = kpi_shop.kpi()
    assert (kpi.gate, kpi.breached) == ("published", {"kilograms": since})
    assert [tile.breached_since for tile in tiles_of(kpi)] == [since, None]
    assert kpi_shop.kpi(as_of=since - timedelta(microseconds=1)).breached == {}
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    with kpi_shop.session() as session:
        thresholds.report_breached(session, kpi_shop.pipeline())
    assert kpi_shop.kpi().breached == {}
    assert kpi_shop.kpi(as_of=since).breached == {"kilograms": since}


def test_late(kpi_shop: KpiShop) -> None:
    kpi_shop.file("marts/heavy.sql", LATE)
    kpi_shop.land()
    kpi_shop.run()
    due = kpi_shop.noon(kpi_shop.next)
    kpi = kpi_shop.kpi(now=due)
    assert (kpi.due_by, kpi.next_due, kpi.late, kpi.gate) == (due, kpi_shop.next, False, "published")
    kpi = kpi_shop.kpi(now=due + timedelta(seconds=1))
    assert (kpi.late, kpi.gate) == (True, "late")
    # The same as `kpi plan` and alerts say.
    with kpi_shop.session() as session:
        [late] = freshness.late(session, kpi_shop.pipeline(), due + timedelta(seconds=1))
    assert late.since == kpi.due_by


def test_late_because_an_object_has_not_landed(kpi_shop: KpiShop) -> None:
    kpi_shop.file("marts/heavy.sql", LATE)
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(kpi_shop.next, labels=None)
    kpi_shop.run(kpi_shop.next)
    kpi = kpi_shop.kpi(now=kpi_shop.noon(kpi_shop.next) + timedelta(days=1))
    assert (kpi.gate, kpi.lacking, kpi.stops) == ("late", ["s3.labels"], [])
    assert said.banners([kpi])[0].reasons == ["the object of labels has not landed"]


def test_days_that_are_not_due_are_not_late(kpi_shop: KpiShop) -> None:
    kpi_shop.file("marts/heavy.sql", LATE)
    path = kpi_shop.folder / "pipeline.yaml"
    path.write_text(path.read_text() + "calendar: {every: monday}\n")
    kpi_shop.day += timedelta(days=-kpi_shop.day.weekday() % 7)
    kpi_shop.land()
    kpi_shop.run()
    week = kpi_shop.day + timedelta(days=7)
    kpi = kpi_shop.kpi(now=kpi_shop.noon(week))
    assert (kpi.next_due, kpi.due_by, kpi.late) == (week, kpi_shop.noon(week), False)


def test_warned(kpi_shop: KpiShop) -> None:
    warns = KPI.replace(
        "@end", 'checks: {custom: {light: {bad_rows: "select * from {this} where weight > 9", severity: warn}}}\n@end'
    )
    kpi_shop.file("marts/heavy.sql", warns)
    kpi_shop.land()
    kpi_shop.run()
    kpi = kpi_shop.kpi()
    assert kpi.latest
    assert (kpi.gate, kpi.latest.checks, kpi.latest.warnings) == ("warned", 3, 1)


def test_rows_that_were_changed_after_the_publish_are_a_warning(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    with kpi_shop.session() as session:
        session.execute("update marts.heavy set weight = 1 where load_date = %s", [kpi_shop.day])
    context = kpi_shop.context()
    recheck(context, context.pipeline.table("marts.heavy"), kpi_shop.day)
    kpi = kpi_shop.kpi()
    assert kpi.latest
    assert (kpi.gate, kpi.latest.checks, kpi.latest.warnings) == ("warned", 2, 1)


def test_a_replaced_object_restates(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    before = kpi_shop.kpi()
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    kpi = kpi_shop.kpi()
    assert kpi.latest and before.latest
    [restated] = kpi.latest.restated
    assert (restated.was_publish_id, restated.publish_id) == (before.latest.publish_id, kpi.latest.publish_id)
    assert restated.at == kpi.latest.published_at
    assert restated.why == "the source object of things was replaced"
    assert (restated.was, restated.now) == (
        {"kilograms": KILOGRAMS, "labels": 1},
        {"kilograms": Decimal("30.50"), "labels": 1},
    )
    # What readers saw until then.
    assert kpi_shop.kpi(as_of=restated.at - timedelta(microseconds=1)).points == before.points
    assert kpi_shop.kpi(as_of=restated.at).points == kpi.points
    assert kpi_shop.kpi(as_of=before.latest.published_at - timedelta(microseconds=1)).gate == "running"


def test_a_measure_that_was_computed_otherwise_is_not_restated(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.file("marts/heavy.sql", KPI.replace("sum(weight)", "2 * sum(weight)"))
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    latest = kpi_shop.kpi().latest
    assert latest
    [restated] = latest.restated
    assert restated.was == {"labels": 1}
    assert restated.now["kilograms"] == Decimal(61)
    versions = {name: measure.version for name, measure in kpi_shop.kpi().measures.items()}
    assert latest.versions == versions


def test_what_was_refreshed_later_is_not_what_readers_saw(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    before = kpi_shop.kpi()
    assert before.latest
    [was] = tile_of(before, "kilograms").restated_to(before.latest)
    assert (was.was, was.now) == (KILOGRAMS, Decimal("30.50"))
    kpi_shop.file("marts/heavy.sql", KPI.replace("sum(weight)", "2 * sum(weight)"))
    assert tile_of(kpi_shop.kpi(), "kilograms").otherwise_defined == 1
    seen = datetime.now(timezone.utc)
    table = kpi_shop.pipeline().table("marts.heavy")
    with kpi_shop.reader() as session:
        outdated = [each for each in find_outdated(session, table) if each.load_date == kpi_shop.day]
    assert len(list(refresh(kpi_shop.server, kpi_shop.pipeline(), table, outdated, lambda *_: None))) == 1
    after = kpi_shop.kpi()
    assert after.latest
    tile = tile_of(after, "kilograms")
    assert (tile.value, tile.restated, tile.otherwise_restated, tile.otherwise_defined) == (Decimal(61), [], 1, 0)
    then = kpi_shop.kpi(as_of=seen)
    assert then.latest
    assert then.latest.values == {}  # the values that readers saw then were replaced


def test_a_value_that_was_restated_before_it_was_defined_otherwise(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    kpi_shop.file("marts/heavy.sql", KPI.replace("sum(weight)", "2 * sum(weight)"))
    kpi_shop.run()
    kpi = kpi_shop.kpi()
    assert kpi.latest
    tile = tile_of(kpi, "kilograms")
    assert [(each.was, each.now) for each in tile.restated] == [(KILOGRAMS, Decimal("30.50"))]
    assert (tile.value, tile.restated_to(kpi.latest)) == (Decimal(61), [])


def test_the_same_rows_again_restate_nothing(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(things=THINGS + b"3,air,\n")
    kpi_shop.run()
    kpi = kpi_shop.kpi()
    assert kpi.latest
    assert kpi.latest.restated == []


def test_changed_sql_restates(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.file(
        "marts/weighed.sql",
        WEIGHED.replace("select thing_id, weight", "select thing_id, (weight + 1)::numeric(6, 2) as weight"),
    )
    kpi_shop.run()
    kpi_shop.file("marts/heavy.sql", KPI.replace("sum(w.weight)", "2 * sum(w.weight)"))
    kpi_shop.land(labels=b"thing_id,label\n1,heavy\n2,light\n")
    kpi_shop.run()
    kpi = kpi_shop.kpi()
    assert kpi.latest
    assert [each.why for each in kpi.latest.restated] == [
        "the SQL of weighed was changed",
        "the source object of labels was replaced and its SQL was changed",
    ]


@pytest.mark.nightly
def test_a_load_date_that_was_taken_out(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(kpi_shop.next)
    kpi_shop.run(kpi_shop.next)
    with kpi_shop.session() as session:
        publishes.record_load_date_removal(session, [Relation("marts", "heavy")], kpi_shop.next)
    kpi = kpi_shop.kpi()
    assert [point.load_date for point in kpi.points] == [kpi_shop.day]
    with kpi_shop.session() as session:
        [(removed,)] = session.execute(
            "select removed_at from ops.publishes where asset = 'marts.heavy' and load_date = %s", [kpi_shop.next]
        ).fetchall()
    assert [point.load_date for point in kpi_shop.kpi(as_of=removed - timedelta(microseconds=1)).points] == [
        kpi_shop.day,
        kpi_shop.next,
    ]
    kpi_shop.land(kpi_shop.next, things=MORE_THINGS)
    kpi_shop.run(kpi_shop.next)
    latest = kpi_shop.kpi().latest
    assert latest
    [restated] = latest.restated
    assert restated.why == "it was taken out and published again and the source object of things was replaced"


def test_values_stay_when_retention_drops_the_rows(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    with kpi_shop.session() as session:
        publishes.record_drop(session, [Relation("marts", "heavy")], kpi_shop.day)
    latest = kpi_shop.kpi().latest
    assert latest
    assert (latest.values["kilograms"], latest.dropped_at is not None) == (KILOGRAMS, True)
    assert kpi_shop.kpi(as_of=latest.published_at).points[0].dropped_at is None


def test_a_range_has_the_latest_load_date_and_those_it_is_compared_with(kpi_shop: KpiShop) -> None:
    for number in range(4):
        kpi_shop.land(kpi_shop.day + timedelta(days=number))
        kpi_shop.run(kpi_shop.day + timedelta(days=number))
    days = [kpi_shop.day + timedelta(days=number) for number in range(4)]
    kpi = kpi_shop.kpi(first=days[1], last=days[1])
    assert [point.load_date for point in kpi.points] == [days[1], days[3]]
    assert [point.load_date for point in kpi.beyond] == [days[0], days[2]]
    assert kpi.point(days[2]) is kpi.beyond[1]


SHOWN = f"""\
{KPI[: KPI.index("kpi:")].replace("Weight by label", "It is shown")}storage: view
{KPI[KPI.index("kpi:") : KPI.index("@end")]}@end */
select label, weight from marts.heavy where load_date = %(load_date)s
"""


def test_a_kpi_that_is_a_view(kpi_shop: KpiShop) -> None:
    kpi_shop.file("marts/shown.sql", SHOWN)
    try:
        kpi_shop.land()
        kpi_shop.run()
        kpi_shop.land(things=MORE_THINGS)
        kpi_shop.run()
        pipeline = kpi_shop.pipeline()
        with kpi_shop.reader() as connection:
            table, view = read_kpis(connection, pipeline, now=kpi_shop.noon(kpi_shop.day), first=kpi_shop.day)
        assert (view.id, table.id) == (f"{kpi_shop.name}/shown", f"{kpi_shop.name}/heavy")
        assert view.latest and table.latest
        assert view.latest.values == table.latest.values == {"kilograms": Decimal("30.50"), "labels": 1}
        assert [each.why for each in view.latest.restated] == ["the source object of things was replaced"]
        kpi_shop.land(kpi_shop.next, things=DOUBLED)
        kpi_shop.run(kpi_shop.next)
        with kpi_shop.reader() as connection:
            found = read_kpis(connection, pipeline, now=kpi_shop.noon(kpi_shop.day), first=kpi_shop.day)
        assert [(each.gate, each.stop and each.stop.asset) for each in found] == [("held", "raw.things")] * 2
    finally:
        (kpi_shop.folder / "marts" / "shown.sql").unlink()
