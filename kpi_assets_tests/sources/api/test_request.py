"""A request has the words of server and call with their holes filled, and the parameters of the page."""

from kpi_assets.model.api import Call
from kpi_assets.sources.api.request import login_request, page_request, place_of
from kpi_assets_tests.sources.api.scripted import DAY, server_of

OURS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "kpi_assets"}
SERVER = server_of(
    "http://host/v1",
    {
        "headers": {"user-agent": "{secret:key}", "X-Token": "{token}"},
        "query": {"key": "{secret:key}", "n": 1},
        "login": {"path": "/token", "headers": {"ACCEPT": "a/b"}, "form": {"a": "{secret:key}", "b": "&="}},
    },
    {"key": "ü 1"},
)


def test_words_of_the_call_and_of_the_page_come_last() -> None:
    call = Call(path="/sales/{load_date:%Y}", query={"n": 2, "till": "{next_date}", "exact": False})
    request = page_request(SERVER, call, DAY, {"page": 3}, "t")
    assert request.place == place_of(SERVER, call, DAY) == "http://host/v1/sales/2025"
    assert request.address == ("http://host/v1/sales/2025?key=%C3%BC+1&n=2&till=2025-07-02&exact=false&page=3")
    assert (request.method, request.body, request.unwritable) == ("GET", None, None)
    others = {name: OURS[name] for name in ("Accept", "Accept-Encoding")}
    assert request.headers == {**others, "user-agent": "ü 1", "X-Token": "t"}, "a header is there once"


def test_a_post_sends_the_page_in_its_body() -> None:
    call = Call(method="POST", path="/", body={"day": "{load_date}", "exact": True})
    request = page_request(SERVER, call, DAY, {"page": 3}, "t\n")
    assert request.body == b'{"day": "2025-07-01", "exact": true, "page": 3}'
    assert request.headers["Content-Type"] == "application/json"
    assert request.unwritable == "X-Token"


def test_a_login_sends_a_form() -> None:
    request = login_request(SERVER)
    assert (request.method, request.address) == ("POST", "http://host/v1/token")
    assert request.body == b"a=%C3%BC+1&b=%26%3D"
    others = {name: OURS[name] for name in ("Accept-Encoding", "User-Agent")}
    assert request.headers == {**others, "Content-Type": "application/x-www-form-urlencoded", "ACCEPT": "a/b"}
