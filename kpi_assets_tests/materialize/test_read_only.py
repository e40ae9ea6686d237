"""A database that takes no writes: builds and sensors say so in one sentence, and what is there can be read."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest
from psycopg import errors, sql

from kpi_assets.automation import alerts
from kpi_assets.automation.sensor_tick import TickEvaluator
from kpi_assets.materialize.build import build
from kpi_assets.materialize.prepare import check_readable, prepare
from kpi_assets.materialize.verify_object import verify
from kpi_assets.warehouse.connection import WarehouseError, connect
from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness

SENTENCE = "takes no writes on database '{}', where default_transaction_read_only is on for the database, and nothing"


@pytest.fixture
def braked(lab: PipelineHarness) -> Iterator[PipelineHarness]:
    """A lab with one load_date published and one landed, on whose database somebody set the brake."""
    lab.file("raw/things.sql", RAW_THINGS)
    for day in (DAY, NEXT):
        lab.put_things(GOOD, day)
    assert not lab.build("raw.things").held
    brake = sql.SQL("alter database {} set default_transaction_read_only = on")
    with connect(lab.server, "postgres", "test") as session:
        session.execute(brake.format(sql.Identifier(lab.name)))
    yield lab


def rows(lab: PipelineHarness) -> list[tuple[int, ...]]:
    with connect(lab.server, lab.name, "test", read_only=True) as session:
        return session.execute(
            "select (select count(*) from ops.publishes), (select count(*) from ops.pipeline_runs), "
            "(select count(*) from ops.data_quality_results), (select count(*) from raw.things)"
        ).fetchall()


def test_nothing_is_built(braked: PipelineHarness) -> None:
    before = rows(braked)
    context = braked.context()
    table = context.pipeline.table("raw.things")
    for write in (
        lambda: prepare(context.pipeline, context.server),
        lambda: verify(context, table, NEXT),
        lambda: build(context, table, NEXT),
    ):
        with pytest.raises(WarehouseError) as failure:
            write()
        assert SENTENCE.format(braked.name) in str(failure.value)
        assert failure.value.transient is False
    assert rows(braked) == before
    check_readable(context.pipeline, context.server)


def test_a_tick_says_it_in_one_sentence(braked: PipelineHarness) -> None:
    before = rows(braked)
    problems, complete = alerts.tick([braked.pipeline()], [])
    [problem] = problems
    assert (SENTENCE.format(braked.name) in problem, complete) == (True, False)
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(WarehouseError) as failure:
        TickEvaluator(braked.pipeline()).evaluate(instance, None, timedelta(seconds=1).total_seconds())
    assert str(failure.value) == problem
    assert rows(braked) == before


def test_who_only_reads_cannot_write(lab: PipelineHarness) -> None:
    """Also where the server would let it."""
    lab.file("raw/things.sql", RAW_THINGS)
    lab.prepared()
    with connect(lab.server, lab.name, "test", read_only=True) as session, pytest.raises(errors.ReadOnlySqlTransaction):
        session.execute("delete from ops.publishes")
