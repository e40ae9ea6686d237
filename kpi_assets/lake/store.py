"""One bucket: what an object is, and its bytes, pinned to what it was.

Belongs here: calls to S3 and their failures as sentences. Not here: uploading (landing.py).
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from time import perf_counter
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from kpi_assets.errors import UserError
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings

PART = 8 << 20  # bytes asked for at once; a part that fails is asked for again alone
AHEAD = 2  # parts being fetched while one is used
ATTEMPTS = 4
MOST_PAGES = 100  # of 1,000 keys, in one listing
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
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise LakeError(f"{place} cannot be used: {reason}.", passing=status >= 500) from None
    except BotoCoreError as error:
        detail = str(error).strip().rstrip(".")
        sentence = f"{place} cannot be used: {detail}; check KPI_S3_ENDPOINT_URL and AWS's variables."
        raise LakeError(sentence, passing=isinstance(error, (BotoConnectionError, HTTPClientError))) from None


@dataclass(frozen=True)
class Entry:
    """One object as a listing tells of it."""

    key: str
    size_bytes: int
    etag: str
    last_modified: datetime


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

    def entries(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        """What lies below a prefix and behind the key `start_after`, in order of the keys.

        Raises LakeError when S3 cannot be used, and when there is more than a listing should have to walk through.
        """
        bounds = {"Bucket": self.bucket, "Prefix": prefix, **({"StartAfter": start_after} if start_after else {})}
        with explained(self.bucket, prefix):
            pages = self.s3.get_paginator("list_objects_v2").paginate(**bounds)
            for number, page in enumerate(pages, start=1):
                if number > MOST_PAGES:
                    raise LakeError(
                        f"More than {MOST_PAGES * 1000:,} objects lie below s3://{self.bucket}/{prefix}: keep other "
                        "objects than the pipeline's own under another prefix."
                    )
                for found in page.get("Contents", []):
                    yield Entry(found["Key"], found["Size"], found["ETag"], found["LastModified"])

    def head(self, manifest: Manifest, size: int, start: int = 0) -> bytes:
        """At most `size` bytes of the object from `start` on, exactly those of the manifest."""
        end = min(start + size, manifest.size_bytes)
        return _Pinned(self.s3, manifest).get(start, end) if start < end else b""

    def read(self, manifest: Manifest, start: int = 0, end: int | None = None) -> "PinnedRead":
        """The object's bytes from `start` to `end`, exactly those of the manifest."""
        return PinnedRead(self.s3, manifest, start, manifest.size_bytes if end is None else end)


class PinnedRead:
    """One pass over bytes of a manifest, in parts that begin at the same places whichever bytes are asked for.

    `digests` are the sha256 of the parts that begin in this pass, by number: several passes over one object have them
    all together. Raises LakeError when the object is no longer what the manifest says, or S3 does not give all of it.
    """

    def __init__(self, s3: Any, manifest: Manifest, start: int, end: int) -> None:
        self._pinned, self._manifest = _Pinned(s3, manifest), manifest
        self._start, self._end = start, end
        self.digests: dict[int, bytes] = {}
        self.waited = 0.0  # seconds in which nothing had come yet

    def __iter__(self) -> Iterator[bytes]:
        numbers = iter(range(self._start // PART, -(-self._end // PART)))
        given = 0
        with ThreadPoolExecutor(AHEAD, thread_name_prefix="s3") as pool:
            coming = [(number, pool.submit(self._part, number)) for number in islice(numbers, AHEAD)]
            try:
                while coming:
                    number, future = coming.pop(0)
                    asked = perf_counter()
                    part = future.result()
                    self.waited += perf_counter() - asked
                    following = next(numbers, None)
                    if following is not None:
                        coming.append((following, pool.submit(self._part, following)))
                    begin = max(number * PART, self._start)
                    if begin == number * PART:
                        self.digests[number] = hashlib.sha256(part).digest()
                    part = part[: self._end - begin]
                    given += len(part)
                    yield part
            finally:
                for _, future in coming:
                    future.cancel()
        if given != self._end - self._start:  # whatever goes wrong above, bytes are never lost in silence
            raise LakeError(
                f"s3://{self._manifest.bucket}/{self._manifest.key} was read as {given} of "
                f"{self._end - self._start} bytes."
            )

    def _part(self, number: int) -> bytes:
        """To its end even where the pass ends before, since its digest is of all of it."""
        start, end = number * PART, min((number + 1) * PART, self._manifest.size_bytes)
        return self._pinned.get(start, end) if start >= self._start else self._pinned.get(self._start, end)


def sha256_of(digests: Mapping[int, bytes]) -> str:
    """Hex digest of an object from those of all its parts: of one part its own, of more the sha256 of theirs in order.

    S3 composes its own checksums so; it lets several passes read one object at once.
    """
    ordered = [digests[number] for number in range(len(digests))]
    return (ordered[0] if len(ordered) == 1 else hashlib.sha256(b"".join(ordered)).digest()).hex()


class _Pinned:
    """Ranges of one object, each compared with the manifest."""

    def __init__(self, s3: Any, manifest: Manifest) -> None:
        self._s3, self._manifest = s3, manifest

    def get(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`; asked for again where the connection breaks."""
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
