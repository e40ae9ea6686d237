"""A CSV is cut at the first record of a new key after each target offset, and only if the keys rise."""

import pytest

from kpi_assets.sources.formats.base import Cut
from kpi_assets.sources.formats.csv import cut as cut_module
from kpi_assets.sources.formats.csv.cut import find_cuts
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.store import Store
from kpi_assets_tests.examples import few
from kpi_assets_tests.sources.conftest import put

KEY = "raw/things/load_date=2025-03-01/things.csv"
HEADER = b"thing_id,name\n"


def cuts_of(content: ObjectBytes, column: int, count: int) -> list[Cut] | None:
    return find_cuts(content.head, content.size, column, count)


def body(keys: list[int], name: bytes = b"x", end: bytes = b"\n") -> bytes:
    return HEADER + b"".join(b"%d,%s%s" % (key, name, end) for key in keys)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_each_cut_is_the_first_record_of_its_key(store: Store, count: int, end: bytes) -> None:
    data = body([key for key in range(100, 160) for _ in range(5)], end=end)
    cuts = cuts_of(ObjectBytes(store, put(store, KEY, data)), 0, count)
    assert cuts is not None
    assert len(cuts) == count - 1
    for number, (offset, key) in enumerate(cuts, start=1):
        assert len(data) * number // count < offset < len(data) * number // count + 8 * 6
        assert data[offset:].startswith(b"%d," % key)
        assert data[:offset].endswith(b"%d,x%s" % (key - 1, end))


def test_the_key_may_be_any_field_and_negative(store: Store) -> None:
    data = HEADER + b"".join(b"x,%d,y\n" % key for key in range(-50, 50))
    cuts = cuts_of(ObjectBytes(store, put(store, KEY, data)), 1, 2)
    assert cuts is not None
    assert data[cuts[0][0] :].startswith(b"x,%d,y\n" % cuts[0][1])


@pytest.mark.parametrize(
    "data",
    few(
        3,
        [
            pytest.param(body(list(range(200))[::-1]), id="falling keys"),
            pytest.param(body([7] * 300), id="one key"),
            pytest.param(body([7] * 300 + [8] * 100), id="a key at two target offsets"),
            pytest.param(body(list(range(100)), b'"a\nb"'), id="quoted fields"),
            pytest.param(HEADER + b"one,x\n" * 100, id="no whole numbers"),
            pytest.param(HEADER + b"1\n" * 100 + b"2\n" * 100, id="missing fields"),
            pytest.param(body([*range(100, 150), *range(50, 100), *range(100, 150)]), id="repeated keys"),
            pytest.param(HEADER, id="a header only"),
            pytest.param(b"", id="no bytes"),
        ],
    ),
)
def test_files_without_rising_keys_or_quoted_ones_are_not_cut(store: Store, data: bytes) -> None:
    column = 1 if b"1\n1\n" in data else 0
    assert cuts_of(ObjectBytes(store, put(store, KEY, data)), column, 3) is None


def test_the_search_for_a_cut_reads_a_limited_number_of_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    content = ObjectBytes(store, put(store, KEY, body([1] * 100 + [2] * 100)))
    assert cuts_of(content, 0, 4) is None
    assert cuts_of(content, 0, 2) is not None
    monkeypatch.setattr(cut_module, "PROBE", 3)
    assert cuts_of(content, 0, 2) is None
