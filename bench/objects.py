"""Objects on the embedded S3 that benchmarks put there and take away, many at once."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3

from kpi_assets.embedded.stack import Stack

AT_ONCE = 8


def put_objects(stack: Stack, bucket: str, objects: Mapping[str, bytes]) -> None:
    """Make the bucket, and put objects into it by their keys."""
    stack.make_bucket(bucket)
    s3 = _client(stack)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=objects[key]), objects):
            pass


def empty_bucket(stack: Stack, bucket: str) -> None:
    """Remove all objects of a bucket."""
    s3 = _client(stack)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        if found := [{"Key": each["Key"]} for each in page.get("Contents", [])]:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": found})


def _client(stack: Stack) -> Any:
    found = stack.environment()
    return boto3.Session().client(
        "s3",
        endpoint_url=found["KPI_S3_ENDPOINT_URL"],
        region_name=found["AWS_DEFAULT_REGION"],
        aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
    )
