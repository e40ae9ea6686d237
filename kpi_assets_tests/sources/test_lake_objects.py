"""A Store keeps its promises on Azure and in a folder: what is pinned, what is put, what a broken connection does."""

import hashlib
import itertools
import random
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from time import perf_counter

import pytest

from kpi_assets.errors import UserError
from kpi_assets.model.manifest import Manifest
from kpi_assets.settings import Settings
from kpi_assets.sources import lake as lake_module
from kpi_assets.sources import lake_objects, objects
from kpi_assets.sources import store as store_module
from kpi_assets.sources.landing import land, land_body
from kpi_assets.sources.objects import TakenError
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store, bucket_of, sha256_of
from kpi_assets_tests import shipped
from kpi_assets_tests.s3_proxy import Cut, Drip, Fault, HangUp, Proxy, Refuse, Short, faulty
from kpi_assets_tests.sources import lakes
from kpi_assets_tests.sources.conftest import DAY

KEY = "raw/things/load_date=2025-03-01/things.csv"
BODY = random.Random(1).randbytes(100_000)
PART = 30_000  # bytes: BODY has four parts, the last one shorter
_numbers = itertools.count(1)

pytestmark = pytest.mark.process  # Azurite


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with lakes.azurite(tmp_path_factory.mktemp("azurite")) as endpoint:
        yield endpoint


@pytest.fixture
def container(azurite: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a container of this test only."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", lakes.KEY)
    monkeypatch.setattr(lake_module, "FIRST_PAUSE", 0.001)
    name = f"lake-{next(_numbers)}"
    lakes.make_container(azurite, name)
    return f"az://{lakes.ACCOUNT}/{name}"


@pytest.fixture(params=["az", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "file":
        (tmp_path / "lake").mkdir()
        return Store.open(Settings(), f"file://{tmp_path}/lake")
    settings = Settings(azure_endpoint_url=request.getfixturevalue("azurite"))
    return Store.open(settings, request.getfixturevalue("container"))


@pytest.fixture
def proxy(azurite: str) -> Iterator[Proxy]:
    with faulty(azurite) as between:
        yield between


@pytest.fixture
def broken(proxy: Proxy, container: str) -> Store:
    """A container behind a proxy that injects faults."""
    return Store.open(Settings(azure_endpoint_url=proxy.url), container)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PART", PART)


def put(store: Store, key: str, body: bytes) -> Manifest:
    store.put(key, body)
    manifest = store.manifest("things", DAY, key)
    assert manifest is not None
    return manifest


def read(store: Store, manifest: Manifest) -> bytes:
    return b"".join(store.read(manifest))


def composed(body: bytes) -> str:
    """Return the sha256 of a single part, or the sha256 of the digests of several parts."""
    parts = [hashlib.sha256(body[at : at + PART]) for at in range(0, len(body), PART)]
    return (parts[0] if len(parts) == 1 else hashlib.sha256(b"".join(part.digest() for part in parts))).hexdigest()


# ---- the place


def test_the_place_that_the_settings_name_counts_before_the_bucket() -> None:
    instacart = shipped.PIPELINES["instacart"]
    blobs, other = "az://account/blobs", "file:///lake"
    assert bucket_of(instacart, Settings(lake_url=blobs, s3_bucket="lake")) == blobs
    assert bucket_of(instacart, Settings(lake_url="s3://lake/")) == "lake"
    assert bucket_of(instacart, Settings(lake_url=blobs, lake_urls={"instacart": other})) == other
    assert bucket_of(instacart, Settings(lake_url=blobs, s3_buckets={"instacart": "own"})) == "own"
    assert bucket_of(instacart, Settings(lake_urls={"shop": other})) == "kpi-instacart"


# ---- manifests and listings


def test_a_manifest_has_the_state_of_its_object(store: Store) -> None:
    manifest = put(store, KEY, b"thing_id\n1\n")
    assert (manifest.object, manifest.load_date, manifest.bucket, manifest.key) == ("things", DAY, store.bucket, KEY)
    assert (manifest.size_bytes, manifest.version_id) == (11, None)
    assert manifest.url == f"{store.bucket}/{KEY}"
    assert manifest.last_modified.tzinfo is not None
    [entry] = store.entries("raw/")
    assert (entry.key, entry.size_bytes, entry.etag) == (KEY, 11, manifest.etag)


@pytest.mark.parametrize("key", [KEY, "raw", "raw/things/", "no such/ü ß.csv"])
def test_the_manifest_of_a_missing_object_is_none(store: Store, key: str) -> None:
    store.put(f"{KEY}.other", b"x")
    assert store.manifest("things", DAY, key) is None


def test_a_container_that_is_missing_is_an_error_and_not_a_missing_object(azurite: str, container: str) -> None:
    nowhere = Store.open(Settings(azure_endpoint_url=azurite), f"az://{lakes.ACCOUNT}/nowhere")
    said = "cannot be used: the container does not exist: create it, or correct KPI_LAKE_URL"
    with pytest.raises(LakeError, match=rf"^az://{lakes.ACCOUNT}/nowhere/{KEY} {said}\.$"):
        nowhere.manifest("things", DAY, KEY)
    with pytest.raises(LakeError, match=said):
        list(nowhere.entries("raw/"))
    with pytest.raises(LakeError, match=said):
        nowhere.put(KEY, b"x", only_new=True)


# ---- reading


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, len(BODY)])
@pytest.mark.usefixtures("small_parts")
def test_an_object_arrives_whole_and_in_order(store: Store, size: int) -> None:
    body = BODY[:size]
    manifest = put(store, KEY, body)
    source = store.read(manifest)
    assert [bytes(block) for block in source] == [body[at : at + PART] for at in range(0, size, PART)]
    digest = sha256_of(source.digests)
    assert digest == (composed(body) if size else hashlib.sha256().hexdigest())
    assert store.proven(manifest, source.digests) == digest
    assert store.head(manifest, 40_000) == body[:40_000]
    assert store.head(manifest, 40_000, 90_000) == body[90_000:]


