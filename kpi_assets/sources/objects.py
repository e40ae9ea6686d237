"""What a Store asks of the place where objects are, whatever that is.

Belongs here: the requests, what they promise, and what is the same of all places. Not here: how they are made, on S3
(s3_objects.py), and on Azure and in folders (lake_objects.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import BinaryIO, Protocol

from kpi_assets.lake_places import object_url
from kpi_assets.model.manifest import Manifest
from kpi_assets.sources.checksums import Checksum
from kpi_assets.sources.refusals import LakeError

ATTEMPTS = 4  # of a part that breaks off, or comes too slowly
LEAST_SECONDS = 10.0  # a part may always take so long, however small it is
MOST_PAGES = 100  # of 1,000 keys, in one listing


@dataclass(frozen=True)
class Entry:
    """One object in a listing."""

    key: str
    size_bytes: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True)
class Head:
    """The state of one object."""

    size_bytes: int
    etag: str
    version_id: str | None
    last_modified: datetime


@dataclass(frozen=True)
class OldVersions:
    """What became of the versions of an object that are not the latest: a sentence for each that is still there."""

    deleted: int = 0
    kept: tuple[str, ...] = ()


class Objects(Protocol):
    """The objects of one bucket. Every method raises LakeError if the store cannot be used."""

    bucket: str  # as a manifest names it
    least_rate: int  # bytes a second

    def head(self, key: str, version_id: str | None = None) -> Head | None:
        """Return the state of an object, or of a version of it; None without one. Raises LakeError without a bucket."""

    def metadata(self, manifest: Manifest) -> Mapping[str, str]:
        """Return what whoever landed an object wrote beside it, its names in lower case."""

    def entries(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        """Yield the objects below a prefix and after the key `start_after`, in order of the keys.

        Raises LakeError if there are more objects than a listing may have.
        """

    def get(self, manifest: Manifest, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`; requests them again if the connection breaks or is too slow.

        Raises LakeError if the object is no longer what the manifest says.
        """

    def checksums(self, manifest: Manifest) -> Iterable[Checksum]:
        """Return the checksums that the store has for an object."""

    def is_sure(self, manifest: Manifest, checksum: Checksum) -> bool:
        """Whether a checksum that differs proves other bytes, because it is known what it was computed from."""

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
        """Upload bytes, from where `file` stands, as one object or not at all, however large they are.

        Raises TakenError if there is an object and `only_new` is set, and LakeError if the object is no longer that of
        `instead_of`; a store that does not know these conditions overwrites it.
        """

    def delete_versions(self, key: str) -> "OldVersions":
        """Delete what the store keeps of an object besides its latest version."""

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""


class TakenError(LakeError):
    """An object landed under the key between the look whether there is one and the upload."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(
            f"{object_url(bucket, key)} was landed by someone else just now: compare the two before --replace."
        )


class PartialError(Exception):
    """A part did not arrive as requested, and is requested again."""


class ChangedError(LakeError):
    """An object is no longer what its manifest says."""


def changed(manifest: Manifest) -> ChangedError:
    """Return the error for an object that is no longer what its manifest says."""
    return ChangedError(
        f"{manifest.url} was replaced or removed after its manifest was recorded: "
        f"materialise the s3 asset {manifest.object!r} of {manifest.load_date} again, and what follows it."
    )


def unreadable(manifest: Manifest, failure: PartialError) -> LakeError:
    """Return the error for a part that did not arrive as requested, however often."""
    return LakeError(f"{manifest.url} cannot be read, {ATTEMPTS} times in a row: {failure}.")


def too_many(bucket: str, prefix: str, most: int) -> LakeError:
    """Return the error for a listing with more than `most` objects."""
    return LakeError(
        f"There are more than {most:,} objects below {object_url(bucket, prefix)}: keep "
        "other objects than the pipeline's own under another prefix."
    )


def paced(pieces: Iterable[bytes], start: int, size: int, least_rate: int) -> bytes:
    """Join pieces as they arrive. Raises PartialError if they come more slowly than `least_rate` bytes a second."""
    taken, given, begun = [], 0, perf_counter()
    allowed = max(LEAST_SECONDS, size / least_rate)
    for piece in pieces:
        taken.append(piece)
        given += len(piece)
        seconds = perf_counter() - begun
        if seconds > allowed and given < size:
            raise PartialError(
                f"{given:,} of the {size:,} bytes from byte {start:,} on came in {seconds:.0f} s, slower than "
                f"{least_rate:,} bytes a second (KPI_S3_LEAST_RATE)"
            )
    return taken[0] if len(taken) == 1 else b"".join(taken)


def check_length(block: bytes, start: int, size: int) -> None:
    """Raise PartialError if an answer that is complete has another length than was asked for."""
    if len(block) != size:
        raise PartialError(
            f"the answer to {size:,} bytes from byte {start:,} on ended after {len(block):,}: look at the store, and "
            "at what stands between it and here"
        )
