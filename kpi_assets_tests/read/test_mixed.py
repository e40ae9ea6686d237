"""Whether numbers that are shown together rest on different publishes of one raw table."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.build import build
from kpi_assets.materialize.tick import tick
from kpi_assets.read.mixed import are_mixed
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.provision import READER
from kpi_assets_tests.carry_on import CarryingPipeline
from kpi_assets_tests.clicks_pipeline import ClicksPipeline
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.read.kpi_shop import KPI, MORE_THINGS, KpiShop
from kpi_assets_tests.two_source_pipeline import THINGS, WEIGHED

LIGHT = KPI.replace("Weight by label.", "The same in grams.").replace("sum(w.weight)", "1000 * sum(w.weight)")


@pytest.fixture
def two(kpi_shop: KpiShop) -> Iterator[KpiShop]:
    """The shop with two KPIs, marts.heavy and marts.light, both published."""
    kpi_shop.file("marts/light.sql", LIGHT)
    kpi_shop.land()
    assert set(kpi_shop.run().values()) == {"published"}
    yield kpi_shop
    (kpi_shop.folder / "marts" / "light.sql").unlink()


def mixed(shop: PipelineHarness, *kpis: str, as_of: datetime | None = None) -> bool:
    """Return whether the newest publishes of KPIs are mixed, as kpi_reader finds it."""
    with connect(shop.server, shop.name, "test", role=READER, read_only=True) as reader:
        rows = reader.execute(
            "select max(publish_id) from ops.publishes where asset = any(%s) "
            "and published_at <= coalesce(%s, now()) group by asset",
            [list(kpis), as_of],
        ).fetchall()
        assert len(rows) == len(kpis)
        return are_mixed(reader, [publish_id for (publish_id,) in rows], as_of)


BOTH = ("marts.heavy", "marts.light")


def test_a_kpi_that_was_not_built_since_is_mixed_with_one_that_was(two: KpiShop) -> None:
    assert not mixed(two, *BOTH)
    two.land(things=MORE_THINGS)
    for name in ("raw.things", "marts.weighed"):
        two.build(name, two.day)
    assert not mixed(two, *BOTH), "both are as they were before"
    [(between,)] = two.rows("select clock_timestamp()")
    two.build("marts.heavy", two.day)
    assert mixed(two, *BOTH)
    assert not mixed(two, "marts.heavy")
    assert not mixed(two, "marts.light")
    [(while_mixed,)] = two.rows("select clock_timestamp()")
    two.build("marts.light", two.day)
    assert not mixed(two, *BOTH)
    assert mixed(two, *BOTH, as_of=while_mixed)
    assert not mixed(two, *BOTH, as_of=between)


def test_what_has_the_same_rows_as_before_need_not_be_built_again(two: KpiShop) -> None:
    two.land(things=THINGS + b"3,air,\n")
    for name in ("raw.things", "marts.weighed", "marts.heavy"):
        two.build(name, two.day)
    assert not mixed(two, *BOTH), "weighed has the same rows"
    two.file("marts/weighed.sql", WEIGHED.replace("is not null", "is not null and true"))
    two.build("marts.weighed", two.day)
    assert not mixed(two, *BOTH)


def test_other_load_dates_are_no_mixture(two: KpiShop) -> None:
    two.land(two.next, things=MORE_THINGS)
    for name in ("raw.things", "raw.labels", "marts.weighed", "marts.heavy"):
        two.build(name, two.next)
    assert not mixed(two, *BOTH)


def test_events_that_came_since_are_no_other_publish(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    context = clicks.context()
    assert not tick(context, clicks.day).failed
    clicks.land("b")
    for name in ("raw.clicks", "stg.clicks", "stg.clicks_by_minute", "marts.kpi_clicks"):
        build(context, context.pipeline.table(name), clicks.day)
    assert not mixed(clicks, "marts.kpi_clicks", "marts.kpi_total")


def test_a_table_that_carries_on_is_not_followed_to_its_first_load_date(stack: Stack, tmp_path: Path) -> None:
    with CarryingPipeline.open(stack, tmp_path) as lab:
        assert isinstance(lab, CarryingPipeline)
        lab.stock()
        for number in (1, 2):
            lab.publish(number, number)
        lab.deliver(1, 1, 7)
        lab.again(1)
        # The second load_date was built from what the first one was before.
        newest = "select max(publish_id) from ops.publishes where asset = 'marts.seen' group by load_date"
        with lab.session() as session:
            assert not are_mixed(session, [publish_id for (publish_id,) in session.execute(newest).fetchall()])