@pytest.mark.parametrize("body", [BODY[::-1], BODY[:-1], BODY + b"x", b"", b"x", None])
@pytest.mark.usefixtures("small_parts")
def test_an_object_that_was_replaced_or_removed_is_not_read(store: Store, body: bytes | None) -> None:
    manifest = put(store, KEY, BODY)
    blocks = iter(store.read(manifest, 0, PART + 1))
    assert next(blocks) == BODY[:PART]
    store.objects.delete(KEY)
    if body is not None:
        store.put(KEY, body)
    for attempt in (lambda: read(store, manifest), lambda: store.head(manifest, 10, 90_000)):
        with pytest.raises(LakeError) as failure:
            attempt()
        assert str(failure.value) == (
            f"{store.bucket}/{KEY} was replaced or removed after its manifest was recorded: materialise the s3 asset "
            "'things' of 2025-03-01 again, and what follows it."
        )


@pytest.mark.parametrize("fault", [Cut(0), Cut(1), Cut(20_000), HangUp(), Refuse(503, "ServerBusy"), Short(29_999)])
@pytest.mark.usefixtures("small_parts")
def test_only_a_part_whose_connection_breaks_is_requested_again(broken: Store, proxy: Proxy, fault: Fault) -> None:
    manifest = put(broken, KEY, BODY)
    proxy.breaks(fault, on="bytes=30000-", times=2)
    source = broken.read(manifest)
    assert b"".join(source) == BODY
    assert sha256_of(source.digests) == composed(BODY)
    for start in ("bytes=0-", "bytes=60000-", "bytes=90000-"):
        assert len(proxy.asked(start)) == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Cut(0), "cannot be used: the connection to the store breaks off: look at the store and at what stands"),
        (Short(29_999), "cannot be read, 4 times in a row: the answer to 30,000 bytes from byte 30,000 on ended after"),
        (Refuse(503, "ServerBusy"), r"cannot be used: the store takes no more requests for now \(ServerBusy\)"),
        (Refuse(403, "AuthorizationPermissionMismatch"), "cannot be used: access is refused .*Storage Blob Data Contr"),
    ],
)
@pytest.mark.usefixtures("small_parts")
def test_a_part_that_never_arrives_is_an_error_after_all_attempts(
    broken: Store, proxy: Proxy, fault: Fault, said: str
) -> None:
    manifest = put(broken, KEY, BODY)
    proxy.breaks(fault, on="bytes=30000-", times=1000)
    with pytest.raises(LakeError, match=rf"^{broken.bucket}/{KEY} {said}"):
        read(broken, manifest)


