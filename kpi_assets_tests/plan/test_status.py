"""The status of a load_date: each state with its reason, from the objects on S3 and the ledger in Postgres."""

from datetime import date, datetime, timedelta, timezone

import pytest

from kpi_assets.ledger import runs
from kpi_assets.materialize.build import build
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.two_source_pipeline import HEAVY, LABELS, THINGS, WEIGHED, TwoSourcePipeline

MORE = b"thing_id,name,weight\n1,anvil,20.50\n2,feather,\n3,saw,1.00\n"
FEWER = "checks:\n  min_rows: {of_previous: 0.5}\n@end"
BLOCKS = "checks:\n  light: {bad_rows: 'select * from {this} where weight > 20'}\n@end"


def status_of(shop: TwoSourcePipeline) -> tuple[str, str | None, str]:
    found = shop.status()
    return found.state, found.stale_reason, found.reason


def is_due(shop: TwoSourcePipeline) -> bool:
    return shop.status().is_due(rebuild_on_sql_change=False)


def test_a_load_date_without_objects_is_missing(shop: TwoSourcePipeline) -> None:
    assert status_of(shop) == ("missing", None, "None of its 2 objects lies on S3.")
    assert not is_due(shop)


def test_a_load_date_with_some_of_its_objects_is_incomplete_and_later_late(shop: TwoSourcePipeline) -> None:
    shop.land(labels=None)
    reason = f"1 of its 2 objects landed; lacking: {shop.key('labels')}."
    assert status_of(shop) == ("incomplete", None, reason)
    landed = shop.status().newest
    assert landed is not None
    assert shop.status(now=landed + timedelta(hours=5.9)).state == "incomplete"
    late = shop.status(now=landed + timedelta(hours=6.1))
    assert (late.state, late.reason) == ("late", f"{reason} The first landed at {landed:%Y-%m-%d %H:%M} UTC.")
    assert not late.is_due(rebuild_on_sql_change=True)


def test_a_load_date_with_all_objects_is_new_and_after_a_run_published(shop: TwoSourcePipeline) -> None:
    shop.land()
    assert status_of(shop) == ("new", "objects", "All 2 objects landed; nothing of it is published.")
    assert is_due(shop)
    assert set(shop.run().values()) == {"published"}
    assert status_of(shop) == ("published", None, "All 4 tables are up to date with S3 and the SQL.")
    assert not is_due(shop)


