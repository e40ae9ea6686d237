"""The addresses of objects: a bucket on S3, a container of a storage account on Azure, or a folder of this machine.

Belongs here: reading and writing such an address. Not here: what is done there (sources/), and which one a pipeline has
(settings.py, model/pipeline.py).
"""

import re
from dataclasses import dataclass
from typing import Literal

Scheme = Literal["s3", "az", "file"]

# What boto3 accepts as a bucket or an access point: never a URL, which could contain a secret.
BUCKET_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:aws[a-z-]*:s3[a-z-]*:[a-z0-9-]*:[0-9]{12}:[\w./:-]+", re.ASCII)
_AZURE = re.compile(r"az://([a-z0-9]{3,24})/(\$root|\$web|[a-z0-9](?:-?[a-z0-9]){2,62})/?", re.ASCII)
_FOLDER = re.compile(r"file://(/[^?#\x00-\x1f]*)")
FORMS = "write s3://bucket, az://account/container or file:///folder, without a key, a password or a query"


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects are: the bucket, the container or the folder, and the storage account of a container."""

    scheme: Scheme
    name: str
    account: str = ""

    @property
    def bucket(self) -> str:
        """The name under which a manifest has it: that of a bucket alone, or else the whole address."""
        return self.name if self.scheme == "s3" else self.url

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        return {"s3": f"s3://{self.name}", "az": f"az://{self.account}/{self.name}", "file": f"file://{self.name}"}[
            self.scheme
        ]


def parse(text: str) -> Place | None:
    """Read an address, or the name of a bucket alone; None for anything else."""
    if found := _AZURE.fullmatch(text):
        return Place("az", found[2], found[1])
    if found := _FOLDER.fullmatch(text):
        return Place("file", found[1].rstrip("/") or "/")
    name = text.removeprefix("s3://").removesuffix("/")
    return Place("s3", name) if BUCKET_NAME.fullmatch(name) else None


def object_url(bucket: str, key: str = "") -> str:
    """Return the address of an object in a bucket, as a manifest names it."""
    return f"{bucket}/{key}" if "://" in bucket else f"s3://{bucket}/{key}"
