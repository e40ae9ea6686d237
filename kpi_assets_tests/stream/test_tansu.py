"""What the reader of the embedded broker makes of Tansu's own ways: gaps, kills, and many batches."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from kpi_assets.embedded.broker import BUCKET, CLUSTER, Batches
from kpi_assets.embedded.stack import Stack, status
from kpi_assets.stream import tansu
from kpi_assets.stream.reader import PositionGoneError, StreamError
from kpi_assets.stream.tansu import TansuReader
from kpi_assets_tests.machine import PATIENCE, eventually
from kpi_assets_tests.stream.brokers import Embedded, as_sent, embedded_broker, read_all

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with embedded_broker(tmp_path_factory.mktemp("tansu") / "home") as found:
        yield found


def batch(broker: Embedded, stream: str, first: int) -> str:
    return f"clusters/{CLUSTER}/topics/{stream}/partitions/{0:010}/records/{first:020}.batch"


def test_a_gap_is_waited_for_until_its_batch_is_there(broker: Embedded) -> None:
    """With two producers, a batch that was put slowly comes after one with later positions."""
    stream = broker.make()
    sent = [event for number in range(3) for event in broker.send(stream, (0, b"key", b"%d" % number))]
    key = batch(broker, stream, 1)
    body = broker.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    broker.s3.delete_object(Bucket=BUCKET, Key=key)
    with broker.reader(stream) as reader:
        assert isinstance(reader, TansuReader)
        reader.seek(0, None)
        reader.seek(1, None)
        found = read_all(reader, 1)
        assert as_sent(found) == sent[:1]
        other = broker.send(stream, (1, b"key", b"other"))
        assert as_sent(read_all(reader, 1)) == other, "other partitions go on"
        assert reader.read(10, 2) == []
        assert reader.ends()[0] == 3
        broker.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        assert as_sent(read_all(reader, 2)) == sent[1:]
        assert reader.ends() == {0: 3, 1: 1}


@pytest.mark.nightly
def test_a_gap_that_nothing_fills_is_passed_and_said(
    broker: Embedded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tansu, "GAP_SECONDS", 1.5)
    stream = broker.make()
    sent = [event for number in range(4) for event in broker.send(stream, (0, b"key", b"%d" % number))]
    broker.remove(stream, 0, 1)
    broker.remove(stream, 0, 2)
    with broker.reader(stream) as reader, caplog.at_level(logging.WARNING):
        reader.seek(0, None)
        begun = time.monotonic()
        assert as_sent(read_all(reader, 2)) == [sent[0], sent[3]]
        assert time.monotonic() - begun >= 1.5
        assert reader.ends() == {0: 4}
    assert [record.message for record in caplog.records] == [
        f"Positions 1 to 2 of partition 0 of {stream} hold nothing: the embedded broker was ended before it had put "
        "them, and has not acknowledged them."
    ]


@pytest.mark.nightly
def test_a_gap_at_the_end_leaves_nothing_to_read(broker: Embedded) -> None:
    stream = broker.make()
    sent = [event for number in range(3) for event in broker.send(stream, (0, b"key", b"%d" % number))]
    broker.remove(stream, 0, 2)
    with broker.reader(stream) as reader:
        reader.seek(0, None)
        assert as_sent(read_all(reader, 2)) == sent[:2]
        deadline = time.monotonic() + 10
        while reader.ends() != {0: 2} and time.monotonic() < deadline:
            assert reader.read(10, 0.5) == []
        assert reader.ends() == {0: 2}


@pytest.mark.nightly  # how long a listing takes depends on the machine
def test_a_reader_that_is_behind_and_gets_nothing_asks_with_more_time(
    broker: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch lists every batch first; where that takes longer than the fetch may, it yields nothing."""
    monkeypatch.setattr(TansuReader, "fetch_wait_ms", 1)
    monkeypatch.setattr(tansu, "WAIT_MS", 400)
    stream = broker.make()
    one_each = {"batch.num.messages": 1, "linger.ms": 0}
    sent = broker.send(stream, *[(0, b"key", b"%d" % number) for number in range(100)], **one_each)
    with broker.reader(stream) as reader:
        assert isinstance(reader, TansuReader)
        reader.seek(0, 5)
        assert as_sent(read_all(reader, 95, PATIENCE)) == sent[5:]
        assert reader.fetch_wait_ms > 1
        deadline = time.monotonic() + 10
        while reader.fetch_wait_ms != 400 and time.monotonic() < deadline:
            reader.read(10, 0.5)
        broker.send(stream, (0, b"key", b"new"))
        assert [each.value for each in read_all(reader, 1)] == [b"new"]


