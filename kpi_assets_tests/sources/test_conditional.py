"""Conditional writes and reads, and versions, as AWS has them."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from kpi_assets.sources import s3_objects
from kpi_assets.sources.landing import land, land_body
from kpi_assets.sources.objects import ChangedError
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store
from kpi_assets_tests.s3_proxy import Proxy, Refuse
from kpi_assets_tests.sources.conftest import DAY, Faulty, put

KEY = "raw/things/load_date=2025-03-01/things.csv"


@pytest.fixture
def proxy(broken: Faulty) -> Proxy:
    return broken.proxy


@pytest.fixture
def through(broken: Faulty) -> Store:
    """The bucket behind the proxy."""
    return broken.store


@pytest.fixture(params=["in one request", "in parts"])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "things.csv"
    path.write_bytes(b"thing_id\n" + b"1\n" * (3 << 20))
    if request.param == "in parts":
        monkeypatch.setattr(s3_objects, "UPLOAD_PART", 5 << 20)
    return path


def test_the_second_of_two_concurrent_landings_is_refused(through: Store, proxy: Proxy, file: Path) -> None:
    put(through, KEY, b"the first")
    proxy.breaks(
        Refuse(404, "NotFound"), on=f"HEAD /{through.bucket}/{KEY}"
    )  # the second writer looks before the first one writes
    with pytest.raises(
        LakeError,
        match=rf"^s3://{through.bucket}/{KEY} was landed by someone else just now: compare the two before --replace\.$",
    ):
        land(through, file, KEY, replace=False)
    manifest = through.manifest("things", DAY, KEY)
    assert manifest is not None
    assert b"".join(through.read(manifest)) == b"the first"
    assert through.objects.s3.list_multipart_uploads(Bucket=through.bucket).get("Uploads", []) == []


def test_a_conflict_of_two_writers_has_the_same_error(through: Store, proxy: Proxy, tmp_path: Path) -> None:
    (tmp_path / "things.csv").write_bytes(b"thing_id\n")
    proxy.breaks(Refuse(409, "ConditionalRequestConflict"), on=f"PUT /{through.bucket}/{KEY}")
    with pytest.raises(LakeError, match="was landed by someone else just now"):
        land(through, tmp_path / "things.csv", KEY, replace=False)


def test_landing_with_replace_replaces_the_object(through: Store, file: Path) -> None:
    assert land(through, file, KEY, replace=False) == "landed"
    file.write_bytes(file.read_bytes() + b"2\n")
    assert land(through, file, KEY, replace=True) == "replaced"
    assert land(through, file, KEY, replace=False) == "unchanged"


def test_every_read_requests_the_pinned_etag(through: Store) -> None:
    manifest = put(through, KEY, b"thing_id\n")
    sent: list[str] = []
    through.objects.s3.meta.events.register(
        "before-send.s3.GetObject", lambda request, **_: sent.append(request.headers["If-Match"])
    )
    assert b"".join(through.read(manifest)) == b"thing_id\n"
    assert [each if isinstance(each, str) else each.decode() for each in sent] == [manifest.etag]
    put(through, KEY, b"THING_ID\n")
    with pytest.raises(LakeError, match="was replaced or removed after its manifest was recorded"):
        list(through.read(manifest))


def test_the_pinned_version_is_read_in_a_bucket_with_versions(through: Store) -> None:
    through.objects.s3.put_bucket_versioning(Bucket=through.bucket, VersioningConfiguration={"Status": "Enabled"})
    first = put(through, KEY, b"first")
    again = put(through, KEY, b"first")
    second = put(through, KEY, b"second")
    assert None not in {first.version_id, again.version_id, second.version_id}
    assert len({first.hash, again.hash, second.hash}) == 3
    through.objects.s3.delete_object(Bucket=through.bucket, Key=KEY)
    assert through.manifest("things", DAY, KEY) is None
    assert b"".join(through.read(first)) == b"first"
    assert b"".join(through.read(second)) == b"second"
    through.objects.s3.delete_object(Bucket=through.bucket, Key=KEY, VersionId=first.version_id)
    with pytest.raises(LakeError, match="was replaced or removed after its manifest was recorded"):
        list(through.read(first))


@pytest.mark.parametrize("part", [16 << 20, 5 << 20])
def test_an_answer_that_comes_second_leaves_the_first_as_it_is(
    through: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(s3_objects, "UPLOAD_PART", part)
    body = b"2" * (6 << 20)
    words = {"content_type": "application/json", "metadata": {"records": "2"}}
    put(through, KEY, b"the first")
    proxy.breaks(Refuse(404, "NotFound"), on=f"HEAD /{through.bucket}/{KEY}")
    assert land_body(through, BytesIO(body), len(body), KEY, replace=False, **words) == "unchanged"
    there = through.manifest("", DAY, KEY)
    assert there is not None
    assert through.head(there, 100) == b"the first"
    assert land_body(through, BytesIO(body), len(body), KEY, replace=False, **words) == "unchanged", "it is seen"
    assert land_body(through, BytesIO(body), len(body), KEY, replace=True, **words) == "replaced"
    there = through.manifest("", DAY, KEY)
    assert there is not None
    assert (there.size_bytes, through.metadata(there)) == (6 << 20, {"records": "2"})


def test_an_object_is_read_as_it_was_listed_in_one_request(through: Store, proxy: Proxy) -> None:
    put(through, KEY, b"thing_id")
    [entry] = through.entries("raw/")
    proxy.requests.clear()
    for listed in (entry, replace(entry, etag=entry.etag.strip('"'))):  # some stores list it without its quotes
        assert through.head(through.listed(listed), 100) == b"thing_id"
    assert [request.split(" ")[0] for request in proxy.requests] == ["GET", "GET"]
    for body in (b"thing_no", b"thing_id,name"):
        put(through, KEY, body)
        with pytest.raises(ChangedError):
            through.head(through.listed(entry), 100)
    through.objects.s3.delete_object(Bucket=through.bucket, Key=KEY)
    with pytest.raises(ChangedError):
        through.head(through.listed(entry), 100)
