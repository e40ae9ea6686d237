"""Objects are read exactly as pinned by their manifest, even over broken connections, or an error is raised."""

import gzip
import hashlib
import random
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Event, Thread
from time import perf_counter
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from urllib3.connection import HTTPConnection

from kpi_assets.embedded.stack import Stack
from kpi_assets.model.manifest import Manifest
from kpi_assets.settings import Settings, settings
from kpi_assets.sources import objects, s3_objects
from kpi_assets.sources import store as store_module
from kpi_assets.sources.boto_refusals import explained
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.s3_objects import client
from kpi_assets.sources.store import Store, bucket_of, sha256_of
from kpi_assets_tests import shipped
from kpi_assets_tests.examples import few
from kpi_assets_tests.s3_proxy import Cut, Drip, Fault, HangUp, Refuse, Short
from kpi_assets_tests.sources.conftest import DAY, Faulty, put

KEY = "raw/things/load_date=2025-03-01/things.csv"
BODY = random.Random(1).randbytes(100_000)
PART = 30_000  # bytes: BODY has four parts, the last one shorter


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PART", PART)


def read(store: Store, manifest: Manifest) -> bytes:
    return b"".join(store.read(manifest))


def composed(body: bytes) -> str:
    """Return the sha256 of a single part, or the sha256 of the digests of several parts."""
    parts = [hashlib.sha256(body[at : at + PART]) for at in range(0, len(body), PART)]
    return (parts[0] if len(parts) == 1 else hashlib.sha256(b"".join(part.digest() for part in parts))).hexdigest()


# ---- opening


