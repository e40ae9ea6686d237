"""A page is read by the reader of the load: what it cannot read is an error, and what it counts is what is landed."""

import json
from typing import Any

import pytest

from kpi_assets.sources.api.fetch import ApiError
from kpi_assets.sources.formats.json.reader import JsonReader
from kpi_assets_tests.sources.api.scripted import Answer, get, scripted

LOOK = "look at what it answers, and correct records or call"


def got(answer: Answer, records: str | None = "data") -> tuple[int, bytes]:
    with scripted(lambda _asked: answer) as server:
        found = get(server.url, {}, records=records)
    assert len(server.asked) == 1
    return found.records, found.body


def problem(answer: Answer, records: str | None = "data", call: dict[str, Any] = {}) -> str:  # noqa: B006
    with scripted(lambda _asked: answer) as server:
        with pytest.raises(ApiError) as caught:
            get(server.url, call, records=records)
        assert len(server.asked) == 1
    return str(caught.value).partition(" of 2025-07-01: ")[2]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('{"data": null, "total": 0}', "its document at byte 0 has no list 'data'"),
        ('{"error": "come later"}', "its document at byte 0 has no list 'data'"),
        ("{}", "its document at byte 0 has no list 'data'"),
        ('{"data": {"1": {}}}', "its document at byte 0 has no list 'data'"),
        ('{"data": "[]"}', "its document at byte 0 has no list 'data'"),
        ('{"data": [], "data": []}', "its document at byte 0 is no JSON at byte 21 (its field 'data' is there twice)"),
        ('{"data": [{"a": 1} {"a": 2}]}', "no comma follows its record 1, but '{'"),
        ('{"data": [{"a": 1},]}', "a comma follows its last record 1"),
        ('{"data": [] "total": 1}', "its document at byte 0 is no JSON at byte 12 (it does not end)"),
        ('{"data": [], "total": 1 ............................. }', None),
    ],
)
def test_a_page_that_cannot_be_read_is_an_error(body: str, what: str | None) -> None:
    said = problem(Answer(body.encode()))
    assert said.startswith(f"its answer cannot be read ({what or 'its document at byte 0 is no JSON at byte'}")
    assert said.endswith(f"): {LOOK}.")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("<html><body>\n <h1>We are at work</h1>", "<html><body> <h1>We are at work</h1>"),
        ("[]", "[]"),
        ('"data"', '"data"'),
        ("OK", "OK"),
        ("\x1b[2J" + "x" * 5_000, "\\x1b[2J" + "x" * 189 + "… (cut)"),
    ],
)
def test_what_is_no_document_is_quoted(body: str, shown: str) -> None:
    assert problem(Answer(body.encode())) == f"its answer is no document with the list 'data' ({shown}): {LOOK}."


@pytest.mark.parametrize("body", ['{"error": "come later"}', '{"id": 1}\n{"id": 2}'])
def test_without_records_an_answer_is_an_array(body: str) -> None:
    """An error would be a record otherwise."""
    shown = body.replace("\n", " ")
    assert problem(Answer(body.encode()), None) == (
        f"its answer is no array of records ({shown}): name the field of its list in records."
    )


@pytest.mark.parametrize("records", [None, "data"])
def test_several_documents_are_an_error(records: str | None) -> None:
    """The total of one of them would be proven alone."""
    body = b"[]" if records is None else b'{"data": []}'
    assert problem(Answer(body * 2), records) == f"its answer is several documents, one after another: {LOOK}."


@pytest.mark.parametrize(
    ("record", "count"),
    [
        ('{"a": 1}', 3),
        ('{"a": NaN}', 3),
        ('{"a": 1, "a": 2}', 3),
        ('{"a": "\\u0000"}', 3),
        ('"no object"', 3),
        ("null", 3),
        ('{"data": [{"a": 1}, {"a": 2}]}', 3),
        ("[" * 600 + "]" * 600, 3),
    ],
)
@pytest.mark.parametrize("field", [None, "data"])
def test_records_that_the_load_refuses_are_counted_as_it_counts_them(
    record: str, count: int, field: str | None
) -> None:
    """They are landed: the rules of their table say what becomes of them."""
    body = f'[{{"a": 0}}, {record}, {{"a": 2}}]'
    body = body if field is None else f'{{"x": {{"data": [1]}}, "data": {body}, "total": 3}}'
    assert got(Answer(body.encode()), field) == (count, body.encode())
    assert sum(1 for _ in JsonReader([body.encode() * 2], field)) == 2 * count


def test_a_byte_that_is_not_utf_8_is_a_record_of_the_load() -> None:
    body = b'{"data": [{"a": "\xe9"}, {"a": 1}]}'
    assert got(Answer(body)) == (2, body)
    assert [each.problem is None for each in JsonReader([body], "data")] == [False, True]


def test_a_mark_of_utf_8_is_taken_away() -> None:
    """Within an object, behind another page, it could not be read."""
    body = '{"data": [{"a": "é"}]}'.encode()
    assert got(Answer(b"\xef\xbb\xbf" + body)) == (1, body)
    assert got(Answer(b"\xef\xbb\xbf[]"), None) == (0, b"[]")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be", "utf-16-le"])
def test_another_encoding_is_an_error(encoding: str) -> None:
    said = problem(Answer('{"data": [{"a": "é"}]}'.encode(encoding)))
    if "-be" in encoding or "-le" in encoding:  # without a mark
        assert said.startswith("its answer ")
    else:
        assert said == "its answer is UTF-16 or UTF-32: have it answer in UTF-8, as JSON is sent."


@pytest.mark.parametrize("kind", ["application/json; charset=ISO-8859-1", 'text/html;x=1 ; Charset="ISO-8859-1"'])
def test_another_charset_is_an_error_unless_all_letters_are_ascii(kind: str) -> None:
    body = '{"data": [{"a": "é"}]}'.encode("latin-1")
    assert problem(Answer(body, headers={"Content-Type": kind})) == (
        "its answer is in 'ISO-8859-1': have it answer in UTF-8, as JSON is sent."
    )
    assert got(Answer(b'{"data": [{"a": "e"}]}', headers={"Content-Type": kind}))[0] == 1


@pytest.mark.parametrize("kind", ["application/json", "text/plain; charset=utf-8", 'a/b; charset="UTF8"', ""])
def test_utf_8_is_read_whatever_kind_it_is(kind: str) -> None:
    body = '{"data": [{"a": "é"}]}'.encode()
    assert got(Answer(body, headers={"Content-Type": kind})) == (1, body)


def test_what_is_packed_in_an_unknown_way_is_an_error() -> None:
    assert problem(Answer(b"\x8b\x01", headers={"Content-Encoding": "br"})) == (
        "its answer is packed as 'br', which was not asked for: have it answer plainly."
    )


def test_a_page_in_many_pieces_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpi_assets.sources.api.spool.BLOCK", 7)
    records = [{"id": number, "name": "Größe" * 3} for number in range(500)]
    body = json.dumps({"total": 500, "data": records, "more": {"total": 1}}, ensure_ascii=False).encode()
    with scripted(lambda _asked: Answer(b"\xef\xbb\xbf" + body)) as server:
        found = get(server.url, {"total": "total"})
    assert (found.records, found.total, found.body) == (500, 500, body)


def test_the_last_total_and_that_of_the_document_count() -> None:
    """A field of a record is none of the document."""
    body = b'{"data": [{"meta": {"total": 9}}], "meta": {"total": 1, "data": []}}'
    with scripted(lambda _asked: Answer(body)) as server:
        assert get(server.url, {"total": "meta.total"}).total == 1
