"""Buckets that one test after another uses: the first object of a new one takes longer than most tests.

Belongs here: which buckets are free. Not here: what a test puts into its own. The embedded S3 keeps the folders of
removed objects: a listing does not show them, and a request for the folder itself does, so tests of such requests make
buckets of their own (sources/conftest.py).
"""

import itertools
import os
from collections import defaultdict
from typing import Any

from kpi_assets.embedded.stack import Stack

_numbers = itertools.count(1)
_free: dict[str, list[str]] = defaultdict(list)  # by the address of the server


def take(stack: Stack, s3: Any) -> str:
    """Return the name of an empty bucket that no other test uses."""
    if free := _free[s3.meta.endpoint_url]:
        return free.pop()
    name = f"kpi-lab{os.getpid()}-{next(_numbers)}"
    stack.make_bucket(name)
    return name


def give_back(s3: Any, name: str) -> None:
    """Empty a bucket for the next test. One that keeps versions, or parts of objects, is not used again."""
    if s3.get_bucket_versioning(Bucket=name).get("Status") or s3.list_multipart_uploads(Bucket=name).get("Uploads"):
        return
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        if found := [{"Key": each["Key"]} for each in page.get("Contents", [])]:
            s3.delete_objects(Bucket=name, Delete={"Objects": found, "Quiet": True})
    _free[s3.meta.endpoint_url].append(name)
