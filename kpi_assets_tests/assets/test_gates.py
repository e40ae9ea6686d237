"""Gates as Dagster shows them: evaluations for the load_date, and materializations of published tables only."""

from collections.abc import Sequence

import dagster as dg
import pytest

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.progress import to_log
from kpi_assets.assets.resources import OUTCOME, plain_s3, run_log
from kpi_assets.automation.jobs import recheck_job
from kpi_assets.materialize.rule import AskedWaiver, keep_out, waive
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness

RESOURCES = {"s3": plain_s3, "run_log": run_log, "progress": dg.ResourceDefinition.hardcoded_resource(to_log)}


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def run(
    lab: PipelineHarness, instance: dg.DagsterInstance, day: object = DAY, only: Sequence[str] = ()
) -> dg.ExecuteInProcessResult:
    """Run the assets of a pipeline for a load_date."""
    return dg.materialize(
        pipeline_assets(lab.pipeline()),
        partition_key=str(day),
        instance=instance,
        resources=RESOURCES,
        selection=[dg.AssetKey([lab.name, *name.split(".")]) for name in only] or None,
        raise_on_error=False,
    )


def materialized(instance: dg.DagsterInstance, lab: PipelineHarness, name: str) -> set[str]:
    return set(instance.get_materialized_partitions(dg.AssetKey([lab.name, *name.split(".")])))


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str | None]]:
    return {
        f"{'.'.join(e.asset_key.path[1:])}:{e.check_name}": (e.passed, e.partition)
        for e in result.get_asset_check_evaluations()
    }


