"""Fixtures with one database and one bucket for all tests of a module, because making a database takes a second.

Both are emptied after each test.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.embedded.stack import Stack
from kpi_assets.fixtures.database import clear_ledger
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.warehouse.audit_harness import AuditHarness


@pytest.fixture(scope="module")
def shared(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    """The pipeline harness of a module, ready for builds."""
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("shared")) as opened:
        opened.prepared()
        yield opened


@pytest.fixture
def lab(shared: PipelineHarness) -> Iterator[PipelineHarness]:
    """The pipeline harness of the module, without files, tables or rows in the ledger."""
    yield shared
    for path in shared.folder.glob("*/*.sql"):
        path.unlink()
    with shared.session() as session:
        session.execute("drop schema raw, stg, marts, builds cascade")
        clear_ledger(session)
    shared.prepared()


@pytest.fixture
def session(shared: PipelineHarness) -> Iterator[Connection[Any]]:
    """A session on the shared database. Its changes are rolled back at the end."""
    with shared.session() as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture
def audit_harness(session: Connection[Any]) -> AuditHarness:
    """A harness with an empty build and the tables that its checks may refer to."""
    session.execute(
        "create temporary table this (load_date date, thing_id integer, name text, weight numeric(6,2), "
        'share double precision, "user" text, "order" integer)'
    )
    session.execute("create table raw.people (load_date date, id text, name text)")
    session.execute("create table raw.lines (load_date date, thing_id integer, price numeric)")
    return AuditHarness(session)
