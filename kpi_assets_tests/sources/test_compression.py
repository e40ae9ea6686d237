"""Packed objects are unpacked whole, or refused with one sentence; nothing is lost or guessed."""

import gzip
import io
import zipfile
from collections.abc import Callable

import pytest

from kpi_assets.sources import compression, local_copy
from kpi_assets.sources.compression import start_of, unpack, zstd_module
from kpi_assets.sources.formats.base import UnreadableError
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store
from kpi_assets_tests.examples import few
from kpi_assets_tests.sources.conftest import put

KEY = "raw/things/things.csv"
TEXT = b"".join(b"%d,anvil number %d\n" % (number, number % 7) for number in range(60_000))
zstd = zstd_module()


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return made.getvalue()


def with_password() -> bytes:
    """Return a zip file whose member is marked as encrypted."""
    data = bytearray(zipped(("a.csv", TEXT)))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    return bytes(data)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zip": lambda body: zipped(("a/", b""), ("__MACOSX/._a.csv", b"\0"), ("a/a.csv", body)),
    "zstd": zstd.compress,
}
GOOD = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "several members of gzip": (
        "gzip", b"".join(gzip.compress(TEXT[at : at + 199_999]) for at in range(0, len(TEXT), 199_999))
    ),
    "gzip filled up with zeros": ("gzip", gzip.compress(TEXT) + bytes(500)),
    "zip": ("zip", PACK["zip"](TEXT)),
    "a zip file that is only stored": ("zip", zipped(("a.csv", TEXT), method=zipfile.ZIP_STORED)),
    "zstd": ("zstd", zstd.compress(TEXT)),
    "several frames of zstd": ("zstd", zstd.compress(TEXT[:70_001]) + zstd.compress(TEXT[70_001:])),
}  # fmt: skip
AGAIN = "fetch it from its source again, and land that with --replace"
DAMAGED_ZIP = f"it is damaged or cut off: it cannot be unpacked as zip: {AGAIN}"
BAD = {
    "gzip cut off": ("gzip", gzip.compress(TEXT)[:-9], f"it is cut off: it ends before its gzip does: {AGAIN}"),
    "zstd cut off": ("zstd", zstd.compress(TEXT)[:-9], f"it is cut off: it ends before its zstd does: {AGAIN}"),
    "zip cut off": ("zip", PACK["zip"](TEXT)[:-9], DAMAGED_ZIP),
    "gzip with a wrong checksum": (
        "gzip", gzip.compress(TEXT)[:-8] + bytes(8), f"it is damaged: it cannot be unpacked as gzip: {AGAIN}"
    ),
    "gzip with garbage behind it": (
        "gzip", gzip.compress(TEXT) + b"garbage", f"bytes follow the end of its gzip: {AGAIN}"
    ),
    "zstd with garbage behind it": (
        "zstd", zstd.compress(TEXT) + b"garbage", f"bytes follow the end of its zstd: {AGAIN}"
    ),
    "no file": ("zip", zipped(), "the zip file has 0 files: land one with one file, or each by itself"),
    "two files": (
        "zip", zipped(("a.csv", TEXT), ("b.csv", TEXT)),
        "the zip file has 2 files: land one with one file, or each by itself",
    ),
    "a password": ("zip", with_password(), "the zip file has a password: land it without one"),
    "another method": (
        "zip", zipped(("a.csv", TEXT), method=zipfile.ZIP_LZMA),
        "the zip file is packed by a method other than deflate: pack it again",
    ),
    "plain": ("gzip", TEXT, "it is no gzip file: take compression out, or land it packed"),
    "another kind": ("zstd", gzip.compress(TEXT), "it is a gzip file: write compression: gzip"),
}  # fmt: skip


def content(store: Store, body: bytes) -> ObjectBytes:
    return ObjectBytes(store, put(store, KEY, body))


@pytest.mark.parametrize("name", few(3, GOOD))
def test_a_packed_object_is_unpacked_and_read_whole(store: Store, name: str) -> None:
    kind, body = GOOD[name]
    opened, done = content(store, body), []
    assert start_of(opened, kind, 1000) == TEXT[:1000]
    assert start_of(opened, kind, len(TEXT) + 1) == TEXT
    copy = unpack(opened, kind, done.append)
    assert copy.head(copy.size) == TEXT
    assert done == sorted(done)
    assert done[-1] == len(body)
    assert opened.sha256()  # every byte was read
    copy.close()


@pytest.mark.parametrize("name", few(4, BAD))
def test_an_object_that_cannot_be_unpacked_is_refused_with_its_reason(store: Store, name: str) -> None:
    kind, body, problem = BAD[name]
    opened = content(store, body)
    with pytest.raises(UnreadableError) as caught:
        start_of(opened, kind, 1000)
        unpack(opened, kind, lambda _done: None).close()
    assert str(caught.value) == problem


@pytest.mark.parametrize("kind", few(1, PACK))
def test_every_changed_byte_is_noticed_or_harmless(store: Store, kind: str) -> None:
    body = bytearray(PACK[kind](TEXT[:2000]))
    if kind == "zstd":
        body = bytearray(zstd.compress(TEXT[:2000], options={zstd.CompressionParameter.checksum_flag: 1}))
    for place in range(0, len(body), max(1, len(body) // 10)):
        broken = bytes([*body[:place], body[place] ^ 0xFF, *body[place + 1 :]])
        try:
            copy = unpack(content(store, broken), kind, lambda _done: None)
        except UnreadableError:
            continue
        assert copy.head(copy.size) == TEXT[:2000]
        copy.close()


@pytest.mark.parametrize("kind", few(1, PACK))
def test_a_bomb_ends_before_the_disk_is_full(store: Store, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_copy, "_LOOK_EVERY", 8 << 20)
    monkeypatch.setattr(local_copy, "KEPT_FREE", 1 << 60)
    written: list[int] = []
    opened = content(store, PACK[kind](bytes(64 << 20)))
    with pytest.raises(LakeError, match=r"cannot be copied to .* make space there, or name another folder with TMPDIR"):
        unpack(opened, kind, written.append)
    assert compression._PIECE <= 1 << 20


def test_zstd_without_its_package_says_what_to_install(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(compression, "import_module", missing)
    with pytest.raises(Exception, match=r"pip install 'kpi_assets\[zstd\]'"):
        start_of(content(store, zstd.compress(TEXT)), "zstd", 10)
