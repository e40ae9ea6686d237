"""The objects of erasures on S3, `erasures/NNNN.json`: listed, read, and added to. None is ever written again.

Not here: the content of one (model/erasure.py).
"""

import re
from datetime import date

from kpi_assets.lake_places import object_url
from kpi_assets.model.erasure import Erasure, ErasureError, read_erasure
from kpi_assets.sources.objects import Entry, TakenError
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store

FOLDER = "erasures/"
_KEY = re.compile(rf"{FOLDER}([0-9]{{4,9}})\.json")
_RECEIPT = ".receipt.json"
_ATTEMPTS = 20  # numbers that somebody else may take meanwhile


def find(store: Store) -> list[tuple[int, Entry]]:
    """Return the objects of erasures with their numbers, the first one first. Raises LakeError.

    Raises ErasureError for an object that has no number: nobody could say whom it erases.
    """
    found = []
    for entry in store.entries(FOLDER):
        if match := _KEY.fullmatch(entry.key):
            found.append((int(match[1]), entry))
        elif not entry.key.endswith(("/", _RECEIPT)):
            raise ErasureError(f"{object_url(store.bucket, entry.key)} lies among the erasures: move it elsewhere.")
    return sorted(found, key=lambda each: each[0])


def read(store: Store, number: int, entry: Entry) -> Erasure:
    """Return the erasure of an object. Raises ErasureError and LakeError."""
    manifest = store.manifest("", date.min, entry.key)
    if manifest is None:
        raise LakeError(f"{object_url(store.bucket, entry.key)} was removed just now.", transient=True)
    return read_erasure(store.head(manifest, manifest.size_bytes), entry.key, number)


def receipt_key(number: int) -> str:
    """Return the key of the receipt of an erasure."""
    return f"{FOLDER}{number:04}{_RECEIPT}"


def read_receipt(store: Store, number: int) -> bytes:
    """Return the receipt of an erasure. Raises LakeError if it is not there."""
    key = receipt_key(number)
    manifest = store.manifest("", date.min, key)
    if manifest is None:
        raise LakeError(f"{object_url(store.bucket, key)} is not there.")
    return store.head(manifest, manifest.size_bytes)


def add(store: Store, erasure: Erasure) -> tuple[int, str]:
    """Write an erasure under the next number; return the number and the key. Raises LakeError."""
    for _ in range(_ATTEMPTS):
        number = max((each for each, _ in find(store)), default=0) + 1
        key = f"{FOLDER}{number:04}.json"
        try:
            store.put(key, erasure.body(), "application/json", only_new=True)
        except TakenError:
            continue
        return number, key
    raise LakeError(f"Others write erasures to {store.bucket} all the time: give the command again.")
