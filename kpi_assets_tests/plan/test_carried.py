"""A weekly source in a daily graph: its object is carried to the days after it, until the next one has landed.

Each test has weeks of its own, since the tests share one pipeline.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kpi_assets.cli import workspace
from kpi_assets.cli.app import app
from kpi_assets.cli.plan_ranges import fitting
from kpi_assets.ledger import publishes
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.plan.unexpected import find_unexpected
from kpi_assets.read.origin import find_origins
from kpi_assets.settings import settings
from kpi_assets_tests.lookback import labels
from kpi_assets_tests.pipeline_harness import failed
from kpi_assets_tests.two_source_pipeline import LABELS, RAW_LABELS, THINGS, TwoSourcePipeline

SOURCE = 'source: {object: "raw/labels/load_date={load_date}/labels.csv", format: csv}'
EACH = {"raw.things", "raw.labels", "marts.weighed", "marts.heavy"}
OTHER = labels(t1="light")


@pytest.fixture
def shop(shop: TwoSourcePipeline) -> Iterator[TwoSourcePipeline]:
    """A shop whose labels come on Mondays and are carried for 13 days."""
    come(shop, "every: monday, carried_days: 13")
    yield shop
    for day in (date(2025, 1, 1) + timedelta(days=n) for n in range(400)):
        if day.weekday() == 0:
            shop.s3.delete_object(Bucket=shop.bucket, Key=shop.key("labels", day))


def come(shop: TwoSourcePipeline, words: str) -> None:
    shop.file("raw/labels.sql", RAW_LABELS.replace(SOURCE, SOURCE.replace("format: csv", f"format: csv, {words}")))


def states(shop: TwoSourcePipeline, first: date, last: date) -> list[str]:
    return [each.state for each in shop.plan(first, last)]


def rows(shop: TwoSourcePipeline, day: date) -> list[str]:
    return [label for (label,) in shop.rows(f"select label from raw.labels where load_date = '{day}' order by 1")]


def results(shop: TwoSourcePipeline, table: str, day: date, check: str) -> tuple[str, str]:
    found = shop.rows(
        "select status, message from ops.data_quality_results where "
        f"(table_name, load_date, check_name) = ('{table}', '{day}', '{check}') order by id desc limit 1"
    )
    return found[0]


def test_tuesday_and_thursday_are_built_from_monday_also_across_new_year(shop: TwoSourcePipeline) -> None:
    monday, tuesday, thursday = date(2025, 12, 29), date(2025, 12, 30), date(2026, 1, 1)
    shop.land(monday)
    for day in (tuesday, thursday):
        shop.land(day, labels=None)
    found = shop.plan(monday, date(2026, 1, 2))
    assert [each.state for each in found] == ["new", "new", "missing", "new", "missing"]
    assert [each.landed for each in found] == [2, 1, 0, 1, 0], "a carried object lands for no other load_date"
    for day in (thursday, monday, tuesday):
        assert shop.run(day) == dict.fromkeys(EACH, "published")
        assert rows(shop, day) == ["heavy"]
        assert results(shop, "s3.labels", day, "carried") == ("pass", "")
        assert results(shop, "raw.labels", day, "not_seen_before") == ("pass", ""), "the same object is no repetition"
    assert states(shop, monday, thursday) == ["published", "published", "missing", "published"]
    manifests = shop.rows("select distinct key, manifest_hash from ops.manifests where object = 'labels'")
    assert [key for key, _ in manifests] == [shop.key("labels", monday)], "each load_date has the same state"

    with shop.session() as session:
        table = shop.pipeline().table("raw.labels")
        [publish] = [
            each for each in publishes.all_current(session) if (each.asset, each.load_date) == ("raw.labels", thursday)
        ]
        origins = find_origins(session, shop.store, table, publish, [["1"]], lambda _url, _size: nullcontext(print))
    assert [each and (each.object, each.line) for each in origins.of_rows] == [
        (f"s3://{shop.bucket}/{shop.key('labels', monday)}", 2)
    ]


def test_a_late_monday_is_carried_over_and_built_again_when_it_lands(shop: TwoSourcePipeline) -> None:
    before, monday, tuesday = date(2025, 6, 2), date(2025, 6, 9), date(2025, 6, 10)
    shop.land(before)
    for day in (monday, tuesday):
        shop.land(day, labels=None)
        assert shop.run(day) == dict.fromkeys(EACH, "published")
        assert results(shop, "s3.labels", day, "carried") == (
            "warn",
            f"s3://{shop.bucket}/{shop.key('labels', before)} is read, since that of 2025-06-09, a Monday, has not "
            "landed",
        )
    assert states(shop, monday, tuesday) == ["published", "published"]
    shop.land(monday, things=None, labels=OTHER)
    found = shop.plan(monday, tuesday)
    assert [(each.state, each.stale_reason, each.reason) for each in found] == [
        ("stale", "objects", f"Landed since it was built from an earlier one: {shop.key('labels', monday)}.")
    ] * 2
    assert all(each.is_due(rebuild_on_sql_change=False) for each in found)
    for day in (monday, tuesday):
        shop.run(day)
        assert rows(shop, day) == ["light"]
        assert results(shop, "s3.labels", day, "carried") == ("pass", "")
    assert states(shop, monday, tuesday) == ["published", "published"]


def test_a_replaced_monday_makes_its_days_stale_and_one_that_is_gone_does_not(shop: TwoSourcePipeline) -> None:
    before, monday, tuesday = date(2025, 7, 7), date(2025, 7, 14), date(2025, 7, 15)
    shop.land(before)
    shop.land(monday, labels=OTHER)
    shop.land(tuesday, labels=None)
    for day in (monday, tuesday):
        shop.run(day)
    shop.land(monday, things=None, labels=LABELS + b"2,floating\n")
    [found] = shop.plan(tuesday, tuesday)
    key = shop.key("labels", monday)
    assert (found.state, found.reason) == ("stale", f"Replaced since it was read: {key}.")
    for day in (tuesday, monday):
        shop.run(day)
        assert rows(shop, day) == ["floating", "heavy"]
        assert results(shop, "raw.labels", day, "not_seen_before") == ("pass", "")
    shop.s3.delete_object(Bucket=shop.bucket, Key=key)
    assert states(shop, monday, tuesday) == ["published", "published"], "the store may have let it expire"


def test_the_bytes_of_the_monday_before_are_a_repetition_and_named_once(shop: TwoSourcePipeline) -> None:
    before, monday = date(2025, 8, 4), date(2025, 8, 11)
    body = labels(t1="same", t2="bytes")
    shop.land(before, labels=body)
    shop.land(before + timedelta(days=1), labels=None)
    shop.land(monday, labels=body)
    for day in (before, before + timedelta(days=1), monday):
        shop.run(day)
    key = f"s3://{shop.bucket}/{shop.key('labels', before)}"
    assert results(shop, "raw.labels", monday, "not_seen_before") == (
        "warn",
        f"the object has the same bytes as {key} of {before}",
    )


def test_beyond_its_days_a_load_date_lacks_its_object(shop: TwoSourcePipeline) -> None:
    monday, last, day = date(2025, 9, 1), date(2025, 9, 14), date(2025, 9, 23)
    shop.land(monday)
    shop.land(last, labels=None)
    shop.land(day, labels=None)
    assert states(shop, last, last) == ["new"]
    far = datetime.now(timezone.utc) + timedelta(days=30)
    [found] = shop.plan(day, day, far)
    keys = [shop.key("labels", date(2025, 9, number)) for number in (22, 15)]
    assert (found.state, found.reason) == (
        "incomplete",
        f"1 of its 2 objects landed; lacking: {keys[0]} or {keys[1]} of raw.labels.",
    )
    shop.land(date(2025, 9, 22), labels=None)
    [found] = shop.plan(date(2025, 9, 22), date(2025, 9, 22), far)
    assert found.state == "late", "on the day on which it is due"
    context = shop.prepared()
    outcome = verify(context, context.pipeline.table("raw.labels"), day)
    assert (outcome.held, outcome.is_missing) == (True, True)
    assert failed(outcome.results)["exists"].message == (
        f"s3://{shop.bucket}/{keys[0]} and s3://{shop.bucket}/{keys[1]} are not there, and an object is carried for 13 "
        "days at most"
    )
    assert shop.rows(f"select status, error_message from ops.pipeline_runs where load_date = '{day}'") == [
        ("missing", failed(outcome.results)["exists"].message)
    ]


def test_an_object_on_another_day_is_unexpected(shop: TwoSourcePipeline) -> None:
    tuesday = date(2025, 10, 7)
    shop.land(tuesday, things=None)
    found = list(find_unexpected(shop.pipeline(), shop.store, date(2025, 10, 1), date(2025, 10, 13)))
    shop.s3.delete_object(Bucket=shop.bucket, Key=shop.key("labels", tuesday))
    assert [(str(each.table.relation), each.load_dates) for each in found] == [("raw.labels", [tuesday])]


def test_an_object_on_a_day_that_is_no_load_date_is_expected_if_it_is_carried(shop: TwoSourcePipeline) -> None:
    monday, path = date(2025, 11, 24), shop.folder / "pipeline.yaml"
    text = path.read_text()
    path.write_text(f"{text}calendar: {{every: [tuesday, wednesday, thursday, friday]}}\n")
    shop.land(monday, things=None)
    shop.land(monday + timedelta(days=1), labels=None)
    try:
        found = list(find_unexpected(shop.pipeline(), shop.store, monday, monday + timedelta(days=6)))
        next_day = states(shop, monday + timedelta(days=1), monday + timedelta(days=1))
    finally:
        path.write_text(text)
    assert (found, next_day) == ([], ["new"])


def test_kpi_land_asks_for_the_object_on_its_days_only(
    shop: TwoSourcePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KPI_SQL_DIR", str(shop.root))
    (tmp_path / "things.csv").write_bytes(THINGS)
    said = {}
    for day in (date(2025, 10, 27), date(2025, 10, 28)):
        settings.cache_clear()
        workspace.read_tree.cache_clear()
        found = CliRunner().invoke(app, ["land", shop.name, "--load-date", str(day), "--from", str(tmp_path)])
        said[day.day] = [line.split()[0] for line in found.stdout.splitlines()]
    (tmp_path / "labels.csv").write_bytes(LABELS)
    found = CliRunner().invoke(app, ["land", shop.name, "--load-date", str(day), "--from", str(tmp_path)])
    shop.s3.delete_object(Bucket=shop.bucket, Key=shop.key("labels", day))
    monkeypatch.undo()
    settings.cache_clear()
    workspace.read_tree.cache_clear()
    useless = (
        f"{tmp_path / 'labels.csv'} was landed, but no run reads it: the object of raw.labels comes every monday, not "
        f"on 2025-10-28, a Tuesday ({shop.folder / 'raw/labels.sql'})."
    )
    assert useless in " ".join(found.stdout.split())
    assert said == {27: ["absent", "landed"], 28: ["landed"]}


@pytest.mark.nightly
def test_a_plan_of_a_year_fits_on_a_screen(shop: TwoSourcePipeline) -> None:
    shop.day = first = date(2024, 1, 1)
    path = shop.folder / "pipeline.yaml"
    path.write_text(path.read_text().replace("2025-01-01", str(first)))
    days = [first + timedelta(days=n) for n in range(366)]
    gap = [date(2024, 6, 3), date(2024, 6, 10), date(2024, 6, 17)]  # Mondays without an object
    with ThreadPoolExecutor(8) as pool:
        comes = [LABELS if day.weekday() == 0 and day not in gap else None for day in days]
        list(pool.map(lambda day, labels: shop.land(day, labels=labels), days, comes))
    found = shop.plan(days[0], days[-1])
    ranges = fitting(found, len)
    assert [(each.load_dates, each.state) for each in ranges] == [
        ("2024-01-01 to 2024-06-09 (161)", "new"),
        ("2024-06-10 to 2024-06-23 (14)", "incomplete"),
        ("2024-06-24 to 2024-12-31 (191)", "new"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "every: monday, carried_days: 5",
            "carried_days: 5 leaves raw.labels without an object on 2025-01-12, a Sunday, 6 days after the last one, "
            "since it comes every monday: write 6 or more",
        ),
        ("every: monday, carried_days: 0", "source.carried_days: 0 is too small: write 1 or more"),
        (
            "carried_days: 3, optional: true",
            "source.carried_days: says what is read where an object is absent: take it out, or take optional out",
        ),
    ],
)
def test_days_that_make_no_sense_are_refused(shop: TwoSourcePipeline, words: str, said: str) -> None:
    come(shop, words)
    with pytest.raises(ModelError) as failure:
        shop.pipeline()
    assert said in str(failure.value)


def test_a_pattern_is_carried_when_it_is_whole(shop: TwoSourcePipeline) -> None:
    before, monday = date(2025, 11, 3), date(2025, 11, 10)
    come(shop, "every: monday, carried_days: 13, complete: {objects: 2}")
    path = shop.folder / "raw/labels.sql"
    path.write_text(path.read_text().replace("{load_date}/labels.csv", "{load_date}/part-*.csv"))
    for day, parts in ((before, 2), (monday, 1)):
        shop.land(day, labels=None)
        for number in range(parts):
            body = b"thing_id,label\n%d,%d\n" % (number + 1, day.day)
            shop.put(f"raw/labels/load_date={day}/part-{number}.csv", body)
    assert shop.run(monday) == dict.fromkeys(EACH, "published")
    assert rows(shop, monday) == ["3", "3"]
    shop.put(f"raw/labels/load_date={monday}/part-1.csv", b"thing_id,label\n2,new\n")
    assert states(shop, monday, monday) == ["stale"]
    shop.run(monday)
    assert rows(shop, monday) == ["10", "new"]
    assert states(shop, monday, monday) == ["published"]
