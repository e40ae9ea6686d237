"""Secrets leave what a server answered, in whatever form it writes them."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from kpi_assets.sources.api.hidden import QUOTED, Hidden

SECRET = 's3cr+t/Canary&né "key"=42'
FORMS = {
    "plain": SECRET,
    "percent": quote(SECRET),
    "percent all": quote(SECRET, safe=""),
    "plus": quote_plus(SECRET),
    "lower percent": quote(SECRET, safe="").lower().replace("canary", "Canary"),
    "twice": quote(quote(SECRET, safe=""), safe=""),
    "JSON": json.dumps(SECRET),
    "JSON, UTF-8": json.dumps(SECRET, ensure_ascii=False),
    "JSON of PHP": json.dumps(SECRET, ensure_ascii=False).replace("/", "\\/"),
    "escapes": SECRET.encode("unicode_escape").decode(),
    "HTML": html.escape(SECRET),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 in a text": base64.b64encode(f"a:{SECRET}:b".encode()).decode(),
    "base64 in another": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "base64 of addresses": base64.urlsafe_b64encode(f"user {SECRET}".encode()).decode(),
    "upper": SECRET.upper(),
    "in pieces": SECRET.replace("+", "\n+\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_hidden_in_each_form(form: str) -> None:
    shown = Hidden([SECRET]).out_of(f"Your key ({FORMS[form]}) is unknown")
    assert shown == "" or shown.startswith("Your key (")
    for piece in ("s3cr", "Canary", "né", "42", base64.b64encode(SECRET.encode()).decode()[4:12]):
        assert piece not in shown


def test_what_holds_no_secret_is_shown() -> None:
    assert Hidden([SECRET]).out_of("The day 2025-07-01 is unknown") == "The day 2025-07-01 is unknown"
    assert Hidden([]).out_of("anything") == "anything"


def test_what_a_secret_in_base64_holds_is_hidden() -> None:
    hidden = Hidden([base64.b64encode(b"kpi:hunter2").decode().rstrip("=")])
    assert hidden.out_of("no user kpi with hunter2") == "no user kpi with ***"
    assert hidden.out_of("kpi:hunter2") == "***"


def test_a_further_secret_is_hidden() -> None:
    hidden = Hidden(["first"])
    hidden.add("second")
    assert hidden.out_of("first, second, third") == "***, ***, third"


def test_the_longest_secret_is_hidden_first() -> None:
    assert Hidden(["key-1", "key-12"]).out_of("key-12 key-1") == "*** ***"


@pytest.mark.parametrize("write", [repr, ascii, json.dumps])
def test_a_secret_of_several_lines_is_hidden(write: Callable[[str], str]) -> None:
    secret = 'first"li\nne'
    assert Hidden([secret]).out_of(f"Your key {write(secret)[1:-1]} is unknown") == "Your key *** is unknown"


@pytest.mark.parametrize("size", [1, 2, 3])
def test_short_secrets_are_hidden(size: int) -> None:
    secret = "xyz"[:size]
    assert secret not in Hidden([secret]).out_of(f"({secret})")


@pytest.mark.parametrize("shift", range(12))
def test_a_secret_that_is_cut_is_not_shown(shift: int) -> None:
    start = (b"x" * 30 + b"canary-1234")[: 30 + shift]
    shown = Hidden(["canary-1234"]).excerpt(start, is_whole=False)
    assert set(shown) == {"x"}
    many = b"canary-1234" * 50 + b"canary-1234"[:shift]
    assert "can" not in Hidden(["canary-1234"]).excerpt(many, is_whole=False)


def test_an_excerpt_is_short_and_printable() -> None:
    shown = Hidden([]).excerpt(b"a\n\n b\x00\xff" + b"c" * 999, is_whole=True)
    assert shown.startswith("a b\\x00�ccc")
    assert shown.endswith("… (cut)")
    assert len(shown) == QUOTED + len("\\x00") - 1


def test_nothing_of_an_answer_about_persons_is_quoted() -> None:
    hidden = Hidden([], is_personal=True)
    assert hidden.excerpt(b'{"email": "canary@example.org"}', is_whole=True) == "(masked)"
    assert hidden.excerpt(b"", is_whole=True) == "", "there is nothing to mask"


@pytest.mark.parametrize(("is_personal", "shown"), [(True, "(masked)"), (False, "([])")])
def test_an_excerpt_stands_in_one_pair_of_brackets(*, is_personal: bool, shown: str) -> None:
    assert Hidden([], is_personal=is_personal).in_brackets(b"[]", is_whole=True) == shown
