"""What Dagster shows of a held load_date: the held table is red, and the tables after it keep their state."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import dagster as dg
import pytest

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.metadata import table_key
from kpi_assets.assets.partitions import load_dates
from kpi_assets.assets.resources import BROKEN_OFF, OUTCOME
from kpi_assets.cli.runner import StoppedError, failures_of
from kpi_assets.instance import folder
from kpi_assets.instance.storage import open_instance
from kpi_assets.materialize.rollback import roll_back
from kpi_assets.materialize.rolled_back import before_run, plan
from kpi_assets.model.names import Relation
from kpi_assets.plan.collect import collect
from kpi_assets.settings import settings
from kpi_assets_tests.assets.test_gates import RESOURCES, materialized, run, steps
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness

OTHERS = RAW_THINGS.replace("raw/things", "raw/others").replace("things.csv", "others.csv")


@pytest.fixture
def instance(lab: PipelineHarness) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on Postgres, as in a home."""
    folder.prepare(settings())
    with open_instance() as opened:
        yield opened


def history(instance: dg.DagsterInstance, lab: PipelineHarness, name: str, check: str) -> list[tuple[str, str]]:
    """Return status and partition of each row that Dagster has of a check, the latest first."""
    key = dg.AssetCheckKey(table_key(lab.name, Relation.parse(name)), check)
    rows = instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
    return [(row.status.value, str(row.partition)) for row in rows]


def partitions(instance: dg.DagsterInstance, lab: PipelineHarness, name: str, *days: date) -> list[str | None]:
    """Return the status that Dagster shows of each load_date."""
    key, wanted = table_key(lab.name, Relation.parse(name)), [str(day) for day in days]
    found = instance.get_status_by_partition(key, wanted, load_dates(lab.pipeline()))
    assert found is not None
    return [status.value if (status := found.get(day)) else None for day in wanted]


