"""Reads a stream of Amazon Kinesis: a shard is a partition, and a sequence number is a position.

Belongs here: the requests to Kinesis. Not here: AWS's credentials and a region's address, which boto3 finds itself.

- Sequence numbers have gaps. Where to go on is the number after the last one read: the reader asks for the last one,
  which is still there, or else the retention has passed it and nobody can tell what was between it and the next.
- Kinesis counts no events: `ends` tells whether anything is left, and the number after that of the last event only if
  nothing is. An answer may be empty although more follows, so only the time behind the end (MillisBehindLatest) counts.
- A shard that was split or merged ends, and its successors are further partitions.
"""

import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from kpi_assets.settings import Settings
from kpi_assets.stream.reader import DatedBy, Event, PositionGoneError, Reader, StreamError

logger = logging.getLogger(__name__)

BETWEEN = 0.25  # seconds between two requests to a shard, which may have 5 a second from all its readers
THROTTLED = 1.0  # seconds to wait after Kinesis said that it was asked too often
PATIENCE = 10.0  # seconds for finding the event before a position
MOST = 10_000  # records of one answer
_OFTEN = {"ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException", "Throttling"}
_REFUSED = {
    "AccessDeniedException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "ExpiredTokenException",
}
_REFUSED |= {"IncompleteSignature", "MissingAuthenticationTokenException", "KMSAccessDeniedException", "OptInRequired"}


@dataclass
class _Shard:
    """What is known of a shard that is read."""

    iterator: str | None  # None: the shard has ended
    after: int  # the position after the last event returned, or the one sought
    events: deque[Event] = field(default_factory=deque)  # read and not returned yet
    last: int = -1  # the position of the last event read
    expected: int = -1  # the position that the next answer must begin with: the iterator before it has expired
    is_at_end: bool = False  # whether the last answer was all there is
    not_before: float = 0.0

    @property
    def is_read(self) -> bool:
        """Whether nothing is left to return."""
        return not self.events and (self.is_at_end or self.iterator is None)


