"""The live run in Dagster: what it builds and records, and how it lets others build the same load_date."""

import threading
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from typing import Any

import dagster as dg
import pytest

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.resources import OUTCOME
from kpi_assets.automation.jobs import pipeline_jobs
from kpi_assets.ledger import growth, locks, run_states
from kpi_assets.sources import s3_objects
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests.automation.conftest import RESOURCES
from kpi_assets_tests.clicks_pipeline import ClicksPipeline
from kpi_assets_tests.machine import eventually

KEYS = ("s3.clicks", "raw.clicks", "stg.clicks", "stg.clicks_by_minute", "marts.kpi_clicks", "marts.kpi_total")


@dataclass
class Live:
    """The jobs of the pipeline and one Dagster instance."""

    clicks: ClicksPipeline
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    def __post_init__(self) -> None:
        pipeline = self.clicks.pipeline()
        self.defs = dg.Definitions(
            assets=pipeline_assets(pipeline),
            jobs=pipeline_jobs(pipeline),
            resources=RESOURCES,
            executor=dg.in_process_executor,
        )

    def run(self, job: str = "live", day: date | None = None) -> dg.ExecuteInProcessResult:
        name = f"{self.clicks.name}_{job}" if job else self.clicks.name
        return self.defs.resolve_job_def(name).execute_in_process(
            instance=self.instance, partition_key=str(day or self.clicks.day), raise_on_error=False
        )

    def outcome(self, ran: dg.ExecuteInProcessResult) -> tuple[str, str]:
        run = self.instance.get_run_by_id(ran.run_id)
        assert run is not None
        return run.status.value, run.tags.get(OUTCOME, "")

    def materialized(self, name: str) -> dg.AssetMaterialization:
        key = dg.AssetKey([self.clicks.name, *name.split(".")])
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[str(self.clicks.day)])
        [record, *_] = self.instance.fetch_materializations(wanted, limit=1).records
        assert record.asset_materialization is not None
        return record.asset_materialization

    def states(self) -> dict[str, str]:
        with self.clicks.session() as session:
            return run_states.by_load_date(session).get(self.clicks.day, {})

    def finished(self) -> bool:
        with self.clicks.session() as session:
            found = growth.between(session, self.clicks.day, self.clicks.day).get(self.clicks.day)
        return bool(found and found.finished_at)


@pytest.fixture
def live(clicks: ClicksPipeline) -> Live:
    return Live(clicks)


def said(ran: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> str:
    return "\n".join(entry.user_message for entry in instance.all_logs(ran.run_id))


def test_a_closed_load_date_is_built_whole_and_the_run_ends(live: Live) -> None:
    clicks = live.clicks
    clicks.land("a", "b", "b")
    clicks.land("c")
    clicks.close()
    ran = live.run()
    assert live.outcome(ran) == ("SUCCESS", "success")
    assert clicks.total() == 3
    assert live.finished()
    assert set(live.states().values()) == {"published"}
    rows = {name: live.materialized(name).metadata["dagster/row_count"].value for name in KEYS[1:]}
    assert rows == {
        "raw.clicks": 4,
        "stg.clicks": 3,
        "stg.clicks_by_minute": 1,
        "marts.kpi_clicks": 1,
        "marts.kpi_total": 1,
    }
    [(checksum,)] = clicks.rows(
        f"select checksum from ops.published where asset = 'stg.clicks' and load_date = '{clicks.day}'"
    )
    assert live.materialized("stg.clicks").tags["dagster/data_version"] == f"3-{checksum}"
    assert live.materialized("s3.clicks").metadata["batch/objects"].value == 2
    evaluated = {(each.asset_key.path[-1], each.check_name): each.passed for each in ran.get_asset_check_evaluations()}
    assert evaluated["clicks_by_minute", "grain"]
    assert all(evaluated.values())


@pytest.mark.nightly
def test_a_live_run_makes_no_client_of_boto3(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    clicks = live.clicks
    clicks.land("a")
    clicks.close()
    monkeypatch.setattr(s3_objects, "client", lambda _settings: pytest.fail("a client was made"))
    assert live.outcome(live.run()) == ("SUCCESS", "success")
    assert clicks.total() == 1


@pytest.mark.nightly
def test_the_run_log_has_the_live_run_as_one_row_with_the_worst_of_the_latest_builds(live: Live) -> None:
    clicks = live.clicks
    clicks.land("a", kind="explode")
    clicks.close()
    held = live.run()
    assert live.outcome(held) == ("SUCCESS", "held")
    assert not live.finished()
    assert live.states()["stg.clicks"] == "held"
    path = clicks.folder / "stg/clicks.sql"
    path.write_text(path.read_text().replace("[view, cart]", "[view, cart, explode]"))
    again = Live(clicks, live.instance)
    assert again.outcome(again.run()) == ("SUCCESS", "success")
    assert clicks.total() == 1
    assert again.finished()


def test_a_second_live_run_of_a_load_date_ends_at_once(live: Live) -> None:
    clicks = live.clicks
    clicks.land("a")
    clicks.close()
    with connect(clicks.server, clicks.name, "other") as other:
        assert locks.try_lock(other, locks.live_lock(clicks.day))
        ran = live.run()
    assert live.outcome(ran)[0] == "SUCCESS"
    assert f"Another live run builds {clicks.day}" in said(ran, live.instance)
    assert clicks.total() is None
    live.run()
    assert clicks.total() == 1


def test_a_run_without_one_load_date_fails_with_a_sentence(live: Live) -> None:
    job = live.defs.resolve_job_def(f"{live.clicks.name}_live")
    ran = job.execute_in_process(instance=live.instance, raise_on_error=False)
    [failure] = ran.filter_events(lambda event: event.is_step_failure)
    assert failure.step_failure_data.user_failure_data is not None
    assert (
        failure.step_failure_data.user_failure_data.description
        == "A live run takes one load_date, and the run names 0: give it one partition."
    )


class _Beside(threading.Thread):
    """A live run in a thread of its own."""

    def __init__(self, live: Live) -> None:
        super().__init__(daemon=True)
        self.live, self.ran = live, None

    def run(self) -> None:
        self.ran: Any = self.live.run()


@pytest.mark.nightly
def test_a_backfill_beside_a_live_run_gets_its_turn_and_both_end_with_all_rows(live: Live) -> None:
    clicks = live.clicks
    clicks.report(datetime.now(timezone.utc))  # so that the load_date is not closed by the clock
    clicks.land("a", "b")
    beside = _Beside(live)
    beside.start()
    eventually(lambda: clicks.total() == 2)
    clicks.land("c")
    other = Live(clicks)
    replayed = other.run("")
    assert other.outcome(replayed) == ("SUCCESS", "success")
    clicks.land("d")
    eventually(lambda: clicks.total() == 4)
    clicks.close()
    beside.join(60)
    assert beside.ran is not None
    assert live.outcome(beside.ran) == ("SUCCESS", "success")
    assert live.finished()
    counts = clicks.rows(f"select count(*), count(distinct event_id) from stg.clicks where load_date = '{clicks.day}'")
    assert counts == [(4, 4)]
    assert clicks.rows(
        f"select count(*) from ops.pipeline_runs where load_date = '{clicks.day}' and status <> 'success'"
    ) == [(0,)]
