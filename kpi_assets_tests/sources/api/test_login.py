"""The token of a login: asked for once, renewed when it was refused or has expired, and never shown."""

import json
from typing import Any

import pytest

from kpi_assets.sources.api.fetch import ApiError
from kpi_assets_tests.sources.api.scripted import Answer, Asked, OnlyWaits, Scripted, document, get, scripted
from kpi_assets_tests.sources.api.test_rounds import BY_PAGE, ids, paged

API: dict[str, Any] = {
    "headers": {"Authorization": "Bearer {token}", "X-Shop": "{secret:shop}"},
    "login": {
        "path": "/oauth/token",
        "headers": {"X-Client": "{secret:client}"},
        "form": {"grant_type": "client_credentials", "client_secret": "{secret:client}"},
    },
}
SECRETS = {"shop": "shop-key", "client": "cli&ent=sécret"}
SETTINGS = "KPI_API_SECRETS__RETAIL__CLIENT, KPI_API_SECRETS__RETAIL__SHOP"


class Shop:
    """A server that gives tokens, of which only the last one is good, for so many requests."""

    def __init__(self, good_for: int = 99, **token: Any) -> None:
        self.good_for, self.token = good_for, token
        self.tokens = 0
        self.left = 0

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/oauth/token":
            self.tokens += 1
            self.left = self.good_for
            return Answer(json.dumps({"access_token": f"token-{self.tokens}", **self.token}).encode())
        self.left -= 1
        if asked.headers["authorization"] != f"Bearer token-{self.tokens}" or self.left < 0:
            return Answer(b'{"error": "expired"}', status=401)
        return paged(250)(asked)


def test_a_token_is_asked_for_once() -> None:
    with scripted(Shop()) as server:
        got = get(server.url, BY_PAGE, API, SECRETS)
    assert (got.records, ids(got.read()), got.turns) == (250, list(range(250)), 6)
    first, *others = server.asked
    assert (first.method, first.path, first.query) == ("POST", "/oauth/token", {})
    assert first.fields == {"grant_type": "client_credentials", "client_secret": "cli&ent=sécret"}
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    assert first.headers["x-client"] == "cli&ent=sécret"
    assert "authorization" not in first.headers
    assert {each.path for each in others} == {"/sales"}
    assert {each.headers["x-shop"] for each in others} == {"shop-key"}


def test_a_token_that_expires_midway_is_renewed() -> None:
    shop = Shop(good_for=2)
    with scripted(shop) as server:
        got = get(server.url, BY_PAGE, API, SECRETS)
    assert (got.records, ids(got.read()), shop.tokens, got.waited) == (250, list(range(250)), 3, [])
    assert server.pages == ["", "1", "2", "3", "", "3", "4", "5", "", "5"]


@pytest.mark.parametrize(
    ("expires", "renewed"),
    [(100, [90]), ("100.5", [91]), (3600, []), (0, []), (-5, []), (None, []), ("soon", []), ([100], []), (True, [])],
)
def test_a_token_is_renewed_before_it_expires(expires: Any, renewed: list[int]) -> None:
    """A tenth of its time before the end, and at most 30 seconds: one second passes with each request."""
    shop, waits = Shop(good_for=999, expires_in=expires), OnlyWaits()

    def script(asked: Asked) -> Answer:
        answer = shop(asked)
        if asked.path == "/oauth/token":
            return answer
        waits.wait(1)
        return document({"id": int(asked.query["page"])}, total=120) if answer.status == 200 else answer

    with scripted(script) as server:
        call = {"pages": {"by": "page", "parameter": "page"}, "total": "total"}
        got = get(server.url, call, API, SECRETS, clock=waits)
    assert got.records == 120
    logins = [each.number for each in server.asked if each.path == "/oauth/token"]
    assert [number - 2 for number in logins] == [-1, *renewed], "before that request for a page"


def error_of(script: Any, api: dict[str, Any] = API) -> tuple[ApiError, Scripted]:
    with scripted(script) as server:
        with pytest.raises(ApiError) as caught:
            get(server.url, BY_PAGE, api, SECRETS)
        return caught.value, server


