"""A pooler that shares sessions among transactions is refused; a pooler in session mode is accepted as a server."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from kpi_assets.doctor import warehouse
from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.build import build
from kpi_assets.materialize.verify_object import verify
from kpi_assets.settings import settings
from kpi_assets.warehouse import connection as connection_module
from kpi_assets.warehouse.connection import WarehouseError, connect
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DAY, GOOD, RAW_THINGS, PipelineHarness
from kpi_assets_tests.pooler import Pooler, pooler


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_keep_sessions", set())


@pytest.fixture
def url(stack: Stack) -> str:
    found = settings().postgres_url
    assert found is not None
    return found.get_secret_value()


def through(opened: Pooler) -> SecretStr:
    return SecretStr(make_conninfo(opened.url, host="127.0.0.1", port=opened.port))


@pytest.fixture(params=["last first", "in turns", "each statement"])
def sharing(url: str, request: pytest.FixtureRequest) -> Iterator[Pooler]:
    mode = "statement" if request.param == "each statement" else "transaction"
    with pooler(url, mode, turns=request.param == "in turns") as opened:  # type: ignore[arg-type]
        yield opened


def test_a_pooler_that_shares_sessions_is_refused(sharing: Pooler) -> None:
    with pytest.raises(WarehouseError) as failure:
        connect(through(sharing), "postgres", "test").__enter__()
    assert str(failure.value) == (
        f"The warehouse server at 127.0.0.1:{sharing.port} is behind a pooler that gives each transaction another "
        "session of database 'postgres', without our locks and settings: set pool_mode = session for that database in "
        "the pooler, or name the server itself in KPI_POSTGRES_URL."
    )
    assert failure.value.transient is False
    [found] = list(warehouse.server(through(sharing), [], embedded=False))
    assert (found.state, found.subject) == ("broken", "warehouse")
    assert "set pool_mode = session for that database in the pooler" in found.text


def test_the_first_clients_of_a_busy_pooler_are_refused_as_well(url: str) -> None:
    """While other clients use its sessions, the pooler opens new ones."""
    with pooler(url, "transaction") as opened:
        busy = [opened._lend() for _ in range(3)]
        opened._free += busy
        with pytest.raises(WarehouseError, match="set pool_mode = session"):
            connect(through(opened), "postgres", "test").__enter__()


def test_a_pooler_in_session_mode_is_probed_once(url: str) -> None:
    with pooler(url, "session") as opened:
        for _ in range(3):
            with connect(through(opened), "postgres", "test") as session:
                assert session.execute("show timezone").fetchone() == ("UTC",)
        assert opened.connected == 4, "the first connection makes one more, to detect the mode"


def test_a_server_without_a_pooler_is_not_probed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module.pooler, "shares_sessions", None)
    with connect(SecretStr(url), "postgres", "test") as session:
        assert session.info.backend_pid > 0


@pytest.mark.nightly
def test_a_build_works_through_a_pooler_in_session_mode(
    lab: PipelineHarness, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD, DAY)
    lab.prepared()
    with pooler(make_conninfo(url, dbname=lab.name), "session") as opened:
        context = replace(lab.context(), server=through(opened))
        assert not verify(context, context.pipeline.table("raw.things"), DAY).held
        assert build(context, context.pipeline.table("raw.things"), DAY).rows == 2
        eventually(lambda: lab.rows("select 1 from pg_stat_activity where datname = current_database() offset 1") == [])
    assert lab.rows("select asset, rows from ops.published") == [("raw.things", 2)]
