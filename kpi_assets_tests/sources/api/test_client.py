"""Connections to an API: they are kept, go through a proxy where one is named, and prove whom they talk to."""

import base64
import http.client
import socket
import threading
import time
from pathlib import Path

import pytest

from kpi_assets.sources.api.client import Client
from kpi_assets.sources.api.clock import Clock, Deadline
from kpi_assets.sources.api.fetch import ApiError
from kpi_assets.sources.api.problems import FailedError
from kpi_assets.sources.api.request import Request
from kpi_assets_tests.sources.api.certificate import make_certificate, speak_tls
from kpi_assets_tests.sources.api.scripted import Answer, Asked, document, get, scripted
from kpi_assets_tests.sources.api.test_rounds import BY_PAGE, paged

WHOLE = paged(250)
LATER = "try again later, or ask those who run it"


def problem(url: str) -> str:
    with pytest.raises(ApiError) as caught:
        get(url, BY_PAGE)
    return str(caught.value).partition("page 1: ")[2]


@pytest.mark.process
def test_a_certificate_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    with scripted(WHOLE) as server:
        url = speak_tls(server, certificate)
        assert problem(url) == (
            "its certificate cannot be trusted (self-signed certificate): correct the host in url, or name the file of "
            "the authority that signed it with SSL_CERT_FILE."
        )
        assert server.asked == [], "no secret was sent"
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
        assert get(url, BY_PAGE).records == 250
        wrong = problem(url.replace("127.0.0.1", "localhost"))
    assert wrong.startswith("its certificate cannot be trusted (Hostname mismatch, certificate is not valid for")


@pytest.mark.process
def test_a_server_with_tls_that_sends_a_byte_now_and_then_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    with scripted(lambda _asked: Answer(drips="headers")) as server:
        url = speak_tls(server, certificate)
        begun = time.monotonic()
        with pytest.raises(ApiError, match=r"page 1: not all came within 0.00333333 minutes"):
            get(url, BY_PAGE, {"deadline_minutes": 0.2 / 60})
        assert time.monotonic() - begun < 5


def test_a_server_without_tls() -> None:
    with scripted(WHOLE) as server:
        said = problem(server.url.replace("http:", "https:"))
    assert said == "it does not speak TLS: correct url, which may have to begin with http://."


def test_a_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    def script(asked: Asked) -> Answer:
        return Answer(WHOLE(asked).body, headers={"Connection": "close"})

    with scripted(script) as server:
        got = get(server.url, BY_PAGE)
    assert (got.records, got.waited, server.connections) == (250, [], 5)


def test_a_connection_is_kept_after_an_answer_that_is_no_success() -> None:
    with scripted(lambda asked: Answer(b"later", status=500) if asked.number == 2 else WHOLE(asked)) as server:
        got = get(server.url, BY_PAGE)
    assert (got.records, got.waited, server.connections) == (250, [1], 1)


def test_a_proxy_is_asked_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(WHOLE) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//kpi:p%40ss@"))
        monkeypatch.delenv("no_proxy", raising=False)
        assert get("http://shop.invalid/v1", BY_PAGE).records == 250
        assert {each.headers["host"] for each in proxy.asked} == {"shop.invalid"}
        assert {each.headers["proxy-authorization"] for each in proxy.asked} == {
            f"Basic {base64.b64encode(b'kpi:p@ss').decode()}"
        }
        monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
        assert get("http://shop.invalid/v1", BY_PAGE).records == 250
        assert "proxy-authorization" not in proxy.asked[-1].headers
        monkeypatch.setenv("no_proxy", "shop.invalid")
        assert problem("http://shop.invalid/v1") == (f"the name of its host is not known here, 5 times: {LATER}.")
    monkeypatch.delenv("no_proxy")
    assert problem("http://shop.invalid/v1") == (
        f"the proxy that HTTPS_PROXY or HTTP_PROXY names cannot be used (NO_PROXY leaves a host out), 5 times: {LATER}."
    )


def test_what_http_client_prints_for_all_is_not_printed_of_these(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    with scripted(WHOLE) as server:
        assert get(server.url, BY_PAGE, {"headers": {"X-Key": "{secret:shop}"}}, {"shop": "canary"}).records == 250
    assert capsys.readouterr().out == ""


def test_what_is_sent_beyond_the_deadline_is_stopped() -> None:
    """Nobody takes the bytes of the request."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listening:
        place = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        request = Request("POST", place, "", {}, b"x" * (64 << 20))
        begun = time.monotonic()
        with Client(60, Deadline(Clock(), 0.2)) as client, pytest.raises(FailedError):
            client.send(request, lambda _block: None)
        assert time.monotonic() - begun < 5


def test_nothing_is_left_of_a_fetch() -> None:
    before = threading.active_count()
    with scripted(lambda _asked: document()) as server:
        running = threading.active_count()
        get(server.url, {})
        waited_until = time.monotonic() + 5
        while threading.active_count() > running and time.monotonic() < waited_until:
            time.sleep(0.01)
        assert threading.active_count() <= running
    assert threading.active_count() <= before


def test_a_request_shows_no_secret() -> None:
    request = Request("GET", "http://host/sales", "key=canary", {"X-Key": "canary"}, b"canary")
    assert repr(request) == "Request(method='GET', place='http://host/sales')"
