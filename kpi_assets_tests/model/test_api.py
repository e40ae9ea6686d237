"""The words of APIs: what is refused, which page follows, and what stands in the holes."""

from datetime import date
from typing import Any

import pytest

from kpi_assets.model.api import Api, Call, Pages, filled, value_at
from kpi_assets_tests.model.conftest import RAW, YAML, Tree

DAY = date(2025, 12, 31)
SOURCE = """\
source:
  object: raw/things/load_date={load_date}/things.json
  format: json
  records: data
  api: shop
  call: {path: /things, query: {day: "{load_date}"}}
"""
API = 'apis: {shop: {url: "http://127.0.0.1:9"}}\n'


def written(tree: Tree, source: str = SOURCE, apis: str = API) -> Tree:
    """A tree with an API in pipeline.yaml, and a raw table that it gives."""
    begin, end = RAW.index("source:"), RAW.index("columns:")
    tree.write("shop/pipeline.yaml", YAML + apis)
    tree.write("shop/raw/things.sql", RAW[:begin] + source + RAW[end:])
    return tree


def of_server(words: str) -> str:
    return f'apis: {{shop: {{url: "http://127.0.0.1:9", {words}}}}}\n'


def of_call(words: str) -> str:
    return SOURCE.replace('{path: /things, query: {day: "{load_date}"}}', f"{{path: /things, {words}}}")


def test_the_words_of_an_api_are_read(tree: Tree) -> None:
    login = 'login: {path: /token, form: {secret: "{secret:word}"}}'
    apis = of_server(f'{login}, headers: {{Authorization: "Bearer {{token}}"}}, query: {{key: "{{secret:key}}"}}')
    pages = "pages: {by: page, parameter: page, size: {limit: 500}}"
    pipeline = written(
        tree, of_call(f'{pages}, total: meta.total, query: {{day: "{{load_date:%Y%m%d}}"}}'), apis
    ).load()
    [table] = pipeline.object_tables
    api, call = pipeline.config.apis["shop"], table.source.call
    assert api.secrets == ["key", "word"]
    assert (api.timeout_seconds, api.deadline_minutes, api.requests_per_second) == (60, 15, None)
    assert (table.source.api, table.source.records) == ("shop", "data")
    assert call is not None
    assert call.pages is not None
    assert (call.total, call.pages.beginning, call.has_date) == ("meta.total", {"limit": 500, "page": 1}, True)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (url, f"{url!r} is not the address of a server: write http://host:port or https://host/path, without a user, a "
        "password and a query")
        for url in (
            "ftp://host",
            "host:80",
            "http://",
            "http://a:b@host",
            "http://host?key=1",
            "http://a,b",
            "http://host/{load_date}",
            "http://host/#top",
            "http://host:99999",
        )
    ],
)  # fmt: skip
def test_an_address_is_that_of_a_server_alone(tree: Tree, url: str, said: str) -> None:
    assert written(tree, apis=f'apis: {{shop: {{url: "{url}"}}}}\n').error() == (
        f"pipeline.yaml:6: apis.shop.url: {said}"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ('headers: {"X Key": "1"}', "headers.X Key: is not the name of a header: write letters, digits and -"),
        ('headers: {"": "1"}', "headers.: is not the name of a header: write letters, digits and -"),
        (
            'headers: {Content-Length: "1"}',
            "headers.Content-Length: this header is written for each request: take it out",
        ),
        ('headers: {HOST: "a"}', "headers.HOST: this header is written for each request: take it out"),
        (
            'headers: {X-Key: "1", x-key: "2"}',
            "headers.x-key: this header is there twice, since capitals make no difference: take one out",
        ),
        (
            r'headers: {X-Key: "1\r\nX-Other: 2"}',
            "headers.X-Key: no header can have a line end, or another character beyond Latin-1: take it out",
        ),
        (
            'headers: {X-Key: "→"}',
            "headers.X-Key: no header can have a line end, or another character beyond Latin-1: take it out",
        ),
        (
            'headers: {X-Key: "{load_date}"}',
            "headers.X-Key: '{load_date}' is not known here: write {secret:name} or {token}",
        ),
        (
            'query: {key: "{secret}"}',
            "query.key: '{secret}' names no secret: write {secret:name}, in lower case letters, digits and _",
        ),
        (
            'body: {key: "{secret:Big}"}',
            "body.key: '{secret:Big}' names no secret: write {secret:name}, in lower case letters, digits and _",
        ),
        ('query: {key: "{token}"}', "{token} is the token of a login: write the word login, or {secret:NAME}"),
        (
            'query: {key: "{token:x}"}, login: {path: /token}',
            "query.key: '{token:x}' needs nothing behind the name: write {token}",
        ),
        (
            "login: {path: /token}",
            'login: its token is not used: write {token} in a header, as in {Authorization: "Bearer {token}"}',
        ),
        ('login: {}, headers: {A: "{token}"}', "login: write either path, on the API's own server, or url"),
        (
            'login: {path: /a, url: "http://b"}, headers: {A: "{token}"}',
            "login: write either path, on the API's own server, or url",
        ),
        (
            'login: {path: /a, form: {x: "{token}"}}, headers: {A: "{token}"}',
            "login.form.x: '{token}' is what the login gives, and cannot be in its own request: take it out",
        ),
        (
            'login: {path: a}, headers: {A: "{token}"}',
            "login.path: 'a' is not a path: write it with / at its beginning, and without ? and #",
        ),
        (
            'login: {path: /a, token: "a..b"}, headers: {A: "{token}"}',
            "login.token: 'a..b' is not the place of a value: write names with a dot between, as in meta.next",
        ),
        ("requests_per_second: 0", "requests_per_second: 0 is too small: write more than 0"),
        ("timeout_seconds: 0", "timeout_seconds: 0 is too small: write 1 or more"),
        ("deadline_minutes: 1441", "deadline_minutes: 1441 is too large: write 1440 or less"),
    ],
)
def test_words_of_a_server_are_refused(tree: Tree, words: str, said: str) -> None:
    place = "apis.shop: " if said.startswith("{") else "apis.shop."
    assert written(tree, apis=of_server(words)).error() == f"pipeline.yaml:6: {place}{said}"


