"""One bucket: what an object is, and its bytes, pinned to what it was.

Belongs here: calls to S3 and their failures as sentences. Not here: uploading (landing.py).
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from itertools import islice
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from kpi_assets.errors import UserError
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings

PART = 8 << 20  # bytes asked for at once; a part that fails is asked for again alone
AHEAD = 2  # parts being fetched while one is used
ATTEMPTS = 4
_MISSING = {"404", "NoSuchKey", "NotFound"}
_CHANGED = _MISSING | {"412", "PreconditionFailed", "416", "InvalidRange", "NoSuchVersion"}


class LakeError(UserError):
    """S3 cannot be used, or an object is not what its manifest says."""


def client(settings: Settings) -> Any:
    """A client for AWS or for the store that KPI_S3_ENDPOINT_URL names; credentials are boto3's own business.

    Raises LakeError where the environment's settings make no sense.
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
        return boto3.client("s3", endpoint_url=settings.s3_endpoint_url, region_name=region, config=config)
    except (ValueError, BotoCoreError) as error:
        raise LakeError(f"S3 cannot be used ({error}): check KPI_S3_ENDPOINT_URL and AWS's variables.") from None


def bucket_of(pipeline: Pipeline, settings: Settings) -> str:
    """The pipeline's bucket: the environment's, else the one that pipeline.yaml names."""
    return settings.s3_buckets.get(pipeline.name) or settings.s3_bucket or pipeline.config.bucket


@contextmanager
def explained(bucket: str, key: str = "") -> Iterator[None]:
    """Turn what boto3 raises into a sentence that names the object and the remedy."""
    place = f"s3://{bucket}/{key}"
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":
            reason = "the bucket does not exist: create it, or correct KPI_S3_BUCKET"
        elif code in {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}:
            reason = f"access is refused ({code}): check the credentials in AWS's variables and the bucket's policy"
        else:
            reason = f"S3 answered {code}: {error.response.get('Error', {}).get('Message', '')}".rstrip(".")
        raise LakeError(f"{place} cannot be used: {reason}.") from None
    except BotoCoreError as error:
        detail = str(error).strip().rstrip(".")
        raise LakeError(f"{place} cannot be used: {detail}; check KPI_S3_ENDPOINT_URL and AWS's variables.") from None


class Store:
    """A bucket as the pipeline sees it."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self.s3, self.bucket = s3, bucket

    def manifest(self, name: str, load_date: date, key: str) -> Manifest | None:
        """What the object at `key` is now; None if there is none. Raises LakeError when S3 cannot be used."""
        with explained(self.bucket, key):
            try:
                head = self.s3.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in _MISSING:
                    raise
                self._check_bucket()
                return None
        return Manifest(
            object=name,
            load_date=load_date,
            bucket=self.bucket,
            key=key,
            size_bytes=head["ContentLength"],
            etag=head["ETag"],
            version_id=head.get("VersionId"),
            last_modified=head["LastModified"],
        )

    def _check_bucket(self) -> None:
        try:
            self.s3.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _MISSING:
                raise LakeError(
                    f"The bucket {self.bucket} does not exist: create it, or correct KPI_S3_BUCKET."
                ) from None
            raise

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys below a prefix, in order, however many there are."""
        with explained(self.bucket, prefix):
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                yield from (entry["Key"] for entry in page.get("Contents", []))

    def read(self, manifest: Manifest, size: int | None = None) -> "PinnedRead":
        """The object's bytes (the first `size` of them), exactly those of the manifest."""
        return PinnedRead(self.s3, manifest, min(size or manifest.size_bytes, manifest.size_bytes))


class PinnedRead:
    """One pass over the bytes of a manifest; `sha256` is of what has been read so far.

    Raises LakeError when the object is no longer what the manifest says, or S3 does not give all of it.
    """

    def __init__(self, s3: Any, manifest: Manifest, size: int) -> None:
        self._s3, self._manifest, self._size = s3, manifest, size
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes that have been given out."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        starts = iter(range(0, self._size, PART))
        given = 0
        with ThreadPoolExecutor(AHEAD, thread_name_prefix="s3") as pool:
            coming: list[Future[bytes]] = [pool.submit(self._part, start) for start in islice(starts, AHEAD)]
            try:
                while coming:
                    part = coming.pop(0).result()
                    start = next(starts, None)
                    if start is not None:
                        coming.append(pool.submit(self._part, start))
                    self._hash.update(part)
                    given += len(part)
                    yield part
            finally:
                for future in coming:
                    future.cancel()
        if given != self._size:  # whatever goes wrong above, bytes are never lost in silence
            raise LakeError(
                f"s3://{self._manifest.bucket}/{self._manifest.key} was read as {given} of {self._size} bytes."
            )

    def _part(self, start: int) -> bytes:
        end = min(start + PART, self._size)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._get(start, end)
            except HTTPClientError:  # the connection broke inside the body, where boto3 does not try again
                if attempt == ATTEMPTS:
                    with explained(self._manifest.bucket, self._manifest.key):
                        raise
        raise AssertionError("unreachable")

    def _get(self, start: int, end: int) -> bytes:
        manifest = self._manifest
        pins: dict[str, Any] = {"IfMatch": manifest.etag}
        if manifest.version_id:
            pins["VersionId"] = manifest.version_id
        with explained(manifest.bucket, manifest.key):
            try:
                answer = self._s3.get_object(
                    Bucket=manifest.bucket, Key=manifest.key, Range=f"bytes={start}-{end - 1}", **pins
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _CHANGED:
                    raise self._changed() from None
                raise
        # Compared by us too: there are stores that ignore If-Match.
        if answer["ETag"] != manifest.etag:
            raise self._changed()
        part: bytes = answer["Body"].read()
        if len(part) != end - start:
            raise self._changed()
        return part

    def _changed(self) -> LakeError:
        manifest = self._manifest
        return LakeError(
            f"s3://{manifest.bucket}/{manifest.key} was replaced or removed after its manifest was recorded: "
            f"materialise the s3 asset {manifest.object!r} of {manifest.load_date} again, and what follows it."
        )