def test_a_bucket_that_is_opened_later_is_opened_when_it_is_used(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = put(store, KEY, BODY)
    opened: list[str] = []
    make = s3_objects.client

    def noted(config: Settings) -> Any:
        opened.append("client")
        return make(config)

    monkeypatch.setattr(s3_objects, "client", noted)
    later = Store.later(settings(), store.bucket)
    assert (later.bucket, opened) == (store.bucket, [])
    assert read(later, manifest) == read(later, manifest) == BODY
    assert opened == ["client"]


# ---- manifests


def test_a_manifest_has_the_state_of_its_object(store: Store) -> None:
    body = b"thing_id\n1\n"
    manifest = put(store, KEY, body)
    assert (manifest.object, manifest.load_date, manifest.bucket, manifest.key) == ("things", DAY, store.bucket, KEY)
    assert (manifest.size_bytes, manifest.etag) == (11, f'"{hashlib.md5(body).hexdigest()}"')
    assert manifest.last_modified.tzinfo is not None


def test_the_hash_of_a_manifest_depends_on_key_and_bytes(store: Store) -> None:
    first = put(store, KEY, b"one")
    assert put(store, KEY, b"one").hash == first.hash
    assert put(store, KEY, b"two").hash != first.hash
    assert put(store, KEY + "2", b"one").hash != first.hash
    assert len(first.hash) == 16


@pytest.mark.parametrize("key", [KEY, "raw", "raw/things/", "no such/ü ß.csv"])
def test_the_manifest_of_a_missing_object_is_none(store: Store, key: str) -> None:
    assert store.manifest("things", DAY, key) is None


def test_an_empty_object_has_no_bytes_to_read(store: Store) -> None:
    manifest = put(store, KEY, b"")
    source = store.read(manifest)
    assert (manifest.size_bytes, list(source)) == (0, [])
    assert sha256_of(source.digests) == hashlib.sha256().hexdigest()


def keys(store: Store, prefix: str, start_after: str = "") -> list[str]:
    return [entry.key for entry in store.entries(prefix, start_after)]


def test_entries_lists_all_keys_below_a_prefix_in_order(store: Store) -> None:
    for number in (3, 1, 2):
        put(store, f"raw/things/{number}.csv", b"x")
    put(store, "raw/other/1.csv", b"x")
    assert keys(store, "raw/things/") == ["raw/things/1.csv", "raw/things/2.csv", "raw/things/3.csv"]
    assert keys(store, "raw/things/", "raw/things/1.csv") == ["raw/things/2.csv", "raw/things/3.csv"]
    assert keys(store, "raw/nothing/") == []


def test_an_entry_of_a_listing_equals_the_manifest(store: Store) -> None:
    manifest = put(store, KEY, b"four")
    [entry] = store.entries(KEY)
    assert (entry.key, entry.size_bytes) == (KEY, 4)
    assert entry.etag.strip('"') == manifest.etag.strip('"')
    assert entry.last_modified.replace(microsecond=0) == manifest.last_modified


def put_many(store: Store, count: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(count):
            pool.submit(store.objects.s3.put_object, Bucket=store.bucket, Key=f"many/{number:04}", Body=b"")


@pytest.mark.nightly
def test_entries_lists_several_pages(store: Store) -> None:
    put_many(store, 1005)
    assert keys(store, "many/") == [f"many/{number:04}" for number in range(1005)]


def test_too_many_keys_below_a_prefix_are_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put_many(store, 1001)
    monkeypatch.setattr("kpi_assets.sources.s3_objects.MOST_PAGES", 1)
    with pytest.raises(LakeError) as failure:
        keys(store, "many/")
    assert str(failure.value) == (
        f"There are more than 1,000 objects below s3://{store.bucket}/many/: keep other objects than the pipeline's "
        "own under another prefix."
    )


# ---- stores that cannot be used


def test_a_missing_bucket_is_an_error_and_not_a_missing_object(store: Store) -> None:
    with pytest.raises(LakeError, match=r"^The bucket nowhere does not exist: create it, or correct KPI_S3_BUCKET\.$"):
        Store.on_s3(store.objects.s3, "nowhere").manifest("things", DAY, KEY)
    with pytest.raises(LakeError, match=r"^s3://nowhere/raw cannot be used: the bucket does not exist: create it"):
        keys(Store.on_s3(store.objects.s3, "nowhere"), "raw")


def test_wrong_credentials_are_reported_without_showing_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = put(store, KEY, b"x")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it caches the first credentials
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONGWRONG")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-never-shown")
    stranger = Store.open(settings(), store.bucket)
    for attempt in (
        lambda: stranger.manifest("things", DAY, KEY),
        lambda: keys(stranger, "raw"),
        lambda: read(stranger, manifest),
    ):
        with pytest.raises(LakeError, match=r"access is refused \((403|InvalidAccessKeyId)\)") as caught:
            attempt()
        assert f"s3://{store.bucket}/" in str(caught.value)
        assert "hunter2" not in repr(caught.value)
        assert "AKIAWRONG" not in repr(caught.value)
        assert "\n" not in str(caught.value)


def test_no_credentials_at_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(LakeError, match=r"cannot be used: no credentials were found: set AWS_ACCESS_KEY_ID and"):
        Store.open(settings(), store.bucket).manifest("things", DAY, KEY)


def test_an_endpoint_without_a_server_is_reported(broken: Faulty) -> None:
    nobody = client(settings().model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))
    with pytest.raises(LakeError, match=r"^s3://lake/raw/x cannot be used: nobody listens at 127\.0\.0\.1:9: start"):
        Store.on_s3(nobody, "lake").manifest("things", DAY, "raw/x")


REGION = "the bucket lies {}, or correct KPI_S3_ENDPOINT_URL (S3 answered {{code}})"
FAULT = (
    "the store failed at it and does not say why ({code}): look whether its disk is full, and into its log (that of "
    "the embedded store lies below KPI_HOME)"
)
FULL = "the store has no room left ({code}): make room there, and try again"
ELSEWHERE = {"x-amz-bucket-region": "eu-west-3"}


