"""A single run over a range of load_dates: each is published, held or skipped by itself, and the run reports it."""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg
import pytest

from kpi_assets_tests.automation.conftest import SensorHarness
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.two_source_pipeline import THINGS

NAMES = ("raw.things", "raw.labels", "marts.weighed", "marts.heavy")
CHECKSUMS = (
    "select asset, load_date, rows, checksum from ops.published where load_date between '{}' and '{}' order by 1, 2"
)


def days_from(first: date, count: int) -> list[date]:
    return [first + timedelta(days=n) for n in range(count)]


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Return the error of each step that failed."""
    return {
        event.step_key.partition("__")[2].replace("__", "."): str(event.step_failure_data.user_failure_data.description)
        for event in result.all_events
        if event.is_step_failure and event.step_key and event.step_failure_data.user_failure_data
    }


def status(harness: SensorHarness, result: dg.ExecuteInProcessResult) -> str:
    """Return the status of a run in Dagster."""
    found = harness.instance.get_run_by_id(result.run_id)
    assert found is not None
    return found.status.value


def texts(days: Sequence[date]) -> list[str]:
    return [str(day) for day in days]


@pytest.mark.parametrize("count", few(1, [1, 2]))
def test_each_load_date_of_a_range_is_published_and_materialized(harness: SensorHarness, count: int) -> None:
    days = days_from(date(2026, 1, 1), count)
    for day in days:
        harness.shop.land(day)
    result = harness.range(days[0], days[-1])
    assert result.success
    assert {name: harness.materialized(name) for name in NAMES} == dict.fromkeys(NAMES, texts(days))
    checksums = harness.shop.rows(CHECKSUMS.format(days[0], days[-1]))
    assert len(checksums) == count * 4
    assert harness.range(days[0], days[-1]).success
    assert harness.shop.rows(CHECKSUMS.format(days[0], days[-1])) == checksums


@pytest.mark.nightly
def test_gaps_and_a_bad_load_date_do_not_stop_the_other_load_dates(harness: SensorHarness) -> None:
    shop = harness.shop
    days = days_from(date(2026, 3, 1), 31)
    gaps, bad = {days[0], days[9], days[30]}, days[16]
    for day in days:
        if day not in gaps:
            shop.land(day, things=DOUBLED if day == bad else THINGS)
    result = harness.range(days[0], days[-1])

    assert not result.success
    good = [day for day in days if day not in gaps and day != bad]
    assert harness.materialized("marts.heavy") == texts(good)
    assert harness.materialized("marts.weighed") == texts(good)
    assert harness.materialized("raw.things") == texts(good)
    assert harness.materialized("raw.labels") == texts(sorted([*good, bad]))
    assert harness.materialized("s3.things") == texts(sorted([*good, bad]))
    assert shop.rows("select load_date from marts.heavy where load_date >= '2026-03-01' order by 1") == [
        (day,) for day in good
    ]
    assert failures(result) == {}, "a held table is no error"
    assert status(harness, result) == "CANCELED"
    states = [status.state for status in shop.plan(days[0], days[-1])]
    assert [states.count(state) for state in ("published", "held", "missing")] == [27, 1, 3]


def test_each_load_date_has_its_own_check_results(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land(shop.day, things=DOUBLED)
    shop.land(shop.next)
    result = harness.range(shop.day, shop.next)
    found = {
        (e.check_name, e.partition): e.passed
        for e in result.get_asset_check_evaluations()
        if e.asset_key.path[-2:] == ["raw", "things"]
    }
    assert found["grain", str(shop.day)] is False
    assert found["grain", str(shop.next)] is True


@pytest.mark.nightly
def test_a_run_that_holds_a_table_builds_nothing_from_its_earlier_publish(harness: SensorHarness) -> None:
    """A run of one load_date does the same: Dagster builds nothing after a failed step."""
    shop = harness.shop
    shop.land(shop.day)
    shop.land(shop.next)
    assert harness.range(shop.day, shop.next).success
    before = shop.rows(f"select publish_id from ops.published where load_date = '{shop.day}' order by 1")
    shop.land(shop.day, things=DOUBLED)
    assert not harness.range(shop.day, shop.next).success
    now = shop.rows(f"select asset, publish_id from ops.published where load_date = '{shop.day}' order by 2")
    assert [name for name, publish_id in now if (publish_id,) not in before] == ["raw.labels"]


def test_an_error_of_one_load_date_does_not_stop_the_others(harness: SensorHarness) -> None:
    shop = harness.shop
    path = shop.folder / "marts/weighed.sql"
    divided = "select thing_id, (weight / (extract(day from load_date) - {}))::numeric(6, 2) as weight"
    path.write_text(path.read_text().replace("select thing_id, weight", divided.format(shop.day.day)))
    shop.land(shop.day)
    shop.land(shop.next)
    shop.land(shop.next + timedelta(days=1), things=DOUBLED)
    result = harness.range(shop.day, shop.next + timedelta(days=1))
    assert status(harness, result) == "FAILURE"
    assert failures(result) == {
        "marts.heavy": f"marts.heavy was not published for 2 of 3 load_dates ({shop.day}, "
        f"{shop.next + timedelta(days=1)}): the run's log and `kpi plan` say why."
    }
    assert harness.materialized("marts.heavy") == [str(shop.next)]
    assert shop.rows(
        f"select job, status from ops.pipeline_runs where load_date = '{shop.day}' and status <> 'success'"
    ) == [("marts.weighed", "failed")]