_NO_DATE = "has no form of a date: write it as in"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ('path: "/a?b"', "path: '/a?b' is not a path: write it with / at its beginning, and without ? and #"),
        (
            'query: {key: "{secret:shop}"}',
            "query.key: '{secret:shop}' stands in the words of apis, so that a call holds no secret: write it there",
        ),
        (
            'query: {key: "{token}"}',
            "query.key: '{token}' stands in the words of apis, so that a call holds no secret: write it there",
        ),
        ('query: {day: "{day}"}', "query.day: '{day}' is not known here: write {load_date} or {next_date}"),
        ('path: "/{day}"', "path: '{day}' is not known here: write {load_date} or {next_date}"),
        ('path: "/{Load_Date}"', "path: '{Load_Date}' is not known here: write {load_date} or {next_date}"),
        ('query: {day: "{load_date:}"}', f"query.day: '{{load_date:}}' {_NO_DATE} {{load_date:%Y%m%d}}"),
        ('query: {day: "{next_date:x}"}', f"query.day: '{{next_date:x}}' {_NO_DATE} {{next_date:%Y%m%d}}"),
        ('query: {day: "{load_date:%Q}"}', f"query.day: '{{load_date:%Q}}' {_NO_DATE} {{load_date:%Y%m%d}}"),
        ("body: {a: 1}", "body: only a POST sends a body: write method: POST, or use query"),
        ("method: PUT", "method: 'PUT' is not known here: write 'GET' or 'POST'"),
        ("total: .a", "total: '.a' is not the place of a value: write names with a dot between, as in meta.next"),
        (
            "pages: {by: cursor, parameter: c}",
            "pages: by cursor needs the word following: write where a page says what asks for the next one",
        ),
        (
            "pages: {by: page, parameter: c, following: next}",
            "pages.following: is for pages by cursor, and these are by page: take it out",
        ),
        (
            "pages: {by: cursor, parameter: c, following: next, first: 1}",
            "pages.first: a cursor begins without a number: take it out",
        ),
        ("pages: {by: page, parameter: c, first: 2}", "pages.first: 2 is too large: write 1 or less"),
        ("pages: {by: page, parameter: c, size: {n: 0}}", "pages.size.n: 0 is too small: write 1 or more"),
        (
            "pages: {by: page, parameter: c, size: {n: 1, m: 2}}",
            "pages.size: only one parameter asks for so many records a page: take the others out",
        ),
        ('pages: {by: page, parameter: ""}', "pages.parameter: '' is too short: write at least 1 characters"),
        (
            "pages: {by: page, parameter: c, size: {c: 1}}",
            "pages.size: 'c' is the parameter that asks for a page: write another one",
        ),
        (
            "pages: {by: page, parameter: c}, query: {c: 1}",
            "query.c: is a parameter of pages: take it out here",
        ),
        (
            "method: POST, pages: {by: page, parameter: c, size: {n: 5}}, body: {n: 1}",
            "body.n: is a parameter of pages: take it out here",
        ),
    ],
)
def test_words_of_a_call_are_refused(tree: Tree, words: str, said: str) -> None:
    source = of_call(words) if "path: " not in words else SOURCE.replace("path: /things", words)
    assert written(tree, source).error() == f"raw/things.sql:10: source.call.{said}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  api: shop\n", "", "9: source.call: it needs the word api beside it: write both"),
        (
            '  call: {path: /things, query: {day: "{load_date}"}}\n',
            "",
            "9: source.api: it needs the word call beside it: write both",
        ),
        (
            "  format: json\n  records: data\n",
            "  format: csv\n",
            "7: source.format: an API answers in JSON: write format: json",
        ),
        (
            "/things.json",
            "/*.json",
            "6: source.object: what an API answers is one object a load_date: write {load_date} in it, without * and ?",
        ),
        (
            "load_date={load_date}/things.json",
            "things.json",
            "6: source.object: what an API answers is one object a load_date: write {load_date} in it, without * and ?",
        ),
        (
            "  api: shop\n",
            "  api: shop\n  optional: true\n",
            "10: source.optional: an API is asked for every load_date, and answers in plain JSON: take it out",
        ),
        (
            "  api: shop\n",
            "  api: shop\n  compression: gzip\n",
            "10: source.compression: an API is asked for every load_date, and answers in plain JSON: take it out",
        ),
        (
            "  records: data\n  api: shop\n  call: {path: /things,",
            "  api: shop\n  call: {path: /things, total: total,",
            "9: source.call.total: without records an answer is an array, which says nothing else: name the field of "
            "its list in records, or take this out",
        ),
        (
            "  records: data\n  api: shop\n  call: {path: /things,",
            "  api: shop\n  call: {path: /things, pages: {by: cursor, parameter: c, following: next},",
            "9: source.call.pages.following: without records an answer is an array, which says nothing else: name the "
            "field of its list in records, or take this out",
        ),
    ],
)
def test_words_beside_an_api_are_refused(tree: Tree, old: str, new: str, said: str) -> None:
    assert old in SOURCE
    assert written(tree, SOURCE.replace(old, new)).error() == f"raw/things.sql:{said}"


