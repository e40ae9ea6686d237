"""The objects of one bucket on S3, through boto3.

Belongs here: requests to S3. Not here: sentences for their failures (boto_refusals.py), and what is the same of every
store (objects.py). Importing boto3 takes a third of a second, so this module is imported when a bucket is opened.
"""

import hashlib
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import date
from io import BytesIO
from itertools import islice
from time import perf_counter
from typing import Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ResponseStreamingError
from urllib3.exceptions import HTTPError

from kpi_assets.model.manifest import Manifest
from kpi_assets.settings import LEAST_RATE, Settings, is_plain_address
from kpi_assets.sources.boto_refusals import explained, is_page, unusable
from kpi_assets.sources.checksums import ALGORITHMS, Checksum
from kpi_assets.sources.objects import (
    ATTEMPTS,
    LEAST_SECONDS,
    MOST_PAGES,
    Entry,
    Head,
    OldVersions,
    PartialError,
    TakenError,
    changed,
    check_length,
    paced,
    too_many,
    unreadable,
)
from kpi_assets.sources.refusals import MISSING, NO_S3, LakeError, foreign_endpoint

PIECE = 256 << 10  # the most bytes that are read from the connection at once
UPLOAD_PART = 16 << 20  # bytes; S3 allows 10,000 parts: objects up to 156 GiB
NEIGHBORS = 3  # objects that are read to find out whether a store's ETags are MD5s
SMALL = 8 << 20  # bytes of the largest of them
_MD5 = re.compile(r"[0-9a-f]{32}")
_MD5_SERVER = "AmazonS3"  # the name of AWS' server and of its imitations: an ETag that looks like an MD5 is one
_DIRECTORY_BUCKET = "--x-s3"  # the end of its name: AWS does not say what its ETags are
_CHANGED = MISSING | {"412", "PreconditionFailed", "416", "InvalidRange", "NoSuchVersion"}
_UNVERSIONED = {"NotImplemented", "501", "MethodNotAllowed"}  # the answer of a store that keeps no versions
_TAKEN = {"412", "PreconditionFailed", "ConditionalRequestConflict"}
ONLY_NEW = {"IfNoneMatch": "*"}  # a store that knows this condition refuses to overwrite


def client(settings: Settings) -> Any:
    """Return a client for AWS or for the store that KPI_S3_ENDPOINT_URL names; boto3 finds the credentials.

    Raises LakeError if the settings of the environment are invalid.
    """
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=16,
        # Parts are read, and stores other than AWS answer a part with the checksum of the whole object.
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if settings.s3_endpoint_url else "auto"},
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        made = boto3.client("s3", endpoint_url=settings.s3_endpoint_url, region_name=region, config=config)
    except (ValueError, BotoCoreError) as error:
        raise unusable(error) from None
    # boto3 has its own variables and files for an endpoint; they must not hold a secret that could be shown or stored.
    if not is_plain_address(made.meta.endpoint_url):
        raise foreign_endpoint()
    return made


