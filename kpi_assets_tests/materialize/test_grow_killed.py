"""If a process is killed at any point of a batch, its rows are published once: by the killed process or the next."""

import pytest

from kpi_assets.materialize.grow import grow
from kpi_assets_tests.examples import few
from kpi_assets_tests.machine import PATIENCE, eventually
from kpi_assets_tests.materialize.crash_points import await_no_session, leftover_builds, locks, sessions
from kpi_assets_tests.materialize.test_killed import build_process
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness
from kpi_assets_tests.streams import StreamLab, click, write_files

TABLES = ("raw.clicks", "stg.clicks", "marts.clicks_by_type")
COUNTS = (
    "select (select count(*) from raw.clicks), (select count(*) from stg.clicks), "
    "(select sum(events)::bigint from marts.clicks_by_type)"
)


@pytest.fixture
def stream(lab: PipelineHarness) -> StreamLab:
    """A stream of which one batch is published in each table, and one has landed."""
    write_files(lab)
    stream = StreamLab(lab)
    stream.land(0, [click(n) for n in range(10)])
    heal(stream)
    stream.land(0, [click(n) for n in range(8, 15)])
    return stream


def heal(stream: StreamLab) -> None:
    context = stream.lab.prepared()
    for name in TABLES:
        grow(context, context.pipeline.table(name), DAY)


def whole(stream: StreamLab) -> None:
    heal(stream)
    heal(stream)
    assert stream.lab.rows(COUNTS) == [(17, 15, 15)]
    assert stream.lab.rows("select event_id from stg.clicks group by 1 having count(*) > 1") == []
    assert stream.lab.rows("select asset, count(*), sum(repeats) from ops.batches group by 1 order by 1") == [
        ("marts.clicks_by_type", 2, 0),
        ("raw.clicks", 2, 0),
        ("stg.clicks", 2, 2),
    ]
    assert leftover_builds(stream.lab) == []
    before = stream.lab.rows(
        "select asset, rows, checksum from ops.published where asset <> 'marts.clicks_by_type' order by 1"
    )
    for name in TABLES:
        stream.lab.build(name)
    after = stream.lab.rows(
        "select asset, rows, checksum from ops.published where asset <> 'marts.clicks_by_type' order by 1"
    )
    assert after == before


@pytest.mark.parametrize("table", few(1, TABLES))
@pytest.mark.parametrize("phase", few(1, ["published", "checking", "publishing"]))
def test_a_batch_killed_before_or_after_its_publish_is_published_once(
    stream: StreamLab, table: str, phase: str
) -> None:
    context = stream.lab.prepared()
    for name in TABLES[: TABLES.index(table)]:
        grow(context, context.pipeline.table(name), DAY)
    before = stream.lab.rows(COUNTS)

    with build_process(stream.lab, phase, table=table, act="grow") as process:
        assert process.wait(PATIENCE) == -9
    await_no_session(stream.lab)

    assert (stream.lab.rows(COUNTS) == before) is (phase != "published")
    assert locks(stream.lab) == []
    whole(stream)


@pytest.mark.parametrize("table", few(1, TABLES))
def test_a_batch_killed_in_the_transaction_of_its_publish_is_published_once(stream: StreamLab, table: str) -> None:
    context = stream.lab.prepared()
    for name in TABLES[: TABLES.index(table)]:
        grow(context, context.pipeline.table(name), DAY)
    before = stream.lab.rows(COUNTS)

    with stream.lab.session() as ours:
        ours.execute("begin")
        ours.execute("lock table ops.publishes in share mode")  # its rows are added by then
        with build_process(stream.lab, "never", table=table, act="grow") as process, stream.lab.session() as looking:
            eventually(
                lambda: any(
                    waits == "Lock" and query.startswith("update ops.publishes")
                    for _, waits, query in sessions(looking, stream.lab)
                )
            )
            process.kill()
            assert process.wait() == -9
        ours.execute("commit")
    await_no_session(stream.lab)

    assert stream.lab.rows(COUNTS) == before
    whole(stream)
