"""What is published on a person's word is marked in every KPI that is made of it, and in none beside it."""

from datetime import timedelta
from decimal import Decimal

from kpi_assets.materialize.rule import revoke
from kpi_assets.model.titles import day
from kpi_assets.read import said
from kpi_assets.read.digest import digest_of
from kpi_assets.read.kpis import FailedCheck, KpiState
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.read.kpi_shop import KpiShop
from kpi_assets_tests.two_source_pipeline import THINGS
from kpi_assets_tests.waivers import CHECK, CHECKED, REASON, TOO_HEAVY, waived


def published(shop: KpiShop) -> KpiState:
    """Publish a load_date on ana's word, and return the KPI."""
    shop.file("marts/weighed.sql", CHECKED)
    shop.land(things=TOO_HEAVY)
    assert shop.run()["marts.weighed"] == "held"
    assert shop.kpi().gate == "held"
    waived(shop, shop.day)
    assert set(shop.run().values()) == {"published"}
    return shop.kpi()


def test_a_kpi_that_is_made_of_waived_rows(kpi_shop: KpiShop) -> None:
    kpi = published(kpi_shop)
    assert (kpi.gate, kpi.stop) == ("waived", None)
    assert kpi.latest
    [found] = kpi.latest.waived
    assert (found.asset, found.load_date, found.by, found.reason) == ("marts.weighed", kpi_shop.day, "ana", REASON)
    assert found.checks == [FailedCheck("marts.weighed", CHECK, Decimal(1), Decimal(0), 1)]
    until = day(found.until.date())
    what = "1 row of weighed has a value in weight that is out of range"
    clause = f"published on ana's word until {until}: {what}; {REASON}"
    assert said.waived(kpi.pipeline, found) == clause
    assert said.gate(kpi) == f"{day(kpi_shop.day)}, published on ana's word"
    [banner] = said.banners([kpi])
    assert (banner.state, banner.headline, banner.shown, banner.reasons) == (
        *("waived", f"{day(kpi_shop.day)} is published on ana's word.", "It shows it.", [clause]),
    )
    digest = digest_of(kpi.pipeline, [kpi], kpi_shop.noon(kpi_shop.day))
    assert digest.news == [f"{banner.headline} It shows it. {clause[:1].upper()}{clause[1:]}."]
    assert digest.title == f"{kpi.pipeline.name}: {banner.headline.rstrip('.')}"


def test_what_is_shown_while_a_newer_load_date_is_held_is_not_called_good(kpi_shop: KpiShop) -> None:
    published(kpi_shop)
    kpi_shop.land(kpi_shop.next, DOUBLED)
    kpi_shop.run(kpi_shop.next)
    kpi = kpi_shop.kpi()
    assert kpi.gate == "held"
    assert said.gate(kpi) == f"{day(kpi_shop.day)}, published on ana's word"
    assert said.shown(kpi) == f"It shows {day(kpi_shop.day)}."
    assert [banner.state for banner in said.banners([kpi])] == ["held", "waived"]


def test_it_is_over_when_the_table_is_published_without_that(kpi_shop: KpiShop) -> None:
    before = published(kpi_shop)
    [(instant,)] = kpi_shop.rows("select clock_timestamp()")
    kpi_shop.land(things=THINGS)
    kpi_shop.run()
    kpi = kpi_shop.kpi()
    assert kpi.gate == "published"
    assert kpi.latest
    assert kpi.latest.waived == []
    then = kpi_shop.kpi(as_of=instant)
    assert then.latest
    assert before.latest
    assert then.latest.waived == before.latest.waived


def test_what_was_revoked_stays_and_says_so(kpi_shop: KpiShop) -> None:
    kpi = published(kpi_shop)
    assert kpi.latest
    [found] = kpi.latest.waived
    [(instant,)] = kpi_shop.rows("select clock_timestamp()")
    revoke(kpi_shop.context(), found.ruling_id, "the scale is wrong after all", "ben")
    now, then = kpi_shop.kpi(), kpi_shop.kpi(as_of=instant)
    assert now.latest
    assert then.latest
    assert said.waived(now.pipeline, now.latest.waived[0]).endswith(
        f"; {REASON}; ben revoked that: the scale is wrong after all"
    )
    assert then.latest.waived == [found]


def test_another_load_date_of_it_carries_no_mark(kpi_shop: KpiShop) -> None:
    published(kpi_shop)
    kpi_shop.land(kpi_shop.next)
    kpi_shop.run(kpi_shop.next)
    kpi = kpi_shop.kpi(last=kpi_shop.day + timedelta(days=1))
    assert [bool(point.waived) for point in kpi.points] == [True, False]
    assert kpi.gate == "published"