def status(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> tuple[str, str | None]:
    """Return the status of a run in Dagster, and its outcome tag."""
    found = instance.get_run_by_id(result.run_id)
    assert found is not None
    return found.status.value, found.tags.get(OUTCOME)


def test_a_load_date_that_was_rolled_back_is_held_and_stays_as_it_was_built(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    yaml = things.folder / "pipeline.yaml"
    yaml.write_text(yaml.read_text() + "rollback: {keep: 2}\n")
    things.put_things(GOOD)
    run(things, instance)
    things.put_things(GOOD.replace(b"20.50", b"30.00"))
    second = run(things, instance)
    with things.session() as session:
        planned = plan(session, things.pipeline(), DAY, before_run(session, DAY, second.run_id))
    roll_back(things.context(), planned, "the scale was wrong that day", "ana")
    made = [("SUCCEEDED", str(DAY))] * 2
    assert history(instance, things, "marts.weighed", "grain") == made, "Dagster is not told of it"

    assert status(instance, run(things, instance)) == ("CANCELED", "held")
    assert history(instance, things, "marts.weighed", "grain") == made
    assert partitions(instance, things, "marts.weighed", DAY) == ["MATERIALIZED"]
    assert things.rows("select weight::float from marts.weighed") == [(20.5,)]
    things.put_things(GOOD.replace(b"20.50", b"25.00"))
    assert status(instance, run(things, instance)) == ("SUCCESS", "success")
    assert things.rows("select weight::float from marts.weighed") == [(25.0,)]


def why_canceled(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    of_type = dg.DagsterEventType.RUN_CANCELED
    [record] = instance.get_records_for_run(result.run_id, of_type=of_type).records
    return record.event_log_entry.message


def in_range(lab: PipelineHarness, instance: dg.DagsterInstance, **resources: Any) -> dg.ExecuteInProcessResult:
    """Execute one run over both load_dates."""
    return dg.materialize(
        pipeline_assets(lab.pipeline()),
        instance=instance,
        resources={**RESOURCES, **resources},
        tags={"dagster/asset_partition_range_start": str(DAY), "dagster/asset_partition_range_end": str(NEXT)},
        raise_on_error=False,
    )


def test_only_the_held_table_changes_its_state(things: PipelineHarness, instance: dg.DagsterInstance) -> None:
    things.put_things(GOOD)
    assert status(instance, run(things, instance)) == ("SUCCESS", "success")
    things.put_things(DOUBLED, NEXT)
    held = run(things, instance, NEXT)
    assert status(instance, held) == ("CANCELED", "held")
    assert why_canceled(instance, held) == "A gate held raw.things. What follows was skipped."

    assert history(instance, things, "raw.things", "grain") == [("FAILED", str(NEXT)), ("SUCCEEDED", str(DAY))]
    assert history(instance, things, "raw.things", "min_rows") == [("SUCCEEDED", str(NEXT)), ("SUCCEEDED", str(DAY))]
    for check in ("grain", "reconcile"):
        assert history(instance, things, "marts.weighed", check) == [("SUCCEEDED", str(DAY))]
    for name in ("raw.things", "marts.weighed"):
        assert partitions(instance, things, name, DAY, NEXT) == ["MATERIALIZED", None]


def test_a_held_load_date_is_materialized_once_it_is_corrected(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(DOUBLED)
    run(things, instance)
    things.put_things(GOOD)
    assert status(instance, run(things, instance)) == ("SUCCESS", "success")
    assert history(instance, things, "raw.things", "grain") == [("SUCCEEDED", str(DAY)), ("FAILED", str(DAY))]
    assert partitions(instance, things, "marts.weighed", DAY) == ["MATERIALIZED"]


@pytest.mark.nightly
def test_only_the_held_table_changes_its_state_in_a_run_over_a_range_too(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(GOOD)
    things.put_things(DOUBLED, NEXT)
    assert status(instance, in_range(things, instance)) == ("CANCELED", "held")
    rows = history(instance, things, "raw.things", "grain")
    assert sorted(rows) == [("FAILED", str(NEXT)), ("SUCCEEDED", str(DAY))], "no row is left that is only planned"
    assert history(instance, things, "marts.weighed", "grain") == [("SUCCEEDED", str(DAY))]
    for name in ("raw.things", "marts.weighed"):
        assert partitions(instance, things, name, DAY, NEXT) == ["MATERIALIZED", None]


def test_a_later_run_of_a_downstream_table_alone_is_refused_and_fails(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(DOUBLED)
    run(things, instance)
    later = run(things, instance, only=["marts.weighed"])
    assert status(instance, later) == ("FAILURE", "failed")
    assert steps(later) == {"marts.weighed": "STEP_FAILURE"}
    assert partitions(instance, things, "marts.weighed", DAY) == ["FAILED"]
    assert history(instance, things, "marts.weighed", "grain") == []


def broken(lab: PipelineHarness) -> None:
    """Add a raw table that is held and a mart whose build fails."""
    lab.file("raw/others.sql", OTHERS)
    lab.put(f"raw/others/load_date={DAY}/others.csv", DOUBLED)
    lab.put(f"raw/others/load_date={NEXT}/others.csv", DOUBLED)
    lab.put_things(GOOD)
    lab.put_things(GOOD, NEXT)


@pytest.mark.nightly
def test_an_error_is_a_failure_whatever_is_held_beside_it(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    broken(things)
    assert status(instance, run(things, instance)) == ("CANCELED", "held")
    divided = MART.replace("    weight\nfrom", "    (1 / (thing_id - 1))::numeric(6, 2) as weight\nfrom")
    things.file("marts/weighed.sql", divided)
    result = run(things, instance, NEXT)
    assert status(instance, result) == ("FAILURE", "failed")
    assert steps(result)["marts.weighed"] == "STEP_FAILURE"
    assert partitions(instance, things, "marts.weighed", DAY, NEXT) == ["MATERIALIZED", "FAILED"]
    assert status(instance, in_range(things, instance)) == ("FAILURE", "failed")


@pytest.mark.nightly
def test_an_error_that_the_run_log_has_not_recorded_is_a_failure_too(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    broken(things)

    def reporter(_log: Any, subject: str) -> Any:
        if subject.startswith("marts."):
            raise RuntimeError("of our code")
        return lambda _phase, _done, _total: None

    result = dg.materialize(
        pipeline_assets(things.pipeline()),
        partition_key=str(DAY),
        instance=instance,
        resources={**RESOURCES, "progress": dg.ResourceDefinition.hardcoded_resource(reporter)},
        raise_on_error=False,
    )
    assert status(instance, result) == ("FAILURE", "held")
    assert steps(result)["marts.weighed"] == "STEP_FAILURE"
    assert materialized(instance, things, "raw.others") == set()


def ended_at(
    lab: PipelineHarness, instance: dg.DagsterInstance, event_type: str, end: Callable[[], None]
) -> dg.ExecuteInProcessResult:
    """Execute a run and call `end` while Dagster writes its last event of the type."""

    class End(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            event = record.__dict__["dagster_meta"]["dagster_event"]
            if event and event.event_type_value == event_type and not str(event.step_key).endswith("s3__things"):
                end()

    @dg.logger
    def logger(_context: dg.InitLoggerContext) -> logging.Logger:
        made = logging.Logger("end", logging.DEBUG)
        made.addHandler(End())
        return made

    defs = dg.Definitions(
        pipeline_assets(lab.pipeline()),
        resources=RESOURCES,
        loggers={"end": logger},
        jobs=[dg.define_asset_job("everything")],
    )
    return defs.resolve_job_def("everything").execute_in_process(
        instance=instance,
        partition_key=str(DAY),
        raise_on_error=False,
        run_config={"loggers": {"end": {}}},
    )


def test_a_run_that_is_stopped_between_two_tables_is_due_again(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(GOOD)
    result = ended_at(things, instance, "STEP_SUCCESS", lambda: os.kill(os.getpid(), signal.SIGINT))
    assert status(instance, result) == ("FAILURE", "failed")
    rows = "select status, error_message from ops.pipeline_runs where job not like 's3.%' order by id"
    assert things.rows(rows) == [("failed", BROKEN_OFF), ("success", None)]
    with things.session() as session:
        [[found]] = collect(things.pipeline(), things.store, session, DAY, DAY)
    assert (found.state, found.stale_reason) == ("failed", "unbuilt")
    assert found.reason == f"its last run failed: {BROKEN_OFF}"
    assert found.is_due(rebuild_on_sql_change=False)


@pytest.mark.nightly
def test_a_run_that_is_stopped_after_a_table_was_held_is_reported_as_stopped(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(DOUBLED)
    result = ended_at(things, instance, "STEP_SUCCESS", lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(StoppedError):
        failures_of(things.name, result.all_events)
    assert status(instance, result) == ("FAILURE", "failed")


@pytest.mark.nightly
def test_a_run_that_breaks_off_after_a_table_was_held_is_a_failure(
    things: PipelineHarness, instance: dg.DagsterInstance
) -> None:
    things.put_things(DOUBLED)

    def break_off() -> None:
        raise RuntimeError("Dagster's database is gone")

    result = ended_at(things, instance, "STEP_SKIPPED", break_off)
    assert status(instance, result) == ("FAILURE", "failed")
    assert failures_of(things.name, result.all_events) == {things.name: "Dagster's database is gone"}
