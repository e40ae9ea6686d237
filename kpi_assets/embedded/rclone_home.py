"""A home of an earlier version, whose S3 was rclone: each folder below $KPI_HOME/s3 is a bucket, each file an object.

Belongs here: putting these objects into the S3 of today, once, and setting the folder aside. Not here: that S3 (s3.py).
An object keeps its key, its bytes and its ETag, so nothing that was built from it becomes stale. A move that is
interrupted begins again at the next start; until it has ended, no command gets past the start of the servers.
"""

import base64
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from kpi_assets.embedded.home import Home
from kpi_assets.errors import UserError

logger = logging.getLogger(__name__)

AT_ONCE = 4
MARGIN = 256 << 20  # bytes of the disk that stay free after the move


class _File(NamedTuple):
    """An object as rclone kept it."""

    path: Path
    bucket: str
    key: str
    size: int


def is_rclone(arguments: Sequence[str], home: Home) -> bool:
    """Return whether a process with these arguments is the rclone of this home."""
    return len(arguments) > 2 and Path(arguments[0]).name == "rclone" and str(home.rclone_etags) in arguments


def move(home: Home, make_bucket: Callable[[str], None], connect: Callable[[], Any]) -> None:
    """Put the objects of a home of rclone's into its new S3, and set the old folder aside.

    `connect` returns a client of boto3. Raises UserError if there is no room for both, or if a file cannot become an
    object.
    """
    if not home.rclone_buckets.is_dir():
        return
    buckets = sorted(each.name for each in home.rclone_buckets.iterdir() if each.is_dir())
    files = [each for bucket in buckets for each in _files(home, bucket)]
    _check_room(home, sum(each.size for each in files))
    logger.warning("Moving %d objects of %s into its new object store ...", len(files), home.root)
    for bucket in buckets:
        make_bucket(bucket)
    if files:
        _put_all(connect(), files)
    logger.warning(
        "The objects of %s are in its new object store. Their old files are in %s: remove that folder when you need it "
        "no more.",
        home.root,
        _set_aside(home),
    )
    shutil.rmtree(home.rclone_etags, ignore_errors=True)


def _files(home: Home, bucket: str) -> Iterator[_File]:
    """Yield the files of a bucket. Links are none: rclone did not follow them."""
    top = home.rclone_buckets / bucket
    for folder, _, names in os.walk(top):
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            key = path.relative_to(top).as_posix()
            if "\\" in key or not _is_unicode(key):
                raise UserError(f"The file {str(path)!r} cannot become an object of that name: rename or remove it.")
            yield _File(path, bucket, key, path.stat().st_size)


def _is_unicode(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_room(home: Home, size: int) -> None:
    free = shutil.disk_usage(home.root).free
    if size + MARGIN > free:
        raise UserError(
            f"The objects in {home.rclone_buckets} are copied into a new object store, which needs "
            f"{(size + MARGIN) >> 20:,} MB beside them, and {free >> 20:,} MB are free: make room, then try again."
        )


def _put_all(s3: Any, files: Sequence[_File]) -> None:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  as boto3 in s3.py

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="move") as pool:
        try:
            for _ in pool.map(lambda each: _put(s3, each), files):
                pass
        except (BotoCoreError, ClientError) as error:
            raise UserError(f"The move into the new object store failed ({error}): try again.") from error


def _put(s3: Any, file: _File) -> None:
    """Put a file in one request, however large, so that its ETag is the MD5 of its bytes, as it was."""
    with file.path.open("rb") as body:
        md5 = hashlib.md5(usedforsecurity=False)
        while block := body.read(1 << 20):
            md5.update(block)
        body.seek(0)
        checked = base64.b64encode(md5.digest()).decode()
        s3.put_object(Bucket=file.bucket, Key=file.key, Body=body, ContentMD5=checked)
    head = s3.head_object(Bucket=file.bucket, Key=file.key)
    if (head["ETag"], head["ContentLength"]) != (f'"{md5.hexdigest()}"', file.size):
        raise UserError(f"The file {file.path} changed while it was moved into the new object store: try again.")


def set_aside(root: Path) -> list[Path]:
    """Return the folders of files that were moved, which nobody needs any more."""
    return sorted(root.glob("s3-moved*"))


def _set_aside(home: Home) -> Path:
    aside, number = home.root / "s3-moved", 1
    while aside.exists():
        number += 1
        aside = home.root / f"s3-moved-{number}"
    home.rclone_buckets.rename(aside)
    return aside
