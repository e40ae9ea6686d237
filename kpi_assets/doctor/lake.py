"""The bucket of each pipeline: whether it can be listed and read and, on request, whether objects can be landed."""

import uuid
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from itertools import takewhile
from typing import Any

from botocore.exceptions import ClientError

from kpi_assets.doctor.finding import Finding, clock, errors_as_findings, ok
from kpi_assets.model.object_key import ObjectKey
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings
from kpi_assets.sources.refusals import explained
from kpi_assets.sources.store import bucket_of, client

PROBES = ".kpi-doctor/"  # below the common prefix of a pipeline's keys; deploy/iam/land.json allows removing them


def bucket(settings: Settings, pipeline: Pipeline, *, landing: bool) -> Iterator[Finding]:
    """Examine what may be done with a pipeline's objects. With `landing`, a probe object is put and removed."""
    name = bucket_of(pipeline, settings)
    subject = f"bucket {name}"
    prefix = _prefix(pipeline)

    def examine() -> Iterator[Finding]:
        s3 = client(settings)
        with explained(name, prefix):
            try:
                listed = s3.list_objects_v2(Bucket=name, Prefix=prefix, MaxKeys=1)
            except ClientError as error:
                yield from _clock(subject, error.response)  # S3 refuses requests if the clocks differ too much
                raise
        yield from _clock(subject, listed)
        found = [entry["Key"] for entry in listed.get("Contents", [])]
        if found:
            with explained(name, found[0]):
                s3.get_object(Bucket=name, Key=found[0])["Body"].read(1)
            yield ok(subject, f"can be listed and read below {prefix or '/'}")
        else:
            yield ok(subject, f"can be listed; nothing lies below {prefix or '/'} yet")
        if landing:
            key = f"{prefix}{PROBES}{uuid.uuid4()}"
            with explained(name, key):
                s3.put_object(Bucket=name, Key=key, Body=b"")
                s3.delete_object(Bucket=name, Key=key)
            yield ok(subject, "can be landed into: a probe was put and removed")

    yield from errors_as_findings(subject, examine)


def _prefix(pipeline: Pipeline) -> str:
    """Return the folders that the keys of all objects of a pipeline have in common."""
    folders = [_text_before_date(table.source.key).split("/")[:-1] for table in pipeline.object_tables]
    levels = takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))
    return "".join(f"{names[0]}/" for names in levels)


def _text_before_date(key: ObjectKey) -> str:
    return "".join(token.text for token in takewhile(lambda token: token.kind == "text", key.tokens))


def _clock(subject: str, answer: Any) -> Iterator[Finding]:
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if date:
        yield clock(subject, parsedate_to_datetime(date))