@pytest.mark.nightly
@pytest.mark.usefixtures("small_parts")
def test_a_part_that_arrives_too_slowly_is_requested_again(
    broken: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "LEAST_SECONDS", 0.2)
    broken.objects.least_rate = 60_000  # a part of 30,000 in half a second
    manifest = put(broken, KEY, BODY)
    proxy.breaks(Drip(3_000, 0.2), on="bytes=30000-", times=2)
    begun = perf_counter()
    assert read(broken, manifest) == BODY
    assert 1.0 < perf_counter() - begun < 6.0
    assert len(proxy.asked("bytes=30000-")) == 3
    proxy.breaks(Drip(3_000, 0.2), on="bytes=30000-", times=100)
    with pytest.raises(LakeError, match=r"cannot be read, 4 times in a row: .* slower than 60,000 bytes a second"):
        read(broken, manifest)


# ---- landing


@pytest.fixture(params=["in one request", "in parts"])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "things.csv"
    path.write_bytes(BODY)
    if request.param == "in parts":
        monkeypatch.setattr(lake_objects, "MOST_BYTES", PART)
    return path


def test_a_landed_object_stays_unless_it_is_replaced(store: Store, file: Path) -> None:
    done: list[int] = []
    assert land(store, file, KEY, replace=False, content_type="text/csv", on_progress=done.append) == "landed"
    assert done[-1] == len(BODY)
    first = store.manifest("things", DAY, KEY)
    assert first is not None
    assert land(store, file, KEY, replace=False) == "unchanged"
    file.write_bytes(BODY[::-1])
    with pytest.raises(UserError) as failure:
        land(store, file, KEY, replace=False)
    assert str(failure.value).startswith(f"{store.bucket}/{KEY} holds other bytes than {file}")
    assert read(store, first) == BODY
    assert land(store, file, KEY, replace=True) == "replaced"
    second = store.manifest("things", DAY, KEY)
    assert second is not None
    assert read(store, second) == BODY[::-1]
    assert [entry.key for entry in store.entries("")] == [KEY]
    assert [entry.key for entry in store.objects.lake.entries("")] == [KEY]


def test_the_second_of_two_concurrent_landings_is_refused(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = put(store, KEY, b"the first")
    monkeypatch.setattr(Store, "manifest", lambda *_: None)  # the second looked before the first wrote
    with pytest.raises(TakenError) as failure:
        land(store, file, KEY, replace=False)
    assert str(failure.value) == (
        f"{store.bucket}/{KEY} was landed by someone else just now: compare the two before --replace."
    )
    assert read(store, manifest) == b"the first"
    assert [entry.key for entry in store.objects.lake.entries("")] == [KEY]


@pytest.mark.usefixtures("file")
def test_what_was_written_beside_an_object_is_read_with_it(store: Store) -> None:
    words = {"kpi-records": "7", "kpi-asked-at": "2025-03-01T00:00:00+00:00"}
    outcome = land_body(store, BytesIO(BODY), len(BODY), KEY, content_type="text/csv", metadata=words, replace=False)
    manifest = store.manifest("things", DAY, KEY)
    assert manifest is not None
    assert (outcome, store.metadata(manifest), read(store, manifest)) == ("landed", words, BODY)
    assert store.metadata(put(store, "raw/other", b"x")) == {}
    assert sorted(entry.key for entry in store.entries("")) == ["raw/other", KEY]


def test_an_object_is_removed_at_most_once(store: Store) -> None:
    put(store, KEY, b"x")
    store.objects.delete(KEY)
    store.objects.delete(KEY)
    assert store.manifest("things", DAY, KEY) is None


# ---- refusals of Azure


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (
            403,
            "AuthenticationFailed",
            "access is refused (AuthenticationFailed): Azure does not accept",
        ),
        (
            403,
            "KeyBasedAuthenticationNotPermitted",
            "access is refused (KeyBasedAuthenticationNotPermitted): the",
        ),
        (409, "BlobArchived", "the object is archived (BlobArchived): rehydrate it"),
        (500, "InternalError", "the store failed at it and does not say why (InternalError): look whether its disk is"),
        (507, "InsufficientStorage", "the store has no room left (InsufficientStorage): make room there"),
        (400, "Whatever", "Azure answered Whatever: look it up"),
    ],
)
def test_the_reason_of_a_refusal_is_reported(broken: Store, proxy: Proxy, status: int, code: str, said: str) -> None:
    manifest = put(broken, KEY, BODY)
    proxy.breaks(Refuse(status, code), on=KEY, times=1000)
    for attempt in (lambda: broken.head(manifest, 10), lambda: broken.put(KEY, b"x")):
        with pytest.raises(LakeError) as failure:
            attempt()
        assert str(failure.value).startswith(f"{broken.bucket}/{KEY} cannot be used: {said}"), str(failure.value)
        assert failure.value.transient == (status >= 500)


