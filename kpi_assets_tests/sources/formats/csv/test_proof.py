"""The proof passes on every byte of valid records, and raises UnprovenError at a record that violates the rules."""

import pytest

from kpi_assets.sources.formats.csv import proof
from kpi_assets.sources.formats.csv.proof import UnprovenError
from kpi_assets_tests.csv_files import proven

NUMBERS = {"id": "integer", "other": "bigint"}
TEXTS = {"word": "text", "label": "text"}
MIXED = {"id": "integer", "name": "text", "price": "numeric(8,2)"}
GOOD = {
    "numbers": (NUMBERS, b"id,other\n1,2\n-3,\n,08\n"),
    "numbers in quotes": (NUMBERS, b'"id","other"\n"1","2"\n-3,"08"\n'),
    "texts": (TEXTS, b"word,label\na,b\nlabel,word\nword,label \n"),
    "texts in quotes": (TEXTS, b'word,label\n"a ""b"", c","d\ne"\n,""\n'),
    "mixed": (MIXED, b"id,name,price\n1,a,.5\n2,,3.000\n"),
    "mixed in quotes": (MIXED, b'id,name,price\n1,"a\r\nb,""",0.25\n"2",c,"3"\n'),
    "nothing but a header": (MIXED, b"id,name,price\n"),
}
BAD = {
    "a letter": (NUMBERS, b"id,other\n1,2\n1e5,4\n"),
    "a plus sign": (NUMBERS, b"id,other\n1,+2\n"),
    "an underscore in quotes": (NUMBERS, b'id,other\n1,"1_0"\n'),
    "the header again": (TEXTS, b"word,label\na,b\nword,label\nc,d\n"),
    "the header twice at the start": (TEXTS, b"word,label\nword,label\n"),
    "the header at the end": (TEXTS, b'word,label\na,b\n"word","label"\n'),
    "a quote within a field": (TEXTS, b'word,label\na"b,c\nd"e,f\n'),
    "text after a closing quote": (TEXTS, b'word,label\n"a"b,c\n'),
    "a quote that is never closed": (TEXTS, b'word,label\na,"b\n'),
    "a third decimal": (MIXED, b"id,name,price\n1,a,0.125\n"),
    "another header": (MIXED, b"id,price,name\n1,2,3\n"),
    "nothing": (MIXED, b""),
}


def prove(types: dict[str, str], data: bytes, size: int) -> None:
    """Pass `data` through the proof in blocks of `size` bytes, and assert that every byte comes through.

    Raises UnprovenError.
    """
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    assert b"".join(proven(types, blocks)) == data


@pytest.mark.parametrize("piece", [1, 5, 1 << 17])
@pytest.mark.parametrize("name", GOOD)
def test_valid_records_pass_the_proof(monkeypatch: pytest.MonkeyPatch, name: str, piece: int) -> None:
    monkeypatch.setattr(proof, "PIECE", piece)
    types, data = GOOD[name]
    for size in (1, 2, 3, 7, 1000):
        for body in (data, data.removesuffix(b"\n"), data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")):
            prove(types, body, size)


@pytest.mark.parametrize("piece", [1, 5, 1 << 17])
@pytest.mark.parametrize("name", BAD)
def test_invalid_records_are_unproven_wherever_blocks_end(
    monkeypatch: pytest.MonkeyPatch, name: str, piece: int
) -> None:
    monkeypatch.setattr(proof, "PIECE", piece)
    types, data = BAD[name]
    for size in (1, 2, 3, 7, 1000):
        for body in (data, data.removesuffix(b"\n"), data.replace(b"\n", b"\r\n")):
            with pytest.raises(UnprovenError):
                prove(types, body, size)


def test_a_slice_is_proven_without_a_header() -> None:
    assert list(proven(NUMBERS, [b"1,2\n", b"3,4\n"], header=False)) == [b"1,2\n", b"3,4\n"]
    with pytest.raises(UnprovenError):
        list(proven(NUMBERS, [b"1,2\nid,other\n"], header=False))


@pytest.mark.parametrize("types", [NUMBERS, TEXTS, {"id": "integer", "name": "text"}])
@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_record_that_is_too_long_is_unproven(
    monkeypatch: pytest.MonkeyPatch, types: dict[str, str], quote: bytes
) -> None:
    monkeypatch.setattr(proof, "LONGEST", 100)
    header = ",".join(types).encode() + b"\n"
    for size in (3, 60, 1000):
        prove(types, header + b"1," + quote + b"0" * (97 - 2 * len(quote)) + quote + b"\n2,3\n", size)
        with pytest.raises(UnprovenError):
            prove(types, header + b"1," + quote + b"0" * 110 + quote + b"\n2,3\n", size)


def test_blocks_of_whole_numbers_or_texts_are_not_split() -> None:
    block = b"1,2\n" * 100_000
    assert len(list(proven(NUMBERS, [block], header=False))) == 1
    assert len(list(proven(TEXTS, [block], header=False))) == 1
    assert len(list(proven(MIXED, [b"1,2,3\n" * 100_000], header=False))) == 5
