"""The embedded S3, as boto3 sees it."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UserError
from kpi_assets_tests.embedded.conftest import are_running, states
from kpi_assets_tests.machine import eventually


@pytest.fixture
def stack(fresh: Path) -> Iterator[Stack]:
    with Stack(fresh, postgres=False) as stack:
        stack.make_bucket("lake")
        yield stack


@pytest.fixture
def s3(stack: Stack) -> Any:
    return client(stack)


def client(stack: Stack, **other: str) -> Any:
    """Return a client as our commands make it: from the environment, or from a changed one."""
    found = stack.environment()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (found | other).items():
            patch.setenv(name, value)
        return boto3.Session().client("s3", endpoint_url=found["KPI_S3_ENDPOINT_URL"])


def keys(s3: Any, prefix: str = "") -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket="lake", Prefix=prefix).get("Contents", [])]


def test_objects_are_written_listed_read_and_deleted(s3: Any, fresh: Path):
    body = "id,name\n1,Ä\n".encode()
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    assert s3.put_object(Bucket="lake", Key="raw/load_date=2026-01-01/a.csv", Body=body)["ETag"] == etag
    assert keys(s3) == ["raw/load_date=2026-01-01/a.csv"]
    head = s3.head_object(Bucket="lake", Key="raw/load_date=2026-01-01/a.csv")
    assert (head["ETag"], head["ContentLength"]) == (etag, len(body))
    got = s3.get_object(Bucket="lake", Key="raw/load_date=2026-01-01/a.csv", Range="bytes=3-6")
    assert (got["ETag"], got["Body"].read()) == (etag, b"name")
    assert (fresh / "s3" / "lake" / "raw" / "load_date=2026-01-01" / "a.csv").read_bytes() == body
    s3.delete_object(Bucket="lake", Key="raw/load_date=2026-01-01/a.csv")
    assert keys(s3) == []


def test_an_object_can_be_uploaded_in_parts(s3: Any):
    body = os.urandom(20 << 20)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(BytesIO(body), "lake", "big.bin", Config=parts)
    got = s3.get_object(Bucket="lake", Key="big.bin")
    assert got["Body"].read() == body
    assert got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'


def test_wrong_keys_are_refused(stack: Stack):
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(stack, AWS_SECRET_ACCESS_KEY="0" * 40).list_buckets()
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        client(stack, AWS_ACCESS_KEY_ID="KPI0000000000000000").list_buckets()


def test_changes_by_hand_are_noticed(s3: Any, fresh: Path):
    s3.put_object(Bucket="lake", Key="day/old.csv", Body=b"old")
    assert keys(s3) == ["day/old.csv"]
    folder = fresh / "s3" / "lake" / "day"
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "new.csv").write_bytes(b"new")
    eventually(lambda: keys(s3) == ["day/new.csv"], seconds=2)
    assert s3.head_object(Bucket="lake", Key="day/new.csv")["ETag"] == f'"{hashlib.md5(b"new").hexdigest()}"'
    (folder / "new.csv").write_bytes(b"wen")
    etag = f'"{hashlib.md5(b"wen").hexdigest()}"'
    eventually(lambda: s3.head_object(Bucket="lake", Key="day/new.csv")["ETag"] == etag, seconds=2)
    shutil.rmtree(fresh / "s3" / "lake")
    eventually(lambda: s3.list_buckets()["Buckets"] == [], seconds=2)


def test_the_first_listing_after_a_write_is_complete(s3: Any):
    for number in range(30):
        s3.put_object(Bucket="lake", Key=f"many/{number:02}", Body=b"x")
        assert keys(s3, "many/") == [f"many/{n:02}" for n in range(number + 1)]


def test_buckets_are_created_and_listed(stack: Stack, s3: Any, fresh: Path):
    assert stack.make_bucket("lake") == fresh / "s3" / "lake"
    assert stack.make_bucket("second.bucket-2") == fresh / "s3" / "second.bucket-2"
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["lake", "second.bucket-2"]
    for wrong in ("../outside", "UPPER", "ab", "a" * 64, "", "a/b", "-ab"):
        with pytest.raises(UserError) as error:
            stack.make_bucket(wrong)
        assert str(error.value) == (
            f"{wrong!r} cannot be the name of a bucket: use 3 to 63 lower-case letters, digits, dots and dashes."
        )
    assert sorted(path.name for path in (fresh / "s3").iterdir()) == ["lake", "second.bucket-2"]


def test_a_killed_rclone_comes_back_where_it_was(stack: Stack, s3: Any, fresh: Path):
    s3.put_object(Bucket="lake", Key="kept", Body=b"kept")
    before = states(fresh)["s3"]
    psutil.Process(before.pid).kill()
    eventually(lambda: not are_running(fresh)["s3"])
    with Stack(fresh, postgres=False):
        after = states(fresh)["s3"]
        assert after.port == before.port
        assert after.pid != before.pid
        assert s3.get_object(Bucket="lake", Key="kept")["Body"].read() == b"kept"


def test_a_damaged_cache_of_etags_is_rebuilt(fresh: Path):
    with Stack(fresh, postgres=False) as stack:
        stack.make_bucket("lake")
        client(stack).put_object(Bucket="lake", Key="kept", Body=b"kept")
    (cache,) = (fresh / "s3-etags").rglob("*.bolt")
    cache.write_bytes(b"\xff" * cache.stat().st_size)
    with Stack(fresh, postgres=False) as stack:
        head = client(stack).head_object(Bucket="lake", Key="kept")
        assert head["ETag"] == f'"{hashlib.md5(b"kept").hexdigest()}"'


def test_a_server_that_cannot_start_says_why(fresh: Path):
    with Stack(fresh, postgres=False):
        pass
    shutil.rmtree(fresh / "s3-etags")
    (fresh / "s3-etags").write_text("in the way")
    with pytest.raises(UserError) as error, Stack(fresh, postgres=False):
        pass
    begin, end = str(error.value).split(" says: ")
    assert begin == f"The embedded S3 did not start; its log {fresh / 'logs' / 's3.log'}"
    assert "CRITICAL: " in end
    assert str(fresh / "s3-etags") in end
    assert are_running(fresh)["s3"] is False


def test_logs_stay_within_bounds(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kpi_assets.embedded.home.LOG_BYTES", 1000)
    log = fresh / "logs" / "s3.log"
    with Stack(fresh, postgres=False):
        size = log.stat().st_size
        with log.open("a") as file:
            file.write("x" * 2000)
        with Stack(fresh, postgres=False):  # the log is trimmed while the server keeps appending
            assert log.stat().st_size == 0
    assert (fresh / "logs" / "s3.log.1").stat().st_size == size + 2000
