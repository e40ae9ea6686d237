"""What `main` of a table on the lake shows, as the ledger knows it: which load_dates lag, and what is left there."""

from datetime import timedelta

import pytest

from kpi_assets.ledger import mirrors, publishes
from kpi_assets_tests.ledger.test_places import OTHERS, THINGS, at, published
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS, PipelineHarness


@pytest.fixture
def ready(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.prepared()
    return lab


def test_a_load_date_lags_until_main_shows_the_snapshot_that_is_published(ready: PipelineHarness) -> None:
    with ready.session() as session:
        assert mirrors.lagging(session, THINGS) == {}
        published(session, at(1))
        published(session, at(2), NEXT)
        published(session, None, relation=OTHERS)
        assert mirrors.lagging(session, THINGS) == {DAY: at(1), NEXT: at(2)}
        mirrors.begin_change(session, THINGS, DAY)
        assert mirrors.lagging(session, THINGS) == {DAY: at(1), NEXT: at(2)}, "it may have ended or not"
        mirrors.end_change(session, THINGS, DAY, at(1))
        assert mirrors.lagging(session, THINGS) == {NEXT: at(2)}
        published(session, at(3))
        assert mirrors.lagging(session, THINGS) == {DAY: at(3), NEXT: at(2)}
        assert mirrors.lagging_of(session, [OTHERS, THINGS]) == {THINGS: {DAY: at(3), NEXT: at(2)}}


def test_what_is_published_no_more_lags_until_main_has_lost_it(ready: PipelineHarness) -> None:
    later = NEXT + timedelta(days=1)
    with ready.session() as session:
        for number, day in enumerate((DAY, NEXT, later)):
            published(session, at(number), day)
            mirrors.begin_change(session, THINGS, day)
            mirrors.end_change(session, THINGS, day, at(number))
        assert mirrors.lagging(session, THINGS) == {}
        publishes.record_load_date_removal(session, [THINGS], DAY)
        publishes.record_drop(session, [THINGS], NEXT)
        assert mirrors.lagging(session, THINGS) == {DAY: None, NEXT: None}
        mirrors.begin_change(session, THINGS, DAY)
        assert mirrors.lagging(session, THINGS) == {DAY: None, NEXT: None}
        mirrors.end_change(session, THINGS, DAY, None)
        assert mirrors.lagging(session, THINGS) == {NEXT: None}


def test_a_table_is_on_the_lake_while_it_is_published_or_left_there(ready: PipelineHarness) -> None:
    with ready.session() as session:
        assert not mirrors.is_on_lake(session, THINGS)
        published(session, None, relation=OTHERS)
        published(session, at(1))
        assert mirrors.is_on_lake(session, THINGS)
        assert not mirrors.is_on_lake(session, OTHERS)
        mirrors.begin_change(session, THINGS, DAY)
        publishes.record_removal(session, THINGS)
        assert mirrors.is_on_lake(session, THINGS)
        mirrors.forget(session, THINGS)
        assert not mirrors.is_on_lake(session, THINGS)
