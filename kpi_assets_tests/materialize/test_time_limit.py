"""A build that takes longer than `time_limit` fails in one sentence, wherever it is, and leaves nothing behind."""

import random
import threading
import time
from pathlib import Path

import pytest

from kpi_assets.ledger import locks
from kpi_assets.materialize import time_limit
from kpi_assets.materialize.time_limit import TimeLimitError
from kpi_assets.model.names import Relation
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.crash_points import await_no_session, leftover_builds
from kpi_assets_tests.materialize.test_slices import LINES, SUMS
from kpi_assets_tests.pipeline_harness import DAY, GOOD, MART, RAW_THINGS, PipelineHarness

LIMIT = "time_limit: {minutes: 0.02}\ngrain:"  # 1.2 seconds
SLOW = "where (select count(*) from pg_sleep(20)) = 1 and load_date"
SLOW_CHECKS = [
    "select * from {this} where pg_sleep(20) is null",  # in the scan that all checks of rows share
    "select thing_id from {this} where pg_sleep(20) is null",
]


def refused(lab: PipelineHarness, name: str, path: Path, **changes: object) -> None:
    """Build a table and assert that it fails soon and in the sentence of its limit, and leaves nothing behind."""
    began = time.monotonic()
    with pytest.raises(TimeLimitError) as failure:
        lab.build(name, **changes)
    assert time.monotonic() - began < 5
    said = (
        f"{path}: {name} of {DAY} was not published, since its build took longer than 0.02 minutes: make its SELECT or "
        "its checks faster, or raise time_limit in its header."
    )
    assert (str(failure.value), failure.value.transient) == (said, False), "a retry would do the same work again"
    ended = "select status, error_message, candidate from ops.pipeline_runs where job = '{}' order by id desc limit 1"
    assert lab.rows(ended.format(name)) == [("failed", said, None)]
    assert leftover_builds(lab) == []
    assert lab.rows(f"select * from ops.publishes where asset = '{name}'") == []
    await_no_session(lab)


def test_a_select_that_takes_too_long_is_cancelled(things: PipelineHarness) -> None:
    path = things.file("marts/weighed.sql", MART.replace("grain:", LIMIT).replace("where load_date", SLOW))
    refused(things, "marts.weighed", path)
    things.file("marts/weighed.sql", MART.replace("grain:", LIMIT))
    assert things.build("marts.weighed").rows == 1


@pytest.mark.parametrize("check", few(1, SLOW_CHECKS))
def test_a_check_that_takes_too_long_is_cancelled(things: PipelineHarness, check: str) -> None:
    checks = f"checks:\n  slow: {{bad_rows: '{check}'}}"
    path = things.file("marts/weighed.sql", MART.replace("grain:", LIMIT).replace("checks:", checks))
    refused(things, "marts.weighed", path)


def test_statements_that_are_each_quick_enough_are_limited_together(things: PipelineHarness) -> None:
    checks = "\n".join(f"  c{n}: {{bad_rows: 'select * from {{this}} where pg_sleep(0.5) is null'}}" for n in range(9))
    path = things.file("marts/weighed.sql", MART.replace("grain:", LIMIT).replace("checks:", f"checks:\n{checks}"))
    refused(things, "marts.weighed", path)


def test_an_object_that_takes_too_long_to_load_is_not_loaded(lab: PipelineHarness) -> None:
    path = lab.file("raw/things.sql", RAW_THINGS.replace("grain:", LIMIT))
    lab.put_things(GOOD)

    def slow(phase: str, _done: int, _total: int) -> None:
        time.sleep(1.5 if phase == "copying" else 0)

    refused(lab, "raw.things", path, on_progress=slow)
    assert not lab.build("raw.things").held


@pytest.mark.parametrize("name", few(1, ["marts.sums", "raw.lines"]))
def test_the_writers_of_slices_are_stopped(lab: PipelineHarness, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "CANCEL_EVERY", 0.001)  # so that the removal of slices is cancelled too
    rows = [f"{order},{line},{random.random()}" for order in range(3000) for line in (1, 2)]
    lab.put(f"raw/lines/load_date={DAY}/lines.csv", "\n".join(["order_id,line,note", *rows, ""]).encode())
    sliced = {"writers": 2, "slice_bytes": 8 << 10}
    if name == "raw.lines":
        path = lab.file("raw/lines.sql", LINES.replace("grain:", LIMIT))

        def slow(phase: str, _done: int, _total: int) -> None:
            time.sleep(1.5 if phase == "copying" else 0)

        refused(lab, name, path, **sliced, on_progress=slow)
        return
    lab.file("raw/lines.sql", LINES)
    assert not lab.build("raw.lines", **sliced).held
    select = SUMS.replace(
        "count(*) as lines",
        "count(*) + (select count(*) - 1 from pg_sleep(case when order_id < 2990 then 0 else 20 end)) as lines",
    )
    path = lab.file("marts/sums.sql", select.replace("grain:", LIMIT))
    phases = []
    refused(lab, name, path, **sliced, on_progress=lambda phase, _done, _total: phases.append(phase))
    assert "writing slices" in phases


@pytest.mark.nightly
def test_waiting_for_a_lock_does_not_count(things: PipelineHarness) -> None:
    things.file("marts/weighed.sql", MART.replace("grain:", LIMIT))
    things.prepared()
    with things.session() as session:
        assert locks.try_lock(session, locks.build_lock(Relation("marts", "weighed"), DAY))
        release = threading.Timer(2, session.close)
        release.start()
        assert things.build("marts.weighed").rows == 1
        release.join()


def test_the_word_changes_no_version_and_is_for_tables_with_rows(things: PipelineHarness) -> None:
    things.file("marts/weighed.sql", MART)
    before = things.pipeline().table("marts.weighed")
    things.file("marts/weighed.sql", MART.replace("grain:", LIMIT))
    after = things.pipeline().table("marts.weighed")
    assert (before.code_version, before.checks_version) == (after.code_version, after.checks_version)
    view = MART.replace("grain:", "storage: view\n" + LIMIT).replace(" and weight is not null", "")
    things.file("marts/weighed.sql", view.partition("checks:")[0] + "@end */" + view.partition("@end */")[2])
    with pytest.raises(ModelError, match="time_limit: a view has no rows to be built: put it at the table that it sh"):
        things.pipeline()