@pytest.mark.parametrize(
    ("status", "code", "headers", "said"),
    [
        (301, "PermanentRedirect", ELSEWHERE, REGION.format("in the region eu-west-3: set AWS_REGION to it")),
        (500, "InternalError", {}, FAULT),
        (507, "InsufficientStorage", {}, FULL),
    ],
)
@pytest.mark.parametrize("asked", ["HEAD", "GET", "PUT"])
def test_the_reason_of_a_refusal_is_reported(
    broken: Faulty, asked: str, status: int, code: str, headers: dict[str, str], said: str
) -> None:
    manifest = put(broken.store, KEY, BODY)
    broken.proxy.breaks(Refuse(status, code, headers), on=asked, times=100)
    with pytest.raises(LakeError) as failure:
        if asked == "HEAD":
            broken.store.manifest("things", DAY, KEY)
        elif asked == "GET":
            broken.store.head(manifest, 10)
        else:
            with explained(broken.store.bucket, KEY):
                broken.store.objects.s3.put_object(Bucket=broken.store.bucket, Key=KEY, Body=b"x")
    # The answer to a HEAD has no body and so no code.
    told = said.format(code=str(status) if asked == "HEAD" else code)
    assert str(failure.value) == f"s3://{broken.store.bucket}/{KEY} cannot be used: {told}."


def test_an_endpoint_that_redirects_every_request_is_reported(broken: Faulty) -> None:
    broken.proxy.breaks(Refuse(301, "MovedPermanently"), on="HEAD", times=10_000)
    with pytest.raises(
        LakeError, match=r"cannot be used: whoever answers there redirects every request and does not say"
    ):
        broken.store.manifest("things", DAY, KEY)


def test_endless_redirects_are_reported_even_if_boto3_wraps_the_error() -> None:
    with pytest.raises(LakeError, match="redirects every request"), explained("lake"):
        raise HTTPClientError(error=RecursionError("maximum recursion depth exceeded"))


@pytest.mark.parametrize("url", ["minio", "http://", "minio:9000"])
def test_an_endpoint_that_is_no_url_is_refused(stack: Stack, url: str) -> None:
    with pytest.raises(LakeError, match=r"^S3 cannot be used \(.*\): check KPI_S3_ENDPOINT_URL and AWS's variables\.$"):
        client(settings().model_copy(update={"s3_endpoint_url": url}))


def test_the_bucket_of_the_environment_overrides_that_of_the_pipeline(stack: Stack) -> None:
    instacart = shipped.PIPELINES["instacart"]

    def bucket(**named: object) -> str:
        return bucket_of(instacart, settings().model_copy(update={"s3_bucket": None, "s3_buckets": {}, **named}))

    assert bucket() == "kpi-instacart"
    assert bucket(s3_bucket="lake") == "lake"
    assert bucket(s3_bucket="lake", s3_buckets={"instacart": "own"}) == "own"
    assert bucket(s3_bucket="lake", s3_buckets={"shop": "own"}) == "lake"


# ---- reading


@pytest.mark.parametrize("size", few(3, [1, PART - 1, PART, PART + 1, 2 * PART, 5 * PART, len(BODY)]))
@pytest.mark.usefixtures("small_parts")
def test_an_object_arrives_whole_and_in_order(store: Store, size: int) -> None:
    body = (BODY * 2)[:size]
    source = store.read(put(store, KEY, body))
    blocks = list(source)
    assert b"".join(blocks) == body
    assert [len(block) for block in blocks] == [min(PART, size - at) for at in range(0, size, PART)]
    assert sha256_of(source.digests) == composed(body)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("body", [BODY, gzip.compress(BODY)], ids=["not packed", "packed"])
@pytest.mark.usefixtures("small_parts")
def test_bytes_are_read_as_they_are_stored_whatever_content_encoding_the_object_has(store: Store, body: bytes) -> None:
    store.objects.s3.put_object(Bucket=store.bucket, Key=KEY, Body=body, ContentEncoding="gzip")
    manifest = store.manifest("things", DAY, KEY)
    assert manifest is not None
    assert store.objects.s3.head_object(Bucket=store.bucket, Key=KEY)["ContentEncoding"] == "gzip"
    assert manifest.size_bytes == len(body)
    assert read(store, manifest) == body
    assert store.head(manifest, 50) == body[:50]


