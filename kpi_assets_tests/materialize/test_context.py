"""The context of a build: settings of its sessions, number of slices, and measured time."""

from collections.abc import Iterator

import pytest

from kpi_assets.materialize import context as context_module
from kpi_assets.materialize.context import Stopwatch, run_log_message
from kpi_assets_tests.pipeline_harness import MART, RAW_THINGS, PipelineHarness

MB = 1 << 20
SETTINGS = (
    "select current_user::text, current_setting('application_name'), current_setting('enable_nestloop'), "
    "current_setting('enable_mergejoin'), current_setting('enable_hashjoin'), "
    "current_setting('max_parallel_workers_per_gather'), current_setting('max_parallel_maintenance_workers'), "
    "current_setting('search_path')"
)


@pytest.mark.parametrize(("writers", "helpers"), [(1, "0"), (4, "3")])
def test_the_session_of_a_build_has_settings_for_large_statements_and_the_role_of_its_layer(
    lab: PipelineHarness, writers: int, helpers: str
) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/weighed.sql", MART)
    context = lab.prepared(writers=writers)
    for table, role in (("raw.things", "kpi_loader"), ("marts.weighed", "kpi_builder")):
        with context.session(context.pipeline.table(table), "a name") as session:
            assert session.execute(SETTINGS).fetchall() == [
                (role, "kpi a name", "off", "off", "on", helpers, helpers, "pg_catalog")
            ]


@pytest.mark.parametrize(
    ("size", "writers", "slices"),
    [
        (0, 2, 1),
        (160 * MB - 1, 2, 1),
        (160 * MB, 2, 2),
        (160 * MB + 1, 2, 4),
        (320 * MB, 2, 4),
        (320 * MB, 3, 6),
        (160 * MB, 1, 2),
        (100 << 30, 2, 32),
        (100 << 30, 3, 32),
    ],
)
def test_the_number_of_slices_is_a_multiple_of_the_writers(
    lab: PipelineHarness, size: int, writers: int, slices: int
) -> None:
    assert lab.context(writers=writers).slice_count(size) == slices


def test_the_run_log_has_a_message_for_every_error() -> None:
    assert run_log_message(ValueError("it is 3")) == "it is 3"
    assert run_log_message(ValueError()) == "ValueError"
    assert run_log_message(KeyboardInterrupt()) == "It was interrupted."


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The times that the clock returns, in order."""
    left: list[float] = []
    monkeypatch.setattr(context_module, "perf_counter", lambda: left.pop(0))
    yield left
    assert left == []


def test_time_is_measured_by_phase_and_nested_time_is_not_counted_twice(seconds: list[float]) -> None:
    seconds += [10.0, 12.0, 17.0, 18.0]
    watch = Stopwatch(_since=context_module.perf_counter())
    watch.lap("wait")
    watch.lap("copy", read=3.0)
    watch.lap("copy")
    assert watch.seconds == {"wait": 2.0, "read": 3.0, "copy": 3.0}
    assert list(watch.seconds) == ["wait", "read", "copy"]


def test_parallel_time_is_divided_in_proportion_to_the_stopwatches(seconds: list[float]) -> None:
    seconds += [20.0, 21.0]
    watch = Stopwatch({"wait": 1.0}, _since=10.0)
    watch.lap_in_parallel(
        [Stopwatch({"copy": 6.0, "index": 2.0}, _since=0.0), Stopwatch({"copy": 9.0, "index": 3.0}, _since=0.0)]
    )
    assert watch.seconds == {"wait": 1.0, "copy": 7.5, "index": 2.5}
    watch.lap_in_parallel([Stopwatch({"index": 0.0}, _since=0.0)])
    assert watch.seconds == {"wait": 1.0, "copy": 7.5, "index": 2.5}, "a stopwatch without time adds nothing"
