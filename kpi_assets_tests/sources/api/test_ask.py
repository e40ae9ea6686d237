"""What passes by itself is waited for, and everything else ends in one sentence: each fault on a real connection."""

import itertools
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from kpi_assets.sources.api.fetch import ApiError
from kpi_assets_tests.sources.api.scripted import ASKED_AT, Answer, Asked, Scripted, Waits, document, get, scripted
from kpi_assets_tests.sources.api.test_rounds import BY_PAGE, ids, paged

WHOLE = paged(250)
LATER = "try again later, or ask those who run it"
# What may pass by itself, as a page is answered for it, and what the error says of it.
PASSING: dict[str, tuple[Answer, str]] = {
    "408": (Answer(status=408), "it answered status 408"),
    "425": (Answer(status=425), "it answered status 425"),
    "500": (Answer(b"Traceback", status=500), "it answered status 500"),
    "502": (Answer(status=502), "it answered status 502"),
    "503": (Answer(status=503), "it answered status 503"),
    "504": (Answer(status=504, is_chunked=True), "it answered status 504"),
    "599": (Answer(status=599), "it answered status 599"),
    "hangs up": (Answer(hangs_up=True), "the connection broke"),
    "hangs": (Answer(hangs=True), "no byte of its answer came for 0.1 s (timeout_seconds)"),
    "cut": (Answer(document(1, 2, 3).body, cut_after=9), "its answer was cut off"),
    "cut chunk": (Answer(document(1, 2, 3).body, cut_after=9, is_chunked=True), "its answer was cut off"),
    "cut JSON": (Answer(document(1, 2, 3).body[:-9]), "its answer was cut off"),
    "cut to nothing": (Answer(), "its answer is empty"),
    "cut to blanks": (Answer(b" \r\n"), "its answer is empty"),
    "no end of it": (
        Answer(document(1, 2, 3).body[:-9], headers={"Content-Length": None}, closes=True),
        "its answer was cut off",
    ),
    "no gzip": (Answer(b"{no gzip", headers={"Content-Encoding": "gzip"}), "its answer cannot be unpacked"),
}
SHORT = {"timeout_seconds": 0.1}


def on_page(number: int, answers: Iterator[Answer]) -> Callable[[Asked], Answer]:
    """A server that answers a page with these, and afterwards as it should."""

    def script(asked: Asked) -> Answer:
        return next(answers, WHOLE(asked)) if asked.query["page"] == str(number) else WHOLE(asked)

    return script


def error_of(script: Callable[[Asked], Answer], **more: Any) -> tuple[ApiError, Scripted]:
    with scripted(script) as server:
        with pytest.raises(ApiError) as caught:
            get(server.url, BY_PAGE, **more)
        return caught.value, server


def said(error: ApiError) -> str:
    """What an error says behind the address."""
    return str(error).partition(" of 2025-07-01, ")[2]


@pytest.mark.parametrize("fault", list(PASSING))
def test_what_passes_by_itself_is_waited_for(fault: str) -> None:
    answer, _ = PASSING[fault]
    with scripted(on_page(3, iter([answer, answer]))) as server:
        got = get(server.url, BY_PAGE, SHORT)
    assert (got.pages, got.records, ids(got.read())) == (5, 250, list(range(250)))
    assert got.body == b"".join(WHOLE(each).body for each in server.asked if server.asked.index(each) not in (2, 3))
    assert got.waited == [1, 2]
    assert server.pages == ["1", "2", "3", "3", "3", "4", "5"], "no other page is asked for again"
    assert got.turns == 7


@pytest.mark.parametrize("fault", [each for each in PASSING if each != "hangs"])
def test_what_does_not_pass_is_an_error_after_five_times(fault: str) -> None:
    answer, problem = PASSING[fault]
    waits = Waits()
    error, server = error_of(on_page(3, itertools.repeat(answer)), api=SHORT, clock=waits)
    assert str(error) == (
        f"API shop of retail, GET {server.url}/sales of 2025-07-01, page 3: {problem}, 5 times: {LATER}."
    )
    assert error.transient
    assert server.pages == ["1", "2", "3", "3", "3", "3", "3"]
    assert waits.waited == [1, 2, 4, 8]


