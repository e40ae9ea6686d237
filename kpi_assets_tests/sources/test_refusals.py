"""If S3 cannot be used, the error names the cause, and quotes no part of the request or the answer."""

import http.server
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.settings import Settings
from kpi_assets.sources import s3_objects
from kpi_assets.sources.boto_refusals import explained
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.s3_objects import client
from kpi_assets.sources.store import Store
from kpi_assets_tests.examples import few

KEY = "raw/things/load_date=2025-03-01/things.csv"
SECRET = "hunter2-never-shown"
PLACE = f"s3://lake/{KEY} cannot be used: "
NO_S3 = "whoever answers there does not answer as S3 does"

Answer = tuple[int, dict[str, str], bytes]


class StandIn:
    """A server in the place of a store, which gives the same answer to every request."""

    def __init__(self) -> None:
        stand_in, self.answer, self.asked = self, (500, {}, b""), 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                stand_in.asked += 1
                status, headers, body = stand_in.answer
                self.send_response_only(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_CONNECT = _answer  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self.answer: Answer
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    for name, value in {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": SECRET}.items():
        monkeypatch.setenv(name, value)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stand_in(_credentials: None) -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.server.shutdown()
    made.server.server_close()


def store_at(url: str) -> Store:
    return Store.open(Settings().model_copy(update={"s3_endpoint_url": url}), "lake")


def head(store: Store) -> object:
    return store.manifest("things", date(2025, 3, 1), KEY)


def listing(store: Store) -> object:
    with explained("lake", KEY):
        return list(store.objects.s3.get_paginator("list_objects_v2").paginate(Bucket="lake"))


def put(store: Store) -> object:
    with explained("lake", KEY):
        return store.objects.s3.put_object(Bucket="lake", Key=KEY, Body=b"x" * 100)


def refused(store: Store, ask: Callable[[Store], object]) -> str:
    with pytest.raises(LakeError) as failure:
        ask(store)
    said = str(failure.value)
    assert SECRET not in said
    assert "\n" not in said
    return said


def error(code: str, **more: str) -> bytes:
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in {"Code": code, **more}.items())
    return f"<?xml version='1.0'?><Error>{fields}<Message>{SECRET}</Message></Error>".encode()


XML = {"Content-Type": "application/xml"}
SAID = {
    (403, "AccessDenied"): "access is refused (AccessDenied): the store knows the credentials in AWS's variables, and ",
    (403, "InvalidAccessKeyId"): "access is refused (InvalidAccessKeyId): the store does not know the access key: ",
    (403, "SignatureDoesNotMatch"): "access is refused (SignatureDoesNotMatch): the secret is not that of the access ",
    (400, "ExpiredToken"): "access is refused (ExpiredToken): the credentials have expired: get new credentials",
    (400, "InvalidToken"): "access is refused (InvalidToken): the token is not that of the access key: get new",
    (403, "RequestTimeTooSkewed"): "the clock of this machine is wrong (RequestTimeTooSkewed): set it by NTP.",
    (404, "NoSuchBucket"): "the bucket does not exist: create it, or correct KPI_S3_BUCKET.",
    (400, "InvalidBucketName"): "the store allows no bucket of that name: correct KPI_S3_BUCKET.",
    (403, "InvalidObjectState"): "the object is archived (InvalidObjectState): restore it",
    (503, "SlowDown"): "the store takes no more requests for now (SlowDown), also when asked again several times: try",
    (503, "ServiceUnavailable"): "the store takes no more requests for now (ServiceUnavailable)",
    (429, "TooManyRequests"): "the store takes no more requests for now (TooManyRequests)",
    (400, "RequestTimeout"): "the store, or a proxy before it, waited too long (RequestTimeout): look at the network",
    (504, "GatewayTimeout"): "the store, or a proxy before it, waited too long (GatewayTimeout)",
    (502, "BadGateway"): "a proxy before the store does not reach it (BadGateway): start the store, or mend the proxy.",
    (507, "InsufficientStorage"): "the store has no room left (InsufficientStorage): make room there, and try again.",
    (507, "XMinioStorageFull"): "the store has no room left (XMinioStorageFull): make room there, and try again.",
    (500, "InternalError"): "the store failed at it and does not say why (InternalError): look whether its disk is ful",
    (501, "NotImplemented"): "whoever answers there does not know this request (NotImplemented): KPI_S3_ENDPOINT_URL ",
    (405, "MethodNotAllowed"): "whoever answers there does not know this request (MethodNotAllowed)",
    (400, "AuthorizationHeaderMalformed"): "the bucket lies in the region eu-west-3: set AWS_REGION to it, or correct",
    (301, "PermanentRedirect"): "the bucket lies in the region eu-west-3: set AWS_REGION to it, or correct KPI_S3_END",
    (400, "Whatever"): "S3 answered Whatever, which is none of the refusals that are known here: look it up.",
}


@pytest.mark.parametrize(("status", "code"), few(8, SAID), ids=[code for _, code in SAID])
def test_each_error_code_of_s3_has_its_cause_and_remedy(stand_in: StandIn, status: int, code: str) -> None:
    where = {"Region": "eu-west-3"} if "eu-west-3" in SAID[status, code] else {}
    stand_in.answer = (status, XML, error(code, **where))
    assert refused(store_at(f"http://{stand_in.host}"), listing).startswith(PLACE + SAID[status, code])


def test_a_refused_put_has_the_same_cause(stand_in: StandIn) -> None:
    stand_in.answer = (403, XML, error("AccessDenied"))
    assert refused(store_at(f"http://{stand_in.host}"), put).startswith(PLACE + SAID[403, "AccessDenied"])


HEAD_SAID = {
    403: "access is refused (403), and the answer does not say why: check the credentials in AWS's variables, the buc",
    429: "the store takes no more requests for now (429)",
    500: "the store failed at it and does not say why (500): look whether its disk is full",
    502: "a proxy before the store does not reach it (502)",
    503: "the store takes no more requests for now (503)",
    504: "the store, or a proxy before it, waited too long (504)",
    405: "whoever answers there does not know this request (405)",
    407: "the proxy asks for a login (407): write it into HTTPS_PROXY or HTTP_PROXY, or name the store in NO_PROXY.",
}


@pytest.mark.parametrize("status", HEAD_SAID)
def test_an_answer_without_a_body_has_the_cause_of_its_status(stand_in: StandIn, status: int) -> None:
    stand_in.answer = (status, {}, b"")
    assert refused(store_at(f"http://{stand_in.host}"), head).startswith(PLACE + HEAD_SAID[status])


@pytest.mark.parametrize("seconds", [3600, -3600])
@pytest.mark.parametrize(("ask", "code"), [(head, "403"), (listing, "RequestTimeTooSkewed")])
def test_a_wrong_clock_is_reported_with_its_deviation(
    stand_in: StandIn, ask: Callable[[Store], object], code: str, seconds: int
) -> None:
    theirs = format_datetime(datetime.now(timezone.utc) - timedelta(seconds=seconds), usegmt=True)
    stand_in.answer = (403, {**XML, "Date": theirs}, error("RequestTimeTooSkewed"))
    said = refused(store_at(f"http://{stand_in.host}"), ask)
    where = "ahead" if seconds > 0 else "behind"
    told = rf"the clock of this machine is wrong, by 3,(59|60)[0-9] s {where} \({code}\): set it by NTP\."
    assert re.fullmatch(re.escape(PLACE) + told, said)


PAGE = f"<!doctype html><html><body><p>Sign in {SECRET}</body></html>".encode()
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.mark.parametrize("status", [200, 404, 403, 401])
@pytest.mark.parametrize("ask", [head, listing])
def test_an_endpoint_that_is_no_store_is_reported_as_such(
    stand_in: StandIn, ask: Callable[[Store], object], status: int
) -> None:
    stand_in.answer = (status, HTML, PAGE)
    assert refused(store_at(f"http://{stand_in.host}"), ask).startswith(PLACE + NO_S3)


def test_an_unknown_host_name_is_reported(_credentials: None) -> None:
    said = refused(store_at("http://no-such-host.invalid:9000"), listing)
    assert said.startswith(
        f"{PLACE}the name no-such-host.invalid:9000 is known to no name server that this machine asks"
    )


def test_a_port_at_which_no_server_listens_is_reported(_credentials: None) -> None:
    said = refused(store_at("http://127.0.0.1:9"), listing)
    assert said == f"{PLACE}nobody listens at 127.0.0.1:9: start the store, or correct KPI_S3_ENDPOINT_URL."


def test_a_server_that_does_not_answer_is_reported(_credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config = s3_objects.Config
    monkeypatch.setattr(s3_objects, "Config", lambda **words: config(**{**words, "read_timeout": 0.05}))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        said = refused(store_at(f"http://{host}"), listing)
    assert said == (
        f"{PLACE}{host} does not answer in time: look whether the store hangs, or correct KPI_S3_ENDPOINT_URL."
    )


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of 127.0.0.1 and its key, in one file."""
    path = tmp_path / "own.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
    files = ["-keyout", path, "-out", f"{path}.crt"]
    command = ["openssl", *words.split(), "subjectAltName=IP:127.0.0.1", *files]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.mark.process
def test_an_untrusted_certificate_is_reported(
    stand_in: StandIn, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    stand_in.server.socket = context.wrap_socket(stand_in.server.socket, server_side=True)
    said = refused(store_at(f"https://{stand_in.host}"), listing)
    assert said.startswith(f"{PLACE}its certificate cannot be trusted (self-signed certificate): correct the host in")
    assert "AWS_CA_BUNDLE" in said
    stand_in.answer = (404, XML, error("NoSuchBucket"))
    monkeypatch.setenv("AWS_CA_BUNDLE", f"{certificate}.crt")
    assert "the bucket does not exist" in refused(store_at(f"https://{stand_in.host}"), listing)


def test_https_to_a_server_without_tls_is_reported(stand_in: StandIn) -> None:
    said = refused(store_at(f"https://{stand_in.host}"), listing)
    assert said == (
        f"{PLACE}whoever answers there speaks no TLS: write http instead of https into KPI_S3_ENDPOINT_URL."
    )


@pytest.mark.parametrize("proxy", [f"http://someone:{SECRET}@127.0.0.1:9", f"http://someone:{SECRET}@{{host}}"])
def test_a_proxy_that_cannot_be_used_is_reported_without_its_password(
    stand_in: StandIn, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy.format(host=stand_in.host))
    stand_in.answer = (407, {}, b"")
    said = refused(store_at("https://s3.example.com"), listing)
    assert said == (
        f"{PLACE}the proxy that HTTPS_PROXY or HTTP_PROXY names cannot be used: correct it, or name the store in "
        "NO_PROXY."
    )


@pytest.mark.parametrize("given", [{}, {"AWS_ACCESS_KEY_ID": "AKIA"}])
def test_missing_credentials_are_reported(
    _credentials: None, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "/no", "AWS_CONFIG_FILE": "/no"}
    for name, value in {**nowhere, **given}.items():
        monkeypatch.setenv(name, value)
    wanted = (
        "half of the credentials is missing: set AWS_SECRET_ACCESS_KEY too" if given else "no credentials were found"
    )
    with pytest.raises(LakeError) as failure:
        listing(store_at("http://127.0.0.1:9"))
    assert f"cannot be used: {wanted}" in str(failure.value)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_credentials_in_an_endpoint_of_the_aws_settings_are_refused(
    _credentials: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("KPI_S3_ENDPOINT_URL", raising=False)  # set by other tests that started the embedded store
    monkeypatch.setenv(name, f"https://someone:{SECRET}@s3.example.com")
    with pytest.raises(
        LakeError, match=r"^The endpoint that AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or AWS's conf"
    ) as said:
        client(Settings())
    assert SECRET not in str(said.value)


def test_no_part_of_an_invalid_endpoint_is_shown(_credentials: None) -> None:
    made: dict[str, Any] = {"s3_endpoint_url": f"minio {SECRET}"}
    with pytest.raises(LakeError, match=r"^S3 cannot be used \(its address or its settings cannot be read: ") as said:
        client(Settings().model_copy(update=made))
    assert SECRET not in str(said.value)