def test_head_fetches_only_the_start_of_an_object(broken: Faulty) -> None:
    manifest = put(broken.store, KEY, BODY)
    assert broken.store.head(manifest, 40_000) == BODY[:40_000]
    assert broken.store.head(manifest, 40_000, 90_000) == BODY[90_000:]
    assert [request.split()[-1] for request in broken.proxy.asked("GET")] == ["bytes=0-39999", "bytes=90000-99999"]
    assert broken.store.head(put(broken.store, KEY, b"short"), 40_000) == b"short"
    assert broken.store.head(put(broken.store, KEY, b""), 40_000) == b""


@pytest.mark.parametrize("cuts", [[1], [PART - 1, PART + 1], [PART, 2 * PART], [10, 20], [PART * 3 + 7, len(BODY) - 1]])
@pytest.mark.usefixtures("small_parts")
def test_several_passes_over_an_object_combine_to_its_bytes_and_digest(store: Store, cuts: list[int]) -> None:
    manifest = put(store, KEY, BODY)
    passes = [store.read(manifest, start, end) for start, end in pairwise([0, *cuts, len(BODY)])]
    assert b"".join(block for each in passes for block in each) == BODY
    digests = {number: digest for each in passes for number, digest in each.digests.items()}
    assert sum(len(each.digests) for each in passes) == len(digests) == 4
    assert sha256_of(digests) == composed(BODY)


@pytest.mark.usefixtures("small_parts")
def test_an_abandoned_read_fetches_no_more_parts(broken: Faulty) -> None:
    for _ in broken.store.read(put(broken.store, KEY, BODY)):
        break
    assert len(broken.proxy.asked("GET")) <= 1 + store_module.AHEAD


@pytest.mark.usefixtures("small_parts")
def test_an_abandoned_read_waits_for_no_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end, get = Event(), Event(), store.objects.get

    def slow(manifest: Manifest, start: int, end: int) -> bytes:
        if start:
            begun.set()
            assert may_end.wait(60)
        return get(manifest, start, end)

    monkeypatch.setattr(store.objects, "get", slow)
    blocks: Any = iter(store.read(put(store, KEY, BODY)))
    assert next(blocks) == BODY[:PART]
    assert begun.wait(60)
    end = Thread(target=blocks.close)  # as Python does, in any thread, with a pass that nobody has any more
    end.start()
    end.join(30)
    is_waiting = end.is_alive()
    may_end.set()
    end.join(60)
    assert not is_waiting


CHANGED = (
    rf"^s3://lake-\d+/{KEY} was replaced or removed after its manifest was recorded: "
    r"materialise the s3 asset 'things' of 2025-03-01 again, and what follows it\.$"
)


@pytest.mark.parametrize("body", [BODY[::-1], BODY[:-1], BODY + b"x", b"", b"x"])
@pytest.mark.usefixtures("small_parts")
def test_an_object_that_was_replaced_is_not_read(store: Store, body: bytes) -> None:
    manifest = put(store, KEY, BODY)
    put(store, KEY, body)
    with pytest.raises(LakeError, match=CHANGED):
        read(store, manifest)


def test_an_object_that_was_removed_is_not_read(store: Store) -> None:
    manifest = put(store, KEY, BODY)
    store.objects.s3.delete_object(Bucket=store.bucket, Key=KEY)
    with pytest.raises(LakeError, match=CHANGED):
        read(store, manifest)


@pytest.mark.parametrize("after", ["replaced", "removed"])
@pytest.mark.usefixtures("small_parts")
def test_an_object_that_changes_while_it_is_read_is_an_error(store: Store, after: str) -> None:
    body = BODY * 3
    blocks = iter(store.read(put(store, KEY, body)))
    assert next(blocks) == body[:PART]
    if after == "replaced":
        put(store, KEY, body[::-1])
    else:
        store.objects.s3.delete_object(Bucket=store.bucket, Key=KEY)
    with pytest.raises(LakeError, match=CHANGED):
        list(blocks)