def test_a_server_that_does_not_answer_in_time_is_an_error() -> None:
    error, server = error_of(lambda _asked: Answer(hangs=True), api={"timeout_seconds": 0.05})
    assert said(error) == f"page 1: no byte of its answer came for 0.05 s (timeout_seconds), 5 times: {LATER}."
    assert len(server.asked) == 5


def test_each_page_has_its_own_attempts() -> None:
    failing = itertools.cycle([True, True, True, True, False])
    with scripted(lambda asked: Answer(status=500) if next(failing) else WHOLE(asked)) as server:
        got = get(server.url, BY_PAGE)
    assert (got.records, len(server.asked), got.waited) == (250, 25, [1, 2, 4, 8] * 5)


@pytest.mark.parametrize(
    ("status", "headers", "waited"),
    [
        (429, {"Retry-After": "7"}, [7, 7]),
        (503, {"Retry-After": "7"}, [7, 7]),
        (429, {"Retry-After": "2.5"}, [2.5, 2.5]),
        (
            429,
            {"Retry-After": format_datetime(ASKED_AT + timedelta(seconds=30), usegmt=True)},
            [30, 2],
        ),  # then the date is over
        # By the clock of the server, which is 50 seconds behind.
        (
            429,
            {
                "Retry-After": format_datetime(ASKED_AT + timedelta(seconds=30), usegmt=True),
                "Date": format_datetime(ASKED_AT - timedelta(seconds=50), usegmt=True),
            },
            [80, 80],
        ),
        (429, {"Retry-After": "0"}, [1, 2]),
        (503, {"Retry-After": "0"}, [1, 2]),
        (429, {"Retry-After": format_datetime(ASKED_AT - timedelta(days=1))}, [1, 2]),
        (429, {}, [1, 2]),
        (429, {"Retry-After": "soon"}, [1, 2]),
        (429, {"Retry-After": "-5"}, [1, 2]),
        (429, {"Retry-After": "Mon, 99999999999999999999 Jan 2025 00:00:00 GMT"}, [1, 2]),
        (429, {"Retry-After": "²"}, [1, 2]),
    ],
)
def test_a_server_says_how_long_to_wait(status: int, headers: dict[str, str], waited: list[float]) -> None:
    answer = Answer(b"slowly", status=status, headers=headers)
    with scripted(on_page(2, iter([answer, answer]))) as server:
        got = get(server.url, BY_PAGE)
    assert (got.records, got.waited, got.turns) == (250, waited, 7)
    assert got.retry_after == [each for each in waited if each > 2], "the turns of others are told"


def test_a_server_with_no_turn_left_is_waited_for_until_the_deadline() -> None:
    """These are no failed attempts, and the pauses grow to a minute."""
    waits = Waits()
    error, server = error_of(on_page(2, itertools.repeat(Answer(status=429))), clock=waits)
    assert waits.waited == [1, 2, 4, 8, 16, 32, *[60] * 13]
    assert said(error) == (
        "page 2: not all came within 15 minutes (deadline_minutes; it answered status 429, to come back in 60 s): "
        f"{LATER}, or set more minutes."
    )
    assert error.transient
    assert len(server.asked) == 21


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    waits = Waits()
    answer = Answer(status=503, headers={"Retry-After": "86400"})
    told: list[float] = []
    error, server = error_of(on_page(1, itertools.repeat(answer)), clock=waits, on_retry_after=told.append)
    assert told == [900], "nor do others wait so long"
    assert said(error) == (
        "page 1: not all came within 15 minutes (deadline_minutes; it answered status 503, to come back in 86,400 s): "
        f"{LATER}, or set more minutes."
    )
    assert (waits.waited, len(server.asked)) == ([], 1)


def test_long_waits_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    answers = [Answer(status=429, headers={"Retry-After": seconds}) for seconds in ("9", "10")]
    with scripted(on_page(2, iter(answers))) as server:
        get(server.url, BY_PAGE)
    name = f"API shop of retail, GET {server.url}/sales of 2025-07-01, page 2"
    assert [each.getMessage() for each in caplog.records] == [f"{name}: it answered status 429, to come back in 10 s"]


