"""Versions of a pipeline whose load_dates grow: they change with every publish, and their instants with every tick."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import kpi_values
from kpi_assets.ledger.kpi_values import Value
from kpi_assets.materialize.tick import tick
from kpi_assets.surface.latest import Version, Versions
from kpi_assets_tests.clicks_pipeline import KPI, ClicksPipeline

FRESH = "freshness: {within_minutes: 3}\ncolumns:"
DAY = date(2025, 4, 1)
NOON = datetime.combine(DAY, time(12), timezone.utc)


@pytest.fixture(scope="module")
def clicks(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClicksPipeline]:
    with ClicksPipeline.open(stack, tmp_path_factory.mktemp("latest")) as opened:
        assert isinstance(opened, ClicksPipeline)
        opened.stock()
        opened.day = DAY
        opened.file("marts/kpi_clicks.sql", KPI.replace("columns:", FRESH, 1))
        opened.prepared()
        yield opened


def version(clicks: ClicksPipeline, now: datetime = NOON) -> Version:
    with clicks.session() as session:
        return Versions().read(session, clicks.pipeline(), now)


def grow(clicks: ClicksPipeline, through: datetime, *event_ids: str) -> None:
    if event_ids:
        clicks.land(*event_ids)
    clicks.report(through)
    assert not tick(clicks.context(), clicks.day).failed


def test_a_version_changes_with_what_is_shown(clicks: ClicksPipeline) -> None:
    grow(clicks, NOON, "a")
    first = version(clicks)
    assert (first.digest, [each.through for each in first.instants]) == (version(clicks).digest, [NOON])
    grow(clicks, NOON + timedelta(seconds=20))
    second = version(clicks)
    assert second.digest == first.digest, "the page of a minute may be kept"
    assert [each.through for each in second.instants] == [NOON + timedelta(seconds=20)]
    grow(clicks, NOON + timedelta(seconds=30), "b")
    third = version(clicks)
    assert third.publishes_only != second.publishes_only
    assert third.publishes - second.publishes == third.publish_id - second.publish_id == 5
    assert version(clicks, NOON + timedelta(minutes=4)).late == ("marts.kpi_clicks",)

    with clicks.session() as session:
        [(publish_id, measure)] = session.execute(
            "select publish_id, measure from ops.kpi_values order by publish_id desc limit 1"
        ).fetchall()
        kpi_values.record(session, [Value(publish_id, measure, "another", None)], refreshed=True)
    fourth = version(clicks)
    assert (fourth.measured == third.measured, fourth.publishes_only == third.publishes_only) == (False, True)
