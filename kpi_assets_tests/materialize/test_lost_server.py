"""If the server or the connection is lost during a build, nothing is half-published and the next build succeeds."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from kpi_assets.embedded.postgres import installation
from kpi_assets.embedded.stack import Stack, status
from kpi_assets.ledger.publishes import current
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.recheck import check_as_published
from kpi_assets.materialize.verify_object import verify
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.examples import few
from kpi_assets_tests.machine import PATIENCE, eventually
from kpi_assets_tests.materialize.commit_dropping_proxy import commit_dropping_proxy
from kpi_assets_tests.materialize.crash_points import (
    COUNTS,
    GOOD_ROWS,
    THINGS,
    WIDE,
    WIDE_COUNTS,
    WIDE_ROWS,
    at,
    await_no_session,
    leftover_builds,
    locks,
    statuses,
)
from kpi_assets_tests.other_server import Cluster
from kpi_assets_tests.pipeline_harness import DAY, GOOD, RAW_THINGS, PipelineHarness

PARTITIONED = RAW_THINGS.replace("grain:", "storage: partitions\ngrain:")


@pytest.fixture(scope="module")
def crash_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a Postgres server that these tests crash."""
    home = tmp_path_factory.mktemp("crash") / "home"
    with Stack(home, s3=False):
        yield home


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server with the defaults of initdb, whose settings these tests change."""
    with Cluster(tmp_path_factory.mktemp("own") / "server", installation() / "bin") as opened:
        yield opened


def stop_immediately(home: Path) -> None:
    """Stop the server like `pg_ctl stop -m immediate`: without a checkpoint, so that the next start recovers."""
    [pid] = [server.pid for server in status(home) if server.name == "postgres"]
    assert pid is not None
    postmaster = psutil.Process(pid)
    backends = postmaster.children(recursive=True)
    os.kill(pid, signal.SIGQUIT)
    _, alive = psutil.wait_procs([postmaster, *backends], timeout=PATIENCE)
    assert alive == []


@pytest.mark.parametrize(
    ("phase", "times"), few(1, [("publishing", 1), ("copying", 1), ("copying", 3), ("indexing", 1), ("checking", 1)])
)
def test_a_crash_of_the_server_during_a_build_changes_nothing(
    lab: PipelineHarness, crash_home: Path, phase: str, times: int
) -> None:
    lab.file("raw/things.sql", PARTITIONED)
    with Stack(crash_home, s3=False) as stack:
        server = SecretStr(stack.environment()["KPI_POSTGRES_URL"])
        calm = replace(lab.context(), server=server)
        table = calm.pipeline.table("raw.things")
        prepare(calm.pipeline, server)
        lab.put_things(GOOD)
        verify(calm, table, DAY)
        first = build(calm, table, DAY)
        lab.put_things(WIDE)
        verify(calm, table, DAY)

        with pytest.raises(WarehouseError, match=r"raw/things\.sql: building raw\.things failed \("):
            build(replace(calm, on_progress=at(phase, lambda: stop_immediately(crash_home), times)), table, DAY)

    with Stack(crash_home, s3=False) as stack:
        server = SecretStr(stack.environment()["KPI_POSTGRES_URL"])
        with psycopg.connect(make_conninfo(server.get_secret_value(), dbname=lab.name), autocommit=True) as after:
            assert after.execute(THINGS).fetchall() == GOOD_ROWS
            assert after.execute("select publish_id from ops.published").fetchall() == [(first.publish_id,)]
            healed = build(replace(calm, server=server), table, DAY)
            prepare(calm.pipeline, server)
            assert healed.rows == 20_000
            assert after.execute(COUNTS).fetchall() == WIDE_COUNTS
            assert after.execute(
                "select status from ops.pipeline_runs where job = 'raw.things' order by id"
            ).fetchall() == [("success",), ("failed",), ("success",)]
            assert after.execute(
                "select count(*) from pg_class where relnamespace = 'builds'::regnamespace and relkind = 'r'"
            ).fetchall() == [(1,)]


def kill_the_session(stack: Stack, server: SecretStr) -> None:
    """Kill the process of the build's session, as the kernel does if memory runs out; the server ends all others."""
    session = "select pid from pg_stat_activity where application_name = 'kpi run-of-t raw.things 2025-03-01'"
    with psycopg.connect(server.get_secret_value(), autocommit=True) as connection:
        [(pid,)] = connection.execute(session).fetchall()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_open(connection))
    [postgres] = [each for each in stack._servers if each.name == "postgres"]
    postgres.await_ready()


