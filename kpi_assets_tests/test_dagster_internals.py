"""The private parts of Dagster that we use still do what dagster_internals.py says. No server is needed."""

import ast
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution import compute_logs
from dagster._core.execution.plan import active
from dagster_webserver import cli as web_cli

import kpi_assets
from kpi_assets import dagster_internals as internals

PACKAGE = Path(kpi_assets.__file__).parent


def private_imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found += [name for name in names if name.startswith("dagster") and "._" in name]
    return found


def test_only_one_module_imports_private_names_of_dagster() -> None:
    found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if private_imports(path)}
    assert found == {"dagster_internals.py"}


def test_the_installed_dagster_is_the_version_that_was_read() -> None:
    assert dg.__version__ == internals.VERIFIED_WITH, (
        "compare dagster_internals.py with the new source of Dagster, then name its version here"
    )


ONE, TWO = dg.AssetKey("one"), dg.AssetKey("two")
DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01")


def chain(last: dict[str, bool]) -> list[dg.AssetsDefinition]:
    """Two assets in a row; the first records no materialization."""

    @dg.multi_asset(specs=[dg.AssetSpec(ONE, skippable=True)], partitions_def=DAYS, name="one")
    def one(context: dg.AssetExecutionContext) -> Iterator[Any]:
        last["one"] = internals.is_last_step(context)
        yield internals.output_without_materialization(context, ONE)

    @dg.asset(deps=[ONE], partitions_def=DAYS)
    def two(context: dg.AssetExecutionContext) -> None:
        last["two"] = internals.is_last_step(context)

    return [one, two]


def run(assets: list[dg.AssetsDefinition], instance: dg.DagsterInstance, **words: Any) -> dg.ExecuteInProcessResult:
    job = dg.Definitions(
        assets=assets, executor=dg.in_process_executor, **words
    ).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, partition_key="2025-01-01", raise_on_error=False)


@pytest.mark.process
def test_a_step_can_have_an_output_without_a_materialization() -> None:
    last: dict[str, bool] = {}
    with dg.instance_for_test() as instance:
        assert run(chain(last), instance).success
        assert [instance.get_latest_materialization_event(key) is not None for key in (ONE, TWO)] == [False, True]
    assert last == {"one": False, "two": True}


def warnings_of_a_skip() -> list[str]:
    """Return the warnings of a run of three assets in a row: the first has no output, the second has a check."""

    @dg.multi_asset(specs=[dg.AssetSpec(ONE, skippable=True)], partitions_def=DAYS, name="one")
    def one() -> Iterator[Any]:
        yield from ()

    @dg.asset(deps=[ONE], partitions_def=DAYS, check_specs=[dg.AssetCheckSpec("fine", asset=TWO, blocking=True)])
    def two() -> dg.MaterializeResult:
        raise AssertionError("it is skipped")

    @dg.asset(deps=[TWO], partitions_def=DAYS)
    def three() -> None:
        raise AssertionError("it is skipped")

    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    active.logger.addHandler(handler)
    try:
        with dg.instance_for_test() as instance:
            assert run([one, two, three], instance).success
    finally:
        active.logger.removeHandler(handler)
    return [message for message in found if "fine" in message]


@pytest.mark.process
def test_the_warning_about_checks_of_a_skipped_step_is_suppressed() -> None:
    kept = list(active.logger.filters)
    try:
        active.logger.filters.clear()
        assert warnings_of_a_skip(), "Dagster no longer warns: the filter can go"
        internals.silence_missing_check_warnings()
        assert not warnings_of_a_skip()
    finally:
        active.logger.filters[:] = kept


def test_a_run_can_end_as_canceled() -> None:
    @dg.resource
    def log(context: dg.InitResourceContext) -> Iterator[str]:
        yield "log"
        assert context.instance is not None
        assert context.run is not None
        internals.end_as_canceled(context.instance, context.run, "A gate held something.")

    @dg.asset(partitions_def=DAYS, required_resource_keys={"log"})
    def held() -> None:
        pass

    with dg.instance_for_test() as instance:
        run([held], instance, resources={"log": log})
        [ended] = instance.get_runs()
        assert ended.status == dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_a_step_raises_keyboard_interrupt(how: signal.Signals) -> None:
    from dagster._core.errors import raise_execution_interrupts  # noqa: PLC0415  as Dagster has it around a step

    with raise_execution_interrupts(), pytest.raises(KeyboardInterrupt), internals.interrupts_as_keyboard_interrupt():
        os.kill(os.getpid(), how)


@pytest.mark.process
def test_helpers_that_dagster_starts_for_a_step_run_in_a_session_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "subprocess" in compute_logs.execute_posix_tail.__wrapped__.__code__.co_names, (
        "Dagster starts its helpers in another way"
    )
    monkeypatch.setattr(compute_logs, "subprocess", subprocess)
    internals.keep_ctrl_c_from_helpers()
    started = compute_logs.subprocess.Popen(
        [sys.executable, "-c", "import os; print(os.getsid(0))"], stdout=subprocess.PIPE, text=True
    )
    session, _ = started.communicate()
    assert int(session) == started.pid != os.getsid(0)


def test_a_sensor_is_switched_on_as_the_ui_does_it() -> None:
    @dg.sensor(name="look", target=dg.AssetSelection.all())
    def look() -> None:
        pass

    with dg.instance_for_test() as instance:
        state = internals.unswitched_state("look", "here", internals.SensorInstigatorData())
        assert state.status == internals.InstigatorStatus.STOPPED
        running = internals.started_now(state.with_status(internals.InstigatorStatus.RUNNING), "0 2 * * *")
        instance.add_instigator_state(running)
        found = instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
        assert found == running
        assert found.sensor_instigator_data.last_sensor_start_timestamp


def test_a_schedule_is_switched_on_as_the_ui_does_it() -> None:
    state = internals.unswitched_state("daily", "here", internals.ScheduleInstigatorData("0 2 * * *"))
    assert state.instigator_type == internals.InstigatorType.SCHEDULE
    assert internals.started_now(state, "0 2 * * *").instigator_data.start_timestamp


def test_the_storages_keep_their_connections_in_an_engine() -> None:
    from dagster_postgres.event_log import PostgresEventLogStorage  # noqa: PLC0415  with the storages beside it
    from dagster_postgres.run_storage import PostgresRunStorage  # noqa: PLC0415
    from dagster_postgres.schedule_storage import PostgresScheduleStorage  # noqa: PLC0415

    for storage in (PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage):
        assert "_engine" in storage.__init__.__code__.co_names, storage.__name__


def test_the_app_of_the_web_server_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert internals.MAKES_WEB_APP in web_cli.host_dagster_ui_with_workspace_process_context.__code__.co_names
    monkeypatch.setattr(web_cli, internals.MAKES_WEB_APP, lambda name, **named: (name, named))
    internals.wrap_web_app(lambda app: ("guarded", app))
    assert getattr(web_cli, internals.MAKES_WEB_APP)("app", path="/") == ("guarded", ("app", {"path": "/"}))
