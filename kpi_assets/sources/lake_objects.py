"""The objects of one container on Azure, or of one folder, through obstore.

Belongs here: requests of a Store. Not here: sentences for their failures (lake_refusals.py), and what is the same of
every store (objects.py).
"""

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from kpi_assets.model.manifest import Manifest
from kpi_assets.settings import Settings
from kpi_assets.sources.checksums import Checksum
from kpi_assets.sources.lake import MOST_BYTES, Lake, open_lake, quoted
from kpi_assets.sources.lake_refusals import explained, is_taken, status_of
from kpi_assets.sources.objects import (
    ATTEMPTS,
    Entry,
    Head,
    OldVersions,
    PartialError,
    TakenError,
    changed,
    check_length,
    paced,
    unreadable,
)

PIECE = 1  # the fewest bytes that are waited for at once: what has arrived is read, however little
# Where a large object is put together before it gets its key, and where a folder keeps what was written beside one.
UPLOADS, BESIDE = ".kpi-uploads/", ".kpi-metadata/"
_ATTRIBUTES = {"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type"}


class LakeObjects:
    """The objects of one place, as objects.Objects describes them."""

    def __init__(self, lake: Lake, least_rate: int) -> None:
        self.lake, self.bucket, self.least_rate = lake, lake.bucket, least_rate

    @classmethod
    def open(cls, settings: Settings, bucket: str) -> "LakeObjects":
        """Open a place. Raises LakeError."""
        return cls(open_lake(settings, bucket), settings.s3_least_rate)

    def head(self, key: str, version_id: str | None = None) -> Head | None:
        """Return the state of an object, or of a version of it."""
        if not _is_path(key):
            return None
        found = self.lake.state(key, version_id)
        if found is None:
            return None
        return Head(found["size"], quoted(found["e_tag"]), found["version"], found["last_modified"])

    def metadata(self, manifest: Manifest) -> Mapping[str, str]:
        """Return what whoever landed an object wrote beside it, its names in lower case."""
        if self.lake.place.scheme == "file":
            beside = self.lake.head(f"{BESIDE}{manifest.key}")
            return json.loads(self.lake.get(beside.key)) if beside else {}
        found = self._ask(manifest, head=True).attributes
        return {name.lower().replace("_", "-"): value for name, value in found.items() if name not in _ATTRIBUTES}

    def entries(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        """Yield the objects below a prefix, but those that this class puts there for itself."""
        for entry in self.lake.entries(prefix, start_after):
            if not entry.key.startswith((UPLOADS, BESIDE)):
                yield entry

    def get(self, manifest: Manifest, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`; requests them again if the connection breaks or is too slow."""
        for _ in range(ATTEMPTS):
            try:
                return self._get(manifest, start, end)
            except (PartialError, BaseError) as error:
                failure = error
        if isinstance(failure, PartialError):
            raise unreadable(manifest, failure)
        with explained(self.lake.place, manifest.key):
            raise failure

    def _get(self, manifest: Manifest, start: int, end: int) -> bytes:
        """Return a part. Raises PartialError or BaseError if it breaks off, and LakeError if it cannot be requested."""
        answer = self._ask(manifest, range=(start, end))
        if answer.meta["size"] != manifest.size_bytes:
            raise changed(manifest)
        pieces = (bytes(piece) for piece in answer.stream(min_chunk_size=PIECE))
        block = paced(pieces, start, end - start, self.least_rate)
        check_length(block, start, end - start)
        return block

    def _ask(self, manifest: Manifest, **options: Any) -> Any:
        """Make a request for the object of a manifest, and compare the answer with it."""
        if manifest.version_id:
            options["version"] = manifest.version_id
        pinned: Any = {"if_match": manifest.etag, **options}
        with explained(self.lake.place, manifest.key):
            try:
                answer = obstore.get(self.lake.store, manifest.key, options=pinned)
            except (PreconditionError, FileNotFoundError) as error:
                if isinstance(error, FileNotFoundError):
                    self.lake.check_container(error)
                raise changed(manifest) from None
            except BaseError as error:
                if status_of(error) == "416" or "Requested range" in str(error):  # it has become shorter
                    raise changed(manifest) from None
                raise
        # Compared here too, since a store may ignore the condition.
        if quoted(answer.meta["e_tag"]) != quoted(manifest.etag):
            raise changed(manifest)
        return answer

    def checksums(self, _manifest: Manifest) -> Iterable[Checksum]:
        """Return nothing: obstore shows no checksum of Azure, and a folder has none."""
        return ()

    def is_sure(self, _manifest: Manifest, _checksum: Checksum) -> bool:
        """Return False: there is no checksum to be sure of."""
        return False

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
        """Upload bytes in one request; if they are many in parts, under another key, from which they are copied.

        That the object is still `instead_of` is looked at before the upload: no store of obstore replaces large objects
        under that condition.
        """
        if instead_of:
            self._ask(instead_of, head=True)
        store, is_folder = self.lake.store, self.lake.place.scheme == "file"
        # A name on Azure may have no dash.
        words = {"Content-Type": content_type, **{name.replace("-", "_"): value for name, value in metadata.items()}}
        attributes: dict[str, Any] = {} if is_folder else {"attributes": words}
        with explained(self.lake.place, key):
            if is_folder and metadata:
                obstore.put(store, f"{BESIDE}{key}", json.dumps(metadata).encode(), use_multipart=False)
            try:
                if size <= MOST_BYTES:
                    mode: Any = "create" if only_new else "overwrite"
                    obstore.put(store, key, file.read(), mode=mode, use_multipart=False, **attributes)
                    on_progress(size)
                else:
                    self._upload_parts(_blocks(file, on_progress), key, only_new=only_new, attributes=attributes)
            except AlreadyExistsError as error:
                if not is_taken(error):
                    raise
                raise TakenError(self.bucket, key) from None

    def _upload_parts(
        self, blocks: Iterator[bytes], key: str, *, only_new: bool, attributes: Mapping[str, Any]
    ) -> None:
        """Put parts together under a key of their own, since no store of obstore does so under a condition."""
        store, aside = self.lake.store, f"{UPLOADS}{secrets.token_hex(8)}"
        in_parts: dict[str, Any] = {"use_multipart": True, "chunk_size": MOST_BYTES, "max_concurrency": 1}
        try:
            obstore.put(store, aside, blocks, **in_parts, **attributes)
            obstore.copy(store, aside, key, overwrite=not only_new)
        finally:
            with suppress(BaseError, FileNotFoundError):
                obstore.delete(store, aside)

    def delete_versions(self, key: str) -> OldVersions:  # noqa: ARG002
        """Delete nothing: obstore shows no earlier versions."""
        if self.lake.place.scheme == "az":
            return OldVersions(
                0, ("what the storage account keeps of blobs that were replaced: its versions, soft delete",)
            )
        return OldVersions()

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with explained(self.lake.place, key), suppress(FileNotFoundError):
            obstore.delete(self.lake.store, key)


def _is_path(key: str) -> bool:
    """Whether a key can be that of an object here: obstore leaves out a slash at its end."""
    return not key.endswith("/")


def _blocks(file: BinaryIO, on_progress: Callable[[int], None]) -> Iterator[bytes]:
    done = 0
    while block := file.read(MOST_BYTES):
        yield block
        done += len(block)
        on_progress(done)
