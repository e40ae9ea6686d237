"""Brokers of each kind that a reader reads, with what tests do to them: make a stream, send events, drop old ones."""

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from kpi_assets.embedded.broker import BUCKET, CLUSTER
from kpi_assets.embedded.stack import Stack, stop
from kpi_assets.settings import Settings
from kpi_assets.stream.kafka import client_options
from kpi_assets.stream.reader import Reader, open_reader
from kpi_assets_tests.machine import PATIENCE, eventually

REGION = "eu-west-1"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Sent:
    """An event that the broker has acknowledged."""

    partition: int
    position: int
    key: bytes | None
    value: bytes | None


class Broker:
    """A broker that speaks Kafka's protocol."""

    name = "kafka"
    has_tombstones = True
    knows_absence = True  # whether asking for a stream does not make it
    counts = True  # whether positions have no gaps, and `ends` counts
    drops = False  # whether tests can drop old events
    grows = False  # whether a stream can get more partitions

    def __init__(self, settings: Settings):
        self.settings = settings

    @property
    def options(self) -> dict[str, Any]:
        return client_options(self.settings)

    def make(self, partitions: int = 2) -> str:
        """Make a stream of a new name."""
        name = f"clicks-{os.getpid()}-{next(_numbers)}"
        admin = AdminClient(self.options)  # its answers end with it
        for made in admin.create_topics([NewTopic(name, partitions, 1)]).values():
            made.result(30)
        return name

    def send(self, stream: str, *events: tuple[int, bytes | None, bytes | None], **options: Any) -> list[Sent]:
        """Send events, each (partition, key, value), and return them as acknowledged."""
        sent: list[Sent] = []

        def heard(error: object, message: Any) -> None:
            assert error is None, error
            # A broker that has an event already does not say where.
            position = -1 if message.offset() is None else message.offset()
            sent.append(Sent(message.partition(), position, message.key(), message.value()))

        producer = Producer({**self.options, "enable.idempotence": True, "linger.ms": 5, **options})
        for partition, key, value in events:
            producer.produce(stream, value, key=key, partition=partition, callback=heard)
        assert producer.flush(60) == 0
        return sorted(sent, key=lambda each: (each.partition, each.position))

    def reader(self, stream: str) -> Reader:
        return open_reader(self.settings, stream)

    def drop(self, stream: str, partition: int, before: int) -> None:
        """Drop the events before a position, as a broker does when their retention is over."""
        raise NotImplementedError

    def grow(self, stream: str, partitions: int) -> None:
        admin = AdminClient(self.options)
        for made in admin.create_partitions([NewPartitions(stream, partitions)]).values():
            made.result(30)


class Mock(Broker):
    """The cluster within librdkafka, which makes each topic at its first use, of four partitions."""

    name = "mock"
    knows_absence = False

    def make(self, partitions: int = 2) -> str:
        name = f"clicks-{next(_numbers)}"
        admin = AdminClient(self.options)
        eventually(lambda: len(admin.list_topics(name, timeout=10).topics[name].partitions) == 4)
        return name


class Embedded(Broker):
    """Tansu on the embedded S3."""

    name = "tansu"
    drops = True

    def __init__(self, stack: Stack, home: Path):
        environment = stack.environment()
        super().__init__(Settings(home=home, stream_url=environment["KPI_STREAM_URL"]))
        self.home, self.stack = home, stack
        self.s3 = boto3.session.Session().client(
            "s3",
            endpoint_url=environment["KPI_S3_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_DEFAULT_REGION"],
        )

    def batches(self, stream: str, partition: int) -> list[int]:
        """Return the first positions of the batches of a partition."""
        prefix = f"clusters/{CLUSTER}/topics/{stream}/partitions/{partition:010}/records/"
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [
            int(each["Key"].rpartition("/")[2].split(".")[0]) for page in pages for each in page.get("Contents", [])
        ]

    def remove(self, stream: str, partition: int, first: int) -> None:
        key = f"clusters/{CLUSTER}/topics/{stream}/partitions/{partition:010}/records/{first:020}.batch"
        self.s3.delete_object(Bucket=BUCKET, Key=key)

    def drop(self, stream: str, partition: int, before: int) -> None:
        for first in self.batches(stream, partition):
            if first < before:
                self.remove(stream, partition, first)


class Kinesis(Broker):
    """Kinesis as moto imitates it, in this process."""

    name = "kinesis"
    has_tombstones = False
    counts = False
    grows = True

    def __init__(self, home: Path) -> None:
        super().__init__(Settings(home=home, stream_url=f"kinesis://{REGION}"))
        self.client = boto3.session.Session().client("kinesis", region_name=REGION)
        self.hashes: dict[int, str] = {}  # shard -> a hash key that leads to it

    def make(self, partitions: int = 2) -> str:
        name = f"clicks-{next(_numbers)}"
        self.client.create_stream(StreamName=name, ShardCount=partitions)
        eventually(
            lambda: self.client.describe_stream(StreamName=name)["StreamDescription"]["StreamStatus"] == "ACTIVE"
        )
        return name

    def send(self, stream: str, *events: tuple[int, bytes | None, bytes | None], **options: Any) -> list[Sent]:
        shards = self.client.list_shards(StreamName=stream)["Shards"]
        ranges = {int(each["ShardId"].rpartition("-")[2]): each["HashKeyRange"]["StartingHashKey"] for each in shards}
        sent = []
        for partition, key, value in [(each, key or b"none", value or b"") for each, key, value in events]:
            answer = self.client.put_record(
                StreamName=stream, Data=value, PartitionKey=key.decode(), ExplicitHashKey=ranges[partition]
            )
            assert int(answer["ShardId"].rpartition("-")[2]) == partition
            sent.append(Sent(partition, int(answer["SequenceNumber"]), key, value))
        return sorted(sent, key=lambda each: (each.partition, each.position))

    def grow(self, stream: str, partitions: int) -> None:
        half = str(2**126)
        self.client.split_shard(StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=half)


@contextmanager
def mock_broker(home: Path) -> Iterator[Broker]:
    """Run a cluster within this process, for as long as the client that made it lives."""
    owner = Producer({"test.mock.num.brokers": 1})
    (found,) = owner.list_topics(timeout=10).brokers.values()
    yield Mock(Settings(home=home, stream_url=f"kafka://{found.host}:{found.port}"))
    del owner


@contextmanager
def embedded_broker(home: Path) -> Iterator[Embedded]:
    """Run the embedded broker of a home."""
    try:
        with Stack(home, postgres=False, streams=["clicks"]) as stack:
            yield Embedded(stack, home)
    finally:
        stop(home)


def read_all(reader: Reader, count: int, seconds: float = 20) -> list[Any]:
    """Read until there are so many events, or a few more, or the seconds are over."""
    events: list[Any] = []
    deadline = time.monotonic() + seconds
    while len(events) < count and time.monotonic() < deadline:
        events += reader.read(10_000, 0.5)
    return events


def read_exactly(reader: Reader, count: int) -> list[Any]:
    """Read so many events and none more."""
    events: list[Any] = []
    deadline = time.monotonic() + PATIENCE
    while len(events) < count:
        events += reader.read(count - len(events), 5)
        assert time.monotonic() < deadline, f"only {len(events)} of {count} events came"
    return events


def as_sent(events: Sequence[Any]) -> list[Sent]:
    """Return events as `Broker.send` does, in the order of partitions."""
    sent = [Sent(each.partition, each.position, each.key, each.value) for each in events]
    return sorted(sent, key=lambda each: (each.partition, each.position))
