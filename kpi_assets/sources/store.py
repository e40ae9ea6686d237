"""One bucket: the state of its objects, and their bytes, read only while an object is as its manifest says.

Belongs here: requests to S3. Not here: sentences for their failures (refusals.py), and uploads (landing.py).
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from datetime import date
from functools import partial
from itertools import islice
from threading import Lock
from time import perf_counter
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ResponseStreamingError
from urllib3.exceptions import HTTPError

from kpi_assets import lake_places
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import LEAST_RATE, Settings, is_plain_address
from kpi_assets.sources.boto_refusals import explained, is_page, unusable
from kpi_assets.sources.checksums import ALGORITHMS, Checksum, PartSums, Summing, sum_of
from kpi_assets.sources.lake import LEAST_SECONDS, Entry
from kpi_assets.sources.refusals import MISSING, NO_S3, LakeError, foreign_endpoint

# Bytes of one request; a part that fails is requested again alone. The sha256 in the ledger is composed of those of
# parts of this size: with another size, every object would seem changed.
PART = 8 << 20
AHEAD = 2  # parts that are fetched while one is used
ATTEMPTS = 4
PIECE = 256 << 10  # the most bytes that are read from the connection at once
# Bytes; no hash is computed over all parts of a larger object: it has to read them one after the other, a second for
# each 600 MB with MD5. CRCs take a tenth of that, and large objects are uploaded in parts, without an MD5.
MOST_HASHED = 256 << 20
NEIGHBORS = 3  # objects that are read to find out whether a store's ETags are MD5s
_MD5 = re.compile(r"[0-9a-f]{32}")
_MD5_SERVER = "AmazonS3"  # the name of AWS' server and of its imitations: an ETag that looks like an MD5 is one
_DIRECTORY_BUCKET = "--x-s3"  # the end of its name: AWS does not say what its ETags are
MOST_PAGES = 100  # of 1,000 keys, in one listing
_CHANGED = MISSING | {"412", "PreconditionFailed", "416", "InvalidRange", "NoSuchVersion"}


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


def bucket_of(pipeline: Pipeline, settings: Settings) -> str:
    """Return the pipeline's bucket as manifests name it: from the environment, or else from pipeline.yaml."""
    name = pipeline.name
    if url := settings.lake_urls.get(name) or (None if name in settings.s3_buckets else settings.lake_url):
        place = lake_places.parse(url)
        assert place is not None  # the settings refuse what is no address
        return place.bucket
    return settings.s3_buckets.get(name) or settings.s3_bucket or pipeline.config.bucket


