"""Fixtures: a bucket for each test, and the same bucket behind a proxy that injects faults."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.model.manifest import Manifest
from kpi_assets.settings import settings
from kpi_assets.sources.s3_objects import client
from kpi_assets.sources.store import Store
from kpi_assets_tests.s3_proxy import Proxy, faulty

DAY = date(2025, 3, 1)
_numbers = itertools.count(1)


@pytest.fixture
def store(stack: Stack) -> Store:
    """A bucket of this test only, on the embedded S3."""
    bucket = f"lake-{next(_numbers)}"
    stack.make_bucket(bucket)
    return Store.open(settings(), bucket, plain_client())


def plain_client(**changes: str) -> Any:
    """Return a client whose objects have no checksum but their ETag, unless a request asks for one."""
    s3 = client(settings().model_copy(update=changes))
    s3.meta.config.request_checksum_calculation = "when_required"
    return s3


@dataclass(frozen=True)
class Faulty:
    """A store behind a proxy that injects faults."""

    store: Store
    proxy: Proxy


@pytest.fixture
def broken(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """The bucket of `store` behind a proxy. boto3 retries as usual, but without pauses."""
    endpoint = settings().s3_endpoint_url
    assert endpoint is not None
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    with faulty(endpoint) as proxy:
        s3 = plain_client(s3_endpoint_url=proxy.url)
        yield Faulty(Store.on_s3(s3, store.bucket), proxy)
        s3.close()


def put(store: Store, key: str, body: bytes) -> Manifest:
    """Put an object on S3 and return its manifest."""
    store.objects.s3.put_object(Bucket=store.bucket, Key=key, Body=body)
    manifest = store.manifest("things", DAY, key)
    assert manifest is not None
    return manifest
