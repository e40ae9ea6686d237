"""The reader of one stream: what landing asks of a broker, whichever kind of broker it is.

Belongs here: the interface, its errors, and the choice of a reader by KPI_STREAM_URL. Not here: a protocol (kafka.py,
kinesis.py), and what becomes of the events (landing).

A reader keeps no position anywhere but in memory: it joins no consumer group and commits no offset. Where to go on is
written in the keys of the landed objects. Only one thread may use a reader.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, TypeAlias, TypeVar

from kpi_assets.errors import UserError
from kpi_assets.settings import Settings

DatedBy: TypeAlias = Literal["broker", "producer", "machine"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event as the broker holds it. `value` is None for a tombstone, which says that a key was deleted.

    Positions of one partition rise, with gaps where the broker keeps records of its own. `time_ms` is the broker's
    clock, in milliseconds since 1970; it is the producer's where the topic stores that instead, as `kpi doctor` says.
    """

    partition: int
    position: int
    time_ms: int
    key: bytes | None
    value: bytes | None


class StreamError(UserError):
    """The broker cannot be read. Where it is `transient`, the same call may succeed later."""


class PositionGoneError(StreamError):
    """The broker does not hold this position: retention passed it, or the stream was deleted and made again.

    `earliest` is the first position that it still holds, `end` the position after its last event.
    """

    def __init__(self, stream: str, partition: int, position: int, earliest: int, end: int):
        if position < earliest:
            said = (
                f"the broker's retention has passed it, and {earliest} is the earliest that is left: keep events "
                "for longer, and see the runbook for how to go on with a gap"
            )
        else:
            said = (
                f"the broker's last event is before it, at {end - 1}: somebody deleted the stream and made it again, "
                "or restored an older state of it: see the runbook for how to go on"
            )
        super().__init__(f"Partition {partition} of the stream {stream} is to be read from {position}, but {said}.")
        self.partition = partition
        self.position = position
        self.earliest = earliest
        self.end = end


Itself = TypeVar("Itself", bound="Reader")


class Reader(Protocol):
    """Reads the events of one stream from positions that the caller chooses. It is a context manager.

    Every method raises StreamError if the broker refuses, and a transient one if it does not answer; `read` alone
    returns nothing then, because the reader connects again by itself.
    """

    position_digits: int  # of the largest position: keys of objects pad positions with zeros to this width

    def partitions(self) -> list[int]:
        """Return the numbers of the partitions, in order. There may be more of them later."""

    def seek(self, partition: int, position: int | None) -> int:
        """Read a partition from this position on; None is the earliest there is. Nothing is read without a seek.

        Return the position, which is that of the earliest event, or of the next one, if none was given.
        Raises PositionGoneError if the broker does not hold the position. The position after the last event is held.
        """

    def read(self, most: int, seconds: float) -> list[Event]:
        """Wait until there are events or the time is over, and return at most so many, in order for each partition.

        After a seek, the first event of the partition is the first one at or after that position. Raises
        PositionGoneError if retention overtook the reader; the partition is not read again until it is sought.
        """

    def dated_by(self) -> DatedBy:
        """Return whose clock dates the events: the broker's, each producer's, or that of the machine of both."""

    def landed(self, partition: int, position: int) -> None:
        """Take note that all events before this position lie on the lake, so that a broker may drop them."""

    def ends(self) -> dict[int, int]:
        """Return the position after the last event of each partition that was sought.

        It equals the position after the last event read, or the one sought, if and only if nothing is left to read.
        """

    def close(self) -> None:
        """Give up the connections."""

    def __enter__(self: Itself) -> Itself:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_reader(settings: Settings, stream: str) -> Reader:
    """Return a reader of a stream on the broker of KPI_STREAM_URL: a topic of Kafka, or a stream of Kinesis.

    Raises StreamError if there is no such stream, or the broker cannot be reached.
    """
    if settings.stream_url is None:
        raise UserError(
            f"No broker is named that holds the stream {stream}: set KPI_STREAM_URL to kafka://host:9092 or "
            "kinesis://region."
        )
    # Each needs a library that takes time to import, and that of Kafka is an extra.
    if settings.stream_url.startswith("kinesis://"):
        from kpi_assets.stream.kinesis import KinesisReader  # noqa: PLC0415

        return KinesisReader(settings, stream)
    from kpi_assets.stream.kafka import reader_of  # noqa: PLC0415

    return reader_of(settings, stream)