def test_an_api_that_nobody_wrote_down_is_refused(tree: Tree) -> None:
    assert written(tree, apis="").error() == (
        "raw/things.sql:1: source.api names 'shop', and pipeline.yaml has no apis: write it under apis there"
    )
    assert written(tree, apis=API.replace("shop", "store")).error() == (
        "raw/things.sql:1: source.api names 'shop', and pipeline.yaml has store: write it under apis there"
    )


def test_a_get_has_no_body_of_the_server_either(tree: Tree) -> None:
    apis = of_server("body: {key: 1}")
    assert written(tree, apis=apis).error() == (
        "raw/things.sql:1: apis.shop of pipeline.yaml has a body, which only a POST sends: write method: POST in the "
        "call, or move the words to query"
    )
    written(tree, of_call("method: POST"), apis).load()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{load_date}", "2025-12-31"),
        ("{next_date}", "2026-01-01"),
        ("{load_date:%Y%m%d}/{next_date:%d.%m.%Y}", "20251231/01.01.2026"),
        ("{load_date:%Y%%}", "2025%"),
        ("{secret:shop} {token} {other}", "{secret:shop} {token} {other}"),
    ],
)
def test_holes_of_a_call_are_filled(text: str, found: str) -> None:
    assert filled(text, load_date=DAY) == found


def test_holes_of_a_server_are_filled() -> None:
    secrets = {"shop": "{load_date}", "token": "t"}
    assert filled("{secret:shop} {token} {load_date}", secrets=secrets) == "{load_date} t {load_date}"
    assert filled(7, secrets=secrets) == 7
    with pytest.raises(KeyError, match="other"):
        filled("{secret:other}", secrets=secrets)


@pytest.mark.parametrize(
    ("words", "first", "after"),
    [
        ({"by": "page"}, {"p": 1}, {"p": 2}),
        ({"by": "page", "first": 0, "size": {"n": 5}}, {"p": 0, "n": 5}, {"p": 1, "n": 5}),
        ({"by": "offset", "size": {"n": 5}}, {"p": 0, "n": 5}, {"p": 4, "n": 5}),
        ({"by": "offset", "first": 1}, {"p": 1}, {"p": 5}),
        ({"by": "cursor", "following": "meta.next", "size": {"n": 5}}, {"n": 5}, {"p": "abc", "n": 5}),
    ],
)
def test_which_page_follows(words: dict[str, Any], first: dict[str, Any], after: dict[str, Any]) -> None:
    pages = Pages.model_validate({"parameter": "p", **words})
    assert pages.beginning == first
    assert pages.after(first, {"meta": {"next": "abc"}}, 4) == after


@pytest.mark.parametrize("document", [{}, {"next": None}, {"next": ""}, {"other": "abc"}, []])
def test_a_cursor_ends(document: Any) -> None:
    pages = Pages(by="cursor", parameter="p", following="next")
    assert pages.after({}, document, 4) is None


def test_the_value_at_a_place() -> None:
    assert value_at({"a": {"b": 0}}, "a.b") == 0
    assert value_at({"a": [{"b": 0}]}, "a.b") is None
    assert value_at({"a.b": 1}, "a.b") is None


@pytest.mark.parametrize(
    "words",
    [
        {"path": "/{load_date}"},
        {"query": {"day": "{next_date}"}},
        {"method": "POST", "body": {"day": "{load_date:%Y}"}},
    ],
)
def test_a_call_has_a_date_wherever_it_stands(words: dict[str, Any]) -> None:
    assert Call.model_validate({"path": "/", **words}).has_date
    assert not Call.model_validate({"path": "/", "query": {"day": "today"}}).has_date


def test_an_address_has_no_slash_at_its_end() -> None:
    assert Api(url="http://127.0.0.1:9/v1/").url == "http://127.0.0.1:9/v1"
