"""Who may read over HTTP, what a browser must obey, and how much is answered."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response
from pydantic import SecretStr

from kpi_assets.errors import UsageError
from kpi_assets.settings import Settings
from kpi_assets.surface.limits import BURST, IN_FLIGHT, Buckets
from kpi_assets.surface.problems import Problem
from kpi_assets.surface.security import hash_of, policy_of
from kpi_assets_tests.surface.server import Client, serving

KEY, OTHER = "kpi_the-key-of-finance", "kpi_the-key-of-a-wiki"
KEYS = SecretStr(f"finance:{hash_of(KEY)}, embed-wiki:{hash_of(OTHER)}")
CANARY = "Qz7Jx-canary-Vk9Wp"
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def made(folder: Path, **changes: Any) -> Settings:
    found = Settings(home=folder, sql_dir=folder, postgres_url=SecretStr(f"postgresql://kpi:{CANARY}@127.0.0.1:1/x"))
    return found.model_copy(update=changes)


@contextmanager
def server(folder: Path, **changes: Any) -> Iterator[Client]:
    """A server without pipelines, and with two routes of the test."""
    with serving(made(folder, **changes), {}) as client:

        async def page() -> Response:
            return Response(b"a page", media_type="text/html")

        async def broken() -> Response:
            raise RuntimeError(CANARY)

        for path in ("/page", "/embed/picture.svg", "/api/v1/x"):
            client.app.add_api_route(path, page)
        client.app.add_api_route("/api/v1/broken", broken)
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("security")


@pytest.fixture(scope="module")
def open_server(folder: Path) -> Iterator[Client]:
    with server(folder) as client:
        yield client


@pytest.fixture(scope="module")
def keyed(folder: Path) -> Iterator[Client]:
    with server(folder, serve_keys=KEYS, serve_origins="https://wiki.example.com") as client:
        yield client


@pytest.mark.parametrize("path", ["/page", "/healthz", "/api/v1/x", "/no/such/page", "/api/v1/no"])
def test_every_answer_has_the_headers(open_server: Client, path: str) -> None:
    found = open_server.get(path)
    assert found.headers["Content-Security-Policy"] == PAGE
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Referrer-Policy"] == "same-origin"
    assert found.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "server" not in found.headers


def test_an_embed_may_be_shown_in_frames_of_the_named_origins(open_server: Client, folder: Path) -> None:
    alone = open_server.get("/embed/picture.svg").headers
    assert alone["Content-Security-Policy"].endswith("; frame-ancestors 'none'")
    assert alone["Cross-Origin-Resource-Policy"] == "cross-origin"
    with server(folder, serve_embed="https://wiki.example.com,http://10.0.0.5:3000") as client:
        framed = client.get("/embed/picture.svg").headers["Content-Security-Policy"]
        assert framed == (
            "default-src 'none'; style-src 'unsafe-inline'; "
            "frame-ancestors https://wiki.example.com http://10.0.0.5:3000"
        )
        assert client.get("/page").headers["Content-Security-Policy"] == PAGE


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/page", "/api/v1/x", "/no/such/page"])
def test_nothing_but_reading_is_answered(open_server: Client, method: str, path: str) -> None:
    found = open_server.get(path, method)
    assert (found.status, found.headers["Allow"]) == (405, "GET, HEAD")


def test_problems_are_json_for_programs_and_pages_for_people(open_server: Client) -> None:
    for_programs = open_server.get("/api/v1/no")
    assert for_programs.headers["Content-Type"] == "application/problem+json"
    assert for_programs.json() == {
        "type": "about:blank",
        "title": "Not found",
        "status": 404,
        "detail": "There is nothing at this address.",
    }
    assert open_server.get("/no").headers["Content-Type"] == "text/html; charset=utf-8"


def test_head_is_get_without_its_body(open_server: Client) -> None:
    found = open_server.get("/page", "HEAD")
    assert (found.status, found.data, found.headers["Content-Length"]) == (200, b"", "6")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""])
def test_no_foreign_host_name_is_answered(open_server: Client, host: str) -> None:
    port = open_server.address.rpartition(":")[2]
    assert open_server.get("/page", Host=host.format(port=port)).status == 421
    assert open_server.get("/page", Host=f"localhost:{port}").status == 200


def test_the_public_host_name_is_answered(folder: Path) -> None:
    with server(folder, serve_url="https://kpis.example.com") as client:
        assert client.get("/page", Host="kpis.example.com").status == 200
        assert client.get("/page", Host="other.example.com").status == 421
        assert client.get("/healthz", Host="10.1.2.3:8000").status == 200


def test_another_site_may_link_to_a_page_and_show_an_embed(open_server: Client) -> None:
    def status(path: str, site: str, mode: str, shown_in: str) -> int:
        sent = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": mode, "Sec_Fetch_Dest": shown_in}
        return open_server.get(path, **sent).status

    assert status("/page", "cross-site", "navigate", "document") == 200
    assert status("/page", "same-origin", "cors", "empty") == 200
    assert status("/embed/picture.svg", "cross-site", "no-cors", "image") == 200
    assert status("/page", "cross-site", "no-cors", "image") == 403
    assert status("/page", "cross-site", "navigate", "iframe") == 403
    assert status("/api/v1/x", "cross-site", "cors", "empty") == 403
    assert status("/api/v1/x", "same-site", "no-cors", "script") == 403


def test_a_key_is_needed_where_there_are_keys(keyed: Client) -> None:
    refused = keyed.get("/api/v1/x")
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    for wrong in (
        "Bearer ",
        f"Bearer {KEY}x",
        f"Basic {KEY}",
        f"Bearer finance:{hash_of(KEY)}",
        f"Bearer {hash_of(KEY)}",
    ):
        assert keyed.get("/api/v1/x", Authorization=wrong).status == 401
    assert keyed.get("/api/v1/x", Authorization=f"Bearer {KEY}").status == 200
    assert keyed.get("/healthz").status == 200
    assert keyed.get("/metrics").status == 401
    assert keyed.get("/static/app.css").status == 200


def test_a_browser_exchanges_its_key_for_a_cookie(keyed: Client) -> None:
    page = keyed.get("/page")
    assert (page.status, b'name="key"' in page.data) == (401, True)
    found = keyed.get(f"/page?a=1&key={KEY}&b=2")
    assert (found.status, found.headers["Location"]) == (303, "/page?a=1&b=2")
    assert re.fullmatch(
        rf"kpi_serve_\d+={KEY}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Strict", found.headers["Set-Cookie"]
    )
    cookie = found.headers["Set-Cookie"].partition(";")[0]
    assert keyed.get("/page", Cookie=cookie).status == 200
    assert keyed.get(f"//evil.example?key={KEY}").headers["Location"] == "/evil.example"
    assert keyed.get(f"/page?key={KEY}x").status == 401


def test_the_cookie_of_https_is_secure(folder: Path) -> None:
    with server(folder, serve_keys=KEYS, serve_url="https://kpis.example.com") as client:
        found = client.get(f"/page?key={KEY}", Host="kpis.example.com")
        assert found.headers["Set-Cookie"].endswith("; Secure")


def test_the_key_of_a_wiki_opens_embeds_alone(keyed: Client) -> None:
    assert keyed.get(f"/embed/picture.svg?key={OTHER}").status == 200
    assert keyed.get("/page", Authorization=f"Bearer {OTHER}").status == 403
    assert keyed.get("/api/v1/x", Authorization=f"Bearer {OTHER}").status == 403


def test_a_link_on_another_site_finds_the_cookie_on_the_second_try(keyed: Client) -> None:
    followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    found = keyed.get("/page", **followed)
    assert (found.status, b'http-equiv="refresh"' in found.data) == (200, True)


def test_the_named_origins_may_read_the_api(keyed: Client, open_server: Client) -> None:
    sent = {"Origin": "https://wiki.example.com", "Authorization": f"Bearer {KEY}", "Sec_Fetch_Site": "cross-site"}
    found = keyed.get("/api/v1/x", **sent)
    assert (found.status, found.headers["Access-Control-Allow-Origin"]) == (200, "https://wiki.example.com")
    asked = keyed.get("/api/v1/x", "OPTIONS", Origin="https://wiki.example.com")
    assert (asked.status, asked.headers["Access-Control-Allow-Methods"]) == (204, "GET")
    assert keyed.get("/page", **sent).status == 403
    for origin in ("https://evil.example", "null", "https://wiki.example.com.evil.example"):
        refused = keyed.get("/api/v1/x", **{**sent, "Origin": origin})
        assert refused.status == 403
        assert "Access-Control-Allow-Origin" not in refused.headers
    assert "Access-Control-Allow-Origin" not in open_server.get("/api/v1/x", Origin="https://wiki.example.com").headers


def test_a_proxy_lets_people_in_from_its_address_alone(folder: Path) -> None:
    by_proxy = {"serve_proxy_header": "X-Forwarded-Email", "serve_proxy_addresses": "127.0.0.0/8"}
    with server(folder, **by_proxy) as client:
        assert client.get("/page", X_Forwarded_Email="ann@example.com").status == 200
        assert client.get("/page").status == 401
        assert client.get("/page", X_Forwarded_Email="").status == 401
    with server(folder, **{**by_proxy, "serve_proxy_addresses": "10.0.0.5"}) as client:
        assert client.get("/page", X_Forwarded_Email="ann@example.com").status == 401
        assert client.get("/page", X_Forwarded_Email="ann@example.com", X_Forwarded_For="10.0.0.5").status == 401


def test_another_host_than_loopback_needs_keys_or_a_proxy(folder: Path) -> None:
    with pytest.raises(
        UsageError, match=r"On 0\.0\.0\.0 anybody who reaches this machine could read the KPIs: set KPI_S"
    ):
        policy_of(made(folder, serve_host="0.0.0.0"), 8000)
    with pytest.raises(UsageError, match="KPI_SERVE_PROXY_HEADER is set and KPI_SERVE_PROXY_ADDRESSES is not"):
        policy_of(made(folder, serve_host="0.0.0.0", serve_proxy_header="X-User"), 8000)
    assert policy_of(made(folder, serve_host="0.0.0.0", serve_keys=KEYS), 8000).hosts == {
        "127.0.0.1:8000",
        "localhost:8000",
        "[::1]:8000",
    }


def test_a_reader_who_asks_too_often_is_told_when_to_come_again(keyed: Client) -> None:
    answered = [keyed.get("/api/v1/x", Authorization=f"Bearer {KEY}x") for _ in range(int(BURST) + 100)]
    refused = [each for each in answered if each.status == 429]
    assert {each.status for each in answered} == {401, 429}
    assert {each.headers["Retry-After"] for each in refused} == {"1"}
    assert keyed.get("/api/v1/x", Authorization=f"Bearer {KEY}").status == 200  # who has a key is another reader


def test_a_bucket_fills_by_fifty_a_second() -> None:
    now = [0.0]
    buckets = Buckets(lambda: now[0])

    def taken(reader: str) -> int:
        count = 0
        while True:
            try:
                buckets.take(reader)
            except Problem as problem:
                assert problem.status == 429
                return count
            count += 1

    assert (taken("ann"), taken("ann"), taken("bob")) == (200, 0, 200)
    now[0] += 0.1
    assert taken("ann") == 5
    now[0] += 3600
    assert taken("ann") == 200


def test_too_many_at_once_are_turned_away(open_server: Client) -> None:
    numbers = open_server.app.state.surface.numbers
    numbers.in_flight += IN_FLIGHT
    try:
        found = open_server.get("/page")
        assert (found.status, found.headers["Retry-After"]) == (503, "1")
        assert open_server.get("/healthz").status == 200
    finally:
        numbers.in_flight -= IN_FLIGHT


def test_large_requests_are_refused(open_server: Client) -> None:
    assert open_server.get("/page?" + "x" * 5000).status == 414
    assert open_server.get("/page", X_Large="x" * 20_000).status == 431
    assert open_server.get("/page", body=b"x").status == 413
    assert open_server.get("/page", "POST", body=b"x" * 100_000).status == 405


def test_a_header_without_end_is_cut(folder: Path) -> None:
    with (
        server(folder) as client,
        socket.create_connection(("127.0.0.1", int(client.address.rpartition(":")[2]))) as raw,
    ):
        raw.sendall(b"GET /page HTTP/1.1\r\nX: " + b"x" * 200_000)
        assert raw.recv(20).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/../../etc/passwd",
            "/static/../app.py",
            "/static/%2e%2e/app.py",
            "/static/..%2fapp.py",
            "/static//etc/passwd",
        ),
        *("/kpi/x'--/y", "/api/v1/kpis/x;drop table a/y", "/kpi/%00/%ff", "/api/v1/kpis/instacart/pg_sleep(9)/rows"),
    ],
)
def test_no_path_leads_to_a_file_or_a_statement(open_server: Client, path: str) -> None:
    found = open_server.get(path)
    assert found.status in {400, 404, 422}
    assert b"root:" not in found.data
    assert b"import" not in found.data


def test_no_secret_and_no_stack_trace_is_shown(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with server(folder, serve_keys=SecretStr(f"finance:{hash_of(CANARY)}")) as client:
        with_key = {"Authorization": f"Bearer {CANARY}"}
        answers = [
            client.get(path, **with_key)
            for path in (
                "/api/v1/broken",
                "/api/v1/openapi.json",
                "/metrics",
                "/readyz",
                "/api/v1/version",
                "/no",
                "/page",
            )
        ]
        answers += [client.get(f"/page?key={CANARY}x"), client.get(f"/api/v1/broken?key={CANARY}", **with_key)]
    assert answers[0].status == 500
    for each in answers:
        assert CANARY.encode() not in each.data
        assert b"Traceback" not in each.data
        assert hash_of(CANARY).encode() not in each.data
    logged = caplog.text
    assert "RuntimeError" in logged, "the log says why"
    assert "key=" not in logged
