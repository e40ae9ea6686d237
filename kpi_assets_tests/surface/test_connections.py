"""Connections: a request that does not arrive in time is cut off, and no other."""

import socket
import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from kpi_assets.settings import Settings
from kpi_assets.surface import connections
from kpi_assets_tests.surface.server import Client, serving

ARRIVAL = 0.5


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(connections, "ARRIVAL", ARRIVAL)
    with serving(Settings(postgres_url=SecretStr("postgresql://nobody@127.0.0.1:1/")), {}) as found:
        yield found


def connect(client: Client) -> socket.socket:
    host, _, port = client.address.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def ask(connection: socket.socket) -> None:
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    found = b""
    while b'"ok"' not in found:
        more = connection.recv(65536)
        assert more
        found += more


def is_cut(connection: socket.socket) -> bool:
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n1",
    ],
)
def test_a_request_that_does_not_arrive_is_cut_off(client: Client, sent: bytes) -> None:
    with connect(client) as raw:
        began = time.monotonic()
        for number in range(len(sent)):
            raw.sendall(sent[number : number + 1])
        if b"Content-Length" in sent:
            time.sleep(0.2)
            raw.sendall(b"2")  # which ends the time for which uvicorn waits
        assert is_cut(raw)
        assert ARRIVAL <= time.monotonic() - began + 0.1 < 4


def test_so_is_one_that_begins_after_an_answer(client: Client) -> None:
    with connect(client) as raw:
        ask(raw)
        raw.sendall(b"GET")
        assert is_cut(raw)


@pytest.mark.nightly
def test_a_connection_without_a_request_in_it_is_kept(client: Client) -> None:
    with connect(client) as raw:
        for _ in range(3):
            ask(raw)
            time.sleep(1.5 * ARRIVAL)