def test_whoever_may_delete_nothing_lands_a_large_file_and_leaves_its_parts_aside(
    azurite: str, container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the tasks of deploy/terraform, whose account has a rule that removes what is left."""
    monkeypatch.setattr(lake_objects, "MOST_BYTES", PART)
    file = tmp_path / "things.csv"
    file.write_bytes(BODY)
    everything = Store.open(Settings(azure_endpoint_url=azurite), container).objects
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", lakes.signature(container.rpartition("/")[2], "rcwl"))
    store = Store.open(Settings(azure_endpoint_url=azurite), container)
    assert land(store, file, KEY, replace=False) == "landed"
    assert store.objects.get(manifest_of(store), 0, len(BODY)) == BODY
    assert [entry.key for entry in store.entries("")] == [KEY]
    [left] = [entry.key for entry in everything.lake.entries(lake_objects.UPLOADS)]
    assert everything.lake.get(left) == BODY
    with pytest.raises(LakeError, match="access is refused"):
        store.objects.delete(KEY)


def manifest_of(store: Store) -> Manifest:
    found = store.manifest("things", DAY, KEY)
    assert found is not None
    return found


def test_wrong_credentials_are_reported_without_showing_them(
    azurite: str, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMg==")
    stranger = Store.open(Settings(azure_endpoint_url=azurite), container)
    for attempt in (lambda: stranger.manifest("things", DAY, KEY), lambda: list(stranger.entries("raw/"))):
        with pytest.raises(LakeError, match="cannot be used: access is refused") as failure:
            attempt()
        assert "aHVudGVyMg" not in repr(failure.value)
        assert "\n" not in str(failure.value)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "not base64!")
    with pytest.raises(LakeError, match="the key in AZURE_STORAGE_ACCOUNT_KEY is not base64: correct it") as failure:
        Store.open(Settings(azure_endpoint_url=azurite), container)
    assert "not base64!" not in repr(failure.value)


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://127.0.0.1:9", r"nobody listens at 127\.0\.0\.1:9: start the store, or correct KPI_LAKE_URL or KPI_AZ"),
        ("http://nowhere.invalid", r"the name nowhere\.invalid is known to no name server that this machine asks"),
    ],
)
def test_a_store_that_is_not_reached_is_reported(container: str, endpoint: str, said: str) -> None:
    lost = Store.open(Settings(azure_endpoint_url=endpoint), container)
    with pytest.raises(LakeError, match=f"^{container}/{KEY} cannot be used: {said}") as failure:
        lost.manifest("things", DAY, KEY)
    assert failure.value.transient


def test_an_endpoint_that_speaks_no_tls_is_reported(azurite: str, container: str) -> None:
    settings = Settings(azure_endpoint_url=azurite.replace("http://", "https://"))
    with pytest.raises(LakeError, match="whoever answers there speaks no TLS: write http instead of https"):
        Store.open(settings, container).manifest("things", DAY, KEY)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Refuse(409, "ContainerBeingDeleted"), "the container does not exist"),
        (Refuse(409, "BlobImmutableDueToPolicy"), "Azure answered BlobImmutableDueToPolicy: look it up"),
        (HangUp(), "the connection to 127.0.0.1:"),
    ],
)
def test_only_an_object_that_is_there_is_taken_for_one(broken: Store, proxy: Proxy, fault: Fault, said: str) -> None:
    """A lander that is told that its object is there goes on to the next one."""
    proxy.breaks(fault, on="PUT", times=100)
    with pytest.raises(LakeError, match=rf"^{broken.bucket}/{KEY} cannot be used: {said}"):
        broken.objects.lake.create(KEY, b"x")
    with pytest.raises(LakeError, match=rf"^{broken.bucket}/{KEY} cannot be used: {said}"):
        broken.put(KEY, b"x", only_new=True)


def test_an_object_whose_answer_is_lost_is_there(broken: Store, proxy: Proxy) -> None:
    assert broken.objects.lake.create(KEY, b"x")
    proxy.breaks(Refuse(503, "ServerBusy"), on="PUT", times=2)
    assert not broken.objects.lake.create(KEY, b"x")
    assert broken.objects.lake.create(f"{KEY}.2", b"x")
