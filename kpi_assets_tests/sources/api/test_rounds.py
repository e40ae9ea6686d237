"""All pages of a load_date come whole, or there is an error and nothing: how pages follow, and what proves them."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kpi_assets.sources.api import rounds
from kpi_assets.sources.api.fetch import ApiError
from kpi_assets_tests.sources.api.scripted import ASKED_AT, Answer, Asked, Waits, document, get, packed, scripted

BY_PAGE: dict[str, Any] = {
    "pages": {"by": "page", "parameter": "page", "size": {"limit": 50}},
    "total": "meta.total",
}
NO_TOTAL = {"pages": BY_PAGE["pages"]}
BY_CURSOR: dict[str, Any] = {
    "pages": {"by": "cursor", "parameter": "after", "size": {"limit": 50}, "following": "meta.next"}
}
Script = Callable[[Asked], Answer]


def rows(first: int, last: int) -> list[dict[str, Any]]:
    """Records whose numbers are in this range."""
    return [{"id": number, "name": f"Größe {number}", "price": 0.10} for number in range(first, last)]


def paged(count: int, size: int = 50, total: int | None = None) -> Script:
    """A server that has so many records, by page and limit."""

    def script(asked: Asked) -> Answer:
        start = (int(asked.query["page"]) - 1) * size
        return document(*rows(start, min(start + size, count)), meta={"total": count if total is None else total})

    return script


def ids(records: list[dict[str, Any]]) -> list[int]:
    return [int(each["id"]) for each in records]


def refused(script: Script, call: dict[str, Any] = BY_PAGE, records: str | None = "data") -> tuple[str, list[Asked]]:
    """The error of a fetch, from page 2 on, and what was asked."""
    with scripted(script) as server:
        with pytest.raises(ApiError) as caught:
            get(server.url, call, records=records)
        return str(caught.value).partition("2025-07-01")[2].removeprefix(", ").removeprefix(": "), server.asked


def test_all_pages_are_kept_as_they_came() -> None:
    with scripted(paged(250)) as server:
        got = get(server.url, BY_PAGE)
    assert (got.pages, got.records, got.total, got.turns, got.waited) == (5, 250, 250, 5, [])
    assert ids(got.read()) == list(range(250))
    assert got.body == b"".join(paged(250)(each).body for each in server.asked)
    assert got.on_page == [(50, 250), (100, 250), (150, 250), (200, 250), (250, 250)]
    assert [each.query for each in server.asked] == [{"limit": "50", "page": str(page)} for page in range(1, 6)]
    assert server.connections == 1, "the connection is kept"
    assert got.asked_at == ASKED_AT


def test_packed_pages_are_unpacked() -> None:
    with scripted(lambda asked: packed(paged(120)(asked))) as server:
        got = get(server.url, BY_PAGE)
    assert (got.pages, ids(got.read())) == (3, list(range(120)))
    assert got.body == b"".join(paged(120)(each).body for each in server.asked)
    assert {each.headers["accept-encoding"] for each in server.asked} == {"gzip"}


@pytest.mark.parametrize("total", ["0", "0.0", '"0"'])
def test_no_records_are_an_answer_too(total: str) -> None:
    body = f'{{"data": [], "meta": {{"total": {total}}}}}'.encode()
    with scripted(lambda _asked: Answer(body)) as server:
        got = get(server.url, BY_PAGE)
    assert (got.pages, got.records, got.total, got.body) == (1, 0, 0, body)


def test_pages_by_offset_in_the_body_of_a_post() -> None:
    def script(asked: Asked) -> Answer:
        start = asked.fields["offset"]
        return document(*rows(start, min(start + 40, 100)), total=100)

    call = {
        "method": "POST",
        "query": {"kind": "sales"},
        "body": {"from": "{load_date}", "till": "{next_date}", "exact": True},
        "pages": {"by": "offset", "parameter": "offset", "size": {"limit": 40}},
        "total": "total",
    }
    with scripted(script) as server:
        got = get(server.url, call, {"body": {"app": "kpi"}, "query": {"v": 2}})
    assert (got.pages, ids(got.read())) == (3, list(range(100)))
    assert [each.fields for each in server.asked] == [
        {"app": "kpi", "from": "2025-07-01", "till": "2025-07-02", "exact": True, "limit": 40, "offset": start}
        for start in (0, 40, 80)
    ]
    assert {tuple(each.query.items()) for each in server.asked} == {(("v", "2"), ("kind", "sales"))}
    assert {each.headers["content-type"] for each in server.asked} == {"application/json"}


@pytest.mark.parametrize("has_total", [True, False])
@pytest.mark.parametrize("ends", [None, "", "absent"])
def test_pages_by_cursor(has_total: bool, ends: str | None) -> None:
    def script(asked: Asked) -> Answer:
        start = int(asked.query.get("after", "c0").removeprefix("c"))
        last = min(start + 50, 130)
        meta = {"total": 130, "next": f"c{last}" if last < 130 else ends}
        if meta["next"] == "absent":
            del meta["next"]
        return document(*rows(start, last), meta=meta)

    with scripted(script) as server:
        got = get(server.url, {**BY_CURSOR, **({"total": "meta.total"} if has_total else {})})
    assert (got.pages, ids(got.read()), got.total) == (3, list(range(130)), 130 if has_total else None)
    assert [each.query for each in server.asked] == [
        {"limit": "50"},
        {"limit": "50", "after": "c50"},
        {"limit": "50", "after": "c100"},
    ]


@pytest.mark.parametrize("following", ["12345678901234567", "0.10", "-3"])
def test_a_cursor_that_is_a_number_keeps_its_digits(following: str) -> None:
    def script(asked: Asked) -> Answer:
        if "after" in asked.fields:
            return document({"id": 2}, meta={"next": None})
        return Answer(f'{{"data": [{{"id": 1}}], "meta": {{"next": {following}}}}}'.encode())

    with scripted(script) as server:
        got = get(server.url, {"method": "POST", **BY_CURSOR})
    assert ids(got.read()) == [1, 2]
    assert str(server.asked[1].fields["after"]) == following


@pytest.mark.parametrize("following", ["true", "[1]", '{"a": 1}'])
def test_a_cursor_that_is_no_text_and_no_number_is_refused(following: str) -> None:
    body = f'{{"data": [{{"id": 1}}], "meta": {{"next": {following}}}}}'.encode()
    said, asked = refused(lambda _asked: Answer(body), BY_CURSOR)
    assert said == ("page 1: what asks for the next page is neither a text nor a number: correct following of pages.")
    assert len(asked) == 1


def test_a_cursor_leads_over_an_empty_page() -> None:
    """Some servers filter behind their cursors: a page without records is not the last one."""

    def script(asked: Asked) -> Answer:
        number = int(asked.query.get("after", "0"))
        return document(
            *([] if number == 1 else rows(number, number + 1)), meta={"next": str(number + 1)[: number < 2]}
        )

    with scripted(script) as server:
        got = get(server.url, BY_CURSOR)
    assert (got.pages, ids(got.read())) == (3, [0, 2])


@pytest.mark.parametrize("is_same", [True, False])
def test_a_cursor_that_never_ends_is_ended_by_an_empty_page(is_same: bool) -> None:
    """It is the last one if its cursor asks for itself, or if the total is reached."""

    def script(asked: Asked) -> Answer:
        start = int(asked.query.get("after", "0"))
        following = start + (50 if start < 100 else 0 if is_same else 1)
        return document(*rows(start, min(start + 50, 100)), meta={"next": str(following), "total": 100})

    with scripted(script) as server:
        got = get(server.url, {**BY_CURSOR, **({} if is_same else {"total": "meta.total"})})
    assert (got.pages, ids(got.read())) == (3, list(range(100)))


def test_without_a_total_a_short_page_is_not_the_last_one() -> None:
    sizes = [50, 20, 50, 0]

    def script(asked: Asked) -> Answer:
        page = int(asked.query["page"])
        start = sum(sizes[: page - 1])
        return document(*rows(start, start + sizes[page - 1]))

    with scripted(script) as server:
        got = get(server.url, NO_TOTAL)
    assert (got.pages, got.records, got.total, ids(got.read())) == (4, 120, None, list(range(120)))
    assert got.on_page[-1] == (120, None)


def test_arrays_are_pages_too() -> None:
    def script(asked: Asked) -> Answer:
        start = int(asked.query["offset"])
        return Answer(document(*rows(start, min(start + 30, 70))).body.removeprefix(b'{"data": ').removesuffix(b"}"))

    with scripted(script) as server:
        got = get(server.url, {"pages": {"by": "offset", "parameter": "offset"}}, records=None)
    assert (got.pages, got.records, ids(got.read(None))) == (4, 70, list(range(70)))


def test_one_answer_is_all_without_the_word_pages() -> None:
    with scripted(lambda _asked: document(*rows(0, 7), total=7)) as server:
        got = get(server.url, {"query": {"day": "{load_date:%d.%m.%Y}", "all": True}, "total": "total"})
    assert (got.pages, got.records, got.total) == (1, 7, 7)
    assert [each.query for each in server.asked] == [{"day": "01.07.2025", "all": "true"}]
    said, _ = refused(lambda _asked: document(*rows(0, 7), total=9), {"total": "total"})
    assert said.startswith("7 records came, and it says 9 (further pages are asked for with the word pages), 3 times")


def again(script: Script, fault: Callable[[Asked, Answer], Answer], rounds_with_fault: int) -> Script:
    """A server with a fault in its first rounds over the pages."""
    begun = 0

    def faulty(asked: Asked) -> Answer:
        nonlocal begun
        begun += asked.query["page"] == "1"
        return fault(asked, script(asked)) if begun <= rounds_with_fault else script(asked)

    return faulty


def _booked(asked: Asked, answer: Answer) -> Answer:
    """A record was added between pages 2 and 3."""
    return answer if int(asked.query["page"]) < 3 else paged(251)(asked)


def _shrinks(asked: Asked, answer: Answer) -> Answer:
    page = int(asked.query["page"])
    return document(*rows(page * 50 - 50, page * 50 - 5), meta={"total": 250}) if page == 3 else answer


def _loops(asked: Asked, answer: Answer) -> Answer:
    return paged(250)(Asked(1, "GET", "", {"page": "1"}, {}, b"")) if asked.query["page"] > "2" else answer


def _is_missing(asked: Asked, answer: Answer) -> Answer:
    return document(meta={"total": 250}) if asked.query["page"] == "4" else answer


def _overlaps(asked: Asked, answer: Answer) -> Answer:
    """A record was added at the beginning, so that the last one of a page comes again."""
    page = int(asked.query["page"])
    return document(*rows(page * 50 - 51, page * 50 + 5), meta={"total": 250}) if page == 5 else answer


FAULTS = {
    _booked: "page 3 says 251 records, and those before it 250",
    _shrinks: "page 6 has no records, and 245 of 250 came",
    _loops: "page 3 has the same records as one before it",
    _is_missing: "page 4 has no records, and 150 of 250 came",
    _overlaps: "256 records came until page 5, and it says 250",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_torn_pages_are_asked_for_again_from_the_first_one(fault: Callable[[Asked, Answer], Answer]) -> None:
    waits = Waits()
    with scripted(again(paged(250), fault, 2)) as server:
        got = get(server.url, BY_PAGE, clock=waits)
    assert (got.pages, got.records, got.total, ids(got.read())) == (5, 250, 250, list(range(250)))
    assert server.pages.count("1") == 3
    assert server.pages[-5:] == ["1", "2", "3", "4", "5"]
    assert waits.waited == []


@pytest.mark.parametrize(("fault", "problem"), FAULTS.items())
def test_pages_that_stay_torn_are_an_error(fault: Callable[[Asked, Answer], Answer], problem: str) -> None:
    with scripted(again(paged(250), fault, 99)) as server, pytest.raises(ApiError) as caught:
        get(server.url, BY_PAGE)
    assert str(caught.value) == (
        f"API shop of retail, GET {server.url}/sales of 2025-07-01: {problem}, 3 times from the first page on, so its "
        "records are not whole: try again later, or ask those who run it."
    )
    assert caught.value.transient
    assert server.pages.count("1") == 3


@pytest.mark.parametrize("size", [1, 3, 40_000])  # of a record: the last makes a page of several blocks
def test_a_page_that_comes_twice_is_an_error_although_something_else_in_it_differs(size: int) -> None:
    """A server that does not know the parameter of the page, and answers with a time of day: the total is reached."""
    page = [{"id": number, "name": "ü" * size} for number in range(60)]
    said, asked = refused(
        lambda asked: Answer(
            json.dumps({"at": "ü" * asked.number, "data": page, "total": 120}, ensure_ascii=False).encode()
        ),
        {**BY_PAGE, "total": "total"},
    )
    assert said.startswith("page 2 has the same records as one before it, 3 times")
    assert [each.query["page"] for each in asked] == ["1", "2"] * 3


@pytest.mark.parametrize("size", [1, 40_000])
def test_pages_whose_records_differ_anywhere_are_two(size: int) -> None:
    def script(asked: Asked) -> Answer:
        page = [{"name": "ü" * size, "id": number} for number in range(60)]
        page[-1]["id"] = int(asked.query["page"])
        return Answer(json.dumps({"data": page, "total": 120}, ensure_ascii=False).encode())

    with scripted(script) as server:
        assert get(server.url, {**BY_PAGE, "total": "total"}).records == 120


@pytest.mark.parametrize(
    ("total", "problem"),
    [
        (249, "250 records came until page 5, and it says 249"),
        (251, "page 6 has no records, and 250 of 251 came"),
        (0, "50 records came until page 1, and it says 0"),
    ],
)
def test_a_wrong_total_is_an_error(total: int, problem: str) -> None:
    said, asked = refused(paged(250, total=total))
    assert said.startswith(f"{problem}, 3 times")
    assert [each.query["page"] for each in asked].count("1") == 3


@pytest.mark.parametrize(
    ("around", "place"),
    [
        ('"meta": {"total": null}', "meta.total"),
        ('"meta": {"total": "many"}', "meta.total"),
        ('"meta": {"total": -1}', "meta.total"),
        ('"meta": {"total": 1.5}', "meta.total"),
        ('"meta": {"total": true}', "meta.total"),
        ('"meta": {"total": [1]}', "meta.total"),
        ('"meta": 1', "meta.total"),
        ('"total": 1', "meta.total"),
    ],
)
def test_a_page_without_its_total_is_an_error(around: str, place: str) -> None:
    """Also if it is only the last one: the schema may change between two pages."""

    def script(asked: Asked) -> Answer:
        last = Answer(f'{{"data": [{{"id": 1}}], {around}}}'.encode())
        return last if asked.query["page"] == "3" else paged(250)(asked)

    said, asked = refused(script)
    assert said == f"page 3: its answer has no number of records at {place!r}: correct total of call."
    assert len(asked) == 3


@pytest.mark.parametrize(
    "after",
    [
        {"after": "b"},  # the loop is of two pages
        {"after": "a"},
    ],
)
def test_a_cursor_that_leads_back_is_an_error(after: dict[str, str]) -> None:
    """Each page is another one, as with a time of day in it, but the cursors lead in a circle."""

    def script(asked: Asked) -> Answer:
        following = {None: "a", "a": "b", "b": after["after"]}[asked.query.get("after")]
        return document({"id": asked.number}, meta={"next": following})

    said, asked = refused(script, BY_CURSOR)
    assert said.startswith("after page 3 it names a page that came before, 3 times")
    assert len(asked) == 9


def test_a_cursor_that_ends_too_early_is_an_error() -> None:
    def script(asked: Asked) -> Answer:
        return document(*rows(0, 50), meta={"total": 80, "next": None})

    said, _ = refused(script, {**BY_CURSOR, "total": "meta.total"})
    assert said.startswith("50 records came, and it says 80, 3 times")


def test_a_page_in_another_form_is_an_error() -> None:
    """The list has another name from page 2 on: what came before is not landed."""

    def script(asked: Asked) -> Answer:
        answer = paged(250)(asked)
        return answer if asked.query["page"] == "1" else Answer(answer.body.replace(b'"data"', b'"items"'))

    said, asked = refused(script)
    assert said == (
        "page 2: its answer cannot be read (its document at byte 0 has no list 'data'): look at what it answers, and "
        "correct records or call."
    )
    assert len(asked) == 2


def test_pages_without_an_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MOST_PAGES", 20)
    said, asked = refused(lambda asked: document({"id": asked.number}), NO_TOTAL)
    assert said == "there are more than 20 pages: ask for larger ones with the word size of pages."
    assert len(asked) == 20


def test_as_many_pages_as_are_allowed_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MOST_PAGES", 5)
    with scripted(paged(250)) as server:
        assert get(server.url, BY_PAGE).records == 250


def test_a_round_begins_without_the_bytes_of_the_one_before() -> None:
    """The instant of asking is that of the round that was whole."""

    def script(asked: Asked) -> Answer:
        if asked.number == 1:
            return Answer(status=429, headers={"Retry-After": "60"})
        return paged(100, total=101 if asked.number < 5 else 100)(asked)

    with scripted(script) as server:
        got = get(server.url, BY_PAGE)
    assert (got.pages, ids(got.read())) == (2, list(range(100)))
    assert got.on_page == [(50, 101), (100, 101), (100, 101), (50, 100), (100, 100)]
    assert got.asked_at == ASKED_AT + timedelta(seconds=60)


def shifting(changes: dict[int, tuple[int, int]]) -> Script:
    """A server of ten records by page of five, which before some requests loses one record and gets another."""
    there, requests = list(range(10)), iter(range(100))

    def script(asked: Asked) -> Answer:
        gone, came = changes.get(next(requests), (None, None))
        if gone is not None:
            there.remove(gone)
            there.append(came)
        start = (int(asked.query["page"]) - 1) * 5
        return document(*({"id": number} for number in there[start : start + 5]), meta={"total": len(there)})

    return script


TWICE: dict[str, Any] = {
    "pages": {"by": "page", "parameter": "page", "size": {"limit": 5}, "twice": True},
    "total": "meta.total",
}


def test_a_total_does_not_show_that_one_record_went_and_another_came() -> None:
    once = {**TWICE, "pages": {**TWICE["pages"], "twice": False}}
    with scripted(shifting({1: (2, 99)})) as server:
        assert ids(get(server.url, once).read()) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 99], "5 is lost, and 2 is gone"


def test_pages_that_are_asked_for_twice_show_it() -> None:
    with scripted(shifting({1: (2, 99)})) as server:
        got = get(server.url, TWICE)
    assert ids(got.read()) == [0, 1, 3, 4, 5, 6, 7, 8, 9, 99]
    assert (len(server.asked), got.pages, got.records) == (6, 2, 10), "the second and the third round were alike"


def test_pages_that_are_alike_twice_are_asked_for_no_third_time() -> None:
    with scripted(shifting({})) as server:
        assert ids(get(server.url, TWICE).read()) == list(range(10))
    assert len(server.asked) == 4


def test_pages_that_are_never_alike_are_refused() -> None:
    changes = {2 * number + 1: (number, 100 + number) for number in range(8)}
    said, asked = refused(shifting(changes), TWICE)
    assert said.startswith("its records are others when they are asked for again, 3 times from the first page on")
    assert len(asked) == 8
