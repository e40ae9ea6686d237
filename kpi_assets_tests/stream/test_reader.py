"""What landing relies on, of every reader: each test runs on each kind of broker."""

import random
import time
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from kpi_assets.stream.reader import PositionGoneError, StreamError
from kpi_assets_tests.stream.brokers import (
    Broker,
    Kinesis,
    as_sent,
    embedded_broker,
    mock_broker,
    read_all,
    read_exactly,
)

pytestmark = pytest.mark.process
NOW_MS = 10_000  # by how much two clocks, or the time of a test, may differ


KINDS = ["mock", "kinesis", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("tansu", "kafka"))]


@pytest.fixture(scope="module", params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    home = tmp_path_factory.mktemp("broker") / "home"
    if request.param == "mock":
        with mock_broker(home) as found:
            yield found
    elif request.param == "tansu":
        with embedded_broker(home) as found:
            yield found
    elif request.param == "kafka":
        from kpi_assets_tests.stream.apache_kafka import apache_kafka  # noqa: PLC0415

        with apache_kafka(home.parent) as found:
            yield found
    else:
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_KINESIS", f"http://{host}:{port}")
            patch.setenv("AWS_ACCESS_KEY_ID", "key")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            yield Kinesis(home)
        server.stop()


def events(partition: int, count: int, word: str = "event") -> list[tuple[int, bytes, bytes]]:
    return [(partition, b"key %d" % (number % 3), f"{word} {number}".encode()) for number in range(count)]


def test_every_event_is_read_once_in_order(broker: Broker) -> None:
    stream = broker.make()
    sent = broker.send(stream, *events(0, 40), *events(1, 25, "other"))
    with broker.reader(stream) as reader:
        assert reader.partitions()[:2] == [0, 1]
        for partition in (0, 1):
            reader.seek(partition, None)
        read = read_all(reader, 65)
        assert as_sent(read) == sent
        assert [each for each in read if each.partition == 1] == sorted(
            (each for each in read if each.partition == 1), key=lambda each: each.position
        )
        assert all(abs(each.time_ms - time.time() * 1000) < NOW_MS for each in read)
        assert reader.read(10, 0.3) == []
        assert broker.send(stream, *events(0, 3)) == as_sent(read_all(reader, 3))


def test_bytes_are_passed_on_as_they_are(broker: Broker) -> None:
    stream = broker.make()
    values = [b"", b"\x00\xff\n", "ä".encode(), b"x" * 700_000]
    sent = broker.send(stream, *[(0, b"key", value) for value in values])
    with broker.reader(stream) as reader:
        reader.seek(0, None)
        assert as_sent(read_all(reader, 4)) == sent
    if broker.has_tombstones:
        sent = broker.send(stream, (0, b"gone", None), (0, None, b"without a key"))
        with broker.reader(stream) as reader:
            reader.seek(0, sent[0].position)
            assert as_sent(read_all(reader, 2)) == sent


def test_nothing_is_read_that_was_not_sought(broker: Broker) -> None:
    stream = broker.make()
    broker.send(stream, *events(0, 5), *events(1, 5))
    with broker.reader(stream) as reader:
        assert reader.read(10, 0.3) == []
        assert reader.ends() == {}
        reader.seek(1, None)
        assert {each.partition for each in read_all(reader, 5)} == {1}
        assert reader.read(10, 0.3) == []


def test_a_reader_goes_on_after_the_last_event_of_another_one(broker: Broker) -> None:
    stream = broker.make()
    sent = broker.send(stream, *events(0, 10))
    following: int | None = None
    for count in (4, 1, 5):
        with broker.reader(stream) as reader:
            reader.seek(0, following)
            read = read_exactly(reader, count)
        assert as_sent(read) == sent[:count]
        sent, following = sent[count:], read[-1].position + 1
    with broker.reader(stream) as reader:
        assert reader.seek(0, following) == following
        assert reader.ends() == {0: following}
        assert reader.read(10, 0.5) == []
        assert broker.send(stream, *events(0, 1, "new")) == as_sent(read_all(reader, 1))


def test_a_partition_that_is_sought_again_begins_exactly_there(broker: Broker) -> None:
    """What was fetched before is not returned, whether the new place is before or behind it."""
    stream = broker.make()
    sent = broker.send(stream, *events(0, 300), *events(1, 300))
    first = [each.position for each in sent[:300]]
    chance = random.Random(19)
    with broker.reader(stream) as reader:
        reader.seek(1, None)
        for most in (1, 7, 1000, 7, 1000):
            place = chance.randrange(300)
            reader.seek(0, first[place] if place == 0 else first[place - 1] + 1)
            read = [each for each in read_until(reader, 0, most) if each.partition == 0]
            assert [each.position for each in read] == first[place : place + len(read)]


def read_until(reader: object, partition: int, most: int) -> list:
    found: list = []
    deadline = time.monotonic() + 20
    while not any(each.partition == partition for each in found) and time.monotonic() < deadline:
        found += reader.read(most, 0.5)  # type: ignore[attr-defined]
    return found


def test_the_end_is_reached_exactly_when_nothing_is_left(broker: Broker) -> None:
    stream = broker.make()
    sent = broker.send(stream, *events(0, 20))
    with broker.reader(stream) as reader:
        after = {0: reader.seek(0, None), 1: reader.seek(1, None)}
        for _ in range(20):
            ends = reader.ends()
            assert ends[0] > after[0], "something is left"
            assert ends[1] == after[1], "nothing is left"
            if broker.counts and broker.name != "tansu":
                assert ends == {0: 20, 1: 0}
            (event,) = read_exactly(reader, 1)
            after[0] = event.position + 1
        assert reader.ends() == after
        more = broker.send(stream, *events(1, 2))
        assert reader.ends()[1] > after[1]
        assert as_sent(read_all(reader, 2)) == more
        assert reader.ends() == {0: sent[-1].position + 1, 1: more[-1].position + 1}


def test_a_read_ends_with_its_time_or_with_the_first_events(broker: Broker) -> None:
    stream = broker.make()
    with broker.reader(stream) as reader:
        reader.seek(0, None)
        begun = time.monotonic()
        assert reader.read(100, 0.7) == []
        assert 0.7 <= time.monotonic() - begun < 3
        broker.send(stream, *events(0, 3))
        begun = time.monotonic()
        assert 1 <= len(reader.read(100, 20)) <= 3
        assert time.monotonic() - begun < 10, "it does not wait for a hundred"


def test_a_stream_that_is_missing_is_named(broker: Broker) -> None:
    if not broker.knows_absence:
        pytest.skip("it makes each stream that it is asked for")
    with pytest.raises(
        StreamError, match=r"has no (topic|stream) absent: create it, or correct KPI_STREAM_URL"
    ) as error:
        broker.reader("absent")
    assert not error.value.transient


def test_a_position_whose_events_were_dropped_is_not_skipped(broker: Broker) -> None:
    if not broker.drops:
        pytest.skip("this broker drops nothing by itself")
    stream = broker.make()
    sent = broker.send(stream, *events(0, 10))
    kept = broker.send(stream, *events(0, 10, "kept"))
    broker.drop(stream, 0, kept[0].position)
    with broker.reader(stream) as reader:
        with pytest.raises(PositionGoneError) as error:
            reader.seek(0, sent[3].position)
        assert (error.value.partition, error.value.position, error.value.earliest) == (0, 3, 10)
        assert str(error.value) == (
            f"Partition 0 of the stream {stream} is to be read from 3, but the broker's retention has passed it, and "
            "10 is the earliest that is left: keep events for longer, and see the runbook for how to go on with a gap."
        )
        assert reader.read(10, 0.3) == []
        assert reader.seek(0, error.value.earliest) == 10
        assert as_sent(read_all(reader, 10)) == kept
        assert reader.seek(0, None) == 10


def test_a_position_after_the_end_is_refused(broker: Broker) -> None:
    if not broker.counts:
        pytest.skip("only a broker that counts knows what comes next")
    stream = broker.make()
    broker.send(stream, *events(0, 10))
    with broker.reader(stream) as reader:
        with pytest.raises(PositionGoneError) as error:
            reader.seek(0, 11)
        assert (error.value.earliest, error.value.end) == (0, 10)
        assert "the broker's last event is before it, at 9: somebody deleted the stream and made it again" in str(
            error.value
        )
        assert reader.seek(0, 10) == 10


def test_a_new_partition_is_found(broker: Broker) -> None:
    if not broker.grows:
        pytest.skip("its streams keep their partitions")
    stream = broker.make(1)
    sent = broker.send(stream, *events(0, 5))
    with broker.reader(stream) as reader:
        assert reader.partitions() == [0]
        reader.seek(0, None)
        assert as_sent(read_all(reader, 5)) == sent
        broker.grow(stream, 2)
        deadline = time.monotonic() + 30
        while len(found := reader.partitions()) == 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert found[:2] == [0, 1]
        reader.seek(found[-1], None)
        if broker.name == "kinesis":
            return  # moto puts every event into the shard that was split
        sent = broker.send(stream, *events(found[-1], 5, "new"))
        assert as_sent(read_all(reader, 5)) == sent
