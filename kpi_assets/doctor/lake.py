"""The bucket of each pipeline: whether it can be listed and read and, on request, whether objects can be landed."""

import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from itertools import takewhile
from typing import Any

from kpi_assets.doctor.finding import Finding, advice, clock, errors_as_findings, ok
from kpi_assets.model.object_key import ObjectKey
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings
from kpi_assets.sources.deliveries import near
from kpi_assets.sources.listing import landed
from kpi_assets.sources.store import Store, bucket_of

LOOKED_AT = 7  # days back from today
PROBES = ".kpi-doctor/"  # below the common prefix of a pipeline's keys; deploy/iam/land.json allows removing them


def bucket(settings: Settings, pipeline: Pipeline, *, landing: bool) -> Iterator[Finding]:
    """Examine what may be done with a pipeline's objects. With `landing`, a probe object is put and removed."""
    name = bucket_of(pipeline, settings)
    subject = f"bucket {name}"
    prefix = _prefix(pipeline)

    def examine() -> Iterator[Finding]:
        store = Store.open(settings, name)
        yield from (_clocks_of_s3(subject, store, prefix) if "://" not in name else ())
        first = next(iter(store.entries(prefix)), None)
        if first:
            manifest = store.manifest("", date.min, first.key)
            if manifest is not None:
                store.head(manifest, 1)
            yield ok(subject, f"can be listed and read below {prefix or '/'}")
        else:
            yield ok(subject, f"can be listed; nothing lies below {prefix or '/'} yet")
        yield from _unmatched(subject, store, pipeline)
        if landing:
            key = f"{prefix}{PROBES}{uuid.uuid4()}"
            store.put(key, b"")
            store.objects.delete(key)
            yield ok(subject, "can be landed into: a probe was put and removed")

    yield from errors_as_findings(subject, examine)


def _clocks_of_s3(subject: str, store: Store, prefix: str) -> Iterator[Finding]:
    """Compare this machine's clock with that of S3, which refuses requests if they differ too much."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    from kpi_assets.sources.boto_refusals import explained  # noqa: PLC0415
    from kpi_assets.sources.s3_objects import S3Objects  # noqa: PLC0415

    assert isinstance(store.objects, S3Objects)
    with explained(store.bucket, prefix):
        try:
            listed = store.objects.s3.list_objects_v2(Bucket=store.bucket, Prefix=prefix, MaxKeys=1)
        except ClientError as error:
            yield from _clock(subject, error.response)
            raise
    yield from _clock(subject, listed)


def _unmatched(subject: str, store: Store, pipeline: Pipeline) -> Iterator[Finding]:
    """Find patterns that match nothing on the latest of the last days of which other objects landed."""
    dated = [table for table in pipeline.object_tables if not table.source.key.is_reference]
    tables = [table for table in dated if not table.source.carried_days]
    patterns = [table for table in tables if table.source.key.is_pattern]
    today = datetime.now(timezone.utc).date()
    days = [today - timedelta(days=n) for n in range(LOOKED_AT)] if patterns else []
    for year in sorted({day.year for day in days}, reverse=True):
        of_year = [day for day in days if day.year == year]
        for day, there in sorted(landed(store, tables, of_year[-1], of_year[0]).items(), reverse=True)[:1]:
            for table in patterns:
                if table.relation.table not in there and pipeline.is_table_due(table, day):
                    beside = near(store, pattern := table.object_key(day))
                    text = f"no object matches {pattern} of {table.relation}, although others of {day} landed"
                    yield advice(subject, f"{text}; {beside}" if beside else text)


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
