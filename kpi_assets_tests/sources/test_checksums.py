"""Every checksum that a store returns for an object is compared with the bytes read, without false alarms."""

import hashlib
import random
import zlib
from base64 import b64encode
from itertools import pairwise

import pytest
from awscrt import checksums as crt

from kpi_assets.sources import store as store_module
from kpi_assets.sources.checksums import ALGORITHMS, HASHES, Checksum, Summing, sum_of
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store
from kpi_assets_tests.examples import few
from kpi_assets_tests.s3_proxy import Flip, Says
from kpi_assets_tests.sources.conftest import DAY, Faulty, put

KEY = "raw/things/load_date=2025-03-01/things.csv"
BODY = random.Random(3).randbytes(100_000)
PART = 30_000


def digest(algorithm: str, body: bytes) -> bytes:
    """Return the checksum of all bytes at once, by the functions of libraries."""
    if algorithm in HASHES:
        return hashlib.new(algorithm, body).digest()
    if algorithm == "CRC64NVME":
        return int(crt.crc64nvme(body)).to_bytes(8, "big")
    return (zlib.crc32(body) if algorithm == "CRC32" else int(crt.crc32c(body))).to_bytes(4, "big")


def composite(algorithm: str, block: int) -> tuple[bytes, int]:
    """Return the composite checksum of BODY uploaded in blocks, and the number of blocks."""
    blocks = [digest(algorithm, BODY[at : at + block]) for at in range(0, len(BODY), block)]
    return digest(algorithm, b"".join(blocks)), len(blocks)


