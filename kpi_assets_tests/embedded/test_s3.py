"""The embedded S3, as boto3 sees it."""

import hashlib
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from kpi_assets.embedded.stack import Stack, stop
from kpi_assets.embedded.weed import program
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


def test_objects_are_written_listed_read_and_deleted(s3: Any):
    body = "id,name\n1,Ä\n".encode()
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    assert s3.put_object(Bucket="lake", Key="raw/load_date=2026-01-01/a.csv", Body=body)["ETag"] == etag
    assert keys(s3) == ["raw/load_date=2026-01-01/a.csv"]
    head = s3.head_object(Bucket="lake", Key="raw/load_date=2026-01-01/a.csv")
    assert (head["ETag"], head["ContentLength"]) == (etag, len(body))
    got = s3.get_object(Bucket="lake", Key="raw/load_date=2026-01-01/a.csv", Range="bytes=3-6")
    assert (got["ETag"], got["Body"].read()) == (etag, b"name")
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    s3.delete_object(Bucket="lake", Key="raw/load_date=2026-01-01/a.csv")
    assert keys(s3) == []


def test_the_bytes_of_what_was_replaced_or_deleted_are_gone_from_the_disk_after_a_vacuum(
    stack: Stack, s3: Any, fresh: Path
):
    def on_disk(*bodies: bytes) -> list[bytes]:
        files = [path.read_bytes() for path in fresh.rglob("*") if path.is_file()]
        return [body for body in bodies if any(body in file for file in files)]

    old, deleted, new, other = b"canary 7f31 of old", b"canary 7f31 deleted", b"in its place", b"another" * 100_000
    for key, body in (("a", old), ("b", deleted), ("c", other), ("a", new)):
        s3.put_object(Bucket="lake", Key=key, Body=body)
    s3.delete_object(Bucket="lake", Key="b")
    assert on_disk(old, deleted, new) == [old, deleted, new]
    assert stack.vacuum("lake")
    assert on_disk(old, deleted, new) == [new]
    assert s3.get_object(Bucket="lake", Key="c")["Body"].read() == other
    assert stack.vacuum("lake"), "there is nothing to do"


def test_an_object_can_be_uploaded_in_parts(s3: Any):
    body = os.urandom(20 << 20)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(BytesIO(body), "lake", "big.bin", Config=parts)
    got = s3.get_object(Bucket="lake", Key="big.bin")
    assert got["Body"].read() == body
    of_parts = b"".join(hashlib.md5(body[start : start + (5 << 20)]).digest() for start in range(0, 20 << 20, 5 << 20))
    assert got["ETag"] == f'"{hashlib.md5(of_parts).hexdigest()}-4"'  # as on AWS