class KinesisReader(Reader):
    """Reads one stream from positions that the caller chooses."""

    position_digits = 56

    def __init__(self, settings: Settings, stream: str):
        """Raises StreamError if there is no such stream, or Kinesis cannot be reached."""
        self.stream = stream
        self._region = (settings.stream_url or "").removeprefix("kinesis://")
        retries = {"mode": "standard", "total_max_attempts": 2}
        config = Config(connect_timeout=5, read_timeout=10, retries=retries)
        self._client = boto3.session.Session().client("kinesis", region_name=self._region, config=config)
        self._shards: dict[int, _Shard] = {}
        self._names: dict[int, str] = {}
        self._due: list[StreamError] = []  # what the next read raises: events that came before it are returned first
        self.partitions()

    def close(self) -> None:
        """Give up the connections."""
        self._client.close()

    def partitions(self) -> list[int]:
        """Return the numbers of the shards that hold events, in order."""
        return sorted(_number(shard["ShardId"]) for shard in self._described())

    def seek(self, partition: int, position: int | None) -> int:
        """Read a partition from this position on; None is the earliest there is. Return the position."""
        self._shards.pop(partition, None)
        shards = {_number(shard["ShardId"]): shard for shard in self._described()}
        if partition not in shards:
            raise StreamError(
                f"The stream {self.stream} has no shard {partition}, or it has expired: it cannot be read."
            )
        begin = int(shards[partition]["SequenceNumberRange"]["StartingSequenceNumber"])
        if position is None or position <= begin:
            shard = _Shard(self._iterator(partition, None), begin if position is None else position)
        else:
            shard = self._behind(partition, position)
        self._shards[partition] = shard
        return shard.after

    def read(self, most: int, seconds: float) -> list[Event]:
        """Wait until there are events or the time is over, and return at most so many."""
        if self._due:
            raise self._due.pop(0)
        deadline = time.monotonic() + seconds
        while True:
            found = self._returned(most)
            for partition, shard in [*self._shards.items()]:
                if len(found) < most and not shard.events and time.monotonic() >= shard.not_before:
                    try:
                        self._ask(partition, shard, most - len(found))
                    except StreamError as error:
                        self._shards.pop(partition)
                        self._due.append(error)
                    found += self._returned(most - len(found))
            if self._due and not found:
                raise self._due.pop(0)
            now = time.monotonic()
            if found or now >= deadline:
                return found
            soonest = min((shard.not_before for shard in self._shards.values()), default=deadline)
            time.sleep(max(0.01, min(soonest, deadline) - now))

    def dated_by(self) -> DatedBy:
        """Return whose clock dates the events."""
        return "broker"

    def landed(self, partition: int, position: int) -> None:
        """Do nothing: Kinesis drops events when their retention is over."""

    def ends(self) -> dict[int, int]:
        """Return the position after the last event of each partition, or one that is later if there are more events."""
        for partition, shard in self._shards.items():
            if not shard.events and shard.iterator is not None:
                self._ask(partition, shard, MOST, is_patient=False)
        return {number: shard.after if shard.is_read else shard.after + 1 for number, shard in self._shards.items()}

    def _described(self) -> list[Mapping[str, Any]]:
        shards: list[Mapping[str, Any]] = []
        more: dict[str, str] = {"StreamName": self.stream}
        while more:
            answer = self._asked("list_shards", **more)
            shards += answer["Shards"]
            more = {"NextToken": answer["NextToken"]} if answer.get("NextToken") else {}
        self._names = {_number(shard["ShardId"]): shard["ShardId"] for shard in shards}
        return shards

    def _iterator(self, partition: int, position: int | None) -> str:
        where = (
            {"ShardIteratorType": "TRIM_HORIZON"}
            if position is None
            else {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": str(position)}
        )
        name = self._names[partition]
        answer = self._asked("get_shard_iterator", StreamName=self.stream, ShardId=name, **where)
        return str(answer["ShardIterator"])

    def _behind(self, partition: int, position: int) -> _Shard:
        """Return a shard that is read from the event before a position on, which must be there."""
        try:
            iterator = self._iterator(partition, position - 1)
        except _NumberError:  # no event before it was read: somebody has decided to go on at this very one
            iterator = self._iterator(partition, position)
        shard = _Shard(iterator, position)
        deadline = time.monotonic() + PATIENCE
        while not shard.events and not shard.is_at_end and shard.iterator and time.monotonic() < deadline:
            self._ask(partition, shard, 1, is_patient=False)
            time.sleep(0 if shard.events or shard.is_at_end else BETWEEN)
        if not shard.events:
            return shard
        first = shard.events[0].position
        if first < position:
            shard.events.popleft()
        elif first > position:
            raise PositionGoneError(self.stream, partition, position, first, first + 1)
        return shard

    def _ask(self, partition: int, shard: _Shard, most: int, *, is_patient: bool = True) -> None:
        """Ask a shard for what follows. If it does not answer, and the caller is patient, it is asked again later.

        Raises PositionGoneError if the iterator had expired, and the last event is not there any more.
        """
        if shard.iterator is None:
            shard.not_before = float("inf")
            return
        try:
            answer = self._asked("get_records", ShardIterator=shard.iterator, Limit=max(1, min(most, MOST)))
        except _ExpiredError:
            shard.iterator = self._again(partition, shard)
            shard.expected = shard.last
            return
        except StreamError as error:
            if not (error.transient and is_patient):
                raise
            shard.not_before = time.monotonic() + THROTTLED
            return
        shard.iterator = answer.get("NextShardIterator")
        shard.is_at_end = answer.get("MillisBehindLatest", 0) == 0
        if answer["Records"] and shard.expected >= 0:
            first = int(answer["Records"][0]["SequenceNumber"])
            if first > shard.expected:
                raise PositionGoneError(self.stream, partition, shard.after, first, first + 1)
            shard.expected = -1
        for record in answer["Records"]:
            if (event := _event(partition, record)).position > shard.last:
                shard.events.append(event)
                shard.last = event.position
        shard.not_before = time.monotonic() + (0 if answer["Records"] and not shard.is_at_end else BETWEEN)

    def _again(self, partition: int, shard: _Shard) -> str:
        """Return an iterator in the place of one that has expired, which happens after 5 minutes."""
        return self._iterator(partition, shard.last if shard.last >= 0 else None)

    def _returned(self, most: int) -> list[Event]:
        """Take events that were read, each time from another shard first."""
        found: list[Event] = []
        if self._shards:
            first = next(iter(self._shards))
            self._shards[first] = self._shards.pop(first)
        for shard in self._shards.values():
            while shard.events and len(found) < most:
                event = shard.events.popleft()
                if event.position >= shard.after:
                    shard.after = event.position + 1
                    found.append(event)
        return found

    def _asked(self, request: str, **arguments: Any) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = getattr(self._client, request)(**arguments)
        except ClientError as error:
            self._refuse(error)
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StreamError(
                f"Kinesis needs credentials of AWS ({error}): set them as for any program of AWS."
            ) from None
        except BotoCoreError as error:
            raise StreamError(
                f"Kinesis in {self._region} does not answer ({error}): see whether this machine reaches it, and "
                "KPI_STREAM_URL.",
                transient=True,
            ) from None
        return answer

    def _refuse(self, error: ClientError) -> NoReturn:
        code, said = error.response["Error"]["Code"], error.response["Error"].get("Message") or "without a reason"
        if code == "ExpiredIteratorException":
            raise _ExpiredError(said) from None
        if code == "InvalidArgumentException":
            raise _NumberError(f"Kinesis does not know a position of the stream {self.stream} ({said}).") from None
        if code == "ResourceNotFoundException":
            raise StreamError(
                f"Kinesis in {self._region} has no stream {self.stream}: create it, or correct KPI_STREAM_URL or the "
                "stream's name."
            ) from None
        if code in _REFUSED:
            raise StreamError(
                f"Kinesis does not let these credentials read the stream {self.stream} ({code}: {said}): allow them "
                "kinesis:ListShards, GetShardIterator and GetRecords. Beside the embedded S3 they are those of the "
                "embedded S3: name a bucket of your own."
            ) from None
        if code in _OFTEN or code.startswith("Internal") or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            raise StreamError(
                f"Kinesis does not answer for the stream {self.stream} now ({code}: {said}): see whether others read "
                "it too.",
                transient=True,
            ) from None
        raise StreamError(f"Kinesis refuses to read the stream {self.stream} ({code}: {said}).") from None


class _ExpiredError(StreamError):
    """An iterator is older than 5 minutes."""


class _NumberError(StreamError):
    """A sequence number is not one of the shard."""


def _number(shard: str) -> int:
    """Return the number in the name of a shard, as in shardId-000000000003."""
    return int(shard.rpartition("-")[2])


def _event(partition: int, record: Mapping[str, Any]) -> Event:
    arrived = round(record["ApproximateArrivalTimestamp"].timestamp() * 1000)
    return Event(partition, int(record["SequenceNumber"]), arrived, record["PartitionKey"].encode(), record["Data"])
