"""Records are found in every shape of JSON, wherever blocks end, letter by letter; what is no JSON is named."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kpi_assets.sources.formats.base import UnreadableError
from kpi_assets.sources.formats.json import reader
from kpi_assets.sources.formats.json.reader import JsonReader, JsonRecord
from kpi_assets.sources.formats.json.value import NO_OBJECT, NO_TEXT, NOT_UTF8, TOO_DEEP, TOO_LONG, spans
from kpi_assets_tests.examples import examples

A, B = '{"id": 1, "price": 1.50}', '{"price":0.10,"id":2}'
SHAPES = {
    "array": f"[{A},{B}]",
    "array with blanks": f"\n[ {A}\n,\r\n\t{B} ]\n",
    "lines": f"{A}\n{B}\n",
    "lines with CRLF": f"{A}\r\n{B}\r\n",
    "lines without the last end": f"{A}\n{B}",
    "blank lines": f"\n{A}\n\n \n{B}\n\n",
    "on one line": f"{A}{B}",
    "two arrays": f"[{A}]\n[{B}]",
    "an empty array among them": f"[{A}][]\n{B}",
    "byte order mark": f"\ufeff[{A},{B}]",
}


def read(data: bytes | str, field: str | None = None, size: int = 1 << 20) -> list[JsonRecord]:
    """Read an object in blocks of a size."""
    body = data.encode() if isinstance(data, str) else data
    return list(JsonReader((body[at : at + size] for at in range(0, len(body), size)), field))


def problems(data: bytes | str) -> list[tuple[int, str, str | None]]:
    """Return (number, text, problem) of each record."""
    return [(record.number, record.text, record.problem) for record in read(data)]


@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES)
def test_the_same_records_are_found_in_every_shape(body: str, size: int) -> None:
    data = body.encode()
    first, second = read(data, size=size)
    assert (first.number, first.text, first.fields, first.problem) == (1, A, {"id": "1", "price": "1.50"}, None)
    assert (second.number, second.text, second.fields) == (2, B, {"price": "0.10", "id": "2"})
    for record in (first, second):
        assert data[record.offset :].startswith(record.text.encode())


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_the_records_of_documents_are_in_the_list_that_is_named(size: int) -> None:
    first = f'{{"total": 2, "x": {{"data": [1]}}, "data": [{A}], "näxt": "ü"}}'
    pages = f'{first}\n{{"data":[],"total":2}}{{"data" : [ {B} ] }}'
    found = read(pages, "data", size)
    assert [(record.number, record.text) for record in found] == [(1, A), (2, B)]
    assert all(pages.encode()[record.offset :].startswith(record.text.encode()) for record in found)
    assert [record.text for record in read(f"[{A}]", "data")] == [A]  # an array needs no name


TWICE = "it is no JSON: its field 'b' is there twice"
CUT_OFF = "its array is not closed after record 1, so it was cut off: land it again from its source"
NO_LIST = "its document at byte 0 has no list 'data': name the field of the list in records"
BROKEN: list[tuple[str, bytes, list[tuple[int, str, str | None]]]] = [
    (
        "no JSON on a line",
        b'{"id": 1}\n{"id": }\n{"id": 3}',
        [
            (1, '{"id": 1}', None),
            (2, '{"id": }', "it is no JSON: a value is missing, at its character 8"),
            (3, '{"id": 3}', None),
        ],
    ),
    (
        "a line cut off",
        b'{"id": 1}\n{"id"',
        [(1, '{"id": 1}', None), (2, '{"id"', "it is no JSON: expecting ':' delimiter, at its character 6")],
    ),
    ("NaN", b'{"id": NaN}\n', [(1, '{"id": NaN}', "it is no JSON: NaN is no number in JSON")]),
    ("-Infinity", b'{"id": -Infinity}\n', [(1, '{"id": -Infinity}', "it is no JSON: -Infinity is no number in JSON")]),
    (
        "a field twice",
        b'{"id": 1, "id": 2}',
        [(1, '{"id": 1, "id": 2}', "it is no JSON: its field 'id' is there twice")],
    ),
    (
        "twice within",
        b'{"a": {"b": 1, "b": 1}}',
        [(1, '{"a": {"b": 1, "b": 1}}', "it is no JSON: its field 'b' is there twice")],
    ),
    ("a number", b"1\n{}", [(1, "1", NO_OBJECT), (2, "{}", None)]),
    ("a text in an array", b'["a", {}]', [(1, '"a"', NO_OBJECT), (2, "{}", None)]),
    ("an array in an array", b"[[1], {}]", [(1, "[1]", NO_OBJECT), (2, "{}", None)]),
    ("null", b"[null]", [(1, "null", NO_OBJECT)]),
    ("NUL", b'{"a": "\\u0000"}\n{}', [(1, '{"a": "\\u0000"}', NO_TEXT), (2, "{}", None)]),
    ("NUL in a name", b'{"\\u0000": 1}', [(1, '{"\\u0000": 1}', NO_TEXT)]),
    ("half a pair", b'{"a": ["\\ud83d"]}', [(1, '{"a": ["\\ud83d"]}', NO_TEXT)]),
    ("a whole pair", b'{"a": "\\ud83d\\ude00"}', [(1, '{"a": "\\ud83d\\ude00"}', None)]),
    *(
        (f"number {number}", b'{"a": [%b]}\n{}' % number.encode(), [(1, f'{{"a": [{number}]}}', far), (2, "{}", None)])
        for number in ("1e131072", "12E131071", "1e-16384", "-1e999999")
        for far in [f"its number {number} is beyond what Postgres can hold"]
    ),
    *(
        (f"number {number}", b'{"a": %b}' % number.encode(), [(1, f'{{"a": {number}}}', None)])
        for number in ("9.99e131071", "1e-16383", "0e200000", "0.00001e131075", "1e5")
    ),
    ("not NUL", b'{"a": "\\\\u0000"}', [(1, '{"a": "\\\\u0000"}', None)]),
    ("no UTF-8", b'{"a": "\xff"}\n{}', [(1, '{"a": "\udcff"}', NOT_UTF8), (2, "{}", None)]),
    (
        "a word",
        b"{}\nok\n{}",
        [(1, "{}", None), (2, "ok", "it is no JSON: a value is missing, at its character 1"), (3, "{}", None)],
    ),
    (
        "in an array: NaN, a field twice, and a line end in a text",
        b'[{"a": NaN}, {"a": 1, "a": 2},\n{"a": "x\n"}, {"a": 4}]',
        [
            (1, '{"a": NaN}', "it is no JSON: NaN is no number in JSON"),
            (2, '{"a": 1, "a": 2}', "it is no JSON: its field 'a' is there twice"),
            (3, '{"a": "x\n"}', "it is no JSON: invalid control character, at its character 9"),
            (4, '{"a": 4}', None),
        ],
    ),
    (
        "on several lines",
        b'{"a":\n NaN}\n{"a":\n 2}',
        [(1, '{"a":\n NaN}', "it is no JSON: NaN is no number in JSON"), (2, '{"a":\n 2}', None)],
    ),
    ("nothing", b"", []),
    ("blanks", b" \n", []),
    ("an empty array", b"[]", []),
]


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
@pytest.mark.parametrize(("body", "found"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_a_broken_record_has_a_problem_and_its_neighbors_none(
    body: bytes, found: list[tuple[int, str, str | None]], size: int
) -> None:
    read_ = [(record.number, record.text, record.problem) for record in read(body, size=size)]
    assert read_ == found


def in_batches(body: bytes, size: int, field: str | None = None) -> list[Any]:
    """Return the fields and texts of the records in batches, up to the first problem or error, and what that is."""
    found: list[Any] = []
    reader_ = JsonReader((body[at : at + size] for at in range(0, len(body), size)), field)
    try:
        for batch in reader_.batches():
            found += zip(batch.fields, batch.texts, strict=True)
            if not batch.is_sound:
                return [*found, "a problem"]
    except UnreadableError as error:
        return [*found, str(error)]
    assert reader_.records == len(found)
    return found


def one_by_one(body: bytes, field: str | None = None) -> list[Any]:
    """Return the same of the records one by one."""
    found: list[Any] = []
    try:
        for record in JsonReader([body], field):
            if record.problem:
                return [*found, "a problem"]
            found.append((record.fields, record.text))
    except UnreadableError as error:
        return [*found, str(error)]
    return found


def is_the_same(batches: list[Any], records: list[Any]) -> bool:
    """Return whether batches tell the same; a batch that is not sound may lack records before the problem."""
    if records[-1:] == ["a problem"]:
        return batches[-1:] == ["a problem"] and batches[:-1] == records[: len(batches) - 1]
    return batches == records


def counted(body: bytes, size: int, field: str | None = None, *, plainly: bool = True) -> tuple[Any, ...]:
    """Return how many records and values are counted, what is around them, and the error if there is one."""
    reader_ = JsonReader((body[at : at + size] for at in range(0, len(body), size)), field, kept={"x", "n"})
    problem = ""
    try:
        if plainly:
            reader_.count()
        else:
            assert sum(1 for _ in reader_) == reader_.records
    except UnreadableError as error:
        problem = str(error)
    return reader_.records, reader_.values, reader_.around, problem


@pytest.mark.parametrize("size", [1, 3, 20, 1 << 20])
@pytest.mark.parametrize("most", [1, 2, 500])
def test_batches_have_the_same_records(size: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BATCH", most)
    deep = '{"a":' * 501 + "1" + "}" * 501
    bodies = [body.encode() for body in SHAPES.values()] + [body for _, body, _ in BROKEN]
    bodies += [f"{A}\n{B}\n{more}\n{A}\n{B}".encode() for more in (deep, '{"a": "\\u0041"}', '{"a": "\\udc00"}', "{}")]
    bodies += [f"[{A},{B}, {more} ,{A}]".encode() for more in (deep, '{"a": "\\u0000"}', "[1]", "{", "{}")]
    bodies += [f"{A}{B}".encode() + b'{"a": "\xff"}' + A.encode(), f'{A}{{"ü": "é"}}{B}'.encode()]
    for body in bodies:
        assert is_the_same(in_batches(body, size), one_by_one(body)), body
        assert counted(body, size) == counted(body, size, plainly=False), body
    pages = f'{{"data": [{A},{B},{A}]}}{{"data": []}}\n{{"x": 1, "data": [{B}]}}'.encode()
    assert in_batches(pages, size, "data") == one_by_one(pages, "data")
    assert len(in_batches(pages, size, "data")) == 4
    assert counted(pages, size, "data") == (4, 3, {"x": "1"}, "")
    twice = f'{{"data": [{A},{B}], "d\\u0061ta": []}}'.encode()
    assert counted(twice, size, "data") == counted(twice, size, "data", plainly=False)


def test_long_records_are_in_short_batches() -> None:
    long = json.dumps({"a": "x" * 300_000})
    sizes = [len(batch.texts) for batch in JsonReader([f"[{','.join([long] * 20)}]".encode()]).batches()]
    assert (max(sizes), sum(sizes)) == (4, 20)


def test_the_shapes_of_batches_are_counted() -> None:
    found = JsonReader([b'[{"a": 1},{"b": 1, "a": 2},\n{"a": 3}]'])
    assert sum(len(batch.texts) for batch in found.batches()) == 3
    assert (found.fields, found.records) == ({"a": 3, "b": 1}, 3)


def test_many_shapes_are_counted_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_SHAPES", 3)
    found = JsonReader(b'{"a": 1, "b%d": 1}\n' % (number % 8) for number in range(40))
    assert sum(1 for _ in found) == 40
    assert found.fields == {"a": 40, **{f"b{number}": 5 for number in range(8)}}
    assert found.fields == {"a": 40, **{f"b{number}": 5 for number in range(8)}}


UNREADABLE = {
    "an array cut off": (
        f"[{A}",
        "its array is not closed after record 1, so it was cut off: land it again from its source",
    ),
    "cut off behind a comma": (
        f"[{A},",
        "its array is not closed after record 1, so it was cut off: land it again from its source",
    ),
    "cut off within": (
        f'[{A},{{"id": ',
        "its record 2, at byte 26, is no JSON (a value is missing, at its character 8), and what follows was not read: "
        "correct it where the file is made",
    ),
    "no comma": (f"[{A} {B}]", "no comma follows its record 1, but '{': correct it where the file is made"),
    "a comma too much": (f"[{A},]", "a comma follows its last record 1: correct it where the file is made"),
}


@pytest.mark.parametrize("size", [1, 9, 1 << 20])
@pytest.mark.parametrize(("body", "problem"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_array_that_cannot_be_read_to_its_end_is_told(body: str, problem: str, size: int) -> None:
    records = iter(JsonReader(body.encode()[at : at + size] for at in range(0, len(body), size)))
    assert next(records).text == A
    with pytest.raises(UnreadableError) as caught:
        list(records)
    assert str(caught.value) == problem


DOCUMENTS = {
    "another name": (
        '{"rows": []}',
        "its document at byte 0 has no list 'data': name the field of the list in records",
    ),
    "no list": ('{"data": null}', NO_LIST),
    "an error of the server": (
        "oops",
        "its document at byte 0 is no JSON at byte 0 (a value is missing, at its character 1): correct it where the "
        "file is made",
    ),
    "a value that is none": (
        '{"total": tow, "data": []}',
        "its document at byte 0 is no JSON at byte 10 (a value is missing, at its character 1): correct it where the "
        "file is made",
    ),
    "a number": ("7", NO_LIST),
    "nothing within": (" { }", NO_LIST.replace("byte 0", "byte 1")),
    "a comma too much": (
        '{"data": [], }',
        "its document at byte 0 is no JSON at byte 13 (a name and a colon are missing): correct it where the file is "
        "made",
    ),
    "no colon": (
        '{"data" []}',
        "its document at byte 0 is no JSON at byte 8 (a name and a colon are missing): correct it where the file is "
        "made",
    ),
    "no name": (
        "{7: []}",
        "its document at byte 0 is no JSON at byte 1 (a name and a colon are missing): correct it where the file is "
        "made",
    ),
    "twice": (
        '{"data": [], "data": []}',
        "its document at byte 0 is no JSON at byte 21 (its field 'data' is there twice): correct it where the file is "
        "made",
    ),
    "no end": (
        '{"data": []',
        "its document at byte 0 is no JSON at byte 11 (it does not end): correct it where the file is made",
    ),
    "a list cut off": (
        '{"data": [{}',
        "its array is not closed after record 1, so it was cut off: land it again from its source",
    ),
}


@pytest.mark.parametrize(("body", "problem"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_without_its_list_is_told(body: str, problem: str) -> None:
    for size in (1, 1 << 20):
        with pytest.raises(UnreadableError) as caught:
            read(body, "data", size)
        assert str(caught.value) == problem


def test_a_record_may_be_nested_deeply_but_not_without_end() -> None:
    [deep] = read('{"a": ' * 100 + "1" + "}" * 100)
    assert deep.problem is None
    [endless] = read('{"a": ' * 200_000)
    assert endless.problem == TOO_DEEP


def test_a_record_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "RECORD_LIMIT", 1_000)
    long = json.dumps({"a": "x" * 2_000})
    first, second = read(f"{long}\n{A}", size=100)
    assert first.problem == f"it is no JSON: {TOO_LONG}"
    assert 1_000 <= len(first.text) < len(long)
    assert second.fields is not None


def test_a_bad_record_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing behind it is read to find out, so the reason is right in a long object too."""
    monkeypatch.setattr(reader, "RECORD_LIMIT", 500)
    rest = f"{A}\n" * 1_000
    bad = [
        '{"a": NaN}',
        '{"a": }',
        '{"a": 1 1}',
        '{"a" 1}',
        "{1: 2}",
        '{"a": "\\x"}',
        '{"a": "x',
        '{"a": "\\u12"}',
        "nil",
    ]
    for record in bad:
        body = f"{record}\n{rest}".encode()
        blocks = [body[at : at + 100] for at in range(0, len(body), 100)]
        taken = iter(blocks)
        first = next(iter(JsonReader(taken)))
        [alone] = read(record)
        assert (first.text, first.problem is None) == (record, False)
        assert first.problem in {alone.problem, "it is no JSON: invalid control character, at its character 9"}
        assert len(list(taken)) > len(blocks) - 10


