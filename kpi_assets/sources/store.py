"""One bucket: the state of its objects, and their bytes, read only while an object is as its manifest says.

Belongs here: what is the same wherever the objects are. Not here: requests to S3 (s3_objects.py), to Azure and to a
folder (lake_objects.py), and uploads (landing.py).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from datetime import date
from functools import cached_property, partial
from io import BytesIO
from itertools import islice
from threading import Lock
from time import perf_counter
from typing import Any, BinaryIO

from kpi_assets import lake_places
from kpi_assets.ahead import AheadPool
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import LEAST_RATE, Settings
from kpi_assets.sources.checksums import Checksum, PartSums, Summing, sum_of
from kpi_assets.sources.objects import Entry, Objects
from kpi_assets.sources.refusals import LakeError

# Bytes of one request; a part that fails is requested again alone. The sha256 in the ledger is composed of those of
# parts of this size: with another size, every object would seem changed.
PART = 8 << 20
AHEAD = 2  # parts that are fetched while one is used
# Bytes; no hash is computed over all parts of a larger object: it has to read them one after the other, a second for
# each 600 MB with MD5. CRCs take a tenth of that, and large objects are uploaded in parts, without an MD5.
MOST_HASHED = 256 << 20
NO_TYPE = "application/octet-stream"


def bucket_of(pipeline: Pipeline, settings: Settings) -> str:
    """Return the pipeline's bucket as manifests name it: from the environment, or else from pipeline.yaml."""
    return named_place(pipeline, settings) or pipeline.config.bucket


def named_place(pipeline: Pipeline, settings: Settings) -> str | None:
    """Return the pipeline's bucket if the environment names one: that of the pipeline before that of all."""
    name = pipeline.name
    if url := settings.lake_urls.get(name) or (None if name in settings.s3_buckets else settings.lake_url):
        place = lake_places.parse(url)
        assert place is not None  # the settings refuse what is no address
        return place.bucket
    return settings.s3_buckets.get(name) or settings.s3_bucket