@pytest.mark.parametrize("how", ["body", "chunks", "headers"])
def test_a_server_that_sends_a_byte_now_and_then_is_stopped_at_the_deadline(how: str) -> None:
    answer = Answer(WHOLE(Asked(1, "GET", "/", {"page": "1"}, {}, b"")).body, drips="body", is_chunked=how == "chunks")
    answer = Answer(drips="headers") if how == "headers" else answer
    error, server = error_of(lambda _asked: answer, api={"deadline_minutes": 0.2 / 60})
    assert said(error) == (
        "page 1: not all came within 0.00333333 minutes (deadline_minutes; its answer had not ended): try again later, "
        "or ask those who run it, or set more minutes."
    )
    assert error.transient
    assert len(server.asked) == 1


def test_a_turn_that_comes_too_late_is_not_used() -> None:
    waits = Waits()
    with scripted(WHOLE) as server, pytest.raises(ApiError) as caught:
        get(server.url, BY_PAGE, clock=waits, take_turn=lambda: waits.wait(400))
    assert said(caught.value).startswith("page 3: not all came within 15 minutes (deadline_minutes; no answer came)")
    assert server.pages == ["1", "2"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            Answer(b'{"error": "unknown\\nday"}', status=400),
            'it does not accept the request (status 400: {"error": "unknown\\nday"}): correct call, or apis.shop of '
            "pipeline.yaml",
        ),
        (
            Answer(status=404),
            "it does not accept the request (status 404): correct call, or apis.shop of pipeline.yaml",
        ),
        (
            Answer(b"a \x1b[31m red\n page " + b"x" * 9_000, status=422),
            "it does not accept the request (status 422: a \\x1b[31m red page "
            + "x" * 176
            + "… (cut)): correct call, or apis.shop of pipeline.yaml",
        ),
        (
            Answer(status=401),
            "it refuses us (status 401): look at the secrets (it has none), and at our rights",
        ),
        (
            Answer(status=403),
            "it refuses us (status 403): look at the secrets (it has none), and at our rights",
        ),
        (
            Answer(status=204, headers={"Content-Length": None}),
            "it answered status 204, and only 200 has records: ask for something else in call",
        ),
        (
            Answer(b"[]", status=206),
            "it answered status 206: [], and only 200 has records: ask for something else in call",
        ),
        *(
            (
                Answer(status=status, headers={"Location": "http://127.0.0.1:9/other"}),
                f"it sends us to another address (status {status}), which is not asked, since our secrets would go "
                "there: write the right one as url",
            )
            for status in (301, 302, 303, 307, 308)
        ),
    ],
)
def test_what_does_not_pass_by_itself_is_an_error_at_once(answer: Answer, problem: str) -> None:
    waits = Waits()
    error, server = error_of(on_page(3, itertools.repeat(answer)), clock=waits)
    assert said(error) == f"page 3: {problem}."
    assert not error.transient
    assert (server.pages, waits.waited) == (["1", "2", "3"], [])


def test_a_redirect_within_the_server_is_not_followed_either() -> None:
    error, server = error_of(lambda _asked: Answer(status=307, headers={"Location": "/elsewhere?page=1"}))
    assert "it sends us to another address (status 307)" in str(error)
    assert [each.path for each in server.asked] == ["/sales"]


def test_nobody_listens() -> None:
    with scripted(WHOLE) as server:
        url = server.url
    waits = Waits()
    with pytest.raises(ApiError) as caught:
        get(url, BY_PAGE, clock=waits)
    assert said(caught.value) == f"page 1: nobody listens there, 5 times: {LATER}."
    assert waits.waited == [1, 2, 4, 8]


def test_the_name_of_a_host_is_not_known() -> None:
    with pytest.raises(ApiError) as caught:
        get("http://no-such-host.invalid", BY_PAGE)
    assert said(caught.value) == f"page 1: the name of its host is not known here, 5 times: {LATER}."
