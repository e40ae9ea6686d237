"""Features of AWS that the embedded store lacks: conditional writes and reads, and versions, on the server of moto."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import boto3
import pytest

from kpi_assets.settings import Settings
from kpi_assets.sources import s3_objects
from kpi_assets.sources.landing import land, land_body
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.s3_objects import client
from kpi_assets.sources.store import Store
from kpi_assets_tests.s3_proxy import Proxy, Refuse, faulty
from kpi_assets_tests.sources.conftest import DAY, put

KEY = "raw/things/load_date=2025-03-01/things.csv"
BUCKET = "lake"


@pytest.fixture
def proxy(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "moto")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "moto")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    with faulty(moto_endpoint) as between:
        yield between


@pytest.fixture
def store(proxy: Proxy) -> Iterator[Store]:
    s3 = client(Settings(s3_endpoint_url=proxy.url))
    s3.create_bucket(Bucket=BUCKET)
    yield Store.on_s3(s3, BUCKET)
    for version in s3.list_object_versions(Bucket=BUCKET).get("Versions", []):
        s3.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    for marker in s3.list_object_versions(Bucket=BUCKET).get("DeleteMarkers", []):
        s3.delete_object(Bucket=BUCKET, Key=marker["Key"], VersionId=marker["VersionId"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture(params=["in one request", "in parts"])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "things.csv"
    path.write_bytes(b"thing_id\n" + b"1\n" * (3 << 20))
    if request.param == "in parts":
        monkeypatch.setattr(s3_objects, "UPLOAD_PART", 5 << 20)
    return path


def test_the_second_of_two_concurrent_landings_is_refused(store: Store, proxy: Proxy, file: Path) -> None:
    put(store, KEY, b"the first")
    proxy.breaks(
        Refuse(404, "NotFound"), on=f"HEAD /{BUCKET}/{KEY}"
    )  # the second writer looks before the first one writes
    with pytest.raises(
        LakeError,
        match=rf"^s3://{BUCKET}/{KEY} was landed by someone else just now: compare the two before --replace\.$",
    ):
        land(store, file, KEY, replace=False)
    manifest = store.manifest("things", DAY, KEY)
    assert manifest is not None
    assert b"".join(store.read(manifest)) == b"the first"
    assert store.objects.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_a_conflict_of_two_writers_has_the_same_error(store: Store, proxy: Proxy, tmp_path: Path) -> None:
    (tmp_path / "things.csv").write_bytes(b"thing_id\n")
    proxy.breaks(Refuse(409, "ConditionalRequestConflict"), on=f"PUT /{BUCKET}/{KEY}")
    with pytest.raises(LakeError, match="was landed by someone else just now"):
        land(store, tmp_path / "things.csv", KEY, replace=False)


def test_landing_with_replace_replaces_the_object(store: Store, file: Path) -> None:
    assert land(store, file, KEY, replace=False) == "landed"
    file.write_bytes(file.read_bytes() + b"2\n")
    assert land(store, file, KEY, replace=True) == "replaced"
    assert land(store, file, KEY, replace=False) == "unchanged"


def test_every_read_requests_the_pinned_etag(store: Store) -> None:
    manifest = put(store, KEY, b"thing_id\n")
    sent: list[str] = []
    store.objects.s3.meta.events.register(
        "before-send.s3.GetObject", lambda request, **_: sent.append(request.headers["If-Match"])
    )
    assert b"".join(store.read(manifest)) == b"thing_id\n"
    assert [each if isinstance(each, str) else each.decode() for each in sent] == [manifest.etag]
    put(store, KEY, b"THING_ID\n")
    with pytest.raises(LakeError, match="was replaced or removed after its manifest was recorded"):
        list(store.read(manifest))


def test_the_pinned_version_is_read_in_a_bucket_with_versions(store: Store) -> None:
    store.objects.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = put(store, KEY, b"first")
    again = put(store, KEY, b"first")
    second = put(store, KEY, b"second")
    assert None not in {first.version_id, again.version_id, second.version_id}
    assert len({first.hash, again.hash, second.hash}) == 3
    store.objects.s3.delete_object(Bucket=BUCKET, Key=KEY)
    assert store.manifest("things", DAY, KEY) is None
    assert b"".join(store.read(first)) == b"first"
    assert b"".join(store.read(second)) == b"second"
    store.objects.s3.delete_object(Bucket=BUCKET, Key=KEY, VersionId=first.version_id)
    with pytest.raises(LakeError, match="was replaced or removed after its manifest was recorded"):
        list(store.read(first))


@pytest.mark.parametrize("part", [16 << 20, 5 << 20])
def test_an_answer_that_comes_second_leaves_the_first_as_it_is(
    store: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(s3_objects, "UPLOAD_PART", part)
    body = b"2" * (6 << 20)
    words = {"content_type": "application/json", "metadata": {"records": "2"}}
    put(store, KEY, b"the first")
    proxy.breaks(Refuse(404, "NotFound"), on=f"HEAD /{BUCKET}/{KEY}")
    assert land_body(store, BytesIO(body), len(body), KEY, replace=False, **words) == "unchanged"
    there = store.manifest("", DAY, KEY)
    assert there is not None
    assert store.head(there, 100) == b"the first"
    assert land_body(store, BytesIO(body), len(body), KEY, replace=False, **words) == "unchanged", "it is seen"
    assert land_body(store, BytesIO(body), len(body), KEY, replace=True, **words) == "replaced"
    there = store.manifest("", DAY, KEY)
    assert there is not None
    assert (there.size_bytes, store.metadata(there)) == (6 << 20, {"records": "2"})