def test_an_object_put_again_with_the_same_bytes_can_be_read(store: Store) -> None:
    manifest = put(store, KEY, BODY)
    put(store, KEY, BODY)
    assert read(store, manifest) == BODY


# ---- connections that break


@pytest.mark.parametrize(
    "fault", few(2, [Cut(0), Cut(1), Cut(20_000), HangUp(), Refuse(503), Refuse(500, "InternalError")])
)
@pytest.mark.usefixtures("small_parts")
def test_only_a_part_whose_connection_breaks_is_requested_again(broken: Faulty, fault: Fault) -> None:
    manifest = put(broken.store, KEY, BODY)
    broken.proxy.breaks(fault, on="bytes=30000-", times=2)
    source = broken.store.read(manifest)
    assert b"".join(source) == BODY
    assert sha256_of(source.digests) == composed(BODY)
    assert sorted(request.split("bytes=")[1] for request in broken.proxy.asked("GET")) == [
        "0-29999",
        *["30000-59999"] * 3,
        "60000-89999",
        "90000-99999",
    ]


@pytest.mark.usefixtures("small_parts")
def test_a_part_that_arrives_in_small_pieces_is_complete(broken: Faulty) -> None:
    manifest = put(broken.store, KEY, BODY)
    broken.proxy.breaks(Drip(3_000, 0.01), on="bytes=0-")
    assert read(broken.store, manifest) == BODY
    assert len(broken.proxy.asked("GET")) == 4


@pytest.mark.usefixtures("small_parts")
def test_a_part_that_never_arrives_is_an_error_after_all_attempts(broken: Faulty) -> None:
    manifest = put(broken.store, KEY, BODY)
    broken.proxy.breaks(Cut(20_000), on="bytes=30000-", times=100)
    with pytest.raises(
        LakeError,
        match=rf"^s3://{broken.store.bucket}/{KEY} cannot be used: the connection to the store breaks off: look at the",
    ):
        read(broken.store, manifest)
    assert len(broken.proxy.asked("bytes=30000-")) == s3_objects.ATTEMPTS


def test_a_store_that_stays_busy_is_an_error_after_all_attempts(broken: Faulty) -> None:
    manifest = put(broken.store, KEY, BODY)
    broken.proxy.breaks(Refuse(503), on="GET", times=100)
    with pytest.raises(LakeError, match=rf"^s3://{broken.store.bucket}/{KEY} cannot be used: the store takes no more"):
        read(broken.store, manifest)
    assert len(broken.proxy.asked("GET")) == 5
    broken.proxy.breaks(Refuse(503), on="HEAD", times=2)
    assert broken.store.manifest("things", DAY, KEY) == manifest


@pytest.mark.parametrize("fault", [Refuse(503), Refuse(500, "InternalError"), HangUp(), Cut(20)])
def test_a_listing_is_asked_for_again_as_well(broken: Faulty, fault: Fault) -> None:
    put(broken.store, KEY, BODY)
    broken.proxy.breaks(fault, on="list-type=2", times=2)
    assert [entry.key for entry in broken.store.entries("raw/things/")] == [KEY]
    assert len(broken.proxy.asked("list-type=2")) == 3


@pytest.mark.usefixtures("small_parts")
def test_only_a_part_that_is_too_short_is_requested_again(broken: Faulty) -> None:
    manifest = put(broken.store, KEY, BODY)
    broken.proxy.breaks(Short(29_999), on="bytes=30000-", times=2)
    assert read(broken.store, manifest) == BODY
    assert len(broken.proxy.asked("bytes=30000-")) == 3
    assert len(broken.proxy.asked("GET")) == 6


@pytest.mark.usefixtures("small_parts")
def test_a_part_that_is_always_too_short_is_reported(broken: Faulty) -> None:
    manifest = put(broken.store, KEY, BODY)
    broken.proxy.breaks(Short(29_999), on="bytes=30000-", times=100)
    with pytest.raises(LakeError) as failure:
        read(broken.store, manifest)
    assert str(failure.value) == (
        f"s3://{broken.store.bucket}/{KEY} cannot be read, 4 times in a row: the answer to 30,000 bytes from byte "
        "30,000 on ended after 29,999: look at the store, and at what stands between it and here."
    )


