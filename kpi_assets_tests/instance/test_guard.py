"""The guard alone, as an ASGI app before one that records what reaches it: every rule, and odd inputs."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpi_assets.instance import access
from kpi_assets.instance.guard import SECURITY, Guard
from kpi_assets.settings import Settings

TOKEN = "t0ken-of-the-tests_24chars"
HOST = "127.0.0.1:3000"
HOSTS = access.allowed_hosts(Settings(ui_hosts="Dagster.example.com, 10.0.0.5:8443"), 3000)
COOKIE = access.cookie_name(3000)
LOGGED_IN = ("cookie", f"other=1; {COOKIE}={TOKEN}")
JSON = ("content-type", "application/json")
ORIGIN = ("origin", f"http://{HOST}")

Header = tuple[str, str]


@dataclass
class Answer:
    """The answer to a client, and whether the app behind the guard was reached."""

    status: int  # 101 for a websocket that was let through, 403 for one that was closed
    reached: bool
    headers: list[Header]
    body: str

    def header(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]


def ask(
    method: str,
    address: str,
    *headers: Header,
    host: str | None = HOST,
    token: str | None = TOKEN,
    kind: str = "http",
    raw_path: bytes | None = None,
    scheme: str = "http",
) -> Answer:
    """Send one request to the guard, with one Host header unless another one is given."""
    path, _, query = address.partition("?")
    sent = [("host", host), *headers] if host is not None else [*headers]
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode() if raw_path is None else raw_path,
        "query_string": query.encode("utf-8", "surrogatepass"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent],
        "scheme": scheme,
    }
    reached, said = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            own = [(b"content-type", b"text/plain"), (b"Referrer-Policy", b"unsafe-url")]
            await send({"type": "http.response.start", "status": 200, "headers": own})
            await send({"type": "http.response.body", "body": b"the app"})

    async def receive() -> dict[str, str]:
        return {"type": f"{kind}.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(Guard(app, HOSTS, token, COOKIE)(scope, receive, send))
    if kind == "websocket":
        return Answer(101 if said[0]["type"] == "websocket.accept" else 403, bool(reached), [], "")
    found = [(name.decode().lower(), value.decode()) for name, value in said[0]["headers"]]
    return Answer(said[0]["status"], bool(reached), found, said[1]["body"].decode())


def test_requests_of_the_ui_itself_get_through() -> None:
    same = ("sec-fetch-site", "same-origin")
    assert ask("GET", "/runs", LOGGED_IN, ("sec-fetch-site", "none")).reached
    assert ask("HEAD", "/assets/instacart/marts/kpi", LOGGED_IN).reached
    assert ask("POST", "/graphql", LOGGED_IN, JSON, ORIGIN, same).reached
    assert ask("GET", "/graphql", LOGGED_IN, ORIGIN, same, kind="websocket").reached
    assert ask("POST", "/graphql", ("authorization", f"Bearer {TOKEN}"), JSON).reached, "our own calls"


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["127.0.0.1:3000"], 200),
        (["localhost:3000"], 200),
        (["LocalHost:3000"], 200),
        (["[::1]:3000"], 200),
        (["dagster.example.com"], 200),
        (["DAGSTER.example.COM"], 200),
        (["10.0.0.5:8443"], 200),
        ([], 421),
        ([""], 421),
        (["evil.example"], 421),
        (["evil.example:3000"], 421),
        (["127.0.0.1"], 421),
        (["127.0.0.1:3001"], 421),
        (["127.0.0.1:3000."], 421),
        (["localhost.:3000"], 421),
        (["[::1]"], 421),
        (["::1:3000"], 421),
        (["dagster.example.com:443"], 421),
        (["dagster.example.com."], 421),
        (["dagster.example.com.evil.example"], 421),
        (["127.0.0.1:3000", "127.0.0.1:3000"], 421),
        (["127.0.0.1:3000", "evil.example"], 421),
        (["evil.example", "127.0.0.1:3000"], 421),
        (["127.0.0.1:3000,evil.example"], 421),
        (["user@127.0.0.1:3000"], 421),
        ([" 127.0.0.1:3000"], 421),
        (["127.0.0.1:3000\x00"], 421),
        (["127.0.0.1:3000\xe9"], 421),
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_only_its_own_host_names_are_answered(hosts: list[str], status: int, token: str | None) -> None:
    answer = ask("GET", "/runs", LOGGED_IN, *(("host", host) for host in hosts), host=None, token=token)
    assert (answer.status, answer.reached) == (status, status == 200)
    assert ask("GET", "/server_info", *(("host", host) for host in hosts), host=None).reached == (status == 200)
    socket = ask("GET", "/graphql", LOGGED_IN, ORIGIN, *(("host", h) for h in hosts), host=None, kind="websocket")
    assert socket.reached == (status == 200)


@pytest.mark.parametrize(
    ("origins", "passes"),
    [
        (["http://127.0.0.1:3000"], True),
        (["http://localhost:3000"], True),
        (["https://dagster.example.com"], True),
        (["null"], False),
        ([""], False),
        (["http://evil.example"], False),
        (["http://127.0.0.1:3001"], False),
        (["http://127.0.0.1"], False),
        (["HTTP://127.0.0.1:3000"], False),
        (["http://127.0.0.1:3000/"], False),
        (["http://127.0.0.1:3000.evil.example"], False),
        (["http://user@127.0.0.1:3000"], False),
        (["ws://127.0.0.1:3000"], False),
        (["127.0.0.1:3000"], False),
        (["http://127.0.0.1:3000", "http://127.0.0.1:3000"], False),
        (["http://127.0.0.1:3000", "http://evil.example"], False),
        (["http://127.0.0.1:3000, http://evil.example"], False),
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_only_its_own_origins_are_answered(origins: list[str], passes: bool, token: str | None) -> None:
    sent = [("origin", origin) for origin in origins]
    post = ask("POST", "/graphql", LOGGED_IN, JSON, *sent, token=token)
    assert (post.status, post.reached) == ((200, True) if passes else (403, False))
    assert ask("GET", "/graphql", LOGGED_IN, *sent, kind="websocket", token=token).reached == passes
    assert ask("GET", "/runs", LOGGED_IN, *sent, token=token).reached == passes


@pytest.mark.parametrize("token", [TOKEN, None])
@pytest.mark.parametrize("path", ["/", "/graphql/", "/graphqlx", "/%67raphql", "//graphql", "/GraphQL", "/other"])
def test_a_websocket_needs_an_origin_and_is_open_for_graphql_only(path: str, token: str | None) -> None:
    assert not ask("GET", path, LOGGED_IN, ORIGIN, kind="websocket", token=token).reached
    assert not ask("GET", "/graphql", LOGGED_IN, kind="websocket", token=token).reached, "no origin"
    assert ask("GET", "/graphql", ORIGIN, kind="websocket", token=token).reached == (token is None)


def fetched(site: str, mode: str = "navigate", kind: str = "document") -> list[Header]:
    return [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", kind)]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("token", [TOKEN, None])
def test_another_site_may_only_link_to_a_page(site: str, token: str | None) -> None:
    assert ask("GET", "/runs", LOGGED_IN, *fetched(site), token=token).reached
    refused = [
        ask("GET", "/runs", LOGGED_IN, *fetched(site, mode, kind), token=token)
        for mode, kind in [
            ("no-cors", "image"),
            ("no-cors", "script"),
            ("no-cors", "empty"),
            ("cors", "empty"),
            ("navigate", "iframe"),
            ("navigate", "frame"),
            ("navigate", "object"),
            ("navigate", "embed"),
            ("websocket", "websocket"),
            ("", ""),
        ]
    ]
    refused += [
        ask("GET", "/graphql", LOGGED_IN, *fetched(site), token=token),
        ask("POST", "/graphql", LOGGED_IN, JSON, *fetched(site), token=token),
        ask("POST", "/runs", LOGGED_IN, *fetched(site), token=token),
        ask("GET", "/runs", LOGGED_IN, ("sec-fetch-site", site), token=token),
        ask("GET", "/server_info", *fetched(site, "no-cors", "image"), token=token),
        ask("GET", "/graphql", LOGGED_IN, ORIGIN, *fetched(site, "websocket", "websocket"), kind="websocket"),
    ]
    assert {(answer.status, answer.reached) for answer in refused} == {(403, False)}


@pytest.mark.parametrize(
    "sites", [["nonsense"], [""], ["same-origin", "cross-site"], ["none", "none"], ["Same-Origin"]]
)
def test_a_sec_fetch_site_that_no_browser_sends_is_refused(sites: list[str]) -> None:
    sent = [("sec-fetch-site", site) for site in sites]
    assert ask("POST", "/graphql", LOGGED_IN, JSON, *sent).status == 403


@pytest.mark.parametrize(
    ("types", "passes"),
    [
        (["application/json"], True),
        (["Application/JSON"], True),
        (["application/json; charset=utf-8"], True),
        (["application/json;boundary=text/plain"], True),
        ([" application/json "], True),
        ([], False),
        ([""], False),
        (["text/plain"], False),
        (["text/plain; application/json"], False),
        (["text/plain;charset=application/json"], False),
        (["application/jsonp"], False),
        (["application/json, text/plain"], False),
        (["application/graphql"], False),
        (["application/x-www-form-urlencoded"], False),
        (["multipart/form-data; boundary=application/json"], False),
        (["application/json", "application/json"], False),
        (["application/json", "text/plain"], False),
        (["text/plain", "application/json"], False),
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_graphql_is_posted_as_json_only(types: list[str], passes: bool, token: str | None) -> None:
    sent = [("content-type", kind) for kind in types]
    answer = ask("POST", "/graphql?query=mutation", LOGGED_IN, *sent, token=token)
    assert (answer.status, answer.reached) == ((200, True) if passes else (415, False))


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/graphql", 405, ["POST"]),
        ("GET", "/graphql?query={version}", 405, ["POST"]),
        ("HEAD", "/graphql", 405, ["POST"]),
        ("GET", "/graphql/", 405, ["POST"]),
        ("GET", "/graphql//", 405, ["POST"]),
        ("OPTIONS", "/graphql", 405, ["POST"]),
        ("PUT", "/graphql", 405, ["POST"]),
        ("post", "/graphql", 405, ["POST"]),
        ("POST", "//graphql", 405, ["GET, HEAD"]),
        ("POST", "/./graphql", 405, ["GET, HEAD"]),
        ("POST", "/graphql/x", 405, ["GET, HEAD"]),
        ("POST", "/GRAPHQL", 405, ["GET, HEAD"]),
        ("POST", "/", 405, ["GET, HEAD"]),
        ("POST", "/report_asset_materialization/a/b", 405, ["GET, HEAD"]),
        ("POST", "/report_asset_check/a", 405, ["GET, HEAD"]),
        ("OPTIONS", "/runs", 405, ["GET, HEAD"]),
        ("DELETE", "/runs", 405, ["GET, HEAD"]),
        ("TRACE", "/runs", 405, ["GET, HEAD"]),
        ("get", "/runs", 405, ["GET, HEAD"]),
        ("GET", "//graphql", 200, []),  # for Dagster this is a page like any other, which it answers with its HTML
        ("HEAD", "/runs", 200, []),
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_every_write_but_a_graphql_post_is_refused(
    method: str, path: str, status: int, allow: list[str], token: str | None
) -> None:
    answer = ask(method, path, LOGGED_IN, JSON, token=token)
    assert (answer.status, answer.reached, answer.header("allow")) == (status, status == 200, allow)


def test_the_decoded_path_decides_as_it_does_in_dagster() -> None:
    assert ask("GET", "/graphql", LOGGED_IN, raw_path=b"/%67raphql").status == 405
    assert ask("POST", "/graphql", LOGGED_IN, ("content-type", "text/plain"), raw_path=b"/graph%71l").status == 415


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ([("cookie", f"{COOKIE}={TOKEN}")], True),
        ([("cookie", f"a=b;{COOKIE}={TOKEN}; c=d")], True),
        ([("cookie", "a=b"), ("cookie", f"{COOKIE}={TOKEN}")], True),
        ([("cookie", f"{COOKIE}=stale; {COOKIE}={TOKEN}")], True),
        ([("authorization", f"Bearer {TOKEN}")], True),
        ([("authorization", f"bearer  {TOKEN}")], True),
        ([], False),
        ([("cookie", f"{COOKIE}=")], False),
        ([("cookie", f"{COOKIE}={TOKEN}x")], False),
        ([("cookie", f"{COOKIE}={TOKEN[:-1]}")], False),
        ([("cookie", f"{COOKIE}={TOKEN.upper()}")], False),
        ([("cookie", f"{COOKIE}\xe9={TOKEN}")], False),
        ([("cookie", f"{COOKIE}={TOKEN}\xff")], False),
        ([("cookie", f"kpi_ui_3001={TOKEN}")], False),
        ([("cookie", TOKEN)], False),
        ([("authorization", TOKEN)], False),
        ([("authorization", f"Basic {TOKEN}")], False),
        ([("authorization", "Bearer")], False),
        ([("authorization", "Bearer "), ("authorization", f"Bearer {TOKEN}")], False),
        ([("x-token", TOKEN)], False),
    ],
)
def test_without_the_token_nothing_is_shown(headers: list[Header], passes: bool) -> None:
    for answer in (ask("GET", "/runs", *headers), ask("POST", "/graphql", JSON, *headers)):
        assert (answer.status, answer.reached) == ((200, True) if passes else (401, False))
        assert TOKEN not in answer.body
        assert passes or "open the address that `kpi up` or `kpi url` prints" in answer.body
    assert ask("GET", "/graphql", ORIGIN, *headers, kind="websocket").reached == passes
    for path in ("/kpi/chart/instacart/marts.kpi.svg", "/logs/x", "/download_debug/x", "/server_info/", "/_next/x.js"):
        assert ask("GET", path, *headers).reached == passes


def test_paths_that_show_nothing_are_open_so_that_health_checks_need_no_token() -> None:
    assert [ask("GET", path).reached for path in ("/server_info", "/favicon.svg", "/manifest.json")] == [True] * 3
    assert ask("POST", "/server_info", JSON).status == 405


@pytest.mark.parametrize(
    ("address", "raw_path", "there"),
    [
        ("/?token={}", None, "/"),
        ("/runs?token={}", None, "/runs"),
        ("/runs/1?logs=step%3Aa%7Ctype%3Ab&token={}&x=1", None, "/runs/1?logs=step%3Aa%7Ctype%3Ab&x=1"),
        ("/runs?x=%26token%3D1&token={}", None, "/runs?x=%26token%3D1"),
        ("/runs?token=wrong&token={}", None, "/runs"),
        ("/runs?%74oken={}", None, "/runs"),
        ("/assets/a/b?token={}", b"/assets/a%2Fb", "/assets/a%2Fb"),
        ("//evil.example/x?token={}", None, "/evil.example/x"),
        ("/\\evil.example?token={}", None, "/%5Cevil.example"),
        ("\\\\evil.example?token={}", None, "/%5C%5Cevil.example"),
        ("///\\/evil.example?token={}", None, "/%5C/evil.example"),
        ("http://evil.example/?token={}", None, "/http://evil.example/"),
        ("/a\r\nSet-Cookie: x=1?token={}", None, "/a%0D%0ASet-Cookie:%20x=1"),
        ("/a?x=\r\ny&token={}", None, "/a?x=%0D%0Ay"),
        ("/a\tb?token={}", None, "/a%09b"),
        ("?token={}", b"", "/"),
    ],
)
def test_the_token_in_an_address_becomes_a_cookie_and_leaves_the_address(
    address: str, raw_path: bytes | None, there: str
) -> None:
    answer = ask("GET", address.format(TOKEN), raw_path=raw_path)
    assert (answer.status, answer.reached, answer.header("location")) == (303, False, [there])
    assert not urlsplit(there).netloc, "the redirect leads to no other site"
    assert answer.header("set-cookie") == [f"{COOKIE}={TOKEN}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Strict"]
    assert TOKEN not in answer.body


def test_the_cookie_is_secure_over_https() -> None:
    [cookie] = ask("GET", f"/?token={TOKEN}", scheme="https").header("set-cookie")
    assert cookie.endswith("; Secure")


@pytest.mark.parametrize("address", ["/?token=wrong", "/?token=", "/?token", f"/?tokens={TOKEN}", f"/{TOKEN}"])
def test_another_token_in_an_address_opens_nothing(address: str) -> None:
    answer = ask("GET", address)
    assert (answer.status, answer.header("set-cookie")) == (401, [])


def test_a_token_in_an_address_opens_no_post_and_no_websocket() -> None:
    assert ask("POST", f"/graphql?token={TOKEN}", JSON).status == 401
    assert not ask("GET", f"/graphql?token={TOKEN}", ORIGIN, kind="websocket").reached
    assert ask("GET", f"/?token={TOKEN}", host="evil.example").status == 421
    assert ask("GET", f"/?token={TOKEN}", *fetched("cross-site", "no-cors", "image")).status == 403


def test_a_link_from_another_site_reloads_once_from_our_own_page() -> None:
    """The cookie is SameSite=Strict, so a browser does not send it if a link of another site leads here."""
    first = ask("GET", "/runs/1", *fetched("cross-site"))
    assert (first.status, first.reached) == (200, False)
    assert '<meta http-equiv="refresh" content="0">' in first.body
    again = ask("GET", "/runs/1", *fetched("same-origin"))
    assert (again.status, "refresh" in again.body) == (401, False)
    assert ask("GET", "/runs/1", LOGGED_IN, *fetched("same-origin")).reached


def test_every_answer_has_the_security_headers_once() -> None:
    answers = [
        ask("GET", "/runs", LOGGED_IN),
        ask("GET", "/runs"),
        ask("GET", "/runs", host="evil.example"),
        ask("GET", f"/?token={TOKEN}"),
        ask("POST", "/graphql", LOGGED_IN),
    ]
    assert [answer.status for answer in answers] == [200, 401, 421, 303, 415]
    assert (b"x-frame-options", b"DENY") in SECURITY
    assert {(b"referrer-policy", b"same-origin"), (b"cross-origin-resource-policy", b"same-origin")} < set(SECURITY)
    for name, value in SECURITY:
        assert [answer.header(name.decode()) for answer in answers] == [[value.decode()]] * 5, (
            "they replace Dagster's own headers"
        )
    assert all(answer.header("cache-control") == ["no-store"] for answer in answers[1:])


def test_a_refusal_is_one_sentence_that_says_what_to_do_and_repeats_nothing() -> None:
    refusals = [
        ask("GET", "/runs", host="<b>evil</b>"),
        ask("GET", "/<b>evil</b>"),
        ask("GET", "/runs", ("origin", "<b>evil</b>")),
        ask("GET", "/graphql", LOGGED_IN),
        ask("POST", "/graphql", LOGGED_IN),
        ask("POST", "/<b>evil</b>", LOGGED_IN),
        ask("GET", "/runs", *fetched("cross-site", "no-cors", "image")),
    ]
    assert [answer.status for answer in refusals] == [421, 401, 403, 405, 415, 405, 403]
    for answer in refusals:
        [sentence] = re.findall(r"<p>(.*)</p>", answer.body)
        assert re.fullmatch(r"[A-Z][^.]*: [^.]*\.", sentence), sentence
        assert "evil" not in answer.body


def test_other_scopes_than_http_and_websocket_are_dropped_but_the_lifespan() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> None:
        return None

    for kind in ("lifespan", "webtransport", ""):
        asyncio.run(Guard(app, HOSTS, TOKEN, COOKIE)({"type": kind}, nothing, nothing))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


# Values of headers: right ones, nearly right ones, and anything.
ANY = st.text(st.characters(max_codepoint=255), max_size=30)
VALUES = {
    "host": [HOST, "LOCALHOST:3000", "evil.example", "", "127.0.0.1:3001"],
    "origin": [f"http://{HOST}", "null", "http://evil.example", "http://127.0.0.1:3001"],
    "sec-fetch-site": ["none", "same-origin", "same-site", "cross-site"],
    "sec-fetch-mode": ["navigate", "no-cors", "cors", "websocket"],
    "sec-fetch-dest": ["document", "image", "iframe", "empty"],
    "content-type": ["application/json", "text/plain", "text/plain; application/json", "application/json; x=y"],
    "cookie": [f"{COOKIE}={TOKEN}", f"{COOKIE}=wrong", "a=b"],
    "authorization": [f"Bearer {TOKEN}", "Bearer wrong"],
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, str, list[Header]]:
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=9))
    cased = st.sampled_from([str.lower, str.title, str.upper])
    headers = [(draw(cased)(name), draw(st.sampled_from(VALUES[name]) | ANY)) for name in names]
    # Most requests have a right Host, otherwise the other headers would never be checked.
    headers += [("Host", HOST)] if draw(st.booleans()) else []
    paths = ["/", "/runs", "/graphql", "/graphql/", "//graphql", "/server_info", f"/?token={TOKEN}", "/kpi/chart/x"]
    path = draw(st.sampled_from(paths) | st.builds("/{}".format, ANY))
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"]))
    return draw(st.sampled_from(["http", "websocket"])), method, path, headers


@given(requests(), st.sampled_from([TOKEN, None]))
def test_of_any_request_only_an_allowed_one_reaches_the_app(
    request: tuple[str, str, str, list[Header]], token: str | None
) -> None:
    """The rules a second time, as one condition on a request that got through."""
    kind, method, path, sent = request
    answer = ask(method, path, *sent, host=None, kind=kind, token=token)
    if not answer.reached:
        assert answer.status in {200, 303, 401, 403, 405, 415, 421}
        return
    assert values(sent, "host") in ([HOST], ["LOCALHOST:3000"], ["localhost:3000"])
    assert values(sent, "origin") in ([], [f"http://{HOST}"])
    bare = path.partition("?")[0]
    site = values(sent, "sec-fetch-site")
    reads = kind == "http" and method in {"GET", "HEAD"} and bare.rstrip("/") != "/graphql"
    if site not in ([], ["none"], ["same-origin"]):
        assert reads
        assert site in (["same-site"], ["cross-site"])
        assert (values(sent, "sec-fetch-mode"), values(sent, "sec-fetch-dest")) == (["navigate"], ["document"])
    if kind == "websocket":
        assert bare == "/graphql"
        assert values(sent, "origin")
    elif not reads:
        assert (method, bare.rstrip("/")) == ("POST", "/graphql")
        [media] = values(sent, "content-type")
        assert media.partition(";")[0].strip().lower() == "application/json"
    if token and bare != "/server_info":
        cookies = "; ".join(values(sent, "cookie"))
        assert f"{COOKIE}={TOKEN}" in cookies or values(sent, "authorization") == [f"Bearer {TOKEN}"]


def values(sent: Sequence[Header], name: str) -> list[str]:
    return [value for found, value in sent if found.lower() == name]