def summed(checksum: Checksum, cuts: list[int]) -> bytes | None:
    """Return the checksum of BODY, read in parts of PART bytes by one pass for each piece between the cuts."""
    parts = {}
    for start, end in pairwise([0, *cuts, len(BODY)]):
        summing = Summing([checksum], len(BODY), is_whole=not cuts)
        for number in range(-(-start // PART), -(-end // PART)):
            parts[number] = summing.add(number * PART, BODY[number * PART : (number + 1) * PART])
    return sum_of(checksum, [parts[number] for number in range(len(parts))], len(BODY))


@pytest.mark.parametrize("cuts", [[], [45_000], [30_000, 60_000], [10, 20]])
@pytest.mark.parametrize("block", [None, 7_000, PART, 60_000, 50_000, 15_000, 100_000, 200_000])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_checksum_of_an_object_is_combined_from_its_parts(
    algorithm: str, block: int | None, cuts: list[int]
) -> None:
    value = composite(algorithm, block)[0] if block else digest(algorithm, BODY)
    found = summed(Checksum(algorithm, value, block), cuts)
    # A hash cannot be computed for blocks that span several passes.
    whole_in_parts = block is not None and PART % block == 0
    assert found == (None if algorithm in HASHES and cuts and not whole_in_parts else value)


def test_parse_returns_none_for_text_that_is_no_checksum() -> None:
    for text in ("", "????", "AAAA", "AAAAAA==-3", b64encode(b"12345").decode()):
        assert Checksum.parse("CRC32", text) is None
    assert Checksum.parse("CRC32", "AAAAAA==", 5) is None
    assert Checksum.parse("CRC32", "AAAAAQ==") == Checksum("CRC32", b"\0\0\0\1")
    assert Checksum.parse("CRC32", "AAAAAQ==-3", 5) == Checksum("CRC32", b"\0\0\0\1", 5)


# ---- checksums in the headers of AWS


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PART", PART)


def loaded(store: Store, cuts: tuple[int, ...] = ()) -> str:
    """Read BODY as a load does and return its sha256."""
    manifest = store.manifest("things", DAY, KEY)
    assert manifest is not None
    passes = [store.read(manifest, start, end) for start, end in pairwise([0, *cuts, manifest.size_bytes])]
    assert len(b"".join(block for each in passes for block in each)) == len(BODY)
    return store.proven(manifest, {number: sums for each in passes for number, sums in each.digests.items()})


def text(value: bytes, blocks: int = 0) -> str:
    return b64encode(value).decode() + (f"-{blocks}" if blocks else "")


WRONG = BODY[:60_017] + bytes([BODY[60_017] ^ 1]) + BODY[60_018:]
PASSES = pytest.mark.parametrize("cuts", [(), (45_000,)], ids=["one pass", "two passes"])


def refused(store: Store, algorithm: str, found: bytes, held: bytes) -> str:
    return (
        f"s3://{store.bucket}/{KEY} was read as other bytes than the store says it holds (their {algorithm} is "
        f"{found.hex()}, not {held.hex()}): run the load_date again, and where that says the same, land the object "
        "again from its source with --replace."
    )


def offers(broken: Faulty, blocks: dict[int, int], **headers: str | None) -> None:
    """Put BODY, and let the store answer with these headers and these sizes of parts."""
    put(broken.store, KEY, BODY)
    for part, size in blocks.items():
        broken.proxy.breaks(Says({"content-length": str(size)}), on=f"{KEY}?partNumber={part} ", times=100)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    broken.proxy.breaks(Says({"x-amz-date": None, "x-amz-checksum-crc32": None, **named}), on="HEAD", times=100)


@PASSES
@pytest.mark.parametrize("algorithm", few(3, ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5"]))
def test_a_full_object_checksum_is_compared_with_the_bytes_read(
    broken: Faulty, algorithm: str, cuts: tuple[int, ...]
) -> None:
    value = digest(algorithm, BODY)
    offers(broken, {}, **{f"x_amz_checksum_{algorithm.lower()}": text(value), "x_amz_checksum_type": "FULL_OBJECT"})
    assert len(loaded(broken.store, cuts)) == 64
    broken.proxy.breaks(Flip(17), on="bytes=60000-")
    if algorithm in HASHES and cuts:
        loaded(broken.store, cuts)  # a hash cannot be computed over several passes
        return
    with pytest.raises(LakeError) as failure:
        loaded(broken.store, cuts)
    assert str(failure.value) == refused(broken.store, algorithm, digest(algorithm, WRONG), value)


@PASSES
@pytest.mark.parametrize("block", [PART, 50_000])
@pytest.mark.parametrize("algorithm", few(2, ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]))
def test_a_composite_checksum_is_compared_with_the_bytes_read(
    broken: Faulty, algorithm: str, block: int, cuts: tuple[int, ...]
) -> None:
    value, count = composite(algorithm, block)
    headers = {f"x_amz_checksum_{algorithm.lower()}": text(value, count), "x_amz_checksum_type": "COMPOSITE"}
    offers(broken, dict.fromkeys(range(1, count), block), **headers)
    loaded(broken.store, cuts)
    broken.proxy.breaks(Flip(17), on="bytes=60000-")
    if algorithm in HASHES and cuts and block != PART:
        loaded(broken.store, cuts)
        return
    with pytest.raises(LakeError, match=rf"\(their {algorithm} is [0-9a-f]+, not {value.hex()}\)"):
        loaded(broken.store, cuts)


def test_parts_of_different_sizes_raise_no_false_alarm(broken: Faulty) -> None:
    value, count = composite("CRC32", PART)  # for other parts than those whose sizes the store returns
    headers = {"x_amz_checksum_crc32": text(value, count), "x_amz_checksum_type": "COMPOSITE"}
    offers(broken, {1: 32_000, 2: 29_000, 3: 29_000}, **headers)
    loaded(broken.store, (45_000,))


def test_a_wrong_number_of_parts_raises_no_false_alarm(broken: Faulty) -> None:
    value, count = composite("CRC32", PART)
    headers = {"x_amz_checksum_crc32": text(value, count + 1), "x_amz_checksum_type": "COMPOSITE"}
    offers(broken, {1: PART, 2: PART, 3: PART}, **headers)
    loaded(broken.store, (45_000,))


@pytest.mark.parametrize("value", ["????", "AAAA", "AAAAAAAA"])
def test_an_invalid_checksum_raises_no_false_alarm(broken: Faulty, value: str) -> None:
    offers(broken, {}, x_amz_checksum_crc32=value, x_amz_checksum_type="FULL_OBJECT")
    loaded(broken.store)


def test_a_checksum_header_that_only_repeats_the_upload_is_ignored(broken: Faulty) -> None:
    put(broken.store, KEY, BODY)
    broken.proxy.breaks(Says({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-date": "20250301T000000Z"}), on="HEAD")
    loaded(broken.store)


# ---- ETags


def test_an_etag_that_is_the_md5_is_compared_if_one_pass_reads_all_bytes(broken: Faulty) -> None:
    put(broken.store, KEY, BODY)
    broken.proxy.breaks(Says({"server": "AmazonS3"}), on="HEAD", times=100)
    loaded(broken.store)
    broken.proxy.breaks(Flip(17), on="bytes=60000-")
    with pytest.raises(LakeError) as failure:
        loaded(broken.store)
    assert str(failure.value) == refused(broken.store, "MD5", digest("MD5", WRONG), digest("MD5", BODY))


OTHER = '"0123456789abcdef0123456789abcdef"'


@pytest.mark.parametrize(
    "headers",
    [
        {"etag": '"0123456789abcdef0123456789abcdef-4"'},
        {"etag": '"0x8DD5A1B2C3D4E5F"'},
        {"etag": OTHER, "x-amz-server-side-encryption": "aws:kms"},
        {"etag": OTHER, "x-amz-server-side-encryption": "aws:kms:dsse"},
        {"etag": OTHER, "x-amz-server-side-encryption-customer-algorithm": "AES256"},
        {"etag": OTHER, "server": "Another store"},
    ],
)
def test_an_etag_that_is_no_md5_raises_no_false_alarm(broken: Faulty, headers: dict[str, str]) -> None:
    put(broken.store, KEY, BODY)
    broken.proxy.breaks(Says(headers), on=KEY, times=100)
    loaded(broken.store)


@pytest.mark.parametrize("neighbors", [0, 1, 3])
def test_etags_of_an_unknown_store_are_trusted_if_those_of_small_neighbors_are_md5(
    broken: Faulty, neighbors: int
) -> None:
    for number in range(neighbors):
        put(broken.store, f"raw/others/load_date=2025-03-01/{number}.csv", b"other bytes %d" % number)
    put(broken.store, KEY, BODY)
    broken.proxy.breaks(Says({"server": "Another store"}), on="HEAD", times=100)
    broken.proxy.breaks(Flip(17), on="bytes=60000-")
    if neighbors:
        with pytest.raises(LakeError, match=r"\(their MD5 is "):
            loaded(broken.store)
    else:
        loaded(broken.store)


def test_one_neighbor_whose_etag_is_no_md5_makes_etags_untrusted(broken: Faulty) -> None:
    for number in range(3):
        put(broken.store, f"raw/others/load_date=2025-03-01/{number}.csv", b"other bytes %d" % number)
    put(broken.store, KEY, BODY)
    broken.proxy.breaks(Says({"server": "Another store", "etag": OTHER}), on="/1.csv", times=100)
    broken.proxy.breaks(Says({"server": "Another store"}), on="HEAD", times=100)
    broken.proxy.breaks(Flip(17), on="bytes=60000-")
    loaded(broken.store)


# ---- checksums that the store computes


@PASSES
@pytest.mark.parametrize("algorithm", few(2, ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]))
def test_checksums_that_the_store_computed_are_compared(broken: Faulty, algorithm: str, cuts: tuple[int, ...]) -> None:
    store, proxy = broken.store, broken.proxy
    store.objects.s3.put_object(Bucket=store.bucket, Key=KEY, Body=BODY, ChecksumAlgorithm=algorithm)
    loaded(store, cuts)
    if algorithm in HASHES and cuts:
        return
    proxy.breaks(Flip(17), on="bytes=60000-")
    with pytest.raises(LakeError, match=rf"\(their {algorithm} is [0-9a-f]+, not {digest(algorithm, BODY).hex()}\)"):
        loaded(store, cuts)


def test_an_unexplained_checksum_of_a_multipart_upload_raises_no_false_alarm(broken: Faulty) -> None:
    store = broken.store
    upload = {"Bucket": store.bucket, "Key": KEY}
    upload["UploadId"] = store.objects.s3.create_multipart_upload(**upload, ChecksumAlgorithm="CRC32")["UploadId"]
    part = store.objects.s3.upload_part(**upload, PartNumber=1, Body=BODY, ChecksumAlgorithm="CRC32")
    done = {"ETag": part["ETag"], "PartNumber": 1, "ChecksumCRC32": part["ChecksumCRC32"]}
    store.objects.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [done]})
    broken.proxy.breaks(Says({"x-amz-checksum-type": None}), on="HEAD", times=100)
    loaded(store)
