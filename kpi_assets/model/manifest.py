"""A manifest: the exact state of the S3 object that a raw table was made from."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from kpi_assets.model.query import digest

# In place of a manifest's hash, for rows that were made without an object because the source is optional.
NO_OBJECT = digest("no object")


@dataclass(frozen=True)
class Manifest:
    """The state of one object of one load_date, as S3 describes it without the object being read."""

    object: str  # the name of the s3 asset
    load_date: date
    bucket: str
    key: str
    size_bytes: int
    etag: str
    version_id: str | None
    last_modified: datetime

    @cached_property
    def hash(self) -> str:
        """16 hex digits of everything that identifies the bytes; the time of upload is not part of it."""
        return digest(self.bucket, self.key, str(self.size_bytes), self.etag, self.version_id or "")
