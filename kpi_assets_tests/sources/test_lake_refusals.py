"""Each failure of obstore becomes one sentence with the remedy, and none shows a secret."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kpi_assets import lake_places
from kpi_assets.lake_places import Place, object_url
from kpi_assets.settings import Settings
from kpi_assets.sources import lake as lake_module
from kpi_assets.sources.lake import Lake, open_lake
from kpi_assets.sources.refusals import LakeError
from kpi_assets_tests.s3_proxy import Fault, HangUp, Refuse, faulty

BUCKET = "lake"
KEY = "raw/things.csv"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-never-shown")
    monkeypatch.setattr(lake_module, "FIRST_PAUSE", 0.001)


# ---- addresses


@pytest.mark.parametrize(
    ("text", "place", "bucket"),
    [
        ("lake", Place("s3", "lake"), "lake"),
        ("s3://lake", Place("s3", "lake"), "lake"),
        ("s3://lake/", Place("s3", "lake"), "lake"),
        ("az://account/my-blobs", Place("az", "my-blobs", "account"), "az://account/my-blobs"),
        ("az://account/my-blobs/", Place("az", "my-blobs", "account"), "az://account/my-blobs"),
        ("file:///data/lake/", Place("file", "/data/lake"), "file:///data/lake"),
    ],
)
def test_an_address_is_read(text: str, place: Place, bucket: str) -> None:
    assert lake_places.parse(text) == place
    assert place.bucket == bucket
    assert object_url(bucket, "a/b") == f"{place.url}/a/b"


@pytest.mark.parametrize(
    "text",
    [
        *("", "s3://", "s3://lake/folder", "s3://key:secret@lake", "az://account", "az://Account/blobs", "file://lake"),
        *("az://account/blobs?sig=secret", "az://account/b", "az://account/my--blobs", "https://lake", "file:///a?b"),
    ],
)
def test_what_is_no_address_is_refused_without_being_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lake_places.parse(text) is None
    for words in ({"lake_url": text}, {"lake_urls": {"shop": text}}):
        with pytest.raises(ValueError, match=r"write s3://bucket, az://account/container or file:///folder") as failure:
            Settings(**words)  # type: ignore[arg-type]
        assert "secret" not in failure.value.errors()[0]["msg"]  # type: ignore[attr-defined]


def test_a_bucket_alone_is_no_address_of_the_setting() -> None:
    with pytest.raises(ValueError, match="write s3://bucket"):
        Settings(lake_url="lake")


def test_the_embedded_store_is_used_where_no_place_is_named() -> None:
    nothing = {"lake_url": None, "lake_urls": {}, "s3_bucket": None, "s3_buckets": {}, "s3_endpoint_url": None}
    assert Settings(**nothing).embedded_s3  # type: ignore[arg-type]
    for words in ({"lake_url": "az://account/blobs"}, {"lake_urls": {"shop": "file:///lake"}}, {"s3_bucket": "lake"}):
        assert not Settings(**{**nothing, **words}).embedded_s3  # type: ignore[arg-type]
    assert not Settings(**{**nothing, "lake_url": "az://account/blobs"}).may_use_s3  # type: ignore[arg-type]
    assert Settings(**{**nothing, "lake_urls": {"shop": "s3://lake"}}).may_use_s3  # type: ignore[arg-type]


# ---- refusals of S3


REQUESTS: dict[str, Callable[[Lake], object]] = {
    "HEAD": lambda lake: lake.head(KEY),
    "GET": lambda lake: lake.get(KEY),
    "PUT": lambda lake: lake.create(KEY, b"x"),
    "list": lambda lake: list(lake.entries("raw/")),
}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Refuse(403, "AccessDenied"), r"access is refused \((AccessDenied|403)\)"),
        (Refuse(500, "InternalError"), r"the store failed at it and does not say why \((InternalError|500)\)"),
        (Refuse(503, "SlowDown"), r"the store takes no more requests for now \((SlowDown|503)\)"),
        (Refuse(507, "InsufficientStorage"), r"the store has no room left \((InsufficientStorage|507)\): make room"),
        (
            Refuse(301, "PermanentRedirect"),
            r"the bucket lies elsewhere: set AWS_REGION to its region, or correct KPI_S3",
        ),
        (Refuse(409, "ConditionalRequestConflict"), r"(somebody else writes the object|S3 answered 409)"),
        (HangUp(), r"the connection to 127\.0\.0\.1:\d+ breaks off: look at the store and at what stands between"),
    ],
)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_the_reason_of_a_refusal_is_reported(fault: Fault, said: str, request_: Callable[[Lake], object]) -> None:
    with faulty("http://127.0.0.1:9") as proxy:
        proxy.breaks(fault, times=1000)
        with pytest.raises(LakeError, match=rf"^s3://{BUCKET}/raw/(things\.csv)? cannot be used: {said}") as failure:
            request_(open_lake(Settings(s3_endpoint_url=proxy.url), BUCKET))
    assert "hunter2" not in repr(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9", r"nobody listens at 127\.0\.0\.1:9: start the store, or correct KPI_S3_ENDPOINT_URL"),
        ("http://nowhere.invalid", r"the name nowhere\.invalid is known to no name server that this machine asks"),
    ],
)
def test_a_store_that_is_not_reached_is_reported(url: str, said: str) -> None:
    with pytest.raises(LakeError, match=rf"^s3://{BUCKET}/{KEY} cannot be used: {said}") as failure:
        open_lake(Settings(s3_endpoint_url=url), BUCKET).head(KEY)
    assert failure.value.transient


def test_an_access_point_is_refused() -> None:
    with pytest.raises(LakeError, match="is an access point, and a stream needs the name of a bucket"):
        open_lake(Settings(), "arn:aws:s3:eu-west-1:123456789012:accesspoint/lake")


def test_an_endpoint_of_the_environment_that_holds_a_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hunter2@store")
    with pytest.raises(LakeError, match=r"^The endpoint that AWS_ENDPOINT_URL_S3, .* cannot be used") as failure:
        open_lake(Settings(s3_endpoint_url=None), BUCKET)
    assert "hunter2" not in repr(failure.value)


# ---- credentials that boto3 finds


def test_credentials_of_a_profile_are_those_that_boto3_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[lake]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = x\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lake")
    lake = open_lake(Settings(s3_endpoint_url="http://127.0.0.1:9"), BUCKET)
    assert lake.store.credential_provider()["access_key_id"] == "AKIAPROFILE"


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(LakeError, match=r"^S3 cannot be used: no credentials were found: set AWS_ACCESS_KEY_ID and"):
        open_lake(Settings(s3_endpoint_url="http://127.0.0.1:9"), BUCKET)
