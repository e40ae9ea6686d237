"""A manifest: the exact state of the S3 objects that a load_date of a raw table was made from."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from typing import Protocol

from kpi_assets.lake_places import object_url
from kpi_assets.model.query import digest

# In place of a manifest's hash, for rows that were made without an object because the source is optional.
NO_OBJECT = digest("no object")


class Described(Protocol):
    """An object as S3 describes it, in a listing or in a manifest."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    @property
    def etag(self) -> str:
        """Its ETag."""


@dataclass(frozen=True)
class Manifest:
    """The state of one object of one load_date, as S3 describes it without the object being read.

    Of several objects that are read as one table, `parts` has the state of each, and the rest describes all of them:
    the pattern of their keys, the sum of their sizes, and a hash instead of the ETag.
    """

    object: str  # the name of the s3 asset
    load_date: date
    bucket: str
    key: str
    size_bytes: int
    etag: str
    version_id: str | None
    last_modified: datetime
    parts: tuple["Manifest", ...] = ()  # in the order of their keys

    @classmethod
    def of_parts(cls, key: str, parts: Sequence["Manifest"]) -> "Manifest":
        """Return the manifest of several objects, given the pattern of their keys."""
        first = parts[0]
        return cls(
            object=first.object,
            load_date=first.load_date,
            bucket=first.bucket,
            key=key,
            size_bytes=sum(part.size_bytes for part in parts),
            etag=etag_of_parts(parts),
            version_id=None,
            last_modified=max(part.last_modified for part in parts),
            parts=tuple(parts),
        )

    def of_load_date(self, load_date: date) -> "Manifest":
        """Return the same state as that of another load_date, which reads the same objects."""
        parts = tuple(replace(part, load_date=load_date) for part in self.parts)
        return replace(self, load_date=load_date, parts=parts)

    @property
    def objects(self) -> tuple["Manifest", ...]:
        """The manifest of each object."""
        return self.parts or (self,)

    @property
    def url(self) -> str:
        """The address of the object."""
        return object_url(self.bucket, self.key)

    @cached_property
    def hash(self) -> str:
        """16 hex digits of everything that identifies the bytes; the time of upload is not part of it."""
        return digest(self.bucket, self.key, str(self.size_bytes), self.etag, self.version_id or "")


def etag_of_parts(parts: Iterable[Described]) -> str:
    """Return a hash that identifies the state of several objects. Some stores list ETags without their quotes."""
    return digest(*(text for part in parts for text in (part.key, str(part.size_bytes), part.etag.strip('"'))))


def sha256_of_parts(sha256s: Iterable[str]) -> str:
    """Return the sha256 of several objects, in the order of their keys."""
    return hashlib.sha256("\n".join(sha256s).encode()).hexdigest()
