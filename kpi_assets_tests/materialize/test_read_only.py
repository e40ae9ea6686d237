"""On a read-only database builds and sensors fail with one sentence, and reading still works."""

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
def read_only(lab: PipelineHarness) -> Iterator[PipelineHarness]:
    """A pipeline with a published and a landed load_date, whose database was set to read-only."""
    lab.file("raw/things.sql", RAW_THINGS)
    for day in (DAY, NEXT):
        lab.put_things(GOOD, day)
    assert not lab.build("raw.things").held
    make_read_only = sql.SQL("alter database {} set default_transaction_read_only = on")
    with connect(lab.server, "postgres", "test") as session:
        session.execute(make_read_only.format(sql.Identifier(lab.name)))
    yield lab


def rows(lab: PipelineHarness) -> list[tuple[int, ...]]:
    with connect(lab.server, lab.name, "test", read_only=True) as session:
        return session.execute(
            "select (select count(*) from ops.publishes), (select count(*) from ops.pipeline_runs), "
            "(select count(*) from ops.data_quality_results), (select count(*) from raw.things)"
        ).fetchall()


def test_nothing_is_built_on_a_read_only_database(read_only: PipelineHarness) -> None:
    before = rows(read_only)
    context = read_only.context()
    table = context.pipeline.table("raw.things")
    for write in (
        lambda: prepare(context.pipeline, context.server),
        lambda: verify(context, table, NEXT),
        lambda: build(context, table, NEXT),
    ):
        with pytest.raises(WarehouseError) as failure:
            write()
        assert SENTENCE.format(read_only.name) in str(failure.value)
        assert failure.value.transient is False
    assert rows(read_only) == before
    check_readable(context.pipeline, context.server)


def test_a_tick_on_a_read_only_database_fails_with_one_sentence(read_only: PipelineHarness) -> None:
    before = rows(read_only)
    problems, complete = alerts.tick([read_only.pipeline()], [])
    [problem] = problems
    assert (SENTENCE.format(read_only.name) in problem, complete) == (True, False)
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(WarehouseError) as failure:
        TickEvaluator(read_only.pipeline()).evaluate(instance, None, timedelta(seconds=1).total_seconds())
    assert str(failure.value) == problem
    assert rows(read_only) == before


def test_a_session_for_reading_cannot_write(lab: PipelineHarness) -> None:
    """This holds even if the server allows writes."""
    lab.file("raw/things.sql", RAW_THINGS)
    lab.prepared()
    with connect(lab.server, lab.name, "test", read_only=True) as session, pytest.raises(errors.ReadOnlySqlTransaction):
        session.execute("delete from ops.publishes")
