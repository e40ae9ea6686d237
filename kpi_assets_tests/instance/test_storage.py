"""The event log in batches: a run leaves the same rows in Dagster's database, with fewer statements."""

import uuid
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
import sqlalchemy
from dagster_shared.record import replace
from sqlalchemy.exc import OperationalError

from kpi_assets.dagster_internals import CheckStateTable, EventLogTable
from kpi_assets.instance import folder
from kpi_assets.instance.storage import EvaluatedChecksStorage, events_in_batches, open_instance
from kpi_assets.settings import settings
from kpi_assets_tests.assets.test_gates import run
from kpi_assets_tests.examples import few
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DOUBLED, GOOD, PipelineHarness

Row = dict[str, Any]


@pytest.fixture
def instance(lab: PipelineHarness) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on Postgres, as in a home."""
    folder.prepare(settings())
    with open_instance() as opened:
        yield opened


def test_an_instance_that_is_disposed_of_leaves_no_session(things: PipelineHarness) -> None:
    """A code server opens one for each tick of a sensor, and lives for weeks."""
    things.prepared()
    folder.prepare(settings())
    marker = f"of {uuid.uuid4().hex[:12]}"
    count = "select count(*) from pg_stat_activity where application_name = %s"
    with pytest.MonkeyPatch.context() as patch, things.session() as session:
        patch.setenv("PGAPPNAME", marker)
        for _ in range(2):
            with dg.DagsterInstance.get() as opened:
                opened.get_runs_count()
                opened.all_instigator_state()
                opened.event_log_storage.get_maximum_record_id()
                assert session.execute(count, [marker]).fetchone() == (3,)
            eventually(lambda: session.execute(count, [marker]).fetchone() == (0,))


@pytest.fixture
def storage(instance: dg.DagsterInstance) -> EvaluatedChecksStorage:
    found = instance.event_log_storage
    assert isinstance(found, EvaluatedChecksStorage)
    return found


@pytest.fixture
def statements(storage: EvaluatedChecksStorage) -> Iterator[list[str]]:
    """The statements that the storage of events executes."""
    executed: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        executed.append(statement)

    sqlalchemy.event.listen(storage._engine, "before_cursor_execute", listen)
    yield executed
    sqlalchemy.event.remove(storage._engine, "before_cursor_execute", listen)


def rows_of(storage: EvaluatedChecksStorage, table: sqlalchemy.Table, run_id: str) -> list[Row]:
    query = sqlalchemy.select(table).where(table.c.run_id == run_id).order_by(table.c.id)
    with storage.index_connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def events(storage: EvaluatedChecksStorage, run_id: str) -> list[tuple[Any, ...]]:
    """Return what Dagster stores of each event of a run beside its time, in order."""
    rows = rows_of(storage, EventLogTable, run_id)
    return [(row["dagster_event_type"], row["step_key"], row["asset_key"], row["partition"]) for row in rows]


def states(storage: EvaluatedChecksStorage, run_id: str) -> list[Row]:
    """Return the states of checks that a run has stored: each of an evaluation in the event log."""
    evaluations = {row["id"]: row for row in rows_of(storage, EventLogTable, run_id)}
    found = rows_of(storage, CheckStateTable, run_id)
    for row in found:
        of = evaluations[row.pop("evaluation_event_storage_id")]
        assert (of["dagster_event_type"], of["event"]) == ("ASSET_CHECK_EVALUATION", row.pop("evaluation_event"))
        assert of["timestamp"] == row.pop("evaluation_event_timestamp")
        target = row.pop("materialization_event_storage_id")
        assert target is None or evaluations[target]["dagster_event_type"] == "ASSET_MATERIALIZATION"
        row["is about a materialization"] = target is not None
    return [{name: row[name] for name in row if name not in {"id", "run_id", "create_timestamp"}} for row in found]


@pytest.mark.parametrize("content", few(1, [GOOD, DOUBLED]), ids=["published", "held"])
def test_a_run_in_batches_leaves_the_rows_that_another_run_leaves(
    things: PipelineHarness,
    instance: dg.DagsterInstance,
    storage: EvaluatedChecksStorage,
    statements: list[str],
    content: bytes,
) -> None:
    things.put_things(content)
    usual = run(things, instance).run_id
    statements.clear()
    with events_in_batches(instance):
        batched = run(things, instance).run_id
    inserts = sum(text.startswith("INSERT INTO event_logs") for text in statements)
    assert events(storage, batched) == events(storage, usual)
    assert states(storage, batched) == states(storage, usual)
    assert inserts < len(events(storage, batched)) * 2 / 3, "the others were stored together"


def entries(storage: EvaluatedChecksStorage, run_id: str) -> list[dg.EventLogEntry]:
    """Return two evaluations of a run, with the output that followed them."""
    kinds = {dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.STEP_OUTPUT}
    found = [record.event_log_entry for record in storage.get_records_for_run(run_id, of_type=kinds).records]
    last = [entry for entry in found if (entry.step_key or "").endswith("weighed")]
    evaluations = [entry for entry in last if entry.dagster_event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION]
    return [*evaluations, last[-1]]


@pytest.fixture
def some(things: PipelineHarness, instance: dg.DagsterInstance, storage: EvaluatedChecksStorage) -> list[Any]:
    """Events of a run, as those of a run that has no others."""
    things.put_things(GOOD)
    found = entries(storage, run(things, instance).run_id)
    assert len(found) == 3
    new = str(uuid.uuid4())
    return [entry._replace(run_id=new) for entry in found]


def stored(storage: EvaluatedChecksStorage, some: list[Any]) -> list[str]:
    """Return the kinds of the events that are stored of the run of `some`, in order."""
    return [kind for kind, *_ in events(storage, some[0].run_id)]


KINDS = ["ASSET_CHECK_EVALUATION", "ASSET_CHECK_EVALUATION", "STEP_OUTPUT"]


def test_who_reads_in_this_process_finds_what_waits(storage: EvaluatedChecksStorage, some: list[Any]) -> None:
    with storage.in_batches():
        for event in some:
            storage.store_event(event)
        assert stored(storage, some) == KINDS
        storage.store_event(some[-1])
    assert stored(storage, some) == [*KINDS, "STEP_OUTPUT"]


def test_an_error_in_the_context_stores_what_waits(storage: EvaluatedChecksStorage, some: list[Any]) -> None:
    with pytest.raises(ZeroDivisionError), storage.in_batches():
        storage.store_event(some[0])
        _ = 1 / 0
    assert stored(storage, some) == KINDS[:1]


def test_a_check_that_is_evaluated_again_has_its_last_state(storage: EvaluatedChecksStorage, some: list[Any]) -> None:
    for _ in range(2):
        with storage.in_batches():
            for event in some:
                storage.store_event(event)
    assert stored(storage, some) == KINDS * 2
    last = [row["id"] for row in rows_of(storage, EventLogTable, some[0].run_id)][3:5]
    found = rows_of(storage, CheckStateTable, some[0].run_id)
    assert [row["evaluation_event_storage_id"] for row in found] == last


def test_an_evaluation_without_a_partition_does_not_wait(
    storage: EvaluatedChecksStorage, some: list[Any], statements: list[str]
) -> None:
    event = some[0].get_dagster_event()
    alone = event._replace(event_specific_data=replace(event.asset_check_evaluation_data, partition=None))
    with storage.in_batches():
        storage.store_event(some[0]._replace(dagster_event=alone))
        assert any(text.startswith("INSERT INTO asset_check_executions") for text in statements)
    [row] = rows_of(storage, CheckStateTable, some[0].run_id)
    assert (row["partition"], row["execution_status"]) == (None, "SUCCEEDED")


def test_events_are_stored_one_by_one_if_together_they_cannot_be(
    storage: EvaluatedChecksStorage, some: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_events: object) -> None:
        raise OperationalError("insert", {}, Exception("the connection is gone"))

    monkeypatch.setattr(storage, "_store_together", fail)
    with storage.in_batches():
        for event in some:
            storage.store_event(event)
    assert stored(storage, some) == KINDS
    assert len(rows_of(storage, CheckStateTable, some[0].run_id)) == 2


def test_a_run_that_is_stopped_while_events_are_stored_loses_none(
    storage: EvaluatedChecksStorage, some: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_events: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with storage.in_batches():
        for event in some[:2]:
            storage.store_event(event)
        monkeypatch.setattr(storage, "_store_together", stop)
        with pytest.raises(KeyboardInterrupt):
            storage.has_asset_key_col("a_column")
        storage.store_event(some[2])
    assert stored(storage, some) == KINDS


def test_tables_and_columns_are_looked_up_until_they_are_there(
    storage: EvaluatedChecksStorage, statements: list[str]
) -> None:
    for name, column, is_there in (("event_logs", "asset_key", True), ("no_table", "no_column", False)):
        for _ in range(2):
            statements.clear()
            assert storage.has_table(name) is is_there
            assert storage.has_asset_key_col(column) is is_there
        assert bool(statements) is not is_there
