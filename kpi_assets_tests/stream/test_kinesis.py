"""What the reader of Kinesis makes of answers that moto never gives, by a client with answers of the test's own."""

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, NoCredentialsError

from kpi_assets.settings import Settings
from kpi_assets.stream import kinesis
from kpi_assets.stream.kinesis import KinesisReader
from kpi_assets.stream.reader import PositionGoneError, StreamError

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
NEVER = 10**30


class Client:
    """Answers `get_records` from a list, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.iterators: list[tuple[str, str | None]] = []
        self.shards = [0]

    def close(self) -> None: ...

    def list_shards(self, **_: Any) -> dict[str, Any]:
        begins = {"StartingSequenceNumber": "100"}
        return {
            "Shards": [{"ShardId": f"shardId-{number:012}", "SequenceNumberRange": begins} for number in self.shards]
        }

    def get_shard_iterator(self, **asked: Any) -> dict[str, str]:
        self.iterators.append((asked["ShardIteratorType"], asked.get("StartingSequenceNumber")))
        if asked.get("StartingSequenceNumber") == str(NEVER - 1):
            raise error("InvalidArgumentException")
        return {"ShardIterator": "first"}

    def get_records(self, **_: Any) -> dict[str, Any]:
        answer = self.answers.pop(0) if self.answers else records()
        if isinstance(answer, Exception):
            raise answer
        return answer


def records(*positions: int, behind: int = 0, ended: bool = False) -> dict[str, Any]:
    found = [
        {"SequenceNumber": str(each), "Data": b"%d" % each, "PartitionKey": "k", "ApproximateArrivalTimestamp": NOW}
        for each in positions
    ]
    return {"Records": found, "MillisBehindLatest": behind, **({} if ended else {"NextShardIterator": "next"})}


def error(code: str, status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "said"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "asked")  # type: ignore[arg-type]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client()
    monkeypatch.setattr(boto3.session.Session, "client", lambda *_, **__: made)
    monkeypatch.setattr(kinesis, "BETWEEN", 0.01)
    monkeypatch.setattr(kinesis, "THROTTLED", 0.01)
    return made


@pytest.fixture
def reader(client: Client, tmp_path: Path) -> KinesisReader:
    return KinesisReader(Settings(home=tmp_path, stream_url="kinesis://eu-west-1"), "clicks")


def positions(reader: KinesisReader, seconds: float = 0.1) -> list[int]:
    return [event.position for event in reader.read(100, seconds)]


def test_the_event_before_a_position_is_asked_for_and_not_returned(client: Client, reader: KinesisReader) -> None:
    client.answers = [records(behind=5), records(150, behind=5), records(170, 190)]
    assert reader.seek(0, 151) == 151
    assert client.iterators == [("AT_SEQUENCE_NUMBER", "150")]
    assert positions(reader) == [170, 190]
    assert reader.ends() == {0: 191}


def test_an_event_that_has_expired_is_not_passed_over(client: Client, reader: KinesisReader) -> None:
    client.answers = [records(180)]
    with pytest.raises(PositionGoneError) as gone:
        reader.seek(0, 151)
    assert (gone.value.position, gone.value.earliest) == (151, 180)
    client.answers = [records(180), records(190)]
    assert reader.seek(0, 180) == 180, "somebody has decided to go on there"
    assert positions(reader) == [180]
    assert positions(reader) == [190]
    client.answers = [records(NEVER)]
    assert reader.seek(0, NEVER) == NEVER
    assert client.iterators[-2:] == [("AT_SEQUENCE_NUMBER", str(NEVER - 1)), ("AT_SEQUENCE_NUMBER", str(NEVER))]


def test_an_iterator_that_has_expired_is_replaced_behind_the_last_event(client: Client, reader: KinesisReader) -> None:
    client.answers = [records(150), error("ExpiredIteratorException"), records(150, 160)]
    assert reader.seek(0, None) == 100
    assert positions(reader) == [150]
    assert positions(reader) == [160]
    assert client.iterators == [("TRIM_HORIZON", None), ("AT_SEQUENCE_NUMBER", "150")]
    client.answers = [error("ExpiredIteratorException"), records(300)]
    with pytest.raises(PositionGoneError) as gone:
        positions(reader, 1)
    assert (gone.value.position, gone.value.earliest) == (161, 300)
    assert positions(reader) == [], "it is not read again until it is sought"
    assert reader.ends() == {}


def test_events_that_were_read_before_a_refusal_are_returned_first(client: Client, reader: KinesisReader) -> None:
    client.shards = [0, 1]
    reader.seek(0, None)
    reader.seek(1, None)
    client.answers = [records(150), error("AccessDeniedException")]
    assert positions(reader) == [150]
    with pytest.raises(StreamError, match="does not let these credentials read the stream clicks"):
        positions(reader)


def test_a_shard_that_has_ended_is_read_to_its_end(client: Client, reader: KinesisReader) -> None:
    reader.seek(0, None)
    client.answers = [records(150, ended=True), AssertionError("it was asked again")]
    assert positions(reader) == [150]
    assert positions(reader) == []
    assert reader.ends() == {0: 151}


@pytest.mark.parametrize("answer", [error("ProvisionedThroughputExceededException"), error("InternalFailure", 500)])
def test_what_passes_is_asked_again(client: Client, reader: KinesisReader, answer: ClientError) -> None:
    reader.seek(0, None)
    client.answers = [answer, answer, records(150)]
    assert positions(reader, 5) == [150]
    client.answers = [ConnectTimeoutError(endpoint_url="https://kinesis")]
    with pytest.raises(StreamError, match="does not answer") as failed:
        reader.ends()
    assert failed.value.transient
    assert positions(reader) == []


def test_something_is_left_as_long_as_the_end_was_not_seen(client: Client, reader: KinesisReader) -> None:
    reader.seek(0, None)
    client.answers = [records(behind=1000)]
    assert reader.ends() == {0: 101}
    client.answers = [records(150, 160)]
    assert reader.ends() == {0: 101}
    assert positions(reader) == [150, 160]
    assert reader.ends() == {0: 161}


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (error("ResourceNotFoundException"), "Kinesis in eu-west-1 has no stream clicks: create it, or correct"),
        (error("UnrecognizedClientException"), "does not let these credentials read the stream clicks"),
        (NoCredentialsError(), "Kinesis needs credentials of AWS"),
        (error("SomethingElse"), r"Kinesis refuses to read the stream clicks \(SomethingElse: said\)"),
    ],
)
def test_a_refusal_says_what_to_do(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: Exception, sentence: str
) -> None:
    def refuse(**_: Any) -> None:
        raise problem

    refused: Callable[..., None] = refuse
    monkeypatch.setattr(client, "list_shards", refused)
    with pytest.raises(StreamError, match=sentence) as failed:
        KinesisReader(Settings(home=tmp_path, stream_url="kinesis://eu-west-1"), "clicks")
    assert not failed.value.transient
