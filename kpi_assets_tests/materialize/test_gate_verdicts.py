"""The verdicts of gates: a build is published, held or failed, and never taken for another of these."""

import pytest

from kpi_assets.materialize.context import UpstreamError
from kpi_assets.settings import settings
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.crash_points import GOOD_ROWS, THINGS, leftover_builds, statuses
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness, failed

SELECT = MART[MART.index("select") :]
FROM_ALL = "from raw.things\nwhere load_date = %(load_date)s"
ALL_TWICE = "from raw.things as t\ncross join generate_series(1, 2) as copies\nwhere t.load_date = %(load_date)s"
ALL = MART.replace("dropped: {unweighed: weight is null}", "dropped: {}").replace(" and weight is not null", "")


def with_check(check: str) -> str:
    return MART.replace("@end", f"  {check}\n@end")


@pytest.mark.parametrize("severity", few(1, ["warn", "error"]))
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("select * from {this} where 1 / (thing_id - 1) > 0", "division by zero"),
        ("select (weight / 0)::text from {this}", "division by zero"),
        (
            "select count(nowhere) from {this}",
            'column "nowhere" does not exist',
        ),
        ("select thing_id from {this} as t where (select x from generate_series(1, 2) as x) = 1", "more than one row"),
    ],
)
def test_a_check_whose_sql_fails_holds_the_build_even_with_severity_warn(
    things: PipelineHarness, query: str, reason: str, severity: str
) -> None:
    things.file("marts/weighed.sql", with_check(f'broken: {{severity: {severity}, bad_rows: "{query}"}}'))

    outcome = things.build("marts.weighed")

    assert outcome.held
    [(name, result)] = failed(outcome.results).items()
    assert (name, result.errored, result.metric, result.threshold) == ("broken", True, None, None)
    assert result.message.startswith("the check itself failed: ")
    assert reason in result.message
    assert things.rows("select status, metric_value from ops.data_quality_results where check_name = 'broken'") == [
        ("error", None)
    ]
    others = {found.name: found.passed for found in outcome.results if found.name != "broken"}
    assert others == {"grain": True, "reconcile": True}, "the other checks still run"
    assert things.rows("select to_regclass('marts.weighed')") == [(None,)]


def test_reconciliation_catches_a_dropped_row(things: PipelineHarness) -> None:
    things.file("marts/weighed.sql", ALL.replace("%(load_date)s", "%(load_date)s and thing_id <> 2"))
    outcome = things.build("marts.weighed")
    assert outcome.held
    gate = failed(outcome.results)["reconcile"]
    assert (gate.metric, gate.message) == (1, "2 rows of raw.things = 1 here + 1 unexplained")


def test_reconciliation_catches_a_duplicated_row(things: PipelineHarness) -> None:
    twice = ALL.replace(FROM_ALL, ALL_TWICE).replace("grain: [thing_id]", "grain: [thing_id, weight]")
    different = "    (coalesce(weight, 0) + copies)::numeric(6, 2) as weight\n"
    things.file("marts/weighed.sql", twice.replace("    weight\n", different))
    outcome = things.build("marts.weighed")
    assert outcome.held
    assert {name: (result.metric, result.message) for name, result in failed(outcome.results).items()} == {
        "reconcile": (-2, "2 rows of raw.things = 4 here + -2 unexplained")
    }


def test_the_grain_catches_a_dropped_row_that_a_duplicated_one_hides(things: PipelineHarness) -> None:
    things.file("marts/weighed.sql", ALL.replace(FROM_ALL, f"{ALL_TWICE} and thing_id = 1"))
    outcome = things.build("marts.weighed")
    assert {name: (result.metric, result.samples) for name, result in failed(outcome.results).items()} == {
        "grain": (1, [{"thing_id": 1, "rows": 2}])
    }


def test_a_swapped_pair_of_values_changes_the_checksum(things: PipelineHarness) -> None:
    before = things.rows("select rows, checksum from ops.published")
    things.put_things(b"thing_id,name,weight\n1,feather,20.50\n2,anvil,\n")
    things.build("raw.things")
    after = things.rows("select rows, checksum from ops.published")
    assert before[0][0] == after[0][0]
    assert before[0][1] != after[0][1]


def test_the_order_of_the_records_does_not_change_the_checksum(things: PipelineHarness) -> None:
    before = things.rows("select checksum from ops.published")
    things.put_things(b"thing_id,name,weight\n2,feather,\n1,anvil,20.50\n")
    things.build("raw.things")
    assert things.rows("select checksum from ops.published") == before


