"""A recheck compares published rows with the same values as a build would."""

from datetime import date

from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.results import CheckResult
from kpi_assets_tests.pipeline_harness import DAY, MART, NEXT, RAW_THINGS, PipelineHarness

ONE = b"thing_id,name,weight\n7,saw,1.00\n"


def rechecked(lab: PipelineHarness, name: str, day: date) -> dict[str, CheckResult]:
    context = lab.prepared(run_id="again")
    return {result.name: result for result in recheck(context, context.pipeline.table(name), day)}


def test_a_recheck_compares_with_the_rows_of_the_previous_load_date(things: PipelineHarness) -> None:
    things.put_things(ONE, NEXT)
    assert not things.build("raw.things", NEXT).held, "by default one row is enough"
    things.file("raw/things.sql", RAW_THINGS.replace("@end", "checks:\n  min_rows: {of_previous: 1}\n@end"))
    assert rechecked(things, "raw.things", NEXT)["min_rows"] == CheckResult(
        "min_rows", False, True, 1, 2.0, "1 rows, at least 2 are wanted (100% of the 2 rows of the load_date before)"
    )
    assert rechecked(things, "raw.things", DAY)["min_rows"].passed, "the first load_date has no previous one"


def test_a_recheck_reconciles_with_the_currently_published_inputs(things: PipelineHarness) -> None:
    things.file("marts/weighed.sql", MART)
    things.build("marts.weighed")
    [reconcile] = [rechecked(things, "marts.weighed", DAY)["reconcile"]]
    assert (reconcile.passed, reconcile.metric) == (True, 0)
    assert reconcile.message == "2 rows of raw.things = 1 here + 1 dropped by unweighed"

    things.file("marts/weighed.sql", MART.replace(", dropped: {unweighed: weight is null}", ""))
    reconcile = rechecked(things, "marts.weighed", DAY)["reconcile"]
    assert (reconcile.passed, reconcile.metric) == (False, 1)
    assert reconcile.message == "2 rows of raw.things = 1 here + 1 unexplained"


def test_a_recheck_reads_only_its_load_date_and_records_the_build(things: PipelineHarness) -> None:
    things.put_things(ONE, NEXT)
    second = things.build("raw.things", NEXT)
    names = ("as_published", "grain", "heavy", "min_rows")
    found = "checks:\n  heavy: {bad_rows: 'select * from {this} where weight >= 1'}\n@end"
    things.file("raw/things.sql", RAW_THINGS.replace("@end", found))
    assert rechecked(things, "raw.things", NEXT)["heavy"].samples == [{"thing_id": 7, "name": "saw", "weight": 1.0}]
    assert things.rows(
        "select check_name, table_name, load_date, subject, run_id, build_id from ops.data_quality_results "
        "where run_id = 'again' order by check_name"
    ) == [(name, "raw.things", NEXT, "published", "again", second.build_id) for name in names]
