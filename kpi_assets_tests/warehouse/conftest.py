"""One database and one bucket for all tests of a module, emptied after each: a database of its own costs a second."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.embedded.stack import Stack
from kpi_assets.fixtures.database import clear_ledger
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.warehouse.room import AuditHarness


@pytest.fixture(scope="module")
def shared(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    """The lab of a module, ready for builds."""
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("shared")) as opened:
        opened.prepared()
        yield opened


@pytest.fixture
def lab(shared: PipelineHarness) -> Iterator[PipelineHarness]:
    """The lab of the module, without a file, a table or a line in its books."""
    yield shared
    for path in shared.folder.glob("*/*.sql"):
        path.unlink()
    with shared.session() as session:
        session.execute("drop schema raw, stg, marts, builds cascade")
        clear_ledger(session)
    shared.prepared()


@pytest.fixture
def session(shared: PipelineHarness) -> Iterator[Connection[Any]]:
    """A session on the shared lab's database, whose changes are undone at the end."""
    with shared.session() as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture
def room(session: Connection[Any]) -> AuditHarness:
    """An empty build, and beside it the tables that its checks may refer to."""
    session.execute(
        "create temporary table this (load_date date, thing_id integer, name text, weight numeric(6,2), "
        'share double precision, "user" text, "order" integer)'
    )
    session.execute("create table raw.people (load_date date, id text, name text)")
    session.execute("create table raw.lines (load_date date, thing_id integer, price numeric)")
    return AuditHarness(session)
