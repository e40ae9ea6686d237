"""What is published on a person's word is an incident of its own until it is published without that word."""

from datetime import date
from typing import Any

import pytest

from kpi_assets.alerts.message import message_of
from kpi_assets.ledger.deliveries import Alert
from kpi_assets.materialize.rule import revoke
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets.monitoring.waived import report_waived
from kpi_assets_tests.two_source_pipeline import THINGS, TwoSourcePipeline
from kpi_assets_tests.waivers import CHECK, CHECKED, REASON, TOO_HEAVY, expire, waived

ALERTS = "select kind, job, ruling, details[1], closed_at is null from ops.alerts order by id"


@pytest.fixture
def shop(shop: TwoSourcePipeline) -> TwoSourcePipeline:
    """The pipeline with a mart that its check holds."""
    shop.file("marts/weighed.sql", CHECKED)
    shop.land(things=TOO_HEAVY)
    assert shop.run()["marts.weighed"] == "held"
    return shop


def judge(shop: TwoSourcePipeline) -> list[tuple[Any, ...]]:
    """Judge twice, as each pass of the daemon does; return the incidents of the load_date."""
    pipeline = shop.pipeline()
    with shop.session() as session:
        for _ in range(2):
            report_waived(session, pipeline)
            close_recovered(session, pipeline)
    return shop.rows(ALERTS.replace("order by", f"where load_date = '{shop.day}' order by"))


def test_a_waived_table_has_not_recovered_until_it_is_published_without_that(shop: TwoSourcePipeline) -> None:
    made = waived(shop, shop.day)
    assert [row[::4] for row in judge(shop)] == [("held", True)], "nothing is published by it yet"
    shop.run()
    assert made.expires_at is not None
    until = f"{made.expires_at:%Y-%m-%d %H:%M} UTC"
    sentence = (
        f"marts.weighed of {shop.day} is published although {CHECK} failed: waived by ana until {until} ({REASON})"
    )
    [held, open_] = judge(shop)
    assert held[::4] == ("held", False), "it is over, and nobody is told that it has recovered"
    assert open_ == ("waived", "marts.weighed", made.object_key, sentence, True)

    shop.land(things=THINGS)
    shop.run()
    [*_, before, recovered] = judge(shop)
    assert before[::4] == ("waived", False)
    assert recovered[:3] == ("recovered", "marts.weighed", made.object_key)
    said, _, since = recovered[3].partition("; it was waived since ")
    assert said == f"marts.weighed of {shop.day} is published, and nobody had to waive a check of it"
    assert since.endswith(" UTC")


def test_a_ruling_that_expires_is_told_again_as_long_as_its_rows_are_shown(shop: TwoSourcePipeline) -> None:
    made = waived(shop, shop.day)
    shop.run()
    judge(shop)
    with shop.session() as session:
        session.execute("update ops.alerts set opened_at = clock_timestamp() - interval '2 hours'")
    expire(shop, made)
    [_, first, again] = judge(shop)
    assert (first[::4], again[::4]) == (("waived", False), ("waived", True))
    assert again[3].endswith(f"({REASON}); that time is over, and readers see these rows until others are published")


def test_a_ruling_that_is_revoked_is_over_and_the_next_build_is_held(shop: TwoSourcePipeline) -> None:
    made = waived(shop, shop.day)
    shop.run()
    judge(shop)
    revoke(shop.context(), made.ruling_id, "the scale is wrong after all", "ben")
    assert [row[::4] for row in judge(shop)] == [("held", False), ("waived", False)]
    shop.run()
    assert [row[::4] for row in judge(shop)] == [("held", False), ("waived", False), ("held", True)]


def test_a_ruling_that_expires_unused_is_told_once(shop: TwoSourcePipeline) -> None:
    made = waived(shop, shop.day)
    expire(shop, made)
    [held, unused] = judge(shop)
    assert held[::4] == ("held", True)
    said = f"marts.weighed: the waiver of {CHECK} by ana has expired unused ({REASON})"
    assert unused == ("held", "marts.weighed", made.object_key, said, False)


def test_of_each_load_date_its_own(shop: TwoSourcePipeline) -> None:
    waived(shop, shop.day)
    shop.run()
    shop.land(day=shop.next, things=TOO_HEAVY)
    shop.run(shop.next)
    waived(shop, shop.next)
    shop.run(shop.next)
    judge(shop)
    query = f"select load_date from ops.alerts where kind = 'waived' and load_date >= '{shop.day}' order by 1"
    assert shop.rows(query) == [(shop.day,), (shop.next,)]


def test_the_message(shop: TwoSourcePipeline) -> None:
    key = f"decisions/marts.weighed/load_date={shop.day}/0001.jsonl"
    [(now,)] = shop.rows("select now()")

    def alert(number: int, day: date) -> Alert:
        return Alert(number, "shop", day, "waived", None, "marts.weighed", ["why"], now, ruling=key)

    assert message_of([alert(1, shop.day)], "http://ui").title == (
        f"shop, load_date {shop.day}: marts.weighed is published on a person's word"
    )
    several = [alert(1, shop.day), alert(2, shop.next)]
    assert message_of(several, "http://ui").title == (
        f"shop, 2 load_dates from {shop.day} to {shop.next} are published on a person's word"
    )