def test_a_large_object_in_one_request_has_its_md5_as_etag(s3: Any):
    body = os.urandom(20 << 20)
    assert s3.put_object(Bucket="lake", Key="big.bin", Body=body)["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    (listed,) = s3.list_objects_v2(Bucket="lake")["Contents"]
    assert (listed["ETag"], listed["Size"]) == (f'"{hashlib.md5(body).hexdigest()}"', 20 << 20)


def test_wrong_keys_are_refused(stack: Stack):
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(stack, AWS_SECRET_ACCESS_KEY="0" * 40).list_buckets()
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        client(stack, AWS_ACCESS_KEY_ID="KPI0000000000000000").list_buckets()


def refused(code: str, attempt: Callable[[], object]) -> None:
    with pytest.raises(ClientError) as error:
        attempt()
    assert error.value.response["Error"]["Code"] == code


def test_an_object_is_created_once_and_replaced_only_as_it_was_seen(s3: Any):
    first = s3.put_object(Bucket="lake", Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", lambda: s3.put_object(Bucket="lake", Key="k", Body=b"2", IfNoneMatch="*"))
    second = s3.put_object(Bucket="lake", Key="k", Body=b"2", IfMatch=first)["ETag"]
    refused("PreconditionFailed", lambda: s3.put_object(Bucket="lake", Key="k", Body=b"3", IfMatch=first))
    refused("PreconditionFailed", lambda: s3.get_object(Bucket="lake", Key="k", IfMatch=first))
    refused("PreconditionFailed", lambda: s3.delete_object(Bucket="lake", Key="k", IfMatch=first))
    assert s3.get_object(Bucket="lake", Key="k", IfMatch=second)["Body"].read() == b"2"


@pytest.mark.nightly
def test_of_many_writers_at_once_one_creates_an_object(s3: Any):
    def create(number: int) -> int | None:
        try:
            s3.put_object(Bucket="lake", Key=key, Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in {409, 412}
            return None
        return number

    with ThreadPoolExecutor(6) as pool:
        for key in ("a", "b", "c"):
            (winner,) = [number for number in pool.map(create, range(6)) if number is not None]
            assert s3.get_object(Bucket="lake", Key=key)["Body"].read() == str(winner).encode()


def test_a_bucket_keeps_versions_if_it_is_told_to(s3: Any):
    s3.put_bucket_versioning(Bucket="lake", VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket="lake", Key="k", Body=b"old")["VersionId"]
    new = s3.put_object(Bucket="lake", Key="k", Body=b"new")["VersionId"]
    s3.delete_object(Bucket="lake", Key="k")
    refused("NoSuchKey", lambda: s3.get_object(Bucket="lake", Key="k"))
    assert s3.get_object(Bucket="lake", Key="k", VersionId=old)["Body"].read() == b"old"
    assert s3.get_object(Bucket="lake", Key="k", VersionId=new)["Body"].read() == b"new"


def test_the_first_listing_after_a_write_is_complete(s3: Any):
    for number in range(30):
        s3.put_object(Bucket="lake", Key=f"many/{number:02}", Body=b"x")
        assert keys(s3, "many/") == [f"many/{n:02}" for n in range(number + 1)]


def test_a_listing_is_in_order_within_each_folder(s3: Any):
    """Not in order of the whole keys, as on AWS. Code that begins after a key relies on the order of its siblings."""
    for key in ("x/t/1", "x/t-old/1", "x/t.csv", "x/t0", "x/d=05/a", "x/d=06/a", "x/d=04/a"):
        s3.put_object(Bucket="lake", Key=key, Body=b"x")
    assert keys(s3, "x/d=") == ["x/d=04/a", "x/d=05/a", "x/d=06/a"]
    after = s3.list_objects_v2(Bucket="lake", Prefix="x/d=", StartAfter="x/d=04/")["Contents"]
    assert [each["Key"] for each in after] == ["x/d=04/a", "x/d=05/a", "x/d=06/a"]
    assert sorted(keys(s3, "x/t")) == ["x/t-old/1", "x/t.csv", "x/t/1", "x/t0"]


def test_buckets_are_created_and_listed(stack: Stack, s3: Any):
    stack.make_bucket("lake")
    stack.make_bucket("second.bucket-2")
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["lake", "second.bucket-2"]
    for wrong in ("../outside", "UPPER", "ab", "a" * 64, "", "a/b", "-ab"):
        with pytest.raises(UserError) as error:
            stack.make_bucket(wrong)
        assert str(error.value) == (
            f"{wrong!r} cannot be the name of a bucket: use 3 to 63 lower-case letters, digits, dots and dashes."
        )
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["lake", "second.bucket-2"]
    refused("NoSuchBucket", lambda: s3.put_object(Bucket="third", Key="k", Body=b""))


def test_a_bucket_is_made_by_a_server_that_answers_late(stack: Stack, fresh: Path, monkeypatch: pytest.MonkeyPatch):
    """As one does on a machine that is busy."""
    monkeypatch.setattr("kpi_assets.embedded.s3.TIMEOUT", 0.2)
    server = psutil.Process(states(fresh)["s3"].pid)
    server.suspend()
    late = threading.Timer(1, server.resume)
    late.start()
    began = time.monotonic()
    stack.make_bucket("late")
    assert time.monotonic() - began > 0.5
    late.join()
    assert "late" in {each["Name"] for each in client(stack).list_buckets()["Buckets"]}


def test_a_server_that_makes_no_bucket_is_named_with_its_log(
    stack: Stack, fresh: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("kpi_assets.embedded.s3.PATIENCE", 0.5)
    monkeypatch.setattr("kpi_assets.embedded.s3.TIMEOUT", 0.2)
    server = psutil.Process(states(fresh)["s3"].pid)
    server.suspend()
    try:
        with pytest.raises(UserError, match=r"^The embedded S3 cannot make the bucket never; its log \S+ says: "):
            stack.make_bucket("never")
    finally:
        server.resume()


@pytest.mark.nightly
def test_many_buckets_are_no_burden(stack: Stack, s3: Any):
    """Each has volumes of its own: with large ones, the disk has room for few buckets."""
    for number in range(60):
        stack.make_bucket(f"bucket-{number}")
        s3.put_object(Bucket=f"bucket-{number}", Key="k", Body=b"x")


def test_a_bucket_that_holds_objects_is_not_deleted(s3: Any):
    s3.put_object(Bucket="lake", Key="k", Body=b"kept")
    refused("BucketNotEmpty", lambda: s3.delete_bucket(Bucket="lake"))
    assert s3.get_object(Bucket="lake", Key="k")["Body"].read() == b"kept"


def test_a_killed_server_comes_back_where_it_was(stack: Stack, s3: Any, fresh: Path):
    s3.put_object(Bucket="lake", Key="kept", Body=b"kept")
    before = states(fresh)["s3"]
    psutil.Process(before.pid).kill()
    eventually(lambda: not are_running(fresh)["s3"])
    with Stack(fresh, postgres=False):
        after = states(fresh)["s3"]
        assert after.port == before.port
        assert after.pid != before.pid
        assert s3.get_object(Bucket="lake", Key="kept")["Body"].read() == b"kept"


@pytest.mark.nightly
def test_what_was_acknowledged_survives_kills(fresh: Path):
    """`kpi` stops it so. Four clients write while it is killed, three times."""
    with Stack(fresh, postgres=False) as stack:
        stack.make_bucket("lake")
    written: list[str] = []
    for attempt in range(3):
        with Stack(fresh, postgres=False) as stack:
            s3 = client(stack)
            process = psutil.Process(states(fresh)["s3"].pid)

            def write(writer: int, s3: Any = s3, attempt: int = attempt) -> None:
                with suppress(Exception):
                    for number in range(10_000):
                        key = f"{attempt}/{writer}/{number}"
                        s3.put_object(Bucket="lake", Key=key, Body=key.encode() * 1000, IfNoneMatch="*")
                        written.append(key)

            with ThreadPoolExecutor(4) as pool:
                for writer in range(4):
                    pool.submit(write, writer)
                enough = len(written) + 40
                eventually(lambda enough=enough: len(written) > enough)
                process.send_signal(signal.SIGKILL)
    with Stack(fresh, postgres=False) as stack:
        s3 = client(stack)
        assert len(written) > 120
        for key in written:
            assert s3.get_object(Bucket="lake", Key=key)["Body"].read() == key.encode() * 1000
        assert {*written} <= {each["Key"] for each in pages(s3)}


def pages(s3: Any) -> Iterator[dict[str, Any]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="lake"):
        yield from page.get("Contents", [])


def test_a_server_that_cannot_start_says_why(fresh: Path):
    with Stack(fresh, postgres=False):
        pass
    shutil.rmtree(fresh / "s3-data" / "filer")
    (fresh / "s3-data" / "filer").write_text("in the way")
    with pytest.raises(UserError) as error, Stack(fresh, postgres=False):
        pass
    begin, end = str(error.value).split(" says: ")
    assert begin == f"The embedded S3 did not start; its log {fresh / 'logs' / 's3.log'}"
    assert end.startswith("F")
    assert str(fresh / "s3-data" / "filer") in end
    assert are_running(fresh)["s3"] is False


def test_logs_stay_within_bounds(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kpi_assets.embedded.home.LOG_BYTES", 1 << 20)
    log = fresh / "logs" / "s3.log"
    with Stack(fresh, postgres=False) as stack:
        with log.open("a") as file:
            file.write("x" * (2 << 20))
        with Stack(fresh, postgres=False):  # the log is trimmed while the server keeps appending
            assert log.stat().st_size < 1 << 20
        assert (fresh / "logs" / "s3.log.1").stat().st_size > 2 << 20
        with log.open("a") as file:
            file.write("y" * (2 << 20))
        stack.check_alive()  # as `kpi up` does all the time
        assert log.stat().st_size < 1 << 20
        assert (fresh / "logs" / "s3.log.1").read_text().endswith("y")


def test_a_program_of_ones_own_is_run(fresh: Path, tmp_path: Path):
    own = tmp_path / "my-weed"
    own.symlink_to(program())
    with Stack(fresh, postgres=False, s3_program=own):
        process = psutil.Process(states(fresh)["s3"].pid)
        assert process.cmdline()[0] == str(own)
    assert are_running(fresh)["s3"] is False
    for missing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UserError) as error, Stack(fresh, postgres=False, s3_program=missing):
            pass
        assert str(error.value) == (
            f"KPI_S3_PROGRAM={missing} is no program that you may run: name the file `weed` of SeaweedFS, or leave the "
            "setting out."
        )


def sockets(ports: Sequence[int]) -> list[str]:
    """Return the sockets of servers on these ports; there are seven, and those that others left, which were killed."""
    return sorted(path.name for port in ports for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))


def ports_of(home: Path) -> list[int]:
    record = json.loads((home / "run" / "s3.json").read_text())
    return [record["port"], *record["inner_ports"]]


def test_a_stop_leaves_no_socket_behind(fresh: Path):
    with Stack(fresh, postgres=False):
        ports = ports_of(fresh)
        assert len({*ports}) == 10
        eventually(lambda: len(sockets(ports)) >= 7)  # the last is that of a part that nobody waits for
    assert sockets(ports) == []


@pytest.mark.nightly
def test_a_start_removes_the_sockets_that_a_killed_server_left(fresh: Path):
    with Stack(fresh, postgres=False):
        first = ports_of(fresh)
        eventually(lambda: len(sockets(first)) >= 7)
        server = psutil.Process(states(fresh)["s3"].pid)
        server.kill()
        server.wait()  # its threads end one after another
        eventually(lambda: not are_running(fresh)["s3"])
        assert len(sockets(first)) >= 7
        with closing(socket.socket()) as taken:  # so that the next start takes other ports
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):  # a server of another worker has it by now, which is as good
                taken.bind(("127.0.0.1", first[0]))
                taken.listen()
            with Stack(fresh, postgres=False):
                second = ports_of(fresh)
                assert first[0] not in second
                assert sockets([port for port in first if port not in second]) == []
    assert sockets(second) == []


def test_a_copied_record_does_not_make_a_stop_kill_another_homes_server(fresh: Path, tmp_path: Path):
    with Stack(fresh, postgres=False):
        eventually(lambda: len(sockets(ports_of(fresh))) >= 7)
        shutil.copytree(fresh / "run", tmp_path / "other" / "run")
        assert stop(tmp_path / "other") == []
        assert are_running(fresh)["s3"]
        assert len(sockets(ports_of(fresh))) >= 7
