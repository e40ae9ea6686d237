"""The sensor `alerts`: what runs in Dagster write to the outbox, and which messages are sent."""

from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg
import pytest

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.automation.alerts import LOST, alerts_sensor
from kpi_assets.automation.jobs import pipeline_job, recheck_job
from kpi_assets.automation.run_history import history_job
from kpi_assets.settings import settings
from kpi_assets_tests.alerts.receivers import Web
from kpi_assets_tests.assets.test_gates import RESOURCES
from kpi_assets_tests.assets.test_gates import run as materialize
from kpi_assets_tests.ledger.test_incidents import opened
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, PipelineHarness

TOLD = "All alerts that were due are delivered."


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture
def web(stack: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A receiver of alerts that the settings name."""
    with Web.open() as receiver:
        monkeypatch.setenv("KPI_ALERT_WEBHOOK_URL", receiver.url)
        monkeypatch.setenv("KPI_UI_URL", "https://dagster.example.com")
        settings.cache_clear()
        yield receiver
    monkeypatch.undo()
    settings.cache_clear()


class Ticks:
    """The alerts sensor of a pipeline, with its cursor; a call is a tick."""

    def __init__(self, lab: PipelineHarness, instance: dg.DagsterInstance) -> None:
        self.sensor, self.instance = alerts_sensor([lab.pipeline()]), instance
        self.cursor: str | None = None

    def __call__(self) -> str | None:
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            ticked = self.sensor.evaluate_tick(context)
        assert ticked.run_requests == []
        self.cursor = ticked.cursor
        return ticked.skip_message


def test_a_held_load_date_and_its_recovery_are_each_reported_once(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    tick = Ticks(things, instance)
    things.put_things(DOUBLED)
    first = materialize(things, instance)
    assert tick() == TOLD
    materialize(things, instance)
    assert tick() == TOLD
    things.put_things(GOOD)
    last = materialize(things, instance)
    assert last.success
    assert tick() == tick() == TOLD

    candidate = things.rows("select candidate from ops.pipeline_runs where candidate is not null order by id")[0][0]
    held, recovered = web.bodies
    assert (held["kind"], held["load_date"], held["run_id"]) == ("held", str(DAY), first.run_id)
    assert held["details"] == [
        f"raw.things: grain (1 bad row); the candidate is kept as {candidate}",
    ]
    verdict = f"/runs/{first.run_id}?logs=step%3A{things.name}__raw__things%7Ctype%3AASSET_CHECK_EVALUATION"
    assert held["link"] == f"https://dagster.example.com{verdict}"
    assert (recovered["kind"], recovered["load_date"], recovered["run_id"]) == ("recovered", str(DAY), last.run_id)
    assert recovered["link"] == f"https://dagster.example.com/runs/{last.run_id}"
    assert things.rows("select kind, occurrences, closed_at is not null from ops.alerts order by id") == [
        ("held", 2, True),
        ("recovered", 1, True),
    ]


@pytest.mark.nightly
def test_a_run_over_a_range_recovers_each_load_date_that_it_published(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    for day in (DAY, NEXT):
        things.put_things(DOUBLED, day)
        materialize(things, instance, day)
    things.put_things(GOOD, DAY)
    things.put_things(DOUBLED, NEXT)
    range_run(things, instance, DAY, NEXT)
    materialize(things, instance, DAY)
    Ticks(things, instance)()
    assert [(body["load_dates"], body["kind"]) for body in web.bodies] == [
        ([str(DAY), str(NEXT)], "held"),
        ([str(DAY)], "recovered"),
    ]


def range_run(lab: PipelineHarness, instance: dg.DagsterInstance, first: date, last: date) -> dg.ExecuteInProcessResult:
    """Execute a single run over a range of load_dates."""
    return dg.materialize(
        pipeline_assets(lab.pipeline()),
        instance=instance,
        resources=RESOURCES,
        tags={"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)},
        raise_on_error=False,
    )


@pytest.mark.nightly
def test_load_dates_that_never_landed_are_missing_and_send_no_alert(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    result = range_run(things, instance, DAY, DAY + timedelta(days=58))
    materialize(things, instance)
    assert not result.success
    for name in ("s3.things", "raw.things", "marts.weighed"):
        assert instance.get_materialized_partitions(dg.AssetKey([things.name, *name.split(".")])) == set()
    assert things.rows("select status, count(*) from ops.pipeline_runs group by status") == [("missing", 59 + 1 + 2)]
    assert things.rows(
        f"select error_message from ops.pipeline_runs where load_date = '{DAY}' order by id limit 1"
    ) == [(f"s3://{things.bucket}/raw/things/load_date={DAY}/things.csv is not there",)]
    assert Ticks(things, instance)() == TOLD
    assert web.bodies == []
    assert things.rows("select count(*) from ops.alerts") == [(0,)]


@pytest.mark.nightly
def test_held_load_dates_of_a_range_are_one_message(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    for day in (DAY, NEXT):
        things.put_things(DOUBLED, day)
    run = range_run(things, instance, DAY, NEXT)
    assert Ticks(things, instance)() == TOLD
    [body] = web.bodies
    assert (body["kind"], body["load_dates"], body["run_id"]) == ("held", [str(DAY), str(NEXT)], run.run_id)
    for day in (DAY, NEXT):
        things.put_things(GOOD, day)
    assert range_run(things, instance, DAY, NEXT).success
    assert Ticks(things, instance)() == TOLD
    assert [(body["kind"], body["load_dates"]) for body in web.bodies[1:]] == [("recovered", [str(DAY), str(NEXT)])]


def failed_run(lab: PipelineHarness, instance: dg.DagsterInstance, job: str = "", **tags: str) -> str:
    """Create a run that failed before its process wrote to the run log; return its id."""
    jobs = [pipeline_job(lab.pipeline()), recheck_job(lab.pipeline()), history_job()]
    defs = dg.Definitions(assets=pipeline_assets(lab.pipeline()), jobs=jobs, resources=RESOURCES)
    run = instance.create_run_for_job(defs.resolve_job_def(job or lab.name), tags=tags)
    instance.report_run_failed(run)
    return run.run_id


def test_a_run_that_failed_before_its_first_build_is_reported(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    things.prepared()
    tick = Ticks(things, instance)
    lost = failed_run(things, instance, **{"dagster/partition": str(DAY)})
    ends = {"dagster/asset_partition_range_start": str(NEXT), "dagster/asset_partition_range_end": str(NEXT)}
    ranged = failed_run(things, instance, **ends)
    assert tick() == tick() == TOLD
    [body] = web.bodies
    assert (body["kind"], body["count"], body["load_dates"]) == ("failed", 2, [str(DAY), str(NEXT)])
    assert body["details"][:2] == [f"{DAY}: {LOST}", f"{NEXT}: {LOST}"]
    runs = things.rows("select load_date, run_id from ops.alerts where kind = 'failed' order by id")
    assert runs == [(DAY, lost), (NEXT, ranged)]


def test_each_lost_run_of_a_load_date_is_counted_once(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    things.prepared()
    tick = Ticks(things, instance)
    _, last = [failed_run(things, instance, **{"dagster/partition": str(DAY)}) for _ in range(2)]
    assert tick() == tick() == TOLD
    tick.cursor = None  # the tick looks at a whole day again
    assert tick() == TOLD
    assert things.rows("select run_id, occurrences from ops.alerts") == [(last, 2)]
    assert len(web.bodies) == 1


def test_a_lost_recheck_is_reported_as_a_closed_incident(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    things.prepared()
    job = things.pipeline().recheck_job
    run_id = failed_run(things, instance, job, **{"dagster/partition": str(DAY)})
    tick = Ticks(things, instance)
    assert tick() == tick() == TOLD
    [body] = web.bodies
    assert (body["kind"], body["run_id"], body["title"]) == ("failed", run_id, f"{things.name}, {job} failed")
    told = f"The recheck of {DAY} failed before it could begin: its page in the UI says why."
    assert body["details"] == [told]
    assert things.rows("select load_date, closed_at is null from ops.alerts") == [(None, False)]


def test_a_failed_run_of_no_pipeline_is_reported_once(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    things.put_things(DOUBLED)
    known = materialize(things, instance)  # a run of all assets: neither its job nor its selection names a pipeline
    instance.add_run(dg.DagsterRun("__ASSET_JOB", run_id=known.run_id[::-1], status=dg.DagsterRunStatus.FAILURE))
    run_id = failed_run(things, instance, "run_history")
    tick = Ticks(things, instance)
    for _ in range(3):
        tick.cursor = None
        assert tick() == TOLD
    query = "select job, run_id, details, closed_at is null from ops.alerts where kind = 'failed' order by job"
    said = "The run of the job {} failed: its page in the UI says why."
    assert things.rows(query) == [
        ("__ASSET_JOB", known.run_id[::-1], [said.format("__ASSET_JOB")], False),
        ("run_history", run_id, [said.format("run_history")], False),
    ]
    assert sorted(body["kind"] for body in web.bodies) == ["failed", "failed", "held"]


def test_a_failed_run_of_no_pipeline_waits_for_a_pipeline_that_can_report_it(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    failed_run(things, instance, "run_history")
    things.prepared()
    things.rows("delete from ops.migrations where version > 1 returning 1")
    tick = Ticks(things, instance)
    assert tick() == TOLD
    assert tick.cursor is None, "the next tick looks at the run again"


@pytest.mark.nightly
def test_the_oldest_of_many_failed_runs_is_reported_too(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    things.prepared()
    oldest = failed_run(things, instance, **{"dagster/partition": str(DAY)})
    with things.session() as session:
        for number in range(501):
            run = dg.DagsterRun(things.name, run_id=f"known {number}", status=dg.DagsterRunStatus.FAILURE)
            instance.add_run(run)
            opened(session, things.name, run.run_id, None)
    assert Ticks(things, instance)() == TOLD
    assert things.rows("select run_id from ops.alerts where load_date is not null") == [(oldest,)]


def test_a_killed_run_is_reported_without_another_run(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    things.prepared()
    with things.session() as dying:
        opened(dying, "raw.things", "killed")
        pid = dying.info.backend_pid
    eventually(lambda: things.rows(f"select 1 from pg_stat_activity where pid = {pid}") == [])
    assert Ticks(things, instance)() == TOLD
    assert [(body["kind"], body["run_id"]) for body in web.bodies] == [("failed", "killed")]
    assert things.rows("select status from ops.pipeline_runs") == [("failed",)]


def test_a_problem_is_named_in_the_tick(things: PipelineHarness, instance: dg.DagsterInstance, web: Web) -> None:
    tick = Ticks(things, instance)
    said = tick()
    assert said is not None
    assert f'database "{things.name}" does not exist' in said
    assert tick.cursor is None, "the next tick looks again at runs that failed meanwhile"
    things.put_things(DOUBLED)
    materialize(things, instance)
    web.answers = [503]
    assert tick() == "webhook: it answered 503 Service Unavailable"
    assert tick.cursor is not None


def test_a_database_of_another_version_is_not_touched(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    things.put_things(DOUBLED)
    materialize(things, instance)
    things.rows("delete from ops.migrations where version > 1 returning 1")
    assert Ticks(things, instance)() == TOLD
    assert web.bodies == []


def test_a_late_kpi_is_reported_although_an_old_load_date_was_just_built(
    things: PipelineHarness, instance: dg.DagsterInstance, web: Web
) -> None:
    fresh = "kpi: {chart: {x: thing_id, y: weight}}\nfreshness: {within_hours: 36}\n@end"
    things.file("marts/weighed.sql", MART.replace("@end", fresh))
    things.put_things(GOOD)
    tick = Ticks(things, instance)
    assert materialize(things, instance).success
    assert tick() == tick() == TOLD
    [late] = web.bodies
    assert (late["kind"], late["load_date"]) == ("late", str(NEXT))
    path = f"/assets/{things.name}/marts/weighed?view=partitions&partition={NEXT}"
    assert late["link"] == f"https://dagster.example.com{path}"
    assert late["details"][0].startswith("marts.weighed is late since 2025-03-03 12:00 UTC: ")
