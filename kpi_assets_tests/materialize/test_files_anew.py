"""Files that are written anew have no byte of rows that are gone, and until nobody sees these rows it is waited."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.materialize import files_anew
from kpi_assets.materialize.files_anew import wait_for_rows, write_anew, write_statistics_anew
from kpi_assets.model.names import Relation
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.pipeline_harness import PipelineHarness

CANARY, LETTERS = "canary.7f31@example.org", Relation("public", "letters")


def silent(_phase: str, _done: int, _total: int) -> None:
    """Report nothing."""


@pytest.fixture
def session(lab: PipelineHarness) -> Iterator[Connection[Any]]:
    """A session on a database whose table `letters` had a row about the canary, which was deleted."""
    lab.prepared()
    with lab.session() as session:
        session.execute("create table public.letters (email text)")
        session.execute("insert into public.letters values ('other@example.org'), (%s)", [CANARY])
        yield session


def holds(session: Connection[Any]) -> bool:
    """Return whether the file of the table has bytes of the canary."""
    session.execute("checkpoint")
    query = "select position(convert_to(%s, 'UTF8') in pg_read_binary_file(pg_relation_filepath('public.letters')))"
    [(place,)] = session.execute(query, [CANARY]).fetchall()
    return bool(place)


def delete(session: Connection[Any]) -> None:
    session.execute("delete from public.letters where email = %s", [CANARY])


def test_only_a_new_file_has_no_bytes_of_a_deleted_row(session: Connection[Any]) -> None:
    delete(session)
    session.execute("vacuum public.letters")
    assert holds(session)
    wait_for_rows(session, silent, 60)
    assert write_anew(session, [LETTERS, Relation("public", "none")], silent, 60) == []
    assert not holds(session)
    assert session.execute("select * from public.letters").fetchall() == [("other@example.org",)]


def test_a_row_that_another_transaction_still_sees_is_waited_for(
    lab: PipelineHarness, session: Connection[Any]
) -> None:
    with lab.session() as reader:
        reader.execute("begin isolation level repeatable read")
        reader.execute("select count(*) from ops.publishes")
        delete(session)
        with pytest.raises(WarehouseError, match=r"has been open for 0 seconds .*was not written anew"):
            wait_for_rows(session, silent, 0)
        write_anew(session, [LETTERS], silent, 60)
        assert holds(session), "Postgres copies the row"
        reader.execute("rollback")
        wait_for_rows(session, silent, 60)
    write_anew(session, [LETTERS], silent, 60)
    assert not holds(session)


def test_a_reader_of_the_table_is_waited_for(
    lab: PipelineHarness, session: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_anew, "LOCK_TIMEOUT", "50ms")
    with lab.session() as reader, reader.transaction():
        reader.execute("select * from public.letters")
        with pytest.raises(WarehouseError, match=r"A reader has held the table .* so it was not written anew"):
            write_anew(session, [LETTERS], silent, 0)


def test_what_belongs_to_somebody_else_is_named(session: Connection[Any]) -> None:
    session.execute("set role kpi_builder")
    assert write_anew(session, [LETTERS], silent, 60) == ["public.letters"]
    assert write_statistics_anew(session, silent, 60) == ["pg_catalog.pg_statistic"]


def test_the_statistics_of_the_planner_have_no_bytes_of_a_deleted_row(session: Connection[Any]) -> None:
    most = "select count(*) from pg_stats where tablename = 'letters' and histogram_bounds::text ~ 'canary'"
    session.execute("analyze public.letters")
    assert session.execute(most).fetchall() == [(1,)]
    delete(session)
    write_anew(session, [LETTERS], silent, 60, full=False)
    assert session.execute(most).fetchall() == [(0,)]
    assert write_statistics_anew(session, silent, 60) == []
