"""A local copy has the bytes that it was given, for any range, and leaves nothing behind on a full disk."""

import os
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from kpi_assets.sources import local_copy
from kpi_assets.sources.local_copy import LocalCopy
from kpi_assets.sources.refusals import LakeError

DATA = os.urandom(3_000_000)
Usage = namedtuple("Usage", "total used free")


def test_any_range_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done: list[int] = []
    copy = LocalCopy.of([DATA[:10], b"", DATA[10:2_000_000], DATA[2_000_000:]], "s3://b/k", done.append)
    assert list(tmp_path.iterdir()) == []
    assert done == [10, 10, 2_000_000, 3_000_000]
    assert copy.size == len(DATA)
    assert b"".join(copy.read(0, copy.size)) == DATA
    assert b"".join(copy.read(5, 2_500_001)) == DATA[5:2_500_001]
    assert copy.head(100, 2_999_950) == DATA[-50:]
    assert list(copy.read(7, 7)) == []
    copy.close()


def test_space_is_left_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_copy, "_LOOK_EVERY", 1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, local_copy.KEPT_FREE - 1))
    with pytest.raises(LakeError) as caught:
        LocalCopy.of([DATA], "s3://b/k", lambda _: None)
    assert str(caught.value) == (
        f"s3://b/k cannot be copied to {tempfile.gettempdir()} to be read (less than 1 GiB are free after 0 bytes): "
        "make space there, or name another folder with TMPDIR."
    )


def test_an_error_of_the_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = LocalCopy()

    def fail(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copy._file, "write", fail)
    with pytest.raises(LakeError, match=r"No space left on device after 0 bytes"):
        copy._append(DATA, "s3://b/k")