class S3Objects:
    """The objects of one bucket, as objects.Objects describes them."""

    def __init__(self, s3: Any, bucket: str, least_rate: int = LEAST_RATE) -> None:
        """`least_rate` is in bytes a second: a part that arrives or is taken more slowly is requested again."""
        self.s3, self.bucket, self.least_rate = s3, bucket, least_rate

    @classmethod
    def open(cls, settings: Settings, bucket: str) -> "S3Objects":
        """Open a bucket with a new client. Raises LakeError."""
        return cls(client(settings), bucket, settings.s3_least_rate)

    def head(self, key: str, version_id: str | None = None) -> Head | None:
        """Return the state of an object; it has whatever S3 says, without comparison."""
        version = {"VersionId": version_id} if version_id else {}
        with explained(self.bucket, key):
            try:
                head = self.s3.head_object(Bucket=self.bucket, Key=key, **version)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in MISSING:
                    raise
                self._check_bucket()
                return None
        if not {"ETag", "ContentLength", "LastModified"} <= head.keys():
            raise LakeError(f"s3://{self.bucket}/{key} cannot be used: {NO_S3}.")
        return Head(head["ContentLength"], head["ETag"], head.get("VersionId"), head["LastModified"])

    def metadata(self, manifest: Manifest) -> Mapping[str, str]:
        """Return what whoever landed an object wrote beside it, its names in lower case."""
        found = self._pinned_head(manifest).get("Metadata", {})
        return {name.lower(): value for name, value in found.items()}

    def _check_bucket(self) -> None:
        try:
            self.s3.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in MISSING and not is_page(error):
                raise LakeError(
                    f"The bucket {self.bucket} does not exist: create it, or correct KPI_S3_BUCKET."
                ) from None
            raise

    def entries(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        """Yield the objects below a prefix, page by page."""
        bounds = {"Bucket": self.bucket, "Prefix": prefix, **({"StartAfter": start_after} if start_after else {})}
        with explained(self.bucket, prefix):
            pages = self.s3.get_paginator("list_objects_v2").paginate(**bounds)
            for number, page in enumerate(pages, start=1):
                if number > MOST_PAGES:
                    raise too_many(self.bucket, prefix, MOST_PAGES * 1000)
                for found in page.get("Contents", []):
                    yield Entry(found["Key"], found["Size"], found["ETag"], found["LastModified"])

    def get(self, manifest: Manifest, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`; requests them again if the connection breaks or is too slow."""
        for _ in range(ATTEMPTS):
            try:
                return self._get(manifest, start, end)
            except (HTTPClientError, HTTPError, PartialError) as error:  # boto3 does not request a body again
                failure = error
        if isinstance(failure, PartialError):
            raise unreadable(manifest, failure)
        with explained(self.bucket, manifest.key):
            raise failure if isinstance(failure, HTTPClientError) else ResponseStreamingError(error=failure)

    def _get(self, manifest: Manifest, start: int, end: int) -> bytes:
        answer = self._ask(self.s3.get_object, manifest, Range=f"bytes={start}-{end - 1}")
        whole = str(answer.get("ContentRange", "")).rpartition("/")[2]
        if whole.isdigit() and int(whole) != manifest.size_bytes:
            raise changed(manifest)
        with closing(answer["Body"]) as body:
            # Read what has arrived, however little: boto3's own read waits for all the bytes requested.
            block = paced(iter(lambda: body._raw_stream.read1(PIECE), b""), start, end - start, self.least_rate)
        if len(block) < answer["ContentLength"]:
            raise ResponseStreamingError(error=f"it ended after {len(block)} of {answer['ContentLength']} bytes")
        check_length(block, start, end - start)
        return block

    def _pinned_head(self, manifest: Manifest, part: int | None = None) -> Mapping[str, Any]:
        """Return the headers of the object, or of one of the parts in which it was uploaded, with checksums."""
        more = {"PartNumber": part} if part else {}
        head: Mapping[str, Any] = self._ask(self.s3.head_object, manifest, ChecksumMode="ENABLED", **more)
        return head

    def _ask(self, request: Callable[..., Any], manifest: Manifest, **words: Any) -> Any:
        """Make a request for the object of a manifest, and compare the answer with it."""
        version = {"VersionId": manifest.version_id} if manifest.version_id else {}
        with explained(self.bucket, manifest.key):
            try:
                answer = request(Bucket=self.bucket, Key=manifest.key, IfMatch=manifest.etag, **version, **words)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _CHANGED:
                    raise changed(manifest) from None
                raise
        # Compared here too, since some stores ignore If-Match.
        if answer.get("ETag") != manifest.etag:
            raise changed(manifest)
        return answer

    def checksums(self, manifest: Manifest) -> Iterator[Checksum]:
        """Yield the checksums that S3 has for an object."""
        head = self._pinned_head(manifest)
        for algorithm in ALGORITHMS if _has_own_checksums(manifest, head) else ():
            if text := head.get(f"Checksum{algorithm}"):
                block = self._block_of(manifest, text) if "-" in text else None
                checksum = Checksum.parse(algorithm, text, block)
                yield from [checksum] if checksum else []
        if _may_be_md5(manifest, head):
            yield Checksum("MD5", bytes.fromhex(manifest.etag.strip('"')), is_etag=True)

    def _block_of(self, manifest: Manifest, text: str) -> int | None:
        """Return the size of the parts in which an object was uploaded, or None if they differ in size."""
        block, count = self._pinned_head(manifest, part=1)["ContentLength"], text.partition("-")[2]
        return block if block and count == str(-(-manifest.size_bytes // block)) else None

    def is_sure(self, manifest: Manifest, checksum: Checksum) -> bool:
        """Whether a checksum that differs proves other bytes, because it is known what it was computed from."""
        if checksum.block:
            blocks = range(1, -(-manifest.size_bytes // checksum.block))
            return all(self._pinned_head(manifest, part=n)["ContentLength"] == checksum.block for n in blocks)
        if not checksum.is_etag:
            return True
        server = self._pinned_head(manifest)["ResponseMetadata"]["HTTPHeaders"].get("server", "")
        return server == _MD5_SERVER or self._neighbors_have_md5(manifest)

    def _neighbors_have_md5(self, manifest: Manifest) -> bool:
        """Whether the ETags of other objects, landed at about the same time, are MD5s of their bytes."""
        folder = f"{manifest.key.split('/')[0]}/" if "/" in manifest.key else ""
        try:
            others = [
                entry
                for entry in islice(self.entries(folder), 1000)  # what one request lists
                if entry.key != manifest.key and 0 < entry.size_bytes <= SMALL and _MD5.fullmatch(entry.etag.strip('"'))
            ]
            others.sort(key=lambda entry: abs(entry.last_modified - manifest.last_modified))
            found = [self._manifest(entry.key) for entry in others[:NEIGHBORS]]
            bodies = [(each.etag, self.get(each, 0, each.size_bytes)) for each in found if each]
        except LakeError:
            return False
        return bool(bodies) and all(
            etag.strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest() for etag, body in bodies
        )

    def _manifest(self, key: str) -> Manifest | None:
        head = self.head(key)
        if head is None:
            return None
        return Manifest("", date.min, self.bucket, key, head.size_bytes, head.etag, head.version_id, head.last_modified)

    def upload(
        self,
        file: BinaryIO,
        size: int,
        key: str,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        only_new: bool,
        on_progress: Callable[[int], None],
        instead_of: Manifest | None = None,
    ) -> None:
        """Upload bytes in one request; if they are many in parts, which become one object at the end or not at all."""
        condition: Mapping[str, Any] = ONLY_NEW if only_new else {}
        if instead_of:
            self._pinned_head(instead_of)  # some stores ignore If-Match
            condition = {"IfMatch": instead_of.etag}
        target, words = {"Bucket": self.bucket, "Key": key}, {"ContentType": content_type, "Metadata": dict(metadata)}
        with self._landing(key, instead_of):
            if size <= UPLOAD_PART:
                self.s3.put_object(**target, **self._body(file.read()), **words, **condition)
                on_progress(size)
                return
            upload_id = self.s3.create_multipart_upload(**target, **words)["UploadId"]
            try:
                parts: list[dict[str, Any]] = []
                done = 0
                while block := file.read(UPLOAD_PART):
                    number = len(parts) + 1
                    part = self.s3.upload_part(**target, UploadId=upload_id, PartNumber=number, **self._body(block))
                    parts.append({"ETag": part["ETag"], "PartNumber": number})
                    done += len(block)
                    on_progress(done)
                whole = {"Parts": parts}
                self.s3.complete_multipart_upload(**target, UploadId=upload_id, MultipartUpload=whole, **condition)
            except BaseException:
                with suppress(ClientError):  # some stores forget an upload if they refuse a part of it
                    self.s3.abort_multipart_upload(**target, UploadId=upload_id)
                raise

    @contextmanager
    def _landing(self, key: str, instead_of: Manifest | None) -> Iterator[None]:
        """Raise LakeError for what prevents an upload; TakenError if somebody else landed an object meanwhile."""
        with explained(self.bucket, key):
            try:
                yield
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in _TAKEN:
                    raise
                raise (changed(instead_of) if instead_of else TakenError(self.bucket, key)) from None
            except HTTPClientError as error:
                if isinstance(slow := error.kwargs.get("error"), _TooSlowError):
                    raise LakeError(f"s3://{self.bucket}/{key} cannot be landed: {slow}.") from None
                raise

    def _body(self, block: bytes) -> dict[str, Any]:
        """Return the arguments of an upload of some bytes; with an MD5, since some stores verify no other checksum."""
        md5 = hashlib.md5(block, usedforsecurity=False).digest()
        return {"Body": _Paced(block, self.least_rate), "ContentMD5": b64encode(md5).decode()}

    def delete_versions(self, key: str) -> OldVersions:
        """Delete what a versioned bucket keeps of an object; a version under an object lock stays."""
        deleted, kept = 0, list[str]()
        with explained(self.bucket, key):
            try:
                pages = [*self.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=key)]
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _UNVERSIONED:
                    return OldVersions()
                raise
            for found in (
                each for page in pages for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            ):
                if found["Key"] != key or found["IsLatest"]:
                    continue
                try:
                    self.s3.delete_object(Bucket=self.bucket, Key=key, VersionId=found["VersionId"])
                    deleted += 1
                except ClientError as error:
                    if error.response.get("Error", {}).get("Code") != "AccessDenied":
                        raise
                    kept.append(f"version {found['VersionId']}: {self._why_kept(key, found['VersionId'])}")
        return OldVersions(deleted, tuple(kept))

    def _why_kept(self, key: str, version_id: str) -> str:
        """Return why a version may not be deleted."""
        head = self.s3.head_object(Bucket=self.bucket, Key=key, VersionId=version_id)
        if until := head.get("ObjectLockRetainUntilDate"):
            return f"object lock until {until:%Y-%m-%d}"
        if head.get("ObjectLockLegalHoldStatus") == "ON":
            return "object lock by a legal hold"
        return "this user may not delete versions (s3:DeleteObjectVersion)"

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with explained(self.bucket, key):
            self.s3.delete_object(Bucket=self.bucket, Key=key)


def _has_own_checksums(manifest: Manifest, head: Mapping[str, Any]) -> bool:
    """Whether the checksums in a response are the store's own, and it is known what they were computed from.

    Some stores repeat the headers of the upload, whatever bytes they have now. If an object was uploaded in parts, a
    checksum may be that of all bytes or of the parts' checksums: AWS says which.
    """
    if "x-amz-date" in head["ResponseMetadata"]["HTTPHeaders"]:
        return False
    return "-" not in manifest.etag or "ChecksumType" in head


def _may_be_md5(manifest: Manifest, head: Mapping[str, Any]) -> bool:
    """Whether the ETag may be the MD5 of the body: AWS says that it is not for some encryptions and for parts."""
    return (
        _MD5.fullmatch(manifest.etag.strip('"')) is not None
        and head.get("ServerSideEncryption", "AES256") == "AES256"
        and "SSECustomerAlgorithm" not in head
        and not manifest.bucket.endswith(_DIRECTORY_BUCKET)
    )


class _TooSlowError(Exception):
    """A store accepts bytes more slowly than the setting allows."""


class _Paced(BytesIO):
    """Bytes to be sent. If sending is too slow, reading raises, and boto3 sends the bytes again, up to five times."""

    def __init__(self, block: bytes, least_rate: int) -> None:
        super().__init__(block)
        self._size, self._least_rate, self._begun = len(block), least_rate, perf_counter()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Seek as in any file, and restart the clock: going back to the beginning means sending again."""
        self._begun = perf_counter()
        return super().seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        """Read as from any file. Raises _TooSlowError."""
        seconds = perf_counter() - self._begun
        if seconds > max(LEAST_SECONDS, self._size / self._least_rate) and self.tell() < self._size:
            raise _TooSlowError(
                f"{self.tell():,} of {self._size:,} bytes were taken in {seconds:.0f} s, slower than "
                f"{self._least_rate:,} bytes a second (KPI_S3_LEAST_RATE)"
            )
        return super().read(size)