class Store:
    """A bucket of a pipeline."""

    def __init__(self, bucket: str, opening: Callable[[], Objects]) -> None:
        """With what `opening` returns; it is called when the objects are used first."""
        self.bucket, self._opening = bucket, opening
        self._checksums: dict[str, tuple[Checksum, ...]] = {}  # by the manifest's hash
        self._lock = Lock()

    @classmethod
    def open(cls, settings: Settings, bucket: str, s3: Any = None) -> "Store":
        """Open a bucket with the settings; one on S3 with a new client unless one is given. Raises LakeError."""
        return cls._of(_objects(settings, bucket, s3))

    @classmethod
    def later(cls, settings: Settings, bucket: str) -> "Store":
        """Return a bucket that is opened with the settings when it is used; that may raise LakeError.

        A process that hardly ever uses it is smaller by boto3 and its client, 25 MB.
        """
        return cls(bucket, lambda: _objects(settings, bucket))

    @classmethod
    def on_s3(cls, s3: Any, bucket: str, least_rate: int = LEAST_RATE) -> "Store":
        """Open a bucket on S3 with a client of boto3; `least_rate` is in bytes a second."""
        return cls._of(_s3_objects()(s3, bucket, least_rate))

    @classmethod
    def _of(cls, objects: Objects) -> "Store":
        return cls(objects.bucket, lambda: objects)

    @cached_property
    def objects(self) -> Objects:
        """The objects of the bucket. Raises LakeError if it is to be opened now, and cannot be."""
        return self._opening()

    def manifest(self, name: str, load_date: date, key: str, version_id: str | None = None) -> Manifest | None:
        """Return the manifest of the object at `key`, or of a version of it; None without one. Raises LakeError."""
        head = self.objects.head(key, version_id)
        if head is None:
            return None
        return Manifest(
            object=name,
            load_date=load_date,
            bucket=self.bucket,
            key=key,
            size_bytes=head.size_bytes,
            etag=head.etag,
            version_id=head.version_id,
            last_modified=head.last_modified,
        )

    def listed(self, entry: Entry) -> Manifest:
        """Return the manifest of an object of no load_date as a listing shows it, without a request.

        Its bytes are pinned by their size and ETag, but its version is not known.
        """
        etag = entry.etag.strip('"')  # some stores list it without its quotes
        return Manifest(
            object="",
            load_date=date.min,
            bucket=self.bucket,
            key=entry.key,
            size_bytes=entry.size_bytes,
            etag=f'"{etag}"',
            version_id=None,
            last_modified=entry.last_modified,
        )

    def metadata(self, manifest: Manifest) -> Mapping[str, str]:
        """Return what whoever landed an object wrote beside it, its names in lower case. Raises LakeError."""
        return self.objects.metadata(manifest)

    def entries(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        """Yield the objects below a prefix and after the key `start_after`, in order of the keys.

        Raises LakeError if the store cannot be used, or if there are more objects than a listing may have.
        """
        return self.objects.entries(prefix, start_after)

    def put(self, key: str, body: bytes, content_type: str = NO_TYPE, *, only_new: bool = False) -> None:
        """Write an object. Raises TakenError if there is one and `only_new` is set, and LakeError."""
        self.objects.upload(
            BytesIO(body),
            len(body),
            key,
            content_type=content_type,
            metadata={},
            only_new=only_new,
            on_progress=lambda _done: None,
        )

    def replace(self, manifest: Manifest, file: BinaryIO, size: int, metadata: Mapping[str, str]) -> Manifest:
        """Put other bytes in the place of an object, if it is still as its manifest says; return the new manifest.

        Raises LakeError.
        """
        self.objects.upload(
            file,
            size,
            manifest.key,
            content_type=NO_TYPE,
            metadata=metadata,
            only_new=False,
            on_progress=lambda _done: None,
            instead_of=manifest,
        )
        found = self.manifest(manifest.object, manifest.load_date, manifest.key)
        if found is None:
            raise LakeError(f"{manifest.url} was removed just now, as it was written: look at who did that.")
        return found

    def head(self, manifest: Manifest, size: int, start: int = 0) -> bytes:
        """Return at most `size` bytes of the object from `start` on, exactly those of the manifest."""
        end = min(start + size, manifest.size_bytes)
        return self.objects.get(manifest, start, end) if start < end else b""

    def read(self, manifest: Manifest, start: int = 0, end: int | None = None) -> "PinnedRead":
        """Return a read of the object's bytes from `start` to `end`, exactly those of the manifest."""
        checksums = partial(self._checksums_of, manifest)
        return PinnedRead(self.objects, manifest, checksums, start, manifest.size_bytes if end is None else end)

    def proven(self, manifest: Manifest, sums: Mapping[int, PartSums]) -> str:
        """Return the sha256 of an object that was read, from the checksums of all its parts.

        Raises LakeError if a checksum that the store has for the object differs from that of the bytes read.
        """
        parts = [sums[number] for number in range(len(sums))]
        for checksum in self._checksums_of(manifest):
            found = sum_of(checksum, parts, manifest.size_bytes)
            if found not in {None, checksum.value} and self.objects.is_sure(manifest, checksum):
                assert found is not None
                raise LakeError(
                    f"{manifest.url} was read as other bytes than the store says it holds "
                    f"(their {checksum.algorithm} is {found.hex()}, not {checksum.value.hex()}): run the load_date "
                    "again, and where that says the same, land the object again from its source with --replace."
                )
        return sha256_of(sums)

    def _checksums_of(self, manifest: Manifest) -> tuple[Checksum, ...]:
        """Return the checksums that the store has for an object; requested once, by whichever thread is first."""
        with self._lock:
            if manifest.hash not in self._checksums:
                self._checksums[manifest.hash] = tuple(self.objects.checksums(manifest))
            return self._checksums[manifest.hash]


def _s3_objects() -> Any:
    """Return the class of buckets on S3; boto3 is imported only then."""
    from kpi_assets.sources.s3_objects import S3Objects  # noqa: PLC0415

    return S3Objects


def _objects(settings: Settings, bucket: str, s3: Any = None) -> Objects:
    """Open a bucket with the settings, on S3 with a new client unless one is given. Raises LakeError."""
    if "://" in bucket:
        from kpi_assets.sources.lake_objects import LakeObjects  # noqa: PLC0415

        return LakeObjects.open(settings, bucket)
    opened: Objects = _s3_objects()(s3, bucket, settings.s3_least_rate) if s3 else _s3_objects().open(settings, bucket)
    return opened


def open_store(pipeline: Pipeline, settings: Settings, s3: Any = None) -> Store:
    """Open the pipeline's bucket, with a new client unless one is given. Raises LakeError."""
    return Store.open(settings, bucket_of(pipeline, settings), s3)


class PinnedRead:
    """One pass over bytes of an object, in parts whose boundaries do not depend on the bytes requested.

    After the pass, `digests` has the checksums of the parts that begin in it, by number; several passes over one object
    have those of all parts together. Raises LakeError if the object is no longer what the manifest says, or if S3 does
    not return all of it.
    """

    def __init__(
        self,
        objects: Objects,
        manifest: Manifest,
        checksums: Callable[[], tuple[Checksum, ...]],
        start: int,
        end: int,
    ) -> None:
        self._objects, self._manifest, self._checksums = objects, manifest, checksums
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
            AheadPool(AHEAD, thread_name_prefix="s3") as pool,
            AheadPool(1, thread_name_prefix="sums") as beside,  # hashes while the caller uses the bytes
        ):
            coming = [(number, pool.submit(self._part, number)) for number in islice(numbers, AHEAD)]
            sums: dict[int, Future[PartSums]] = {}
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
        if given != self._end - self._start:  # so that bytes are never lost silently
            raise LakeError(f"{self._manifest.url} was read as {given} of {self._end - self._start} bytes.")

    def _part(self, number: int) -> bytes:
        """Return a part to its end, even if the pass ends before: the digest is that of the whole part."""
        start, end = number * PART, min((number + 1) * PART, self._manifest.size_bytes)
        return self._objects.get(self._manifest, max(start, self._start), end)


def sha256_of(sums: Mapping[int, PartSums]) -> str:
    """Return the hex digest of an object: that of its only part, or the sha256 of the digests of its parts in order.

    S3 composes its own checksums in this way. It allows several passes to read one object at the same time.
    """
    ordered = [sums[number].sha256 for number in range(len(sums))]
    return (ordered[0] if len(ordered) == 1 else hashlib.sha256(b"".join(ordered)).digest()).hex()