class Store:
    """A bucket of a pipeline."""

    def __init__(self, s3: Any, bucket: str, least_rate: int = LEAST_RATE) -> None:
        """`least_rate` is in bytes a second: a part that arrives more slowly is requested again."""
        self.s3, self.bucket, self.least_rate = s3, bucket, least_rate
        self._checksums: dict[str, tuple[Checksum, ...]] = {}  # by the manifest's hash
        self._lock = Lock()

    @classmethod
    def open(cls, settings: Settings, bucket: str, s3: Any = None) -> "Store":
        """Open a bucket with the settings, and with a new client unless one is given. Raises LakeError."""
        return cls(s3 or client(settings), bucket, settings.s3_least_rate)

    def manifest(self, name: str, load_date: date, key: str, version_id: str | None = None) -> Manifest | None:
        """Return the manifest of the object at `key`, or of a version of it; None without one. Raises LakeError."""
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

    def metadata(self, manifest: Manifest) -> Mapping[str, str]:
        """Return what whoever landed an object wrote beside it, its names in lower case. Raises LakeError."""
        found = self._pinned(manifest).head().get("Metadata", {})
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
        """Yield the objects below a prefix and after the key `start_after`, in order of the keys.

        Raises LakeError if S3 cannot be used, or if there are more objects than a listing may have.
        """
        bounds = {"Bucket": self.bucket, "Prefix": prefix, **({"StartAfter": start_after} if start_after else {})}
        with explained(self.bucket, prefix):
            pages = self.s3.get_paginator("list_objects_v2").paginate(**bounds)
            for number, page in enumerate(pages, start=1):
                if number > MOST_PAGES:
                    raise LakeError(
                        f"There are more than {MOST_PAGES * 1000:,} objects below s3://{self.bucket}/{prefix}: keep "
                        "other objects than the pipeline's own under another prefix."
                    )
                for found in page.get("Contents", []):
                    yield Entry(found["Key"], found["Size"], found["ETag"], found["LastModified"])

    def head(self, manifest: Manifest, size: int, start: int = 0) -> bytes:
        """Return at most `size` bytes of the object from `start` on, exactly those of the manifest."""
        end = min(start + size, manifest.size_bytes)
        return self._pinned(manifest).get(start, end) if start < end else b""

    def read(self, manifest: Manifest, start: int = 0, end: int | None = None) -> "PinnedRead":
        """Return a read of the object's bytes from `start` to `end`, exactly those of the manifest."""
        checksums = partial(self._checksums_of, manifest)
        return PinnedRead(self._pinned(manifest), checksums, start, manifest.size_bytes if end is None else end)

    def _pinned(self, manifest: Manifest) -> "_Pinned":
        return _Pinned(self.s3, manifest, self.least_rate)

    def proven(self, manifest: Manifest, sums: Mapping[int, PartSums]) -> str:
        """Return the sha256 of an object that was read, from the checksums of all its parts.

        Raises LakeError if a checksum that the store has for the object differs from that of the bytes read.
        """
        parts = [sums[number] for number in range(len(sums))]
        for checksum in self._checksums_of(manifest):
            found = sum_of(checksum, parts, manifest.size_bytes)
            if found not in {None, checksum.value} and self._is_sure(manifest, checksum):
                assert found is not None
                raise LakeError(
                    f"s3://{manifest.bucket}/{manifest.key} was read as other bytes than the store says it holds "
                    f"(their {checksum.algorithm} is {found.hex()}, not {checksum.value.hex()}): run the load_date "
                    "again, and where that says the same, land the object again from its source with --replace."
                )
        return sha256_of(sums)

    def _checksums_of(self, manifest: Manifest) -> tuple[Checksum, ...]:
        """Return the checksums that the store has for an object; requested once, by whichever thread is first."""
        with self._lock:
            if manifest.hash not in self._checksums:
                self._checksums[manifest.hash] = tuple(self._request_checksums(manifest))
            return self._checksums[manifest.hash]

    def _request_checksums(self, manifest: Manifest) -> Iterator[Checksum]:
        head = self._pinned(manifest).head()
        for algorithm in ALGORITHMS if _has_own_checksums(manifest, head) else ():
            if text := head.get(f"Checksum{algorithm}"):
                block = self._block_of(manifest, text) if "-" in text else None
                checksum = Checksum.parse(algorithm, text, block)
                yield from [checksum] if checksum else []
        if _may_be_md5(manifest, head):
            yield Checksum("MD5", bytes.fromhex(manifest.etag.strip('"')), is_etag=True)

    def _block_of(self, manifest: Manifest, text: str) -> int | None:
        """Return the size of the parts in which an object was uploaded, or None if they differ in size."""
        block, count = self._pinned(manifest).head(part=1)["ContentLength"], text.partition("-")[2]
        return block if block and count == str(-(-manifest.size_bytes // block)) else None

    def _is_sure(self, manifest: Manifest, checksum: Checksum) -> bool:
        """Whether a checksum that differs proves other bytes, because it is known what it was computed from."""
        if checksum.block:
            blocks = range(1, -(-manifest.size_bytes // checksum.block))
            return all(self._pinned(manifest).head(part=n)["ContentLength"] == checksum.block for n in blocks)
        if not checksum.is_etag:
            return True
        server = self._pinned(manifest).head()["ResponseMetadata"]["HTTPHeaders"].get("server", "")
        return server == _MD5_SERVER or self._neighbors_have_md5(manifest)

    def _neighbors_have_md5(self, manifest: Manifest) -> bool:
        """Whether the ETags of other objects, landed at about the same time, are MD5s of their bytes."""
        folder = f"{manifest.key.split('/')[0]}/" if "/" in manifest.key else ""
        try:
            others = [
                entry
                for entry in islice(self.entries(folder), 1000)  # what one request lists
                if entry.key != manifest.key and 0 < entry.size_bytes <= PART and _MD5.fullmatch(entry.etag.strip('"'))
            ]
            others.sort(key=lambda entry: abs(entry.last_modified - manifest.last_modified))
            found = [self.manifest("", date.min, entry.key) for entry in others[:NEIGHBORS]]
            bodies = [(each.etag, self.head(each, each.size_bytes)) for each in found if each]
        except LakeError:
            return False
        return bool(bodies) and all(
            etag.strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest() for etag, body in bodies
        )


def open_store(pipeline: Pipeline, settings: Settings, s3: Any = None) -> Store:
    """Open the pipeline's bucket, with a new client unless one is given. Raises LakeError."""
    return Store.open(settings, bucket_of(pipeline, settings), s3)


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


class PinnedRead:
    """One pass over bytes of an object, in parts whose boundaries do not depend on the bytes requested.

    After the pass, `digests` has the checksums of the parts that begin in it, by number; several passes over one object
    have those of all parts together. Raises LakeError if the object is no longer what the manifest says, or if S3 does
    not return all of it.
    """

    def __init__(self, pinned: "_Pinned", checksums: Callable[[], tuple[Checksum, ...]], start: int, end: int) -> None:
        self._pinned, self._manifest, self._checksums = pinned, pinned.manifest, checksums
        self._start, self._end = start, end
        self.digests: dict[int, PartSums] = {}
        self.waited = 0.0  # seconds spent waiting for S3

    def __iter__(self) -> Iterator[bytes]:
        if self._start == self._end:
            return
        size = self._manifest.size_bytes
        numbers = iter(range(self._start // PART, -(-self._end // PART)))
        is_whole = (self._start, self._end) == (0, size) and size <= MOST_HASHED
        summing = Summing(self._checksums(), size, is_whole)
        given = 0
        with (
            ThreadPoolExecutor(AHEAD, thread_name_prefix="s3") as pool,
            ThreadPoolExecutor(1, thread_name_prefix="sums") as beside,  # hashes while the caller uses the bytes
        ):
            coming = [(number, pool.submit(self._part, number)) for number in islice(numbers, AHEAD)]
            sums: dict[int, Future[PartSums]] = {}
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
                        if number - 1 in sums:
                            wait([sums[number - 1]])  # so that at most one part waits for its checksum
                        sums[number] = beside.submit(summing.add, begin, part)
                    part = part[: self._end - begin]
                    given += len(part)
                    yield part
                self.digests.update({number: future.result() for number, future in sums.items()})
            finally:
                for _, future in coming:
                    future.cancel()
        if given != self._end - self._start:  # so that bytes are never lost silently
            raise LakeError(
                f"s3://{self._manifest.bucket}/{self._manifest.key} was read as {given} of "
                f"{self._end - self._start} bytes."
            )

    def _part(self, number: int) -> bytes:
        """Return a part to its end, even if the pass ends before: the digest is that of the whole part."""
        start, end = number * PART, min((number + 1) * PART, self._manifest.size_bytes)
        return self._pinned.get(start, end) if start >= self._start else self._pinned.get(self._start, end)


def sha256_of(sums: Mapping[int, PartSums]) -> str:
    """Return the hex digest of an object: that of its only part, or the sha256 of the digests of its parts in order.

    S3 composes its own checksums in this way. It allows several passes to read one object at the same time.
    """
    ordered = [sums[number].sha256 for number in range(len(sums))]
    return (ordered[0] if len(ordered) == 1 else hashlib.sha256(b"".join(ordered)).digest()).hex()


class _PartialError(Exception):
    """A part did not arrive as requested, and is requested again."""


class _Pinned:
    """Requests for one object; each response is compared with the manifest."""

    def __init__(self, s3: Any, manifest: Manifest, least_rate: int) -> None:
        self._s3, self.manifest, self._least_rate = s3, manifest, least_rate
        self._pins: dict[str, Any] = {"Bucket": manifest.bucket, "Key": manifest.key, "IfMatch": manifest.etag}
        if manifest.version_id:
            self._pins["VersionId"] = manifest.version_id

    def head(self, part: int | None = None) -> Mapping[str, Any]:
        """Return the headers of the object, or of one of the parts in which it was uploaded, with checksums."""
        more = {"PartNumber": part} if part else {}
        head: Mapping[str, Any] = self._ask(self._s3.head_object, ChecksumMode="ENABLED", **more)
        return head

    def get(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`; requests them again if the connection breaks or is too slow."""
        for _ in range(ATTEMPTS):
            try:
                return self._get(start, end)
            except (HTTPClientError, HTTPError, _PartialError) as error:  # boto3 does not request a body again
                failure = error
        with explained(self.manifest.bucket, self.manifest.key):
            if isinstance(failure, _PartialError):
                place = f"s3://{self.manifest.bucket}/{self.manifest.key}"
                raise LakeError(f"{place} cannot be read, {ATTEMPTS} times in a row: {failure}.")
            raise failure if isinstance(failure, HTTPClientError) else ResponseStreamingError(error=failure)

    def _get(self, start: int, end: int) -> bytes:
        size = end - start
        answer = self._ask(self._s3.get_object, Range=f"bytes={start}-{end - 1}")
        whole = str(answer.get("ContentRange", "")).rpartition("/")[2]
        if whole.isdigit() and int(whole) != self.manifest.size_bytes:
            raise self._changed()
        pieces, given, begun = [], 0, perf_counter()
        allowed = max(LEAST_SECONDS, size / self._least_rate)
        with closing(answer["Body"]) as body:
            # Read what has arrived, however little: boto3's own read waits for all the bytes requested.
            while piece := body._raw_stream.read1(PIECE):
                pieces.append(piece)
                given += len(piece)
                seconds = perf_counter() - begun
                if seconds > allowed and given < size:
                    raise _PartialError(
                        f"{given:,} of the {size:,} bytes from byte {start:,} on came in {seconds:.0f} s, slower than "
                        f"{self._least_rate:,} bytes a second (KPI_S3_LEAST_RATE)"
                    )
        if given < answer["ContentLength"]:
            raise ResponseStreamingError(error=f"it ended after {given} of {answer['ContentLength']} bytes")
        if given != size:
            raise _PartialError(
                f"the answer to {size:,} bytes from byte {start:,} on ended after {given:,}: look at the store, and at "
                "what stands between it and here"
            )
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _ask(self, request: Callable[..., Any], **words: Any) -> Any:
        with explained(self.manifest.bucket, self.manifest.key):
            try:
                answer = request(**self._pins, **words)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _CHANGED:
                    raise self._changed() from None
                raise
        # Compared here too, since some stores ignore If-Match.
        if answer.get("ETag") != self.manifest.etag:
            raise self._changed()
        return answer

    def _changed(self) -> LakeError:
        manifest = self.manifest
        return LakeError(
            f"s3://{manifest.bucket}/{manifest.key} was replaced or removed after its manifest was recorded: "
            f"materialise the s3 asset {manifest.object!r} of {manifest.load_date} again, and what follows it."
        )