def test_a_fresh_token_that_is_refused_is_an_error() -> None:
    error, server = error_of(lambda asked: Shop()(asked) if asked.path == "/oauth/token" else Answer(status=401))
    assert str(error) == (
        f"API shop of retail, GET {server.url}/sales of 2025-07-01, page 1: it refuses us (status 401): look at the "
        f"secrets ({SETTINGS}), and at our rights."
    )
    assert [each.path for each in server.asked] == ["/oauth/token", "/sales", "/oauth/token", "/sales"]


def test_a_right_that_is_missing_is_no_matter_of_the_token() -> None:
    error, server = error_of(lambda asked: Shop()(asked) if asked.path == "/oauth/token" else Answer(status=403))
    assert f"it refuses us (status 403): look at the secrets ({SETTINGS})" in str(error)
    assert [each.path for each in server.asked] == ["/oauth/token", "/sales"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            Answer(b'{"error": "invalid_client"}', status=400),
            'it does not accept the request (status 400: {"error": "invalid_client"}): correct login under apis.shop '
            f"of pipeline.yaml, or the secrets ({SETTINGS})",
        ),
        (Answer(status=401), f"it refuses us (status 401): look at the secrets ({SETTINGS}), and at our rights"),
        (Answer(b"{}"), "its answer has no token at 'access_token': correct token of login"),
        (Answer(b'{"access_token": ""}'), "its answer has no token at 'access_token': correct token of login"),
        (Answer(b'{"access_token": 5}'), "its answer has no token at 'access_token': correct token of login"),
        (Answer(b"[]"), "its answer has no token at 'access_token': correct token of login"),
        (
            Answer(b"token=abc"),
            "its answer is no JSON, or was cut off, 5 times: try again later, or ask those who run it",
        ),
        (
            Answer(b" " * (1 << 20) + b"{}"),
            "its answer is longer than 1 MiB, 5 times: try again later, or ask those who run it",
        ),
        (Answer(status=500), "it answered status 500, 5 times: try again later, or ask those who run it"),
        (
            Answer(status=302, headers={"Location": "/"}),
            "it sends us to another address (status 302), which is not asked, since our secrets would go there: write "
            "the right one as url",
        ),
    ],
)
def test_a_login_that_gives_no_token_is_an_error(answer: Answer, problem: str) -> None:
    error, server = error_of(lambda _asked: answer)
    assert str(error) == f"The login of API shop of retail, {server.url}/oauth/token: {problem}."
    assert {each.path for each in server.asked} == {"/oauth/token"}


def test_a_login_that_fails_for_a_while_is_waited_for() -> None:
    shop = Shop()
    with scripted(lambda asked: Answer(status=503) if asked.number < 3 else shop(asked)) as server:
        got = get(server.url, BY_PAGE, API, SECRETS)
    assert (got.records, got.waited, got.turns) == (250, [1, 2], 8)


def test_another_server_may_give_the_token() -> None:
    asked_of = Shop()
    asked_of.left = 5
    with scripted(asked_of) as shop, scripted(lambda _asked: Answer(b'{"a": {"b": "token-0"}}')) as giver:
        api = {**API, "login": {"url": f"{giver.url}/token", "token": "a.b", "form": {"x": "{secret:client}"}}}
        got = get(shop.url, BY_PAGE, api, SECRETS)
    assert (got.records, got.turns) == (250, 5), "its requests take no turn of the API"
    assert [each.path for each in giver.asked] == ["/token"]


def test_a_token_may_stand_in_address_and_body() -> None:
    def script(asked: Asked) -> Answer:
        if asked.path == "/oauth/token":
            return Answer(b'{"access_token": "a&b=1"}')
        assert (asked.query["key"], asked.fields["key"]) == ("a&b=1", "a&b=1")
        return document()

    api = {"login": API["login"], "query": {"key": "{token}"}, "body": {"key": "{token}"}}
    with scripted(script) as server:
        assert get(server.url, {"method": "POST"}, api, SECRETS).records == 0