def test_less_than_half_of_the_load_date_before_is_held(things: PipelineHarness) -> None:
    things.file("raw/things.sql", RAW_THINGS.replace("@end", "checks: {min_rows: {of_previous: 0.5}}\n@end"))
    things.put_things(b"thing_id,name,weight\n" + b"".join(b"%d,x,1\n" % n for n in range(5)))
    things.build("raw.things")
    things.put_things(GOOD, NEXT)
    outcome = things.build("raw.things", NEXT)
    assert outcome.held
    gate = failed(outcome.results)["min_rows"]
    assert (gate.metric, gate.threshold) == (2, 2.5)
    assert gate.message == "2 rows, at least 2.5 are wanted (50% of the 5 rows of the load_date before)"
    things.put_things(GOOD + b"3,saw,1\n", NEXT)
    assert not things.build("raw.things", NEXT).held


def test_a_build_with_bad_data_is_held_and_not_failed(things: PipelineHarness) -> None:
    things.put_things(DOUBLED)
    outcome = things.build("raw.things")
    said = (
        f"held by grain; read from s3://{things.bucket}/raw/things/load_date=2025-03-01/things.csv; "
        f"the candidate is kept as {outcome.candidate}"
    )
    assert statuses(things, "raw.things") == [("success", None), ("held", said)]
    assert things.rows(
        "select status, candidate, execution_seconds is not null, ended_at is not null from ops.pipeline_runs "
        "where job = 'raw.things' order by id desc limit 1"
    ) == [("held", str(outcome.candidate), True, True)]
    assert leftover_builds(things) == [outcome.candidate.table]


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        (
            SELECT.replace("    weight\n", "    (1 / (thing_id - 1))::numeric(6, 2) as weight\n"),
            WarehouseError,
            ": building marts.weighed failed (DivisionByZero: division by zero).",
        ),
        (
            SELECT.replace("    weight\n", "    weight::numeric(7, 2) as weight\n"),
            DefinitionError,
            ":7: the column 'weight' is declared as numeric(6,2), but the SELECT returns numeric(7,2): "
            "cast it (::numeric(6,2)) or correct the header.",
        ),
        (
            SELECT.replace("    weight\n", "    no_such_function(weight) as weight\n"),
            WarehouseError,
            ": building marts.weighed failed (UndefinedFunction: function no_such_function(numeric) does not exist",
        ),
    ],
)
def test_a_build_with_wrong_sql_is_failed_and_not_held(
    things: PipelineHarness, body: str, error: type[Exception], said: str
) -> None:
    path = things.file("marts/weighed.sql", MART.replace(SELECT, body))
    with pytest.raises(error) as failure:
        things.build("marts.weighed")
    assert str(failure.value).startswith(f"{path}{said}")
    assert statuses(things, "marts.weighed") == [("failed", str(failure.value))]
    assert things.rows("select count(*) from ops.data_quality_results where table_name = 'marts.weighed'") == [(0,)]
    assert things.rows("select to_regclass('marts.weighed')") == [(None,)]
    assert leftover_builds(things) == []


def test_a_build_with_a_missing_input_is_failed_and_not_held(things: PipelineHarness) -> None:
    things.file("marts/weighed.sql", MART)
    with pytest.raises(UpstreamError) as failure:
        things.build("marts.weighed", NEXT)
    assert str(failure.value) == (
        "marts.weighed of 2025-03-02 cannot be built: raw.things of that load_date must be published first; build that."
    )
    assert statuses(things, "marts.weighed") == [("failed", str(failure.value))]


def test_a_verification_on_an_unusable_store_is_failed_and_not_held(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.store = Store.open(settings(), "no-such-bucket")
    with pytest.raises(LakeError) as failure:
        lab.verify("raw.things")
    assert str(failure.value) == "The bucket no-such-bucket does not exist: create it, or correct KPI_S3_BUCKET."
    assert statuses(lab, "s3.things") == [("failed", str(failure.value))]
    assert lab.rows("select count(*) from ops.data_quality_results") == [(0,)]


def test_a_failed_build_leaves_published_rows_unchanged(things: PipelineHarness) -> None:
    things.file("marts/weighed.sql", MART)
    things.build("marts.weighed")
    things.file(
        "marts/weighed.sql", MART.replace("    weight\n", "    (weight / (thing_id - 1))::numeric(6, 2) as weight\n")
    )
    with pytest.raises(WarehouseError):
        things.build("marts.weighed")
    assert things.rows("select load_date, thing_id, weight::text from marts.weighed") == [(DAY, 1, "20.50")]
    assert things.rows(THINGS) == GOOD_ROWS
    assert [status for status, _ in statuses(things, "marts.weighed")] == ["success", "failed"]
