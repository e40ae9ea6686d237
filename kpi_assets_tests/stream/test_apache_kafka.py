"""Landing's reader against Apache Kafka itself: logins, a server that is killed, a change of leaders, transactions."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from confluent_kafka import Consumer, ElectionType, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from kpi_assets.stream.reader import Reader, StreamError, open_reader
from kpi_assets_tests.stream.apache_kafka import (
    EVENT_HUBS_PASSWORD,
    EVENT_HUBS_USER,
    SCRAM_PASSWORD,
    SCRAM_USER,
    ApacheKafka,
    apache_kafka,
)
from kpi_assets_tests.stream.brokers import as_sent, read_all

pytestmark = pytest.mark.nightly

EVENT_HUBS = {"stream_user": EVENT_HUBS_USER, "stream_password": EVENT_HUBS_PASSWORD}
SCRAM = {"stream_user": SCRAM_USER, "stream_password": SCRAM_PASSWORD, "stream_sasl": "SCRAM-SHA-512"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    with apache_kafka(tmp_path_factory.mktemp("kafka"), 2) as found:
        yield found


@pytest.mark.parametrize("login", [EVENT_HUBS, SCRAM])
def test_logins_over_tls(cluster: ApacheKafka, login: dict[str, str]) -> None:
    stream = cluster.make()
    sent = cluster.send(stream, (0, b"key", b"one"), (1, b"key", b"two"))
    with open_reader(cluster.secured(**login), stream) as reader:
        for partition in reader.partitions():
            reader.seek(partition, None)
        assert as_sent(read_all(reader, 2)) == sent


@pytest.mark.parametrize(
    ("login", "sentence"),
    [
        ({**SCRAM, "stream_password": "another one"}, "refuses the login: set KPI_STREAM_USER, KPI_STREAM_PASSWORD"),
        ({**EVENT_HUBS, "stream_password": "another one"}, "refuses the login: set KPI_STREAM_USER"),
        ({**EVENT_HUBS, "stream_sasl": "SCRAM-SHA-256"}, "refuses the login: set KPI_STREAM_USER"),
        ({**SCRAM, "stream_ca": None}, "shows a certificate that is not trusted, or speaks no TLS: set KPI_STREAM_CA"),
    ],
)
def test_a_login_that_is_refused_is_said_soon_and_without_the_password(
    cluster: ApacheKafka, login: dict[str, str | None], sentence: str
) -> None:
    stream = cluster.make()
    begun = time.monotonic()
    with pytest.raises(StreamError) as error:
        open_reader(cluster.secured(**login), stream)
    assert sentence in str(error.value)
    assert not error.value.transient
    assert str(login["stream_password"]) not in str(error.value)
    assert time.monotonic() - begun < 8


class Sender(threading.Thread):
    """Sends events without a pause, and keeps those that were acknowledged."""

    def __init__(self, cluster: ApacheKafka, stream: str) -> None:
        super().__init__()
        self.stream, self.acknowledged, self.stopped = stream, [], threading.Event()  # type: ignore[var-annotated]
        self.producer = Producer({**cluster.options, "enable.idempotence": True, "linger.ms": 5})

    def run(self) -> None:
        def heard(error: object, message: object) -> None:
            if error is None:
                self.acknowledged.append((message.partition(), message.offset(), message.value()))  # type: ignore[attr-defined]

        number = 0
        while not self.stopped.wait(0.002):
            self.producer.produce(self.stream, b"%d" % number, partition=number % 4, callback=heard)
            self.producer.poll(0)
            number += 1
        assert self.producer.flush(120) == 0


def read_for(reader: Reader, seconds: float, found: list) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found += reader.read(1000, 0.2)


def test_a_killed_server_and_new_leaders_lose_nothing_and_repeat_nothing(cluster: ApacheKafka) -> None:
    stream = cluster.make(4)
    sender, found = Sender(cluster, stream), []  # type: ignore[var-annotated]
    with cluster.reader(stream) as reader:
        for partition in range(4):
            reader.seek(partition, None)
        sender.start()
        read_for(reader, 3, found)
        cluster.nodes[1].kill()  # the leader of half of the partitions
        read_for(reader, 12, found)
        assert len({each.partition for each in found[-200:]}) == 4, "the other server leads them now"
        cluster.nodes[1].start()
        cluster.wait()
        read_for(reader, 8, found)
        admin = AdminClient(cluster.options)
        with suppress(Exception):  # those that it leads already are an error
            places = [TopicPartition(stream, partition) for partition in range(4)]
            admin.elect_leaders(ElectionType.PREFERRED, places).result(30)
        read_for(reader, 5, found)
        sender.stopped.set()
        sender.join()
        deadline = time.monotonic() + 60
        while len(found) < len(sender.acknowledged) and time.monotonic() < deadline:
            found += reader.read(1000, 0.2)
        assert reader.read(100, 1) == []
        ends = reader.ends()
    assert len(sender.acknowledged) > 2000
    got = [(each.partition, each.position, each.value) for each in found]
    assert sorted(got) == sorted(sender.acknowledged)
    for partition in range(4):
        positions = [position for number, position, _ in got if number == partition]
        assert positions == [*range(len(positions))]
        assert ends[partition] == len(positions)


def test_a_broker_that_is_gone_yields_nothing_and_is_found_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    with apache_kafka(tmp_path_factory.mktemp("alone")) as alone:
        stream = alone.make()
        sent = alone.send(stream, *[(0, b"key", b"%d" % number) for number in range(10)])
        with alone.reader(stream) as reader:
            reader.seek(0, None)
            assert as_sent(read_all(reader, 10)) == sent
            alone.nodes[0].kill()
            assert reader.read(10, 3) == []
            with pytest.raises(StreamError, match="does not answer for the stream") as error:
                reader.ends()
            assert error.value.transient
            alone.nodes[0].start()
            alone.wait()
            sent = alone.send(stream, (0, b"key", b"after"))
            assert as_sent(read_all(reader, 1, 60)) == sent
            assert reader.ends() == {0: 11}


def test_a_group_of_the_same_name_disturbs_no_reader(cluster: ApacheKafka) -> None:
    """Nobody joins the group, so members that come and go take no partition away."""
    stream = cluster.make(4)
    with cluster.reader(stream) as reader:
        for partition in range(4):
            reader.seek(partition, None)
        found, total = [], 0  # type: ignore[var-annotated]
        for _ in range(3):
            members = [
                Consumer({**cluster.options, "group.id": "kpi_assets", "auto.offset.reset": "earliest"})
                for _ in range(2)
            ]
            for member in members:
                member.subscribe([stream])
                member.consume(10, 2)
            cluster.send(stream, *[(number % 4, None, b"%d" % number) for number in range(100)])
            total += 100
            found += read_all(reader, 100)
            for member in members:
                member.close()
        assert len(found) == total
        for partition in range(4):
            assert [each.position for each in found if each.partition == partition] == [*range(total // 4)]


def test_aborted_transactions_are_not_read_and_their_marks_leave_nothing_to_read(cluster: ApacheKafka) -> None:
    stream = cluster.make(1)
    producer = Producer({**cluster.options, "transactional.id": f"tests-{time.monotonic_ns()}"})
    producer.init_transactions(60)
    with cluster.reader(stream) as reader:
        reader.seek(0, None)
        for number, is_kept in enumerate([True, False, True]):
            producer.begin_transaction()
            producer.produce(stream, b"%d" % number, partition=0)
            producer.flush(30)
            if number == 0:
                assert reader.read(10, 1) == [], "it is not committed yet"
            producer.commit_transaction(30) if is_kept else producer.abort_transaction(30)
        assert [(each.position, each.value) for each in read_all(reader, 2)] == [(0, b"0"), (4, b"2")]
        deadline = time.monotonic() + 10
        while reader.ends() != {0: 5} and time.monotonic() < deadline:
            assert reader.read(10, 0.3) == []
        assert reader.ends() == {0: 5}, "behind the last event is a mark of the broker's own"
    with cluster.reader(stream) as reader:
        assert reader.seek(0, 1) == 1
        assert [each.position for each in read_all(reader, 1)] == [4]


def test_a_compacted_topic_has_gaps(cluster: ApacheKafka) -> None:
    config = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.0",
        "min.compaction.lag.ms": "0",
        "delete.retention.ms": "0",
    }
    stream = cluster.make(1, **config)
    for number in range(30):
        cluster.send(stream, (0, b"key %d" % (number % 2), b"%d" % number))
        time.sleep(0.02)
    time.sleep(0.2)
    cluster.send(stream, (0, b"last", b"last"))
    deadline = time.monotonic() + 40
    positions: list[int] = []
    while time.monotonic() < deadline and (not positions or len(positions) == 31):
        with cluster.reader(stream) as reader:
            reader.seek(0, 0)
            read = []
            while reader.ends()[0] != (read[-1].position + 1 if read else 0):
                read += reader.read(100, 0.5)
        positions = [each.position for each in read]
    assert positions == sorted(positions)
    assert positions[-1] == 30
    assert len(positions) < 31


def test_the_time_is_the_brokers_where_the_topic_says_so(cluster: ApacheKafka) -> None:
    stream = cluster.make(1, **{"message.timestamp.type": "LogAppendTime"})
    producer = Producer(cluster.options)
    producer.produce(stream, b"old", partition=0, timestamp=1_000_000_000_000)
    assert producer.flush(30) == 0
    with cluster.reader(stream) as reader:
        reader.seek(0, None)
        (event,) = read_all(reader, 1)
    assert abs(event.time_ms - time.time() * 1000) < 60_000
