"""What readers are shown of a KPI: its load_dates, those that are held, failed or late, and what was restated."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import publishes, runs
from kpi_assets.materialize.build import build
from kpi_assets.materialize.recheck import recheck
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.names import Relation
from kpi_assets.monitoring import freshness
from kpi_assets.read.kpis import FailedCheck
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.read.kpi_shop import KPI, LATE, MORE_THINGS, KpiShop
from kpi_assets_tests.two_source_pipeline import THINGS, WEIGHED


@pytest.fixture(scope="module")
def open_kpi_shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KpiShop]:
    with KpiShop.open(stack, tmp_path_factory.mktemp("shop")) as opened:
        assert isinstance(opened, KpiShop)
        opened.stock().prepared()
        yield opened


@pytest.fixture
def shop(open_kpi_shop: KpiShop) -> Iterator[KpiShop]:
    yield open_kpi_shop.stock()
    with open_kpi_shop.session() as session:  # the newest load_date is that of the test
        session.execute("update ops.publishes set removed_at = now(), superseded_at = coalesce(superseded_at, now())")
        session.execute("delete from ops.alert_deliveries")
        session.execute("delete from ops.alerts")


def test_a_published_load_date(shop: KpiShop) -> None:
    shop.land()
    assert shop.run()["marts.heavy"] == "published"
    kpi = shop.kpi()
    assert (kpi.gate, kpi.stops, kpi.late, kpi.due_by) == ("published", [], False, None)
    assert kpi.latest
    assert kpi.latest.values == {"kilograms": 20.5, "labels": 1}


def test_a_newer_load_date_that_is_held(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    shop.land(shop.next, things=DOUBLED)
    assert shop.run(shop.next)["raw.things"] == "held"
    kpi = shop.kpi()
    assert kpi.gate == "held"
    assert kpi.latest
    assert kpi.latest.load_date == shop.day
    assert kpi.stop
    stop = kpi.stop
    assert (stop.load_date, stop.state, stop.asset, stop.kept, stop.told) == (
        shop.next,
        "held",
        "raw.things",
        None,
        [],
    )
    assert stop.checks == [FailedCheck("raw.things", "grain", Decimal(1), Decimal(0), 2)]
    with shop.session() as session:
        [(ended,)] = session.execute("select ended_at from ops.pipeline_runs where id = %s", [stop.build_id]).fetchall()
    assert stop.since == ended
    # Before it was held there was nothing to tell, and while it was built, that it was.
    assert shop.kpi(as_of=ended - timedelta(microseconds=1)).gate == "running"
    assert shop.kpi(as_of=kpi.latest.published_at).gate == "published"


def test_a_correction_that_is_held_until_it_is_put_back(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    shop.land(things=DOUBLED)
    shop.run()
    kpi = shop.kpi()
    assert kpi.gate == "held"
    assert kpi.latest and kpi.stop
    assert (kpi.stop.load_date, kpi.stop.kept, kpi.stop.is_correction) == (shop.day, kpi.latest.publish_id, True)
    shop.land()  # the object that was published
    context = shop.context()
    verify(context, context.pipeline.table("raw.things"), shop.day)
    kpi = shop.kpi()
    assert (kpi.gate, kpi.stops) == ("published", [])


def test_a_correction_that_is_held_further_down(shop: KpiShop) -> None:
    checked = WEIGHED.replace("@end", "checks: {range: {weight: [0, 25]}}\n@end")
    shop.file("marts/weighed.sql", checked)
    shop.land()
    shop.run()
    shop.land(things=MORE_THINGS)
    shop.run()
    kpi = shop.kpi()
    assert kpi.stop
    assert (kpi.gate, kpi.stop.asset, kpi.stop.checks[0].name, kpi.stop.is_correction) == (
        "held",
        "marts.weighed",
        "range__weight",
        True,
    )
    shop.land()
    context = shop.context()
    verify(context, context.pipeline.table("raw.things"), shop.day)
    build(context, context.pipeline.table("raw.things"), shop.day)
    kpi = shop.kpi()
    assert (kpi.gate, kpi.stops) == ("published", [])


def test_an_object_that_is_held(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    shop.land(shop.next, labels=b"thing_id,wrong\n1,heavy\n")
    shop.run(shop.next)
    kpi = shop.kpi()
    assert kpi.stop
    assert (kpi.stop.asset, kpi.stop.state, [check.name for check in kpi.stop.checks]) == (
        "s3.labels",
        "held",
        ["header"],
    )


def test_a_newer_load_date_that_failed_and_one_that_runs(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    with shop.session() as session:
        for number, job in enumerate(["s3.things", "raw.things"]):
            row = runs.open_row(session, run_id="r", pipeline=shop.name, job=job, load_date=shop.next)
            assert shop.kpi().gate == "running"
            runs.close_build(session, row, ["success", "failed"][number], layer="raw", counts=runs.Counts(), error="no")
        kpi = shop.kpi()
        assert kpi.stop
        assert (kpi.gate, kpi.stop.asset, kpi.stop.run_id, kpi.stop.build_id) == ("failed", "raw.things", "r", row)
        # A build that is not about the KPI is nobody's business.
        row = runs.open_row(session, run_id="r", pipeline=shop.name, job="raw.other", load_date=shop.next)
        runs.close_build(session, row, "held", layer="raw", counts=runs.Counts(), error="no")
    assert shop.kpi().gate == "failed"
    shop.land(shop.next)
    shop.run(shop.next)
    assert shop.kpi().gate == "published"


def test_who_was_told(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    shop.land(shop.next, things=DOUBLED)
    shop.run(shop.next)
    with shop.session() as session:
        [(alert,)] = session.execute("select id from ops.alerts where load_date = %s", [shop.next]).fetchall()
        session.execute(
            "insert into ops.alert_deliveries (alert_id, channel, delivered_at) values "
            "(%(id)s, 'slack', now()), (%(id)s, 'email', null), (%(id)s, 'webhook', now() - interval '1 s')",
            {"id": alert},
        )
    stop = shop.kpi().stop
    assert stop
    assert stop.told == ["webhook", "slack"]


def test_late(shop: KpiShop) -> None:
    shop.file("marts/heavy.sql", LATE)
    shop.land()
    shop.run()
    due = shop.noon(shop.next)
    kpi = shop.kpi(now=due)
    assert (kpi.due_by, kpi.next_due, kpi.late, kpi.gate) == (due, shop.next, False, "published")
    kpi = shop.kpi(now=due + timedelta(seconds=1))
    assert (kpi.late, kpi.gate) == (True, "late")
    # The same as `kpi plan` and alerts say.
    with shop.session() as session:
        [late] = freshness.late(session, shop.pipeline(), due + timedelta(seconds=1))
    assert late.since == kpi.due_by


def test_days_that_are_not_due_are_not_late(shop: KpiShop) -> None:
    shop.file("marts/heavy.sql", LATE)
    path = shop.folder / "pipeline.yaml"
    path.write_text(path.read_text() + "calendar: {every: monday}\n")
    shop.day += timedelta(days=-shop.day.weekday() % 7)
    shop.land()
    shop.run()
    week = shop.day + timedelta(days=7)
    kpi = shop.kpi(now=shop.noon(week))
    assert (kpi.next_due, kpi.due_by, kpi.late) == (week, shop.noon(week), False)


def test_warned(shop: KpiShop) -> None:
    warns = KPI.replace(
        "@end", 'checks: {custom: {light: {bad_rows: "select * from {this} where weight > 9", severity: warn}}}\n@end'
    )
    shop.file("marts/heavy.sql", warns)
    shop.land()
    shop.run()
    kpi = shop.kpi()
    assert kpi.latest
    assert (kpi.gate, kpi.latest.checks, kpi.latest.warnings) == ("warned", 3, 1)


def test_rows_that_were_changed_after_the_publish_are_a_warning(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    with shop.session() as session:
        session.execute("update marts.heavy set weight = 1 where load_date = %s", [shop.day])
    context = shop.context()
    recheck(context, context.pipeline.table("marts.heavy"), shop.day)
    kpi = shop.kpi()
    assert kpi.latest
    assert (kpi.gate, kpi.latest.checks, kpi.latest.warnings) == ("warned", 2, 1)


def test_a_replaced_object_restates(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    before = shop.kpi()
    shop.land(things=MORE_THINGS)
    shop.run()
    kpi = shop.kpi()
    assert kpi.latest and before.latest
    [restated] = kpi.latest.restated
    assert (restated.was_publish_id, restated.publish_id) == (before.latest.publish_id, kpi.latest.publish_id)
    assert restated.at == kpi.latest.published_at
    assert restated.why == "the source object of things was replaced"
    assert (restated.was, restated.now) == ({"kilograms": 20.5, "labels": 1}, {"kilograms": 30.5, "labels": 1})
    # What readers saw until then.
    assert shop.kpi(as_of=restated.at - timedelta(microseconds=1)).points == before.points
    assert shop.kpi(as_of=restated.at).points == kpi.points
    assert shop.kpi(as_of=before.latest.published_at - timedelta(microseconds=1)).gate == "running"


def test_the_same_rows_again_restate_nothing(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    shop.land(things=THINGS + b"3,air,\n")
    shop.run()
    kpi = shop.kpi()
    assert kpi.latest
    assert kpi.latest.restated == []


def test_changed_sql_restates(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    shop.file(
        "marts/weighed.sql",
        WEIGHED.replace("select thing_id, weight", "select thing_id, (weight + 1)::numeric(6, 2) as weight"),
    )
    shop.run()
    shop.file("marts/heavy.sql", KPI.replace("sum(w.weight)", "2 * sum(w.weight)"))
    shop.land(labels=b"thing_id,label\n1,heavy\n2,light\n")
    shop.run()
    kpi = shop.kpi()
    assert kpi.latest
    assert [each.why for each in kpi.latest.restated] == [
        "the SQL of weighed was changed",
        "the source object of labels was replaced and its SQL was changed",
    ]


def test_a_load_date_that_was_taken_out(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    shop.land(shop.next)
    shop.run(shop.next)
    with shop.session() as session:
        publishes.record_load_date_removal(session, [Relation("marts", "heavy")], shop.next)
    kpi = shop.kpi()
    assert [point.load_date for point in kpi.points] == [shop.day]
    with shop.session() as session:
        [(removed,)] = session.execute(
            "select removed_at from ops.publishes where asset = 'marts.heavy' and load_date = %s", [shop.next]
        ).fetchall()
    assert [point.load_date for point in shop.kpi(as_of=removed - timedelta(microseconds=1)).points] == [
        shop.day,
        shop.next,
    ]
    shop.land(shop.next, things=MORE_THINGS)
    shop.run(shop.next)
    latest = shop.kpi().latest
    assert latest
    [restated] = latest.restated
    assert restated.why == "it was taken out and published again and the source object of things was replaced"


def test_values_stay_when_retention_drops_the_rows(shop: KpiShop) -> None:
    shop.land()
    shop.run()
    with shop.session() as session:
        publishes.record_drop(session, [Relation("marts", "heavy")], shop.day)
    latest = shop.kpi().latest
    assert latest
    assert (latest.values["kilograms"], latest.dropped_at is not None) == (20.5, True)
    assert shop.kpi(as_of=latest.published_at).points[0].dropped_at is None


def test_a_range_has_the_latest_load_date_and_those_it_is_compared_with(shop: KpiShop) -> None:
    for number in range(4):
        shop.land(shop.day + timedelta(days=number))
        shop.run(shop.day + timedelta(days=number))
    days = [shop.day + timedelta(days=number) for number in range(4)]
    kpi = shop.kpi(first=days[1], last=days[1])
    assert [point.load_date for point in kpi.points] == [days[1], days[3]]
    assert [point.load_date for point in kpi.beyond] == [days[0], days[2]]
    assert kpi.point(days[2]) is kpi.beyond[1]