def test_what_is_landed_is_dropped(broker: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole batches only, and never the last one; what is not landed stays."""
    monkeypatch.setattr(tansu, "DROP_SECONDS", 0.0)
    stream = broker.make()
    sent = [broker.send(stream, *[(0, b"key", b"%d" % number)] * 5) for number in range(4)]
    broker.send(stream, (1, b"key", b"kept"))
    with broker.reader(stream) as reader:
        reader.seek(0, None)
        assert broker.batches(stream, 0) == [0, 5, 10, 15]
        reader.landed(0, 9)
        eventually(lambda: broker.batches(stream, 0) == [5, 10, 15])
        with pytest.raises(PositionGoneError):
            reader.seek(0, 4)
        reader.landed(0, 20)
        eventually(lambda: broker.batches(stream, 0) == [15])
        assert broker.batches(stream, 1) == [0]
        assert reader.seek(0, None) == 15
        assert as_sent(read_all(reader, 5)) == sent[3]
        assert reader.seek(0, 20) == 20
    assert Batches(broker.home).drop(stream, 0, 1000) == 0


@pytest.mark.nightly
def test_acknowledged_events_survive_kills_of_the_broker(broker: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tansu, "GAP_SECONDS", 3.0)
    stream = broker.make()
    sent, stopped = [], threading.Event()

    # Without idempotence: Tansu notes that it has had a batch before it puts it. After a kill in between it takes the
    # batch that is sent again for a repeat, and acknowledges what it does not have.
    def send() -> None:
        number = 0
        while not stopped.is_set():
            with suppress(AssertionError):  # one of them was not acknowledged, so that nobody counts on any of them
                batch = [(each % 2, b"key", b"%d" % (number + each)) for each in range(20)]
                sent.extend(broker.send(stream, *batch, **{"enable.idempotence": False, "acks": "all"}))
            number += 20

    sender = threading.Thread(target=send, daemon=True)
    with broker.reader(stream) as reader:
        reader.seek(0, None)
        reader.seek(1, None)
        sender.start()
        found = []
        for _ in range(3):
            found += read_all(reader, 10**6, 1.5)
            (running,) = [each for each in status(broker.home) if each.name == "broker"]
            psutil.Process(running.pid).kill()
            found += reader.read(1000, 0.3)
            with Stack(broker.home, postgres=False, streams=["clicks"]):
                pass
        stopped.set()
        sender.join()
        deadline = time.monotonic() + 40
        while values(sent) - values(found) and time.monotonic() < deadline:
            found += reader.read(1000, 0.5)
        got = as_sent(found)
        assert len(sent) >= 40
        assert values(sent) - values(found) == set()
        assert len({(each.partition, each.position) for each in got}) == len(got)
        deadline = time.monotonic() + 10
        while reader.ends() != after(found) and time.monotonic() < deadline:
            found += reader.read(1000, 0.5)
        assert reader.ends() == after(found)


def values(events: list) -> set[tuple[int, bytes]]:
    return {(each.partition, each.value) for each in events}


def after(events: list) -> dict[int, int]:
    return {number: max(each.position for each in events if each.partition == number) + 1 for number in (0, 1)}


@pytest.mark.nightly
def test_a_broker_that_is_gone_yields_nothing(broker: Embedded) -> None:
    stream = broker.make()
    with broker.reader(stream) as reader:
        reader.seek(0, None)
        (running,) = [each for each in status(broker.home) if each.name == "broker"]
        psutil.Process(running.pid).kill()
        assert reader.read(10, 1) == []
        with pytest.raises(StreamError) as error:
            reader.ends()
        assert error.value.transient
        with Stack(broker.home, postgres=False, streams=["clicks"]):
            sent = broker.send(stream, (0, b"key", b"back"))
            assert as_sent(read_all(reader, 1)) == sent