def restart(stack: Stack, _server: SecretStr) -> None:
    """Restart the server like `pg_ctl restart -m fast`, which ends each session in the middle of its transaction."""
    [postgres] = [each for each in stack._servers if each.name == "postgres"]
    postgres.stop()
    postgres.launch()
    postgres.await_ready()


def is_open(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize("ended", few(1, [restart, kill_the_session]))
@pytest.mark.parametrize(("phase", "times"), few(1, [("copying", 2), ("publishing", 1)]))
def test_a_server_that_ends_all_sessions_and_goes_on_changes_nothing(
    lab: PipelineHarness, crash_home: Path, ended: Callable[[Stack, SecretStr], None], phase: str, times: int
) -> None:
    lab.file("raw/things.sql", PARTITIONED)
    with Stack(crash_home, s3=False) as stack:
        server = SecretStr(stack.environment()["KPI_POSTGRES_URL"])
        calm = replace(lab.context(), server=server)
        table = calm.pipeline.table("raw.things")
        prepare(calm.pipeline, server)
        lab.put_things(GOOD)
        verify(calm, table, DAY)
        first = build(calm, table, DAY)
        lab.put_things(WIDE)
        verify(calm, table, DAY)

        with pytest.raises(WarehouseError, match=r"raw/things\.sql: building raw\.things failed \("):
            build(replace(calm, on_progress=at(phase, lambda: ended(stack, server), times)), table, DAY)

        with psycopg.connect(make_conninfo(server.get_secret_value(), dbname=lab.name), autocommit=True) as after:
            assert after.execute(THINGS).fetchall() == GOOD_ROWS
            assert after.execute("select publish_id from ops.published").fetchall() == [(first.publish_id,)]
            assert build(calm, table, DAY).rows == 20_000
            assert after.execute(COUNTS).fetchall() == WIDE_COUNTS
            assert after.execute(
                "select status from ops.pipeline_runs where job = 'raw.things' order by id"
            ).fetchall() == [("success",), ("failed",), ("success",)]
            assert after.execute(
                "select count(*) from pg_class where relnamespace = 'builds'::regnamespace and relkind = 'r'"
            ).fetchall() == [(1,)]


@pytest.mark.parametrize("wal_level", few(1, ["minimal", "replica"]))
@pytest.mark.parametrize("storage", few(1, ["rows", "partitions"]))
def test_what_is_published_survives_a_crash_of_the_server_whatever_it_writes_to_its_log(
    lab: PipelineHarness, own_server: Cluster, storage: str, wal_level: str
) -> None:
    """With `wal_level = minimal`, which embedded servers have, a COPY into a new table is not in the log."""
    own_server.configure(wal_level=wal_level, max_wal_senders="0")
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:"))
    lab.put_things(WIDE)
    expected = lab.build("raw.things")
    context = replace(lab.context(), server=SecretStr(own_server.url))
    table = context.pipeline.table("raw.things")
    prepare(context.pipeline, context.server)
    verify(context, table, DAY)

    found = build(context, table, DAY)
    own_server.crash()
    own_server.start()

    assert (found.rows, found.checksum) == (expected.rows, expected.checksum) == (WIDE_ROWS, found.checksum)
    with psycopg.connect(make_conninfo(own_server.url, dbname=lab.name), autocommit=True) as after:
        assert after.execute("show wal_level").fetchall() == [(wal_level,)]
        assert after.execute(COUNTS).fetchall() == WIDE_COUNTS
        [(publish,)] = [tuple(current(after, [table.relation], DAY).values())]
        assert publish.checksum == expected.checksum
        assert check_as_published(after, table, publish).passed


@pytest.mark.parametrize(
    ("phase", "times"), few(1, [("publishing", 1), ("copying", 1), ("copying", 3), ("indexing", 1), ("checking", 1)])
)
def test_a_terminated_session_of_a_build_changes_nothing(lab: PipelineHarness, phase: str, times: int) -> None:
    lab.file("raw/things.sql", PARTITIONED)
    lab.put_things(GOOD)
    first = lab.build("raw.things")
    lab.put_things(WIDE)

    def terminate() -> None:
        assert lab.rows(
            "select pg_terminate_backend(pid, 20000) from pg_stat_activity "
            "where datname = current_database() and application_name = 'kpi run-of-t raw.things 2025-03-01'"
        ) == [(True,)]

    with pytest.raises(WarehouseError, match=r"raw/things\.sql: building raw\.things failed \("):
        lab.build("raw.things", on_progress=at(phase, terminate, times))

    assert [status for status, _ in statuses(lab, "raw.things")] == ["success", "failed"]
    assert lab.rows("select publish_id from ops.published") == [(first.publish_id,)]
    assert lab.rows(THINGS) == GOOD_ROWS
    assert leftover_builds(lab) == []
    assert locks(lab) == []
    assert lab.build("raw.things").rows == 20_000
    assert lab.rows(COUNTS) == WIDE_COUNTS


def context_through(lab: PipelineHarness, port: int) -> BuildContext:
    """Return a context that reaches the server through another port of this machine."""
    url = lab.server.get_secret_value()
    return replace(lab.prepared(), server=SecretStr(url.replace(f":{conninfo_to_dict(url)['port']}/", f":{port}/")))


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_a_build_whose_commit_was_not_acknowledged_is_published_if_the_ledger_has_it(
    lab: PipelineHarness, storage: str
) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:"))
    lab.put_things(GOOD)
    lab.verify("raw.things")
    with commit_dropping_proxy(int(conninfo_to_dict(lab.server.get_secret_value())["port"])) as proxy:
        context = context_through(lab, proxy.port)
        hear = at("publishing", lambda: setattr(proxy, "lose", "answer"))

        outcome = build(replace(context, on_progress=hear), context.pipeline.table("raw.things"), DAY)

    assert proxy.lose is None, "no COMMIT reached the proxy"
    assert lab.rows("select publish_id, rows from ops.published") == [(outcome.publish_id, 2)]
    assert lab.rows(THINGS) == GOOD_ROWS
    assert statuses(lab, "raw.things") == [("success", None)]
    assert leftover_builds(lab) == []


def test_a_lost_commit_publishes_nothing(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", PARTITIONED)
    lab.put_things(GOOD)
    first = lab.build("raw.things")
    lab.put_things(b"thing_id,name,weight\n7,saw,1.00\n")
    lab.verify("raw.things")
    with commit_dropping_proxy(int(conninfo_to_dict(lab.server.get_secret_value())["port"])) as proxy:
        context = context_through(lab, proxy.port)
        hear = at("publishing", lambda: setattr(proxy, "lose", "commit"))
        with pytest.raises(WarehouseError, match=r"raw/things\.sql: building raw\.things failed \("):
            build(replace(context, on_progress=hear), context.pipeline.table("raw.things"), DAY)

    assert proxy.lose is None, "no COMMIT reached the proxy"
    await_no_session(lab)
    assert lab.rows("select publish_id from ops.published") == [(first.publish_id,)]
    assert lab.rows(THINGS) == GOOD_ROWS
    assert [status for status, _ in statuses(lab, "raw.things")] == ["success", "failed"]
    assert leftover_builds(lab) == []


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_an_interruption_after_the_commit_leaves_the_publish(lab: PipelineHarness, storage: str) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:"))
    lab.put_things(GOOD)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.build("raw.things", on_progress=at("published", interrupt))

    assert lab.rows("select rows from ops.published") == [(2,)]
    assert lab.rows(THINGS) == GOOD_ROWS
    assert statuses(lab, "raw.things") == [("success", None)]


@pytest.mark.parametrize("phase", few(2, ["copying", "indexing", "checking", "publishing"]))
def test_an_interruption_before_the_commit_leaves_nothing_behind(lab: PipelineHarness, phase: str) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.build("raw.things", on_progress=at(phase, interrupt))

    assert lab.rows("select count(*) from ops.publishes") == [(0,)]
    assert lab.rows("select to_regclass('raw.things')") == [(None,)]
    assert statuses(lab, "raw.things") == [("failed", "It was interrupted.")]
    assert leftover_builds(lab) == []
    assert locks(lab) == []


def test_an_interruption_is_not_hidden_by_the_error_of_its_session(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a query: the rollback may fail, because the session is still busy with that query."""

    def interrupted(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise psycopg.OperationalError("another command is already in progress")

    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    monkeypatch.setattr("kpi_assets.materialize.places.load_object", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lab.build("raw.things")
    assert lab.rows("select status, error_message from ops.pipeline_runs where job = 'raw.things'") == [
        ("failed", "It was interrupted.")
    ]