def test_a_replaced_object_makes_a_load_date_stale_until_it_is_built(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    fingerprint = shop.status().input_fingerprint
    shop.land(things=MORE)
    assert status_of(shop) == ("stale", "objects", f"Replaced since it was read: {shop.key('things')}.")
    assert is_due(shop)
    assert shop.status().input_fingerprint != fingerprint
    shop.run()
    assert shop.status().state == "published"


def test_landing_the_same_bytes_again_changes_nothing(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    shop.land()
    assert shop.status().state == "published"


def test_a_published_load_date_stays_published_when_its_objects_are_gone(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    for name in ("things", "labels"):
        shop.s3.delete_object(Bucket=shop.bucket, Key=shop.key(name))
    assert shop.status().state == "published"


def test_changed_sql_makes_a_load_date_stale_but_builds_nothing_by_itself(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    shop.file("marts/weighed.sql", WEIGHED.replace("is not null", "> 1"))
    assert status_of(shop) == ("stale", "sql", "The SQL has changed since it was published: marts.weighed.")
    assert not is_due(shop)
    assert shop.status().is_due(rebuild_on_sql_change=True)


def test_a_new_comment_or_check_makes_no_published_load_date_stale(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    shop.file("marts/weighed.sql", WEIGHED.replace("@end", BLOCKS) + "-- a comment\n")
    assert shop.status().state == "published"


def test_an_added_table_makes_load_dates_stale_but_builds_nothing_by_itself(shop: TwoSourcePipeline) -> None:
    (shop.folder / "marts/heavy.sql").unlink()
    shop.land()
    shop.run()
    shop.file("marts/heavy.sql", HEAVY)
    assert status_of(shop) == ("stale", "unbuilt", "Never built for this load_date: marts.heavy.")
    assert not is_due(shop)


def test_an_input_published_again_with_changed_rows_makes_its_readers_stale(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.run()
    shop.build("raw.things", shop.day)
    assert shop.status().state == "published", "the same rows were published again, so nothing is stale"
    said = "update ops.publishes set checksum_kind = %s where publish_id = (select max(publish_id) from ops.publishes)"
    with shop.session() as session:
        session.execute(said, ["other"])
        assert shop.status().state == "stale", "checksums of two kinds say nothing of the rows"
        session.execute(said, [None])
    assert shop.status().state == "published"
    shop.file(
        "marts/weighed.sql", WEIGHED.replace("thing_id, weight\n", "thing_id, (weight * 2)::numeric(6, 2) as weight\n")
    )
    shop.build("marts.weighed", shop.day)
    assert status_of(shop) == ("stale", "inputs", "Built from rows that were replaced since: marts.heavy.")
    assert is_due(shop)


def test_a_held_load_date_stays_held_while_none_of_its_inputs_change(shop: TwoSourcePipeline) -> None:
    shop.land(things=DOUBLED)
    assert shop.run()["raw.things"] == "held"
    state, cause, reason = status_of(shop)
    assert (state, cause) == ("held", None)
    place = f"s3://{shop.bucket}/{shop.key('things')}"
    assert reason.startswith(f"raw.things: held by grain; read from {place}; the candidate is kept as ")
    assert reason.endswith(". Its inputs, SQL and checks have not changed since.")
    assert not is_due(shop)
    shop.land(things=DOUBLED)
    assert shop.status().state == "held", "the same bytes landed again, so the load_date stays held"
    shop.file("marts/heavy.sql", HEAVY + "order by 1\nlimit 10\n")
    assert shop.status().state == "held", "only the SQL of a downstream table has changed"


def test_a_held_load_date_is_due_when_its_object_is_replaced(shop: TwoSourcePipeline) -> None:
    shop.land(things=DOUBLED)
    shop.run()
    shop.land(things=THINGS)
    assert status_of(shop) == ("stale", "objects", f"Replaced since it was read: {shop.key('things')}.")
    assert is_due(shop)
    shop.run()
    assert shop.status().state == "published"


def test_a_held_load_date_is_due_when_another_of_its_objects_is_replaced(shop: TwoSourcePipeline) -> None:
    shop.land(things=DOUBLED)
    shop.run()
    shop.land(things=None, labels=b"thing_id,label\n1,light\n")
    assert status_of(shop) == ("stale", "objects", f"Replaced since it was read: {shop.key('labels')}.")


@pytest.mark.parametrize("word", ["limit", "check"])
def test_a_held_table_is_due_when_its_sql_or_its_checks_change(shop: TwoSourcePipeline, word: str) -> None:
    blocked = WEIGHED.replace("@end", BLOCKS)
    shop.file("marts/weighed.sql", blocked)
    shop.land()
    assert shop.run()["marts.weighed"] == "held"
    assert shop.status().state == "held"
    changed = blocked + "order by 1\nlimit 0\n" if word == "limit" else blocked.replace("weight > 20", "weight > 50")
    shop.file("marts/weighed.sql", changed)
    assert status_of(shop) == (
        "stale",
        "released",
        "Held, and what it reads or is compared with, its SQL or its checks have changed since: marts.weighed.",
    )
    assert is_due(shop)


def test_a_held_table_is_due_when_its_input_is_published_with_changed_rows(shop: TwoSourcePipeline) -> None:
    shop.file("marts/weighed.sql", WEIGHED.replace("@end", BLOCKS))
    shop.land()
    shop.run()
    shop.file("raw/things.sql", (shop.folder / "raw/things.sql").read_text().replace("(6,2)", "(9,2)"))
    shop.build("raw.things", shop.day)
    assert shop.status().state == "held", "the columns changed, but the rows did not"
    shop.land(things=MORE)
    shop.build("raw.things", shop.day)
    assert status_of(shop)[:2] == ("stale", "released")


def test_a_row_without_its_parent_holds_until_the_parent_comes(shop: TwoSourcePipeline) -> None:
    checks = "checks:\n  foreign_key: {thing_id: raw.labels.thing_id}\n@end"
    shop.file("marts/weighed.sql", WEIGHED.replace("@end", checks))
    shop.land(things=MORE)
    assert shop.run()["marts.weighed"] == "held"
    weighed = f"select thing_id, weight::text from marts.weighed where load_date = '{shop.day}' order by 1"
    metric = (
        "select metric_value::int, message from ops.data_quality_results where check_name = 'foreign_key__thing_id' "
        f"and load_date = '{shop.day}' order by id desc limit 1"
    )
    assert shop.rows(metric) == [(1, "1 bad row")]
    assert (shop.status().state, is_due(shop)) == ("held", False)

    shop.land(things=None, labels=LABELS + b"3,sharp\n")
    shop.build("raw.labels", shop.day)
    assert status_of(shop)[:2] == ("stale", "released")
    assert is_due(shop)

    assert shop.run()["marts.weighed"] == "published"
    assert shop.rows(weighed) == [(1, "20.50"), (3, "1.00")]
    assert shop.rows(metric) == [(0, "")]
    assert shop.status().state == "published"


def things(count: int) -> bytes:
    return b"thing_id,name,weight\n" + b"".join(b"%d,saw,1.00\n" % number for number in range(count))


def test_a_held_table_is_due_when_it_would_be_compared_with_other_rows(shop: TwoSourcePipeline) -> None:
    shop.file("marts/weighed.sql", WEIGHED.replace("@end", FEWER))
    last = shop.next
    for day, count in ((shop.day, 6), (last, 2)):
        shop.land(day, things(count))
        shop.run(day)
    [held] = shop.plan(last, last)
    assert (held.state, "marts.weighed: held by min_rows" in held.reason) == ("held", True)

    shop.build("marts.weighed", shop.day)
    assert [each.state for each in shop.plan(last, last)] == ["held"], "the same rows were published again"

    shop.land(things=things(4))
    assert set(shop.run().values()) == {"published"}
    [due] = shop.plan(last, last)
    assert (due.state, due.stale_reason, due.tables_to_build) == ("stale", "released", ())
    assert due.is_due(rebuild_on_sql_change=False)
    assert set(shop.run(last).values()) == {"published"}
    assert [each.state for each in shop.plan(last, last)] == ["published"]


def test_a_held_table_is_due_when_a_load_date_comes_with_which_it_would_be_compared(shop: TwoSourcePipeline) -> None:
    shop.file("marts/weighed.sql", WEIGHED.replace("@end", FEWER))
    last = shop.next + timedelta(days=1)
    for day, count in ((shop.day, 6), (last, 2)):
        shop.land(day, things(count))
        shop.run(day)
    assert [each.state for each in shop.plan(last, last)] == ["held"]

    shop.land(shop.next, things(3))
    assert set(shop.run(shop.next).values()) == {"published"}
    assert [each.stale_reason for each in shop.plan(last, last)] == ["released"]
    assert set(shop.run(last).values()) == {"published"}


def test_a_held_table_is_due_when_the_environment_changes_its_minimum_rows(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.verify("raw.things", shop.day)
    strict = shop.pipeline({f"{shop.name}.raw.things": 3}).table("raw.things")
    assert build(shop.context(), strict, shop.day).held
    assert shop.status().stale_reason == "objects", "the object of the labels was never read"
    shop.build("raw.labels", shop.day)
    assert shop.status().stale_reason == "released"


def test_a_held_object_stays_held_until_it_or_its_columns_change(shop: TwoSourcePipeline) -> None:
    shop.land(things=b"thing_id,name\n1,anvil\n")
    assert shop.run()["s3.things"] == "held"
    state, _, reason = status_of(shop)
    assert state == "held"
    assert reason.startswith(f"s3.things: s3://{shop.bucket}/{shop.key('things')}: ")
    shop.land()
    assert status_of(shop) == ("stale", "objects", f"Replaced since it was read: {shop.key('things')}.")


def test_a_load_date_with_a_failed_build_is_failed_with_its_reason(shop: TwoSourcePipeline) -> None:
    shop.file("marts/weighed.sql", WEIGHED.replace("select thing_id, weight", "select thing_id, weight / 0 as weight"))
    shop.land()
    with pytest.raises(Exception, match="division by zero"):
        shop.run()
    state, cause, reason = status_of(shop)
    assert (state, cause) == ("failed", "unbuilt")
    assert reason.startswith("marts.weighed failed: ")
    assert "DivisionByZero" in reason
    assert is_due(shop), "a failed run is due, although its raw tables match S3"


def test_a_run_whose_process_died_between_two_builds_is_failed(shop: TwoSourcePipeline) -> None:
    shop.land()
    shop.build("raw.things", shop.day)
    with shop.session() as dying:
        runs.open_row(dying, run_id="r1", pipeline=shop.name, job=shop.name, load_date=shop.day)
        assert status_of(shop)[0] == "running"
    found = shop.status()
    while found.state == "running":  # until the server has noticed that the session has ended
        found = shop.status()
    assert (found.state, found.stale_reason) == ("failed", "objects")
    assert found.reason == "its last run failed: The process that ran this died before it could finish."


def test_a_running_recheck_does_not_make_a_load_date_running(shop: TwoSourcePipeline) -> None:
    shop.land()
    with shop.session() as session:
        runs.open_row(session, run_id="r1", pipeline=shop.name, job=shop.pipeline().recheck_job, load_date=shop.day)
        assert shop.status().state == "new"


def test_a_failed_load_date_that_is_published_later_is_published(shop: TwoSourcePipeline) -> None:
    good = (shop.folder / "marts/weighed.sql").read_text()
    shop.file("marts/weighed.sql", WEIGHED.replace("select thing_id, weight", "select thing_id, weight / 0 as weight"))
    shop.land()
    with pytest.raises(Exception, match="division by zero"):
        shop.run()
    shop.file("marts/weighed.sql", good)
    shop.run()
    assert shop.status().state == "published"


def test_an_added_source_makes_old_load_dates_incomplete_but_never_late(shop: TwoSourcePipeline) -> None:
    label = (shop.folder / "raw/labels.sql").read_text()
    for file in ("raw/labels.sql", "marts/heavy.sql"):
        (shop.folder / file).unlink()
    shop.land(labels=None)
    shop.run()
    shop.file("raw/labels.sql", label)
    found = shop.status(now=datetime.now(timezone.utc) + timedelta(days=100))
    assert (found.state, found.landed) == ("incomplete", 1)


def test_a_load_date_whose_raw_rows_retention_dropped_is_published(shop: TwoSourcePipeline) -> None:
    """Retention drops the raw rows of an old load_date and closes their row in the ledger. The KPIs stay."""
    shop.land()
    shop.run()
    with shop.session() as session:
        session.execute("update ops.publishes set superseded_at = now(), dropped_at = now() where asset like 'raw.%'")
    published = "All 4 tables are up to date with S3 and the SQL. The rows of 2 were dropped by retention."
    assert status_of(shop) == ("published", None, published)
    raw = shop.folder / "raw/things.sql"
    raw.write_text(raw.read_text().replace("(6,2)", "(9,2)"))
    assert status_of(shop) == ("published", None, published), "a changed file does not make dropped rows stale"
    shop.land(things=MORE)
    assert status_of(shop) == ("stale", "objects", f"Replaced since it was read: {shop.key('things')}.")


def test_a_plan_has_each_load_date_of_a_range_across_new_year(shop: TwoSourcePipeline) -> None:
    days = [date(2025, 12, 30), date(2026, 1, 2)]
    for day in days:
        shop.land(day)
    shop.run(days[0])
    found = [(status.load_date.isoformat(), status.state) for status in shop.plan(*days)]
    assert found == [
        ("2025-12-30", "published"),
        ("2025-12-31", "missing"),
        ("2026-01-01", "missing"),
        ("2026-01-02", "new"),
    ]


def test_a_held_load_date_does_not_change_the_state_of_another(shop: TwoSourcePipeline) -> None:
    shop.land(things=DOUBLED)
    shop.land(shop.next)
    shop.run()
    shop.run(shop.next)
    assert [status.state for status in shop.plan(shop.day, shop.next)] == ["held", "published"]