def test_the_fields_are_counted() -> None:
    found = JsonReader([b'{"a": 1}\n{"b": 1, "a": 2}\n{"a": {"c": 1}}\nx'])
    assert [record.problem is None for record in found] == [True, True, True, False]
    assert found.fields == {"a": 3, "b": 1}


def test_the_text_of_each_field_is_found() -> None:
    text = '{ "a" : 1.50 , "b":{"c": [1, "]}"]},"ü":"x\\"y" ,"d": null}'
    assert {name: text[start:end] for name, start, end in spans(text)} == {
        "a": "1.50",
        "b": '{"c": [1, "]}"]}',
        "ü": '"x\\"y"',
        "d": "null",
    }
    assert list(spans("{ }")) == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@hypothesis_settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=6),
    st.sampled_from(["array", "lines", "pretty", "pages"]),
    st.booleans(),
    st.integers(1, 60),
)
def test_random_records_keep_their_letters(rows: list[dict[str, Any]], shape: str, escaped: bool, size: int) -> None:
    texts = [json.dumps(row, ensure_ascii=escaped, indent=1 if shape == "pretty" else None) for row in rows]
    body = "\n".join(texts) if shape == "lines" else f"[{', '.join(texts)}]"
    field = None
    if shape == "pages":
        body, field = f'{{"n": 1, "rows": {body}}}', "rows"
    try:
        data = body.encode()
    except UnicodeEncodeError:
        return  # half of a surrogate pair that is not escaped is in no file
    found = read(data, field, size)
    assert [record.text for record in found] == texts
    for record, row in zip(found, rows, strict=True):
        assert data[record.offset :].startswith(record.text.encode())
        is_text = "\\u0000" not in json.dumps(row) and not _has_half(row)
        assert (record.problem is None) == is_text
    assert is_the_same(in_batches(data, size, field), one_by_one(data, field))
    for each in (size, len(data) or 1):
        assert counted(data, each, field) == counted(data, each, field, plainly=False)


def _has_half(value: Any) -> bool:
    text = json.dumps(value, ensure_ascii=False)
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def test_random_bytes_never_fail_otherwise() -> None:
    dice = random.Random(1)
    whole = f"[{A},{B},{A}]\n{A}\n{B}".encode()
    for _ in range(examples(2000)):
        body = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            body[dice.randrange(len(body))] = dice.choice(b'{}[]",:\\u0n\xff \n1')
        outcomes = []
        for size in (1 << 20, dice.randrange(1, 30)):
            reader_ = JsonReader(bytes(body[at : at + size]) for at in range(0, len(body), size))
            records: list[Any] = []
            try:
                records.extend(reader_)
            except UnreadableError as error:
                records.append(str(error))
            outcomes.append(records)
        assert outcomes[0] == outcomes[1]
        assert is_the_same(in_batches(bytes(body), dice.randrange(1, 200)), one_by_one(bytes(body)))
        assert counted(bytes(body), 1 << 20) == counted(bytes(body), 1 << 20, plainly=False)
