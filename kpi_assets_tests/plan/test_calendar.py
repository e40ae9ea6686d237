"""Load_dates on which something is not due, and optional objects: what is not due is neither missing nor late."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

import pytest

from kpi_assets.errors import UsageError, UserError
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.recheck import recheck
from kpi_assets.read.checks import read_checks
from kpi_assets_tests.lookback import RECENT, labels
from kpi_assets_tests.two_source_pipeline import HEAVY, RAW_LABELS, TwoSourcePipeline

SOURCE = 'source: {object: "raw/labels/load_date={load_date}/labels.csv", format: csv}'
WEIGHT = """\
/* @asset
description: Weight and labels over the last days.
owner: team:tests
grain: [what]
lookback: {days: 8, rows: all}
columns:
  what: {type: text, description: What is counted.}
  rows: {type: bigint, description: How many.}
@end */
select 'things' as what, count(*) as rows
from raw.things
where load_date between %(window_start)s and %(load_date)s
union all
select 'labels' as what, count(*) as rows
from raw.labels
where load_date between %(window_start)s and %(load_date)s
"""


@pytest.fixture
def week(shop: TwoSourcePipeline) -> Iterator[list[date]]:
    """Nine load_dates that no other test sees, of which the first and the eighth are Mondays."""
    shop.day += timedelta(days=20)
    shop.day += timedelta(days=-shop.day.weekday() % 7)
    yield [shop.day + timedelta(days=n) for n in range(9)]
    (shop.folder / "marts/both.sql").unlink(missing_ok=True)
    (shop.folder / "marts/recent.sql").unlink(missing_ok=True)


def labels_come(shop: TwoSourcePipeline, words: str) -> None:
    shop.file("raw/labels.sql", RAW_LABELS.replace(SOURCE, SOURCE.replace("format: csv", f"format: csv, {words}")))


def states(shop: TwoSourcePipeline, days: list[date], now: datetime | None = None) -> list[tuple[str, str]]:
    return [(str(each.load_date), each.state) for each in shop.plan(days[0], days[-1], now)]


def test_a_load_date_is_whole_without_what_is_not_due_on_it(shop: TwoSourcePipeline, week: list[date]) -> None:
    labels_come(shop, "every: monday")
    monday, tuesday = week[:2]
    shop.land(monday, labels=None)
    shop.land(tuesday, labels=None)
    assert states(shop, [monday, tuesday]) == [(str(monday), "incomplete"), (str(tuesday), "new")]
    late = datetime.now(timezone.utc) + timedelta(days=30)
    assert [state for _, state in states(shop, [monday, tuesday], late)] == ["late", "new"]
    assert shop.run(tuesday) == {"raw.things": "published", "marts.weighed": "published"}
    [found] = shop.plan(tuesday, tuesday)
    assert found.reason == "All 2 tables that are due are up to date with S3 and the SQL."
    shop.land(monday)
    shop.run(monday)
    assert {state for _, state in states(shop, [monday, tuesday])} == {"published"}
    shop.land(tuesday)
    assert states(shop, [tuesday]) == [(str(tuesday), "published")], "an object that is not due counts for nothing"


def test_what_is_not_due_is_not_built(shop: TwoSourcePipeline, week: list[date]) -> None:
    labels_come(shop, "every: monday")
    reason = rf"marts\.heavy is not due on {week[1]}, a Tuesday: it reads raw\.labels of its load_date, and the object"
    with pytest.raises(UsageError, match=reason):
        shop.build("marts.heavy", week[1])
    with pytest.raises(
        UsageError, match=rf"raw\.labels is not due on {week[1]}, a Tuesday: the object of raw\.labels "
    ):
        shop.verify("raw.labels", week[1])


def test_load_dates_before_a_source_came_are_whole_without_it(shop: TwoSourcePipeline, week: list[date]) -> None:
    for file in ("raw/labels.sql", "marts/heavy.sql"):
        (shop.folder / file).unlink()
    for day in week[:2]:
        shop.land(day, labels=None)
        shop.run(day)
    labels_come(shop, f"since: {week[1]}")
    shop.file("marts/heavy.sql", HEAVY)
    assert states(shop, week[:2]) == [(str(week[0]), "published"), (str(week[1]), "incomplete")]


def test_days_outside_of_the_calendar_have_no_status(shop: TwoSourcePipeline, week: list[date]) -> None:
    path = shop.folder / "pipeline.yaml"
    path.write_text(path.read_text() + f"calendar: {{every: weekday, except: [{week[2]}]}}\n")
    shop.land(week[5])
    assert [day for day, _ in states(shop, week)] == [str(week[n]) for n in (0, 1, 3, 4, 7, 8)]
    assert shop.plan(week[5], week[6]) == []


@pytest.mark.nightly
def test_a_window_is_read_without_what_is_not_due_in_it(shop: TwoSourcePipeline, week: list[date]) -> None:
    labels_come(shop, "every: monday")
    shop.file("marts/both.sql", WEIGHT)
    for day in week:
        if day != week[3]:
            shop.land(day, labels=labels(t1="heavy", t2="light", t3="light") if day.weekday() == 0 else None)
    for day in (week[8], week[0], week[1], week[7], week[2]):
        assert shop.run(day)["marts.both"] == "published"
    rows = "select load_date, what, rows from marts.both where load_date between '{}' and '{}' order by 1, 2 desc"
    assert [row[1:] for row in shop.rows(rows.format(week[1], week[1]))] == [("things", 4), ("labels", 3)]
    assert [row[1:] for row in shop.rows(rows.format(week[7], week[7]))] == [("things", 6), ("labels", 6)]
    found = {each.load_date: (each.state, each.tables_to_build) for each in shop.plan(week[0], week[-1])}
    assert [found[day] for day in (week[0], week[1], week[2])] == [("published", ())] * 3
    assert [found[day] for day in (week[7], week[8])] == [("stale", ("marts.both",))] * 2
    for day in (week[7], week[8]):
        shop.run(day)
    assert [row[1:] for row in shop.rows(rows.format(week[8], week[8]))] == [("things", 8), ("labels", 3)]
    assert [each.state for each in shop.plan(week[7], week[8])] == ["published"] * 2
    outcome = shop.build("marts.both", week[8])
    assert outcome.window is not None
    assert outcome.window.absent == f"{week[3]} to {week[6]}", "raw.things is due on these days"


def test_a_table_whose_window_has_no_due_table_today_is_built_once_the_day_is_over(
    shop: TwoSourcePipeline, week: list[date]
) -> None:
    for file in ("raw/things.sql", "marts/weighed.sql", "marts/heavy.sql"):
        (shop.folder / file).unlink()
    labels_come(shop, "every: monday")
    shop.file("marts/recent.sql", RECENT)
    monday, tuesday, *_ = week
    before = datetime(tuesday.year, tuesday.month, tuesday.day, 23, 59, tzinfo=timezone.utc)
    [waiting], [due] = shop.plan(tuesday, tuesday, before), shop.plan(tuesday, tuesday)
    assert (waiting.state, waiting.reason) == (
        "missing",
        "No object of it is due: it is built once it is over, at 24:00 UTC.",
    )
    assert (due.state, due.reason) == ("new", "No object of it is due; nothing of it is published.")
    assert due.is_due(rebuild_on_sql_change=False)
    shop.put(shop.key("labels", monday), labels(t1="heavy"))
    shop.run(monday)
    outcome = shop.build("marts.recent", tuesday)
    assert (outcome.rows, outcome.window and outcome.window.there, outcome.window and outcome.window.absent) == (
        1,
        (monday,),
        "",
    )
    assert shop.plan(tuesday, tuesday)[0].state == "published"
    assert outcome.inputs == {}


def test_an_optional_object_that_is_not_there_is_one_without_rows(shop: TwoSourcePipeline, week: list[date]) -> None:
    labels_come(shop, "optional: true")
    day = week[0]
    shop.day = day
    heavy = HEAVY.replace("kpi:", "checks: {min_rows: {at_least: 0}}\nkpi:")
    shop.file("marts/heavy.sql", heavy)
    shop.land(labels=None)
    key = shop.key("labels")
    new = f"1 object landed, without its optional object {key}; nothing of it is published."
    assert (shop.status().state, shop.status().reason) == ("new", new)
    assert set(shop.run().values()) == {"published"}
    reason = f"All 4 tables are up to date with S3 and the SQL, without its optional object {key}."
    assert (shop.status().state, shop.status().reason) == ("published", reason)
    assert shop.rows(f"select asset, rows from ops.published where load_date = '{day}' order by 1") == [
        ("marts.heavy", 0),
        ("marts.weighed", 1),
        ("raw.labels", 0),
        ("raw.things", 2),
    ]
    accounted = (
        "select check_name, status, message from ops.data_quality_results where table_name = '{}' and load_date = '{}'"
    )
    of_rows = {name: (status, said) for name, status, said in shop.rows(accounted.format("raw.labels", day))}
    assert of_rows["min_rows"] == ("pass", "not judged: the optional object is not there")
    assert {status for status, _ in of_rows.values()} == {"pass"}
    absent = f"s3://{shop.bucket}/{key} is not there: it is optional"
    assert shop.rows(accounted.format("s3.labels", day)) == [("exists", "pass", absent)]

    shop.land(things=None)
    landed = shop.status()
    assert (landed.state, landed.reason) == ("stale", f"Landed since it was built without it: {key}.")
    assert landed.is_due(rebuild_on_sql_change=False)
    shop.run()
    assert shop.rows(f"select rows from ops.published where load_date = '{day}' and asset = 'raw.labels'") == [(1,)]
    assert shop.status().state == "published"

    shop.s3.delete_object(Bucket=shop.bucket, Key=key)
    gone = shop.status()
    assert (gone.state, gone.stale_reason) == ("stale", "removed")
    assert gone.reason == f"Its optional object is gone since it was read: {key}."
    assert not gone.is_due(rebuild_on_sql_change=True), "the store may have let it expire"
    shop.run()
    assert shop.rows(f"select rows from ops.published where load_date = '{day}' and asset = 'raw.labels'") == [(0,)]
    assert shop.status().state == "published"


def test_a_load_date_of_optional_objects_alone_waits_until_it_is_over(
    shop: TwoSourcePipeline, week: list[date]
) -> None:
    for file in ("raw/things.sql", "marts/weighed.sql", "marts/heavy.sql"):
        (shop.folder / file).unlink()
    labels_come(shop, "optional: true")
    shop.day = week[0]
    before = datetime(shop.day.year, shop.day.month, shop.day.day, 12, tzinfo=timezone.utc)
    waiting = shop.status(before)
    assert (waiting.state, waiting.is_complete) == ("missing", False)
    reason = "None of its optional objects lies on S3: it is built without them once it is over, at 24:00 UTC."
    assert waiting.reason == reason
    found = shop.status()
    key = shop.key("labels")
    assert (found.state, found.reason) == (
        "new",
        f"Complete without its optional object {key}; nothing of it is published.",
    )
    shop.run()
    assert shop.status(before).state == "published"


def test_an_optional_object_that_is_there_is_verified_before_it_is_loaded(
    shop: TwoSourcePipeline, week: list[date]
) -> None:
    labels_come(shop, "optional: true")
    shop.day = week[0]
    shop.prepared()
    shop.verify("raw.labels", shop.day)
    shop.land()

    other = shop.context(run_id="another-run")
    with pytest.raises(UpstreamError, match="its object has not been verified"):
        build(other, other.pipeline.table("raw.labels"), shop.day)
    same = shop.context()
    assert build(same, same.pipeline.table("raw.labels"), shop.day).rows == 0, (
        "this run has verified that there is none"
    )


def test_checks_of_what_is_published_without_its_object_are_made_again(
    shop: TwoSourcePipeline, week: list[date]
) -> None:
    labels_come(shop, "optional: true")
    shop.day = week[0]
    shop.land(labels=None)
    heavy = HEAVY.replace("kpi:", "checks: {min_rows: {at_least: 0}, reconcile: {source: raw.labels}}\nkpi:")
    shop.file("marts/heavy.sql", heavy)
    assert set(shop.run().values()) == {"published"}
    context = shop.prepared(run_id="again")
    for name in ("raw.labels", "marts.heavy"):
        results = recheck(context, context.pipeline.table(name), shop.day)
        assert [result.name for result in results if not result.passed] == []
    reconciled = next(result for result in results if result.name == "reconcile")
    assert reconciled.message == "0 rows of raw.labels = 0 here"


def test_without_its_object_a_table_is_still_held_by_its_other_checks(
    shop: TwoSourcePipeline, week: list[date]
) -> None:
    labels_come(shop, "optional: true")
    path = shop.folder / "raw/labels.sql"
    enough = "checks: {enough: {bad_rows: 'select 1 as few from {this} having count(*) < 1'}}\n@end"
    path.write_text(path.read_text().replace("@end", enough))
    shop.day = week[0]
    shop.land(labels=None)
    assert shop.run()["raw.labels"] == "held"
    assert (shop.status().state, shop.status().summary) == ("held", "raw.labels: held by enough.")
    assert "read from" not in shop.status().reason
    shop.land(things=None)
    assert shop.status().stale_reason == "objects"
    assert shop.run()["raw.labels"] == "published"


def test_an_absent_object_is_no_usual_or_previous_number_of_rows(shop: TwoSourcePipeline, week: list[date]) -> None:
    labels_come(shop, "optional: true")
    path = shop.folder / "raw/labels.sql"
    path.write_text(path.read_text().replace("@end", "checks: {min_rows: {of_previous: 1}}\n@end"))
    for day, body in ((week[0], labels(t1="a", t2="b")), (week[1], None), (week[2], labels(t1="a"))):
        shop.land(day, labels=body)
        shop.run(day)
    rows = "select load_date, metric_value, threshold from ops.data_quality_results where check_name = 'min_rows' and "
    found = shop.rows(rows + f"table_name = 'raw.labels' and load_date between '{week[0]}' and '{week[2]}' order by id")
    assert [(day, int(metric), threshold and int(threshold)) for day, metric, threshold in found] == [
        (week[0], 2, 1),
        (week[1], 0, None),
        (week[2], 1, 2),
    ]


def test_the_usual_number_of_rows_of_month_ends_is_that_of_any_of_them(
    shop: TwoSourcePipeline, week: list[date]
) -> None:
    labels_come(shop, "every: month-end")
    path = shop.folder / "raw/labels.sql"
    path.write_text(path.read_text().replace("@end", "checks: {min_rows: {of_usual: 1}}\n@end"))
    (shop.folder / "marts/heavy.sql").unlink()
    with shop.session() as session:
        session.execute("delete from ops.publishes where asset = 'raw.labels'")
    ends = [date(2025, 8, 31), date(2025, 9, 30), date(2025, 10, 31), date(2025, 11, 30), date(2025, 12, 31)]
    for day in ends:
        shop.put(shop.key("labels", day), labels(t1="a") if day == ends[-1] else labels(t1="a", t2="b"))
    built = [shop.build("raw.labels", day) for day in ends]
    [result] = [each for each in built[-1].results if each.name == "min_rows"]
    assert result.message == "1 rows, at least 2 are wanted (100% of 2, the median of the last 4 load_dates)"


def test_what_was_not_checked_because_nothing_is_due_is_said(shop: TwoSourcePipeline, week: list[date]) -> None:
    path = shop.folder / "pipeline.yaml"
    text = path.read_text()
    path.write_text(text + "calendar: {every: weekday}\n")
    saturday = week[0] + timedelta(days=5)
    with shop.session() as session, pytest.raises(UserError) as caught:
        read_checks(session, shop.pipeline(), saturday, place="the home")
    path.write_text(text)
    assert str(caught.value) == f"Nothing of {shop.name} was checked for {saturday}, a Saturday: nothing is due on it."
