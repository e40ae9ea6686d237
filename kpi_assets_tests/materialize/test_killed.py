"""If a process is killed at any point of a build, the published rows stay, and the next build repairs the rest."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kpi_assets.warehouse.versions import VersionChanges
from kpi_assets_tests.examples import few
from kpi_assets_tests.machine import PATIENCE, eventually
from kpi_assets_tests.materialize.crash_points import (
    COUNTS,
    GOOD_ROWS,
    THINGS,
    WIDE,
    WIDE_COUNTS,
    await_no_session,
    leftover_builds,
    locks,
    sessions,
    statuses,
)
from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness

HISTORY = """\
/* @asset
description: Things and their history.
owner: team:tests
grain: [thing_id]
storage: history
history: {surrogate_key: thing_sk, max_changed: 1}
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: "Name, any text."}
  weight: {type: "numeric(6,2)", description: "Kilograms; NULL if it was not weighed."}
@end */
select
    thing_id,
    name,
    weight
from raw.things
where load_date = %(load_date)s
"""
DIED = "The process that ran this died before it could finish."


@contextmanager
def build_process(
    lab: PipelineHarness, phase: str, times: int = 1, *, table: str = "raw.things", act: str = "build"
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that builds a table and kills itself. It is killed at the end of the block at the latest."""
    words = [str(lab.root), lab.name, lab.bucket, table, str(DAY), phase, str(times)]
    process = subprocess.Popen([sys.executable, "-m", "kpi_assets_tests.materialize.build_in_subprocess", act, *words])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def kill_build(lab: PipelineHarness, phase: str, times: int = 1) -> None:
    """Build in a process that is killed in a phase, and wait until the server has noticed its end."""
    with build_process(lab, phase, times) as process:
        assert process.wait(PATIENCE) == -9
    await_no_session(lab)


@pytest.mark.parametrize(
    ("phase", "times", "left"),
    few(
        1,
        [
            ("copying", 1, 0),
            ("copying", 2, 0),
            ("copying", 3, 0),
            ("indexing", 1, 0),
            ("checking", 1, 1),
            ("publishing", 1, 1),
        ],
    ),
)
def test_a_build_killed_in_any_phase_changes_nothing_and_the_next_build_succeeds(
    lab: PipelineHarness, phase: str, times: int, left: int
) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", "storage: partitions\ngrain:"))
    lab.put_things(GOOD)
    first = lab.build("raw.things")
    lab.put_things(WIDE)
    lab.verify("raw.things")

    kill_build(lab, phase, times)

    assert lab.rows(THINGS) == GOOD_ROWS
    assert lab.rows("select publish_id from ops.published") == [(first.publish_id,)]
    assert len(leftover_builds(lab)) == left
    assert locks(lab) == []
    assert statuses(lab, "raw.things") == [("success", None), ("running", None)]

    healed = lab.build("raw.things")

    assert healed.rows == 20_000
    assert lab.rows(COUNTS) == WIDE_COUNTS
    assert leftover_builds(lab) == []
    assert statuses(lab, "raw.things") == [("success", None), ("failed", DIED), ("success", None)]


@pytest.mark.parametrize("storage", few(1, ["rows", "partitions"]))
def test_a_build_killed_in_the_publish_transaction_changes_nothing(lab: PipelineHarness, storage: str) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:"))
    lab.put_things(GOOD)
    first = lab.build("raw.things")
    lab.put_things(b"thing_id,name,weight\n7,saw,1.00\n")
    lab.verify("raw.things")

    with lab.session() as ours:
        ours.execute("begin")
        ours.execute("lock table ops.publishes in share mode")  # blocks the last step but one of a publish
        with build_process(lab, "never") as process, lab.session() as looking:
            eventually(
                lambda: any(
                    waits == "Lock" and query.startswith("update ops.publishes")
                    for _, waits, query in sessions(looking, lab)
                )
            )
            process.kill()
            assert process.wait() == -9
        ours.execute("commit")
    await_no_session(lab)

    assert lab.rows(THINGS) == GOOD_ROWS
    assert lab.rows("select publish_id, superseded_at from ops.publishes") == [(first.publish_id, None)]
    healed = lab.build("raw.things")
    assert lab.rows(THINGS) == [(7, "saw", "1.00")]
    assert lab.rows("select publish_id from ops.published") == [(healed.publish_id,)]
    assert leftover_builds(lab) == []


def test_a_fold_that_is_killed_changes_no_version(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/things.sql", HISTORY)
    versions = "select thing_sk, name, weight::text, effective_date, end_date from marts.things order by 1"
    for day in (DAY, NEXT):
        lab.put_things(GOOD, day)
        lab.build("raw.things", day)
        lab.build("marts.things", day)
    before = lab.rows(versions)
    assert len(before) == 2
    lab.put_things(b"thing_id,name,weight\n1,anvil,21.00\n7,saw,1.00\n")
    lab.build("raw.things")

    with lab.session() as ours:
        ours.execute("begin")
        ours.execute("lock table marts.things in share mode")  # blocks the statement that deletes versions
        with build_process(lab, "never", table="marts.things") as process, lab.session() as looking:
            eventually(
                lambda: any(
                    waits == "Lock" and query.lstrip().startswith('delete from "marts"."things"')
                    for _, waits, query in sessions(looking, lab)
                )
            )
            process.kill()
            assert process.wait() == -9
        ours.execute("commit")
    await_no_session(lab)

    assert lab.rows(versions) == before
    healed = lab.build("marts.things")
    assert healed.versions == VersionChanges(new=1, changed=1, ended=1)
    assert len(lab.rows(versions)) == 4
    assert leftover_builds(lab) == []


def test_a_build_killed_after_the_commit_is_published(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", "storage: partitions\ngrain:"))
    lab.put_things(GOOD)
    lab.verify("raw.things")

    kill_build(lab, "published")

    lab.prepared()
    assert lab.rows(THINGS) == GOOD_ROWS
    assert lab.rows("select rows from ops.published") == [(2,)]
    assert statuses(lab, "raw.things") == [("success", None)]


@pytest.mark.nightly
def test_leftovers_of_a_killed_build_are_dropped_by_the_next_build_of_its_load_date(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    for day in (DAY, NEXT):
        lab.put_things(GOOD, day)
        lab.verify("raw.things", day)
    kill_build(lab, "publishing")
    [left] = leftover_builds(lab)

    lab.build("raw.things", NEXT)
    assert leftover_builds(lab) == [left]

    lab.build("raw.things", DAY)
    assert leftover_builds(lab) == []
    assert lab.rows("select load_date, count(*) from raw.things group by 1 order by 1") == [(DAY, 2), (NEXT, 2)]