def steps(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Return how each step ended, by its table or object."""
    ends = {"STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED"}
    return {
        ".".join(str(event.step_key).split("__")[-2:]): event.event_type_value
        for event in result.all_events
        if event.event_type_value in ends
    }


def test_a_published_load_date_is_materialized_with_its_counts_and_lineage(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(GOOD)
    result = run(things, instance)
    assert result.success
    event = instance.get_latest_materialization_event(dg.AssetKey([things.name, "marts", "weighed"]))
    assert event is not None
    assert event.asset_materialization is not None
    found = event.asset_materialization
    assert found.partition == str(DAY)
    assert next(iter(found.metadata)) == "verdict", "the UI shows the rows in this order"
    assert found.metadata["verdict"].value == "2 of 2 checks passed"
    assert found.metadata["dagster/partition_row_count"].value == 1
    lineage = found.metadata["dagster/column_lineage"].value
    assert [str(dep.asset_key.path[-1]) for dep in lineage.deps_by_column["weight"]] == ["things"]
    checksum = things.rows("select checksum from ops.published where asset = 'marts.weighed'")[0][0]
    assert found.tags is not None
    assert found.tags["dagster/data_version"] == f"1-{checksum}"
    assert found.tags["dagster/code_version"] == things.pipeline().table("marts.weighed").code_version
    manifest = things.rows("select manifest_hash from ops.manifests")[0][0]
    origin = instance.get_latest_materialization_event(dg.AssetKey([things.name, "s3", "things"]))
    assert origin is not None
    assert origin.asset_materialization is not None
    assert (origin.asset_materialization.tags or {})["dagster/data_version"] == manifest


def test_a_held_load_date_is_evaluated_but_not_materialized_and_nothing_follows(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(DOUBLED)
    result = run(things, instance)
    assert not result.success
    assert steps(result) == {"s3.things": "STEP_SUCCESS", "raw.things": "STEP_SUCCESS", "marts.weighed": "STEP_SKIPPED"}
    found = evaluations(result)
    assert found["raw.things:grain"] == (False, str(DAY))
    assert found["raw.things:rows_accounted"] == (True, str(DAY))
    assert not any(name.startswith("marts.") for name in found)
    assert materialized(instance, things, "s3.things") == {str(DAY)}
    assert materialized(instance, things, "raw.things") == set()
    assert materialized(instance, things, "marts.weighed") == set()


@pytest.mark.nightly
def test_an_object_that_is_held_by_a_check_that_usually_warns_stops_the_run(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(GOOD[:-1])
    warned = run(things, instance)
    assert warned.success
    assert evaluations(warned)["s3.things:ends_with_line_end"] == (False, str(DAY))
    things.put_things(GOOD[:-5], NEXT)
    held = run(things, instance, day=NEXT)
    assert not held.success
    found = evaluations(held)
    assert found["s3.things:ends_with_line_end"] == (False, str(NEXT))
    assert not any(name.startswith("raw.") for name in found)
    assert materialized(instance, things, "s3.things") == {str(DAY)}
    assert materialized(instance, things, "raw.things") == {str(DAY)}


def test_downstream_tables_in_a_later_run_do_not_get_past_the_gate(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(DOUBLED)
    run(things, instance)
    later = run(things, instance, only=["marts.weighed"])
    assert not later.success
    [failure] = [event for event in later.all_events if event.is_step_failure]
    assert failure.step_key == f"{things.name}__marts__weighed"
    said = failure.step_failure_data.user_failure_data
    assert said is not None
    assert said.description == (
        f"marts.weighed of {DAY} cannot be built: raw.things of that load_date must be published first; build that."
    )
    assert materialized(instance, things, "marts.weighed") == set()


def targets(result: dg.ExecuteInProcessResult, name: str) -> set[int | None]:
    """Return the ids of the materializations that the checks of an asset refer to."""
    found = [e for e in result.get_asset_check_evaluations() if ".".join(e.asset_key.path[1:]) == name]
    assert found
    return {e.target_materialization_data.storage_id if e.target_materialization_data else None for e in found}


def test_each_check_names_its_materialization_so_that_dagster_takes_it_for_checked(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    def latest(name: str, day: object = DAY) -> int:
        key = dg.AssetKey([things.name, *name.split(".")])
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[str(day)])
        return instance.fetch_materializations(wanted, limit=1).records[0].storage_id

    things.put_things(DOUBLED)
    assert targets(run(things, instance), "raw.things") == {None}
    things.put_things(GOOD)
    published = run(things, instance)
    for name in ("s3.things", "raw.things", "marts.weighed"):
        assert targets(published, name) == {latest(name)}
    things.put_things(DOUBLED)
    before = latest("raw.things")
    assert targets(run(things, instance), "raw.things") == {before}

    things.put_things(GOOD, NEXT)
    both = dg.materialize(
        pipeline_assets(things.pipeline()),
        instance=instance,
        resources=RESOURCES,
        tags={"dagster/asset_partition_range_start": str(DAY), "dagster/asset_partition_range_end": str(NEXT)},
        raise_on_error=False,
    )
    assert targets(both, "s3.things") == {latest("s3.things", DAY), latest("s3.things", NEXT)}
    assert len(targets(both, "s3.things")) == 2


def test_a_run_is_tagged_with_its_outcome(things: PipelineHarness, instance: dg.DagsterInstance) -> None:
    def outcome(result: dg.ExecuteInProcessResult) -> str | None:
        found = instance.get_run_by_id(result.run_id)
        assert found is not None
        return found.tags.get(OUTCOME)

    assert outcome(run(things, instance, only=["marts.weighed"])) == "failed"
    assert outcome(run(things, instance)) == "missing"
    things.put_things(DOUBLED)
    assert outcome(run(things, instance)) == "held"
    things.put_things(GOOD)
    assert outcome(run(things, instance)) == "success"


@pytest.mark.nightly
def test_a_held_load_date_does_not_change_another(things: PipelineHarness, instance: dg.DagsterInstance) -> None:
    things.put_things(DOUBLED, DAY)
    things.put_things(GOOD, NEXT)
    assert not run(things, instance, DAY).success
    assert run(things, instance, NEXT).success
    assert materialized(instance, things, "marts.weighed") == {str(NEXT)}
    assert things.rows("select load_date, thing_id from marts.weighed") == [(NEXT, 1)]


def test_a_missing_object_fails_one_check_and_the_others_have_no_result(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    result = run(things, instance)
    assert not result.success
    assert evaluations(result) == {"s3.things:exists": (False, str(DAY))}
    assert things.rows("select job, status from ops.pipeline_runs order by id") == [
        ("__ephemeral_asset_job__", "missing"),
        ("s3.things", "missing"),
    ]
    assert [materialized(instance, things, name) for name in ("s3.things", "raw.things")] == [set(), set()]
    assert things.rows("select count(*) from ops.alerts") == [(0,)], "a missing object sends no alert"


def test_a_failed_warning_is_recorded_and_published(things: PipelineHarness, instance: dg.DagsterInstance) -> None:
    light = "checks:\n  light: {severity: warn, bad_rows: 'select * from {this} where weight < 1000'}\n@end"
    things.file("raw/things.sql", RAW_THINGS.replace("@end", light))
    things.put_things(GOOD)
    result = run(things, instance)
    assert result.success
    assert evaluations(result)["raw.things:light"] == (False, str(DAY))
    assert list(evaluations(result)).index("raw.things:light") == 9, (
        "the failed check is the last one of its table, because the UI opens the log there"
    )
    event = instance.get_latest_materialization_event(dg.AssetKey([things.name, "raw", "things"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["verdict"].value == "5 of 6 checks passed; light (1 bad row)"
    assert materialized(instance, things, "marts.weighed") == {str(DAY)}


def test_a_failure_that_somebody_waived_is_a_warning_that_names_the_person(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    heavy = "checks:\n  range: {weight: [0, 10]}\n@end"
    things.file("raw/things.sql", RAW_THINGS.replace("@end", heavy))
    things.put_things(GOOD)
    assert not run(things, instance).success
    context = things.context()
    reason = "the scale was replaced"
    asked = AskedWaiver(context.pipeline.table("raw.things"), DAY, ["range__weight"], reason, "ana")
    made = waive(context, asked)
    assert made.expires_at is not None

    result = run(things, instance)
    assert result.success
    assert materialized(instance, things, "marts.weighed") == {str(DAY)}
    [found] = [each for each in result.get_asset_check_evaluations() if each.check_name == "range__weight"]
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert {name: value.value for name, value in found.metadata.items() if "waived" in name or name == "ruling"} == {
        "waived_by": "ana",
        "waived_because": reason,
        "waived_until": f"{made.expires_at:%Y-%m-%d %H:%M} UTC",
        "ruling": made.object_key,
    }


def test_a_build_that_somebody_keeps_out_is_held_without_an_evaluation_of_that(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(GOOD)
    assert run(things, instance).success
    context = things.context()
    keep_out(context, context.pipeline.table("raw.things"), DAY, "the tills were wrong", "ana")
    result = run(things, instance)
    assert not result.success
    assert steps(result)["marts.weighed"] == "STEP_SKIPPED"
    assert "raw.things:not_ruled_out" not in evaluations(result)
    assert things.rows("select status from ops.data_quality_results where check_name = 'not_ruled_out'") == [("fail",)]


def test_a_score_is_shown_at_the_build_and_at_its_check(things: PipelineHarness, instance: dg.DagsterInstance) -> None:
    words = "quality: {at_least: 80}\nchecks: {not_null: {columns: [weight], severity: warn}}\n@end"
    things.file("raw/things.sql", RAW_THINGS.replace("@end", words))
    things.put_things(GOOD)
    result = run(things, instance)
    assert result.success
    event = instance.get_latest_materialization_event(dg.AssetKey([things.name, "raw", "things"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["quality"].value == 83.33
    [found] = [each for each in result.get_asset_check_evaluations() if each.check_name == "quality"]
    assert (found.passed, found.description) == (True, "83.33 of 100: completeness 50 (not_null: 1 of 2 rows)")
    scores = {name: found.metadata[name].value for name in ("metric", "completeness", "uniqueness", "validity")}
    assert scores == {"metric": 83.33, "completeness": 50.0, "uniqueness": 100.0, "validity": 100.0}


def test_an_infrastructure_error_fails_the_step_without_any_check_result(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(GOOD)
    things.file(
        "marts/weighed.sql", MART.replace("    weight\nfrom", "    (1 / (thing_id - 1))::numeric(6, 2) as weight\nfrom")
    )
    result = run(things, instance)
    assert not result.success
    assert not any(name.startswith("marts.") for name in evaluations(result))
    assert things.rows("select status, error_message from ops.pipeline_runs where job = 'marts.weighed'") == [
        (
            "failed",
            f"{things.folder}/marts/weighed.sql: building marts.weighed failed (DivisionByZero: division by zero).",
        )
    ]


def test_a_run_is_one_row_that_sums_its_builds(things: PipelineHarness, instance: dg.DagsterInstance) -> None:
    things.put_things(GOOD)
    result = run(things, instance)
    assert things.rows(
        "select run_id, status, load_date, rows_extracted, rows_loaded_raw, rows_loaded_marts, ended_at is not null "
        "from ops.pipeline_runs where job not like '%%.%%'"
    ) == [(result.run_id, "success", DAY, 2, 2, 1, True)]


def test_a_run_of_checks_alone_checks_published_rows_and_builds_nothing(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(GOOD)
    run(things, instance)
    before = things.rows("select publish_id from ops.publishes order by 1")
    heavy = "checks:\n  not_light: {bad_rows: 'select * from {this} where weight < 1000'}\n@end"
    things.file("raw/things.sql", RAW_THINGS.replace("@end", heavy))

    job = recheck_job(things.pipeline())
    result = job.execute_in_process(
        instance=instance, partition_key=str(DAY), resources=RESOURCES, raise_on_error=False
    )

    assert not result.success
    found = evaluations(result)
    assert found["raw.things:not_light"] == (False, str(DAY))
    assert found["marts.weighed:grain"] == (True, str(DAY))
    assert things.rows("select publish_id from ops.publishes order by 1") == before
    assert things.rows("select subject, status from ops.data_quality_results where check_name = 'not_light'") == [
        ("published", "fail")
    ]
