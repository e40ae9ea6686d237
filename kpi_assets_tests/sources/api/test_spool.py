"""The answers of an API are in memory while they are few, in a file without a name afterwards, and never too many."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.sources.api import spool as module
from kpi_assets.sources.api.problems import ApiError
from kpi_assets.sources.api.spool import Spool


@pytest.fixture
def spool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    monkeypatch.setattr(module, "IN_MEMORY", 20)
    monkeypatch.setattr(module, "BLOCK", 8)
    found = Spool("The API")
    yield found
    found.close()


def put(spool: Spool, *pages: bytes) -> None:
    for page in pages:
        spool.begin_page()
        spool.forget_page()
        spool.write(page[:3])
        spool.write(page[3:])


def test_pages_follow_each_other(spool: Spool) -> None:
    put(spool, b"first page", b"second page, in a file")
    assert spool.file.read() == b"first pagesecond page, in a file"
    assert (spool.size, spool.page_size) == (32, 22)
    assert list(spool.page()) == [b"second p", b"age, in ", b"a file"]


@pytest.mark.parametrize("size", [5, 30])
def test_a_page_is_forgotten(spool: Spool, size: int) -> None:
    put(spool, b"first page", b"x" * size)
    spool.forget_page()
    spool.write(b"second page")
    assert spool.file.read() == b"first pagesecond page"
    spool.clear()
    put(spool, b"other")
    assert (spool.file.read(), spool.size) == (b"other", 5)


def test_a_digest_is_that_of_a_part_of_the_last_page(spool: Spool) -> None:
    put(spool, b"first page")
    first = spool.digest(range(6, 10))
    assert first == hashlib.sha256(b"page").digest()
    put(spool, b"other page")
    assert spool.digest(range(6, 10)) == first
    assert spool.digest(range(10)) == hashlib.sha256(b"other page").digest()
    spool.forget_page()
    spool.write(b"third")
    assert spool.file.read() == b"first pagethird"


@pytest.mark.parametrize("page", [b"xyz", b"xyz1", b"xyz" + b"1234567890" * 5])
def test_the_start_of_a_page_is_dropped(spool: Spool, page: bytes) -> None:
    put(spool, b"first", page)
    spool.drop_start(3)
    assert b"".join(spool.page()) == page[3:]
    assert (spool.file.read(), spool.size) == (b"first" + page[3:], 5 + len(page) - 3)


def test_an_answer_without_an_end_is_refused(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    put(spool, b"first page", b"other page")
    with pytest.raises(ApiError) as caught:
        spool.write(b"!")
    assert str(caught.value) == (
        "The API: an answer has more than 0 GiB, which is not read: ask for smaller pages with the word size of pages."
    )


def test_a_full_disk_is_reported(spool: Spool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(module, "_LOOK_EVERY", 16)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: type("Usage", (), {"free": module.KEPT_FREE - 1}))
    put(spool, b"first page")
    with pytest.raises(ApiError) as caught:
        put(spool, b"second page")
    assert str(caught.value) == (
        f"The API: its answers cannot be kept in {tmp_path} (less than 1 GiB are free after 13 bytes): make space "
        "there, or name another folder with TMPDIR."
    )


def test_a_disk_that_cannot_be_written_is_reported(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __getattr__(self, name: str) -> Any:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "_file", Full())
    with pytest.raises(ApiError, match=r"\(No space left on device after 0 bytes\)"):
        spool.write(b"x")
    monkeypatch.undo()
