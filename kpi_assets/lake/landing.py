"""Landing: putting files on S3 under a pipeline's keys, once. What lies there is immutable unless told otherwise.

Belongs here: uploads. Not here: reading (store.py).
"""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Literal

from botocore.exceptions import ClientError

from kpi_assets.errors import UserError
from kpi_assets.lake.store import LakeError, Store, explained
from kpi_assets.model.manifest import Manifest

UPLOAD_PART = 16 << 20  # bytes; S3 allows 10,000 parts: objects up to 156 GiB

Outcome = Literal["landed", "replaced", "unchanged"]


def land(
    store: Store, path: Path, key: str, *, replace: bool, on_progress: Callable[[int], None] = lambda _done: None
) -> Outcome:
    """Upload a file to `key`; `on_progress` hears the bytes done so far.

    An object with the same bytes is left alone. Raises UserError where one with other bytes lies there and `replace`
    is not set, and where the file cannot be read.
    """
    if not path.is_file():
        raise UserError(f"The file {path} does not exist: put it there, or name another folder with --from.")
    there = store.manifest("", date.min, key)
    if there and _same(store, there, path):
        on_progress(path.stat().st_size)
        return "unchanged"
    if there and not replace:
        raise UserError(
            f"s3://{store.bucket}/{key} holds other bytes than {path}: raw objects are immutable; "
            "say --replace if it is a correction."
        )
    with explained(store.bucket, key):
        try:
            _upload(store, path, key, on_progress, {} if there else {"IfNoneMatch": "*"})
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in {
                "412",
                "PreconditionFailed",
                "ConditionalRequestConflict",
            }:
                raise LakeError(
                    f"s3://{store.bucket}/{key} was landed by someone else just now: compare the two before --replace."
                ) from None
            raise
    return "replaced" if there else "landed"


def _same(store: Store, there: Manifest, path: Path) -> bool:
    if there.size_bytes != path.stat().st_size:
        return False
    with path.open("rb") as file:
        return all(file.read(len(block)) == block for block in store.read(there))


def _upload(store: Store, path: Path, key: str, on_progress: Callable[[int], None], condition: dict[str, Any]) -> None:
    """In one request where one part holds it, else in parts, which appear as one object at the end or not at all."""
    target = {"Bucket": store.bucket, "Key": key}
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= UPLOAD_PART:
            store.s3.put_object(**target, Body=file.read(), ContentType="text/csv", **condition)
            on_progress(size)
            return
        upload_id = store.s3.create_multipart_upload(**target, ContentType="text/csv")["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            done = 0
            while block := file.read(UPLOAD_PART):
                number = len(parts) + 1
                part = store.s3.upload_part(**target, UploadId=upload_id, PartNumber=number, Body=block)
                parts.append({"ETag": part["ETag"], "PartNumber": number})
                done += len(block)
                on_progress(done)
            store.s3.complete_multipart_upload(
                **target, UploadId=upload_id, MultipartUpload={"Parts": parts}, **condition
            )
        except BaseException:
            store.s3.abort_multipart_upload(**target, UploadId=upload_id)
            raise
