"""Queries on check results and on the ledger: the latest checks of each table, and the published load_dates."""

import pytest

from kpi_assets.ledger import publishes, results
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.names import Relation
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness, failed

THINGS, WEIGHED = Relation("raw", "things"), Relation("marts", "weighed")


@pytest.fixture
def published(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline with both tables published in one run."""
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/weighed.sql", MART)
    lab.put_things(GOOD)
    lab.run_id = "first"
    lab.build("raw.things")
    lab.build("marts.weighed")
    return lab


def latest(lab: PipelineHarness, day: object = DAY) -> list[tuple[str, str, str, str, str]]:
    with lab.session() as session:
        return [
            (row["table_name"], row["check_name"], row["status"], row["subject"], row["run_id"])
            for row in results.latest(session, day)
        ]


def rechecked(lab: PipelineHarness, name: str, run_id: str) -> list[str]:
    context = lab.prepared(run_id=run_id)
    return [result.name for result in recheck(context, context.pipeline.table(name), DAY) if not result.passed]


OBJECT = [
    ("s3.things", name, "pass", "object", "first") for name in ("exists", "not_empty", "header", "ends_with_line_end")
]
RAW = [
    ("raw.things", name, "pass", "candidate", "first")
    for name in ("rows_accounted", "quarantine", "not_seen_before", "grain", "min_rows")
]
MARTS = [("marts.weighed", name, "pass", "candidate", "first") for name in ("grain", "reconcile")]


def test_after_a_build_the_latest_results_of_a_table_are_those_of_the_build(published: PipelineHarness) -> None:
    assert latest(published) == [*OBJECT, *RAW, *MARTS]


def test_after_a_recheck_only_the_results_of_its_table_are_those_of_the_recheck(published: PipelineHarness) -> None:
    assert rechecked(published, "raw.things", "again") == []
    assert latest(published) == [
        *OBJECT,
        *MARTS,
        ("raw.things", "as_published", "pass", "published", "again"),
        ("raw.things", "grain", "pass", "published", "again"),
        ("raw.things", "min_rows", "pass", "published", "again"),
    ]
    assert published.rows("select count(*) from ops.publishes") == [(2,)], "nothing was built"


def test_a_recheck_applies_the_current_checks_and_withdraws_nothing(published: PipelineHarness) -> None:
    heavy = "checks:\n  heavy: {bad_rows: 'select * from {this} where weight > 20'}\n@end"
    published.file("raw/things.sql", RAW_THINGS.replace("@end", heavy))
    assert rechecked(published, "raw.things", "again") == ["heavy"]
    assert ("raw.things", "heavy", "fail", "published", "again") in latest(published)
    assert published.rows(
        "select metric_value, threshold, samples, message from ops.data_quality_results where check_name = 'heavy'"
    ) == [(1, 0, [{"thing_id": 1, "name": "anvil", "weight": 20.50}], "1 bad row")]
    assert published.rows("select count(*) from ops.published") == [(2,)]
    assert published.rows("select count(*) from raw.things") == [(2,)]
    assert [row for row in published.rows("select status from ops.pipeline_runs") if row != ("success",)] == []


def test_a_held_build_after_a_recheck_replaces_its_results(published: PipelineHarness) -> None:
    rechecked(published, "raw.things", "again")
    published.put_things(DOUBLED)
    published.run_id = "second"
    outcome = published.build("raw.things")
    assert list(failed(outcome.results)) == ["grain"]
    shown = {
        name: (status, subject, run) for table, name, status, subject, run in latest(published) if table == "raw.things"
    }
    assert shown["grain"] == ("fail", "candidate", "second")
    assert len(shown) == 5
    assert rechecked(published, "raw.things", "third") == [], "the published rows still pass"


def test_a_recheck_of_an_unpublished_load_date_fails_and_records_nothing(published: PipelineHarness) -> None:
    context = published.prepared(run_id="again")
    with pytest.raises(UpstreamError) as failure:
        recheck(context, context.pipeline.table("raw.things"), NEXT)
    assert str(failure.value) == "raw.things of 2025-03-02 is not published: there is nothing to check; run it first."
    assert latest(published, NEXT) == []
    with published.session() as session:
        assert results.latest_load_date(session) == DAY


def test_the_ledger_records_the_inputs_and_versions_of_each_publish(published: PipelineHarness) -> None:
    first = published.rows("select publish_id, asset from ops.published order by 1")
    assert [asset for _, asset in first] == ["raw.things", "marts.weighed"]
    with published.session() as session:
        now = publishes.current(session, [THINGS, WEIGHED, Relation("raw", "nothing")], DAY)
        [manifest] = published.rows("select manifest_hash from ops.manifests")
        assert now[THINGS].manifest_hash == manifest[0]
        assert (now[THINGS].rows, now[THINGS].inputs, now[THINGS].run_id) == (2, {}, "first")
        assert (now[WEIGHED].rows, now[WEIGHED].inputs) == (1, {"raw.things": now[THINGS].publish_id})
        assert set(now) == {THINGS, WEIGHED}
        pipeline = published.pipeline()
        assert now[THINGS].code_version == pipeline.table("raw.things").code_version
        assert now[WEIGHED].code_version == pipeline.table("marts.weighed").code_version


def test_a_publish_supersedes_only_the_previous_one_of_its_load_date(published: PipelineHarness) -> None:
    published.put_things(GOOD, NEXT)
    published.build("raw.things", NEXT)
    published.build("raw.things", DAY)
    assert published.rows(
        "select load_date, superseded_at is null from ops.publishes where asset = 'raw.things' order by publish_id"
    ) == [(DAY, False), (NEXT, True), (DAY, True)]
    with published.session() as session:
        assert publishes.latest_load_date(session, THINGS) == NEXT
        assert publishes.latest_load_date(session, WEIGHED) == DAY
        assert publishes.earlier_rows(session, THINGS, NEXT, every=1, count=1) == [2]
        assert publishes.earlier_rows(session, THINGS, DAY, every=1, count=1) == []
        assert [(p.asset, p.load_date) for p in publishes.all_current(session)] == [
            ("marts.weighed", DAY),
            ("raw.things", DAY),
            ("raw.things", NEXT),
        ]
