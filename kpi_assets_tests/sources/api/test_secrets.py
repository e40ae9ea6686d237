"""No secret of an API is in an error, a log, a traceback with its variables, or on a terminal, whatever goes wrong."""

import base64
import http.client
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
import urllib3

from kpi_assets import scrub
from kpi_assets.sources.api.fetch import ApiError
from kpi_assets_tests.sources.api.scripted import Answer, Asked, document, get, scripted
from kpi_assets_tests.sources.api.test_ask import PASSING, SHORT

SECRETS = {
    "header": "head-canary/1+é=",
    "query": "quer-canary&2?#% x",
    "body": 'body-canary"3\\',
    "form": "form-canary 4+/",
    "basic": base64.b64encode(b"kpi:pass-canary:5").decode(),
}
TOKEN = "toke-canary.6/+=="
API: dict[str, Any] = {
    "headers": {
        "X-Key": "{secret:header}",
        "Authorization": "Bearer {token}",
        "Proxy-Authorization": "Basic {secret:basic}",
    },
    "query": {"key": "{secret:query}", "token": "{token}"},
    "body": {"key": "{secret:body}"},
    "login": {"path": "/token", "form": {"client_secret": "{secret:form}"}, "headers": {"X-Key": "{secret:header}"}},
    **SHORT,
}
CALL = {
    "method": "POST",
    "body": {"day": "{load_date}"},
    "pages": {"by": "page", "parameter": "page", "size": {"limit": 1}},
    "total": "total",
}


def forms(secret: str) -> Iterator[str]:
    """How a secret may be written."""
    yield from (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1])
    yield secret.encode().decode("latin-1")
    yield base64.b64encode(secret.encode()).decode()
    yield secret.encode().hex()


ALL_FORMS = {form for secret in (*SECRETS.values(), TOKEN, "pass-canary:5", "canary") for form in forms(secret)}


def echo(asked: Asked) -> bytes:
    """All that was sent, in many forms."""
    lines = [asked.path, urlencode(asked.query), *asked.query.values(), *map(str, asked.headers.values())]
    lines += [asked.body.decode(), *map(str, asked.fields.values())]
    return "\n".join(
        [*lines, *map(quote, lines), *(base64.b64encode(each.encode()).decode() for each in lines)]
    ).encode()


def answers_with(body: Callable[[Asked], bytes], **more: Any) -> Callable[[Asked], Answer]:
    return lambda asked: Answer(body(asked), **more)


def _document_with_echo(asked: Asked) -> bytes:
    return b'{"error": "' + echo(asked).replace(b"\\", b"").replace(b'"', b"").replace(b"\n", b" ") + b'"}'


def _names(asked: Asked) -> bytes:
    """A field there twice, whose name the reader quotes, is a secret."""
    name = asked.query["key"].encode()
    return b'{"' + name + b'": {"' + name + b'": 1, "' + name + b'": 2}, "data": []}'


FAULTS: dict[str, Callable[[Asked], Answer]] = {
    **{name: (lambda _asked, answer=answer: answer) for name, (answer, _) in PASSING.items() if name != "hangs"},
    **{f"echo with {status}": answers_with(echo, status=status) for status in (201, 400, 403, 404, 422, 500, 503)},
    "echo with 200": answers_with(echo),
    "document with echo": answers_with(_document_with_echo),
    "a name there twice": answers_with(_names),
    "redirect": lambda asked: Answer(echo(asked), status=302, headers={"Location": f"/login?{urlencode(asked.query)}"}),
    "401 always": answers_with(echo, status=401),
    "429 beyond the deadline": answers_with(echo, status=429, headers={"Retry-After": "9999"}),
    "odd headers": lambda asked: Answer(
        b"", status=500, headers={"X-Bad": f"a\r\n broken line {asked.query['key'].encode().hex()}\r\nno colon here"}
    ),
    "torn": lambda asked: document({"key": asked.query["key"], "number": asked.number}, total=asked.number),
    "echo in a total": lambda asked: document(total=asked.query["key"]),
    "echo of an encoding": lambda asked: Answer(b"{}", headers={"Content-Encoding": asked.query["key"]}),
    "echo of a charset": lambda asked: Answer(
        "é".encode(), headers={"Content-Type": f"a/b; charset={quote(asked.query['key'])}"}
    ),
}


def of_pages(fault: Callable[[Asked], Answer]) -> Callable[[Asked], Answer]:
    def script(asked: Asked) -> Answer:
        if asked.path == "/token":
            return Answer(b'{"access_token": "%s"}' % TOKEN.encode())
        return fault(asked)

    return script