# ---- parts that come too slowly


@pytest.fixture
def impatient(broken: Faulty, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    """A store that requires 60,000 bytes a second, which is a part of 30,000 in half a second."""
    monkeypatch.setattr(objects, "LEAST_SECONDS", 0.2)
    return Faulty(Store.on_s3(broken.store.objects.s3, broken.store.bucket, least_rate=60_000), broken.proxy)


@pytest.mark.usefixtures("small_parts")
def test_only_a_part_that_arrives_too_slowly_is_requested_again(impatient: Faulty) -> None:
    manifest = put(impatient.store, KEY, BODY)
    impatient.proxy.breaks(Drip(3_000, 0.2), on="bytes=30000-", times=2)  # 15,000 bytes a second
    begun = perf_counter()
    assert read(impatient.store, manifest) == BODY
    assert 1.0 < perf_counter() - begun < 4.0
    assert len(impatient.proxy.asked("bytes=30000-")) == 3
    assert len(impatient.proxy.asked("GET")) == 6


@pytest.mark.usefixtures("small_parts")
def test_a_part_that_always_arrives_too_slowly_is_an_error_that_names_the_setting(impatient: Faulty) -> None:
    manifest = put(impatient.store, KEY, BODY)
    impatient.proxy.breaks(Drip(3_000, 0.2), on="bytes=30000-", times=100)
    with pytest.raises(LakeError) as failure:
        read(impatient.store, manifest)
    assert re.fullmatch(
        rf"s3://{impatient.store.bucket}/{KEY} cannot be read, 4 times in a row: [\d,]+ of the 30,000 bytes from byte "
        r"30,000 on came in \d s, slower than 60,000 bytes a second \(KPI_S3_LEAST_RATE\)\.",
        str(failure.value),
    )
    assert len(impatient.proxy.asked("bytes=30000-")) == s3_objects.ATTEMPTS


def test_a_start_of_an_object_that_arrives_too_slowly_is_an_error(impatient: Faulty) -> None:
    manifest = put(impatient.store, KEY, BODY)
    impatient.proxy.breaks(Drip(1, 0.05), on="GET", times=100)
    with pytest.raises(
        LakeError, match=r"cannot be read, 4 times in a row: \d+ of the 50 bytes from byte 7 on came in"
    ):
        impatient.store.head(manifest, 50, 7)
    assert len(impatient.proxy.asked("GET")) == s3_objects.ATTEMPTS


def test_parts_share_connections(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PART", 1_000)
    manifest = put(store, KEY, BODY)
    opened: list[object] = []
    connect = HTTPConnection.connect
    monkeypatch.setattr(HTTPConnection, "connect", lambda self: (opened.append(self), connect(self))[1])
    assert read(store, manifest) == BODY
    assert len(opened) <= store_module.AHEAD


@pytest.mark.parametrize(
    ("code", "said"),
    [("AccessDenied", "the store knows the credentials"), ("ExpiredToken", "the credentials have expired: get new")],
)
def test_a_right_that_is_lost_during_a_read_is_reported(broken: Faulty, code: str, said: str) -> None:
    manifest = put(broken.store, KEY, BODY)
    broken.proxy.breaks(Refuse(403, code), on="GET")
    with pytest.raises(LakeError, match=rf"access is refused \({code}\): {said}"):
        read(broken.store, manifest)


def test_a_refusal_is_not_taken_for_a_missing_object(broken: Faulty) -> None:
    broken.proxy.breaks(Refuse(403, "AccessDenied"), on="HEAD")
    with pytest.raises(LakeError, match=r"access is refused \(403\)"):
        broken.store.manifest("things", DAY, KEY)
    with pytest.raises(ClientError):
        broken.store.objects.s3.get_object(Bucket=broken.store.bucket, Key=KEY)
