"""`kpi serve`: its start and end, its keys, and what it refuses."""

import re
import signal
import socket
from pathlib import Path

import pytest
import urllib3

from kpi_assets.embedded.stack import status
from kpi_assets.surface.security import hash_of
from kpi_assets_tests.cli import small
from kpi_assets_tests.cli.command import Kpi
from kpi_assets_tests.machine import PATIENCE, free_port


@pytest.fixture
def alone(tmp_path: Path) -> Kpi:
    """A home of its own, with one small pipeline."""
    return Kpi(tmp_path / "home", tmp_path, KPI_SQL_DIR=str(small.write_sql(tmp_path / "sql")))


def test_it_answers_until_it_is_stopped_and_stops_the_servers_that_it_started(alone: Kpi) -> None:
    port = free_port()
    pool = urllib3.PoolManager()
    with alone.start("serve", "--port", port) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{port}  (Ctrl-C stops it)\n"
        for path in ("/healthz", "/", "/readyz", "/api/v1/kpis", "/api/v1/version"):  # `/` waits for the files
            found = pool.request("GET", f"http://127.0.0.1:{port}{path}", timeout=PATIENCE)
            assert found.status == 200, (path, found.data)
            assert "server" not in found.headers
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 130
    assert [(server.name, server.running) for server in status(alone.home)] == [("postgres", False), ("s3", False)]


def test_a_key_is_printed_once_with_its_hash(alone: Kpi) -> None:
    said = alone("serve", "--new-key", "finance").out
    [key] = re.findall(r"kpi_[A-Za-z0-9_-]{43}", said)
    assert f"finance:{hash_of(key)}" in said
    assert alone("serve", "--new-key", "finance").out != said
    alone.fails(
        "Name a key with lower case letters, digits, - and _, as in --new-key finance.",
        *("serve", "--new-key", "Finance!"),
        code=2,
    )


def test_it_does_not_start_where_anybody_could_read(alone: Kpi) -> None:
    alone.fails(
        "On 0.0.0.0 anybody who reaches this machine could read the KPIs: set KPI_SERVE_KEYS (`kpi serve --new-key "
        "NAME` makes a key), or KPI_SERVE_PROXY_HEADER and KPI_SERVE_PROXY_ADDRESSES if a proxy asks who comes.",
        *("serve", "--host", "0.0.0.0"),
        code=2,
    )
    alone.fails(
        "--host kpis.example.com: write the address of one network interface, such as 127.0.0.1 or 0.0.0.0.",
        *("serve", "--host", "kpis.example.com"),
        code=2,
    )
    assert not alone.home.exists(), "nothing was started"


def test_a_port_that_is_taken_is_named(alone: Kpi) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = alone("serve", "--port", port, code=1, KPI_POSTGRES_URL="postgresql://kpi@127.0.0.1:1/postgres")
    assert said.err == (
        f"error: Nothing can be served at 127.0.0.1, port {port} (Address already in use): choose another port with "
        "--port or KPI_SERVE_PORT.\n"
    )