def of_login(fault: Callable[[Asked], Answer]) -> Callable[[Asked], Answer]:
    """The login has the fault: what a page would be asked with stands in its answer too."""

    def script(asked: Asked) -> Answer:
        return fault(Asked(asked.number, asked.method, asked.path, {"key": SECRETS["form"]}, asked.headers, asked.body))

    return script


class Noise:
    """All that is logged or printed, with the level of each logger as low as it goes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._text = io.StringIO()
        handler = logging.StreamHandler(self._text)
        for name in ("", *logging.root.manager.loggerDict):
            logger = logging.getLogger(name)
            monkeypatch.setattr(logger, "level", 1)
            if not name:
                monkeypatch.setattr(logger, "handlers", [handler])
        logging.getLogger("urllib3.connectionpool").manager._clear_cache()  # type: ignore[attr-defined]
        monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 9)

    def __call__(self, do: Callable[[], None]) -> str:
        with redirect_stdout(self._text), redirect_stderr(self._text):
            do()
        return self._text.getvalue()


def of_ours(trace: TracebackType | None) -> str:
    """The frames of the code that is tested, with their variables."""
    found = traceback.StackSummary.extract(
        (each for each in traceback.walk_tb(trace) if "kpi_assets/" in each[0].f_code.co_filename), capture_locals=True
    )
    return "".join(found.format())


def problems(error: BaseException) -> Iterator[BaseException]:
    """An error, and all that hang on it."""
    yield error
    for other in (error.__cause__, error.__context__):
        if other is not None:
            yield from problems(other)


@pytest.mark.parametrize("where", [of_pages, of_login])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_secret_is_shown(
    fault: str,
    where: Callable[[Callable[[Asked], Answer]], Callable[[Asked], Answer]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scrub, "_known", ())  # this must not depend on who else hides secrets
    shown: list[str] = []

    def do() -> None:
        with pytest.raises(ApiError) as caught:
            get(server.url, CALL, API, SECRETS)
        error = caught.value
        assert error.__context__ is None, "nothing of a library hangs on it"
        shown.extend(
            [str(error), repr(error), "".join(traceback.format_exception(error)), of_ours(error.__traceback__)]
        )
        shown.append(repr(pickle.dumps(error.args)))

    with scripted(where(FAULTS[fault])) as server:
        noise = Noise(monkeypatch)(do)
    assert server.asked
    for text in (*shown, noise):
        assert [form for form in ALL_FORMS if form in text] == []


def test_the_canaries_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would prove nothing."""
    with scripted(of_pages(lambda _asked: document(total=0))) as server:
        get(server.url, CALL, API, SECRETS)
    login, page = server.asked
    assert login.fields == {"client_secret": SECRETS["form"]}
    assert (page.query["key"], page.query["token"]) == (SECRETS["query"], TOKEN)
    assert page.headers["x-key"] == SECRETS["header"]
    assert page.headers["authorization"] == f"Bearer {TOKEN}"
    assert page.fields["key"] == SECRETS["body"]


@pytest.mark.parametrize("end", ["\n", "\r\nX-Other: 1", "→", "\x00", "\x7f"])
@pytest.mark.parametrize("where", ["header", "token"])
def test_a_secret_that_no_header_can_have_is_refused_before_it_is_sent(
    end: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "_known", ())
    login = b'{"access_token": "abc"}' if where == "header" else f'{{"access_token": {_json(TOKEN + end)}}}'.encode()
    secrets = SECRETS | ({"header": SECRETS["header"] + end} if where == "header" else {})
    api = API | {"login": {"path": "/token", "form": {"client_secret": "{secret:form}"}}}
    with scripted(lambda _asked: Answer(login)) as server, pytest.raises(ApiError) as caught:
        get(server.url, CALL, api, secrets)
    name = "X-Key" if where == "header" else "Authorization"
    assert f"page 1: its header {name} would have a line end, or another character that no header can have" in str(
        caught.value
    )
    assert {each.path for each in server.asked} == {"/token"}
    assert "canary" not in str(caught.value) + of_ours(caught.value.__traceback__)


def _json(text: str) -> str:
    return json.dumps(text)


def test_other_requests_of_urllib3_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted(lambda _asked: document()) as server:
        get(server.url, {})
        assert [each.name for each in caplog.records if each.name.startswith("urllib3")] == []
        urllib3.request("GET", f"{server.url}/other")
    assert "/other" in caplog.text
