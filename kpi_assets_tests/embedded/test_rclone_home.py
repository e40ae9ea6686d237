"""A home whose objects were files that rclone served: they are put into the new S3 once, and nothing becomes stale."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.embedded import rclone_home
from kpi_assets.embedded.stack import Stack, stop
from kpi_assets.errors import UserError
from kpi_assets_tests.embedded.conftest import are_running
from kpi_assets_tests.embedded.test_s3 import client
from kpi_assets_tests.examples import few

OBJECTS = {
    "lake/raw/things/load_date=2026-01-01/things.csv": b"thing_id\n1\n",
    "lake/raw/things/load_date=2026-01-02/things.csv": b"",
    "lake/raw/things/load_date=2026-01-02/with space & ü.csv": b"x",
    "lake/big.bin": os.urandom(9 << 20),  # rclone had the MD5 of the whole as ETag here too
    "other-bucket/a/b": b"b",
}


@pytest.fixture
def old(fresh: Path) -> Path:
    """A home as rclone left it."""
    (fresh / "s3-etags").mkdir(parents=True)
    for name, body in OBJECTS.items():
        path = fresh / "s3" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    for folder in (fresh / "s3", fresh / "s3-etags"):
        folder.chmod(0o700)
    (fresh / "s3" / "lake" / "empty" / "folder").mkdir(parents=True)
    (fresh / "s3" / "lake" / "link").symlink_to("/etc/passwd")
    (fresh / "s3" / "no bucket").write_text("beside the buckets")
    return fresh


def there(s3: Any) -> dict[str, bytes]:
    """Every object of every bucket."""
    return {
        f"{bucket['Name']}/{each['Key']}": s3.get_object(Bucket=bucket["Name"], Key=each["Key"])["Body"].read()
        for bucket in s3.list_buckets()["Buckets"]
        for each in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])
    }


def test_objects_keep_keys_bytes_and_etags(old: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Stack(old, postgres=False) as stack:
        s3 = client(stack)
        assert there(s3) == OBJECTS
        for name, body in OBJECTS.items():
            bucket, _, key = name.partition("/")
            assert s3.head_object(Bucket=bucket, Key=key)["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        f"Moving 5 objects of {old} into its new object store ...",
        f"The objects of {old} are in its new object store. Their old files are in {old}/s3-moved: remove that folder "
        "when you need it no more.",
    ]
    assert (old / "s3-moved" / "lake" / "big.bin").read_bytes() == OBJECTS["lake/big.bin"]
    assert (old / "s3-moved" / "no bucket").exists()
    assert not (old / "s3").exists()
    assert not (old / "s3-etags").exists()


def test_objects_are_moved_once(old: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Stack(old, postgres=False) as stack:
        client(stack).delete_object(Bucket="lake", Key="big.bin")
    caplog.clear()
    shutil.rmtree(old / "s3-moved")
    with Stack(old, postgres=False) as stack:
        assert there(client(stack)) == {name: body for name, body in OBJECTS.items() if name != "lake/big.bin"}
    assert caplog.records == []


@pytest.mark.nightly
def test_an_interrupted_move_begins_again(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    puts = []
    put = rclone_home._put

    def interrupted(s3: Any, file: Any) -> None:
        puts.append(file.key)
        if len(puts) == 3:
            raise KeyboardInterrupt
        put(s3, file)

    with monkeypatch.context() as patch:
        patch.setattr(rclone_home, "_put", interrupted)
        with pytest.raises(KeyboardInterrupt), Stack(old, postgres=False):
            pass
    assert are_running(old)["s3"] is False
    assert (old / "s3" / "lake" / "big.bin").exists()
    with Stack(old, postgres=False) as stack:
        assert there(client(stack)) == OBJECTS
    assert not (old / "s3").exists()


@pytest.mark.nightly
def test_what_an_earlier_version_wrote_after_the_move_is_moved_too(old: Path) -> None:
    with Stack(old, postgres=False):
        pass
    (old / "s3" / "lake" / "raw").mkdir(parents=True)
    (old / "s3" / "lake" / "raw" / "later").write_text("later")
    with Stack(old, postgres=False) as stack:
        assert there(client(stack)) == {**OBJECTS, "lake/raw/later": b"later"}
    assert (old / "s3-moved" / "lake" / "big.bin").exists()
    assert (old / "s3-moved-2" / "lake" / "raw" / "later").exists()


def refused(home: Path) -> str:
    with pytest.raises(UserError) as error, Stack(home, postgres=False):
        pass
    assert are_running(home)["s3"] is False
    assert (home / "s3" / "lake" / "big.bin").exists()
    return str(error.value)


def test_without_room_for_both_nothing_is_moved(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("kpi_assets.embedded.rclone_home.shutil.disk_usage", lambda _: usage(0, 0, 260 << 20))
    assert refused(old) == (
        f"The objects in {old}/s3 are copied into a new object store, which needs 265 MB beside them, and 260 MB are "
        "free: make room, then try again."
    )


@pytest.mark.parametrize("name", few(1, [b"back\\slash", b"no unicode \xff"]))
def test_a_file_that_cannot_become_an_object_is_named(old: Path, name: bytes) -> None:
    path = old / "s3" / "lake" / os.fsdecode(name)
    path.write_text("")
    assert refused(old) == f"The file {str(path)!r} cannot become an object of that name: rename or remove it."


def test_a_file_that_changes_meanwhile_is_named(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rclone_home._File(old / "s3" / "lake" / "big.bin", "lake", "big.bin", 7)
    monkeypatch.setattr(rclone_home, "_files", lambda home, bucket: [found] if bucket == "lake" else [])
    assert refused(old) == f"The file {found.path} changed while it was moved into the new object store: try again."


def test_a_store_that_fails_is_an_error_of_one_sentence(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpi_assets.embedded.s3.S3.make_bucket", lambda *_: None)
    assert refused(old) == (
        "The move into the new object store failed (An error occurred (NoSuchBucket) when calling the PutObject "
        "operation: The specified bucket does not exist): try again."
    )


def test_an_earlier_versions_server_that_still_runs_is_named_and_can_be_stopped(old: Path) -> None:
    """It is here a shell by the name of rclone that holds the lock of the server; a `kpi up` uses it."""
    (old / "run").mkdir()
    with (old / "run" / "s3.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = subprocess.Popen(
            ["/usr/bin/rclone", "-c", "read", "--cache-dir", str(old / "s3-etags")],
            executable="/bin/bash",
            stdin=subprocess.PIPE,
            pass_fds=[lock.fileno()],
        )
    (old / "run" / "s3.json").write_text(json.dumps({"port": 20_000, "pid": server.pid}))
    used = (old / "run" / "users.lock").open("w")
    fcntl.flock(used, fcntl.LOCK_SH)
    try:
        with pytest.raises(UserError) as error, Stack(old, postgres=False):
            pass
        assert str(error.value) == (
            f"The S3 of an earlier version of kpi_assets (rclone, process {server.pid}) runs in {old}: run `kpi down`, "
            "then try again."
        )
        assert stop(old) == ["s3"]
        assert server.wait() == -9
    finally:
        server.kill()
        server.communicate()
        used.close()
    with Stack(old, postgres=False) as stack:
        assert there(client(stack)) == OBJECTS
