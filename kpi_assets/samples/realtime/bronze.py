"""The objects that landing writes of a stream, made of messages without a broker: for tests, and for files.

Belongs here: partitions, positions, and cutting a stream into the links of its chains. Not here: the bytes of an object
(stream/frame.py), and landing itself (stream/land.py).
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone

from kpi_assets.samples.realtime.faults import Message
from kpi_assets.samples.realtime.world import SECOND
from kpi_assets.stream.frame import Frame, encode, key_of
from kpi_assets.stream.reader import Event

PARTITIONS = 3
FLUSH_SECONDS = 300
DIGITS = 16  # of a position in Kafka


@dataclass(frozen=True)
class Placed:
    """An object of a stream, before it is packed."""

    stream: str
    load_date: date
    hour: int
    partition: int
    start: int
    events: list[Event]

    def key(self, prefix: str, digits: int = DIGITS) -> str:
        """Return the key below `prefix`, which ends with `load_date=.../`."""
        return key_of(prefix, self.hour, self.partition, self.start, digits)

    def body(self, contract: str) -> bytes:
        """Return the bytes of the object."""
        frame = Frame(self.stream, self.partition, self.start, self._next, len(self.events), contract)
        return encode(frame, self.events)

    @property
    def _next(self) -> int:
        return self.events[-1].position + 1


def events(
    messages: Iterable[Message], partitions: int = PARTITIONS, positions: dict[tuple[str, int], int] | None = None
) -> Iterator[tuple[str, Event]]:
    """Yield the stream and the event of each message, as a broker takes them.

    Messages of one key share a partition. `positions` has where each (stream, partition) begins, and in the end where
    it goes on.
    """
    taken = {} if positions is None else positions
    for message in messages:
        place = (message.stream, zlib.crc32(message.key) % partitions)
        position = taken.get(place, 0)
        taken[place] = position + 1
        yield message.stream, Event(place[1], position, message.at, message.key, message.value)


def objects(placed: Iterable[tuple[str, Event]], flush_seconds: float = FLUSH_SECONDS) -> Iterator[Placed]:
    """Yield the objects of events, a partition's in the sequence of its chain.

    An object ends with its hour, with its load_date, and when its first event is `flush_seconds` old. Times are the
    broker's: where its clock went back, the object before ends too.
    """
    open_: dict[tuple[str, int], Placed] = {}
    for stream, event in placed:
        place = (stream, event.partition)
        at = datetime.fromtimestamp(event.time_ms / 1000, timezone.utc)
        link = open_.get(place)
        if link and not (
            (link.load_date, link.hour) == (at.date(), at.hour)
            and event.time_ms < link.events[0].time_ms + flush_seconds * SECOND
        ):
            yield open_.pop(place)
            link = None
        if link is None:
            link = open_[place] = Placed(stream, at.date(), at.hour, event.partition, event.position, [])
        link.events.append(event)
    yield from open_.values()


def until(messages: Iterable[Message], end: datetime) -> Iterator[Message]:
    """Yield the messages that are sent before an instant. They come in the sequence of their times."""
    last = int(end.timestamp() * SECOND)
    for message in messages:
        if message.at >= last:
            return
        yield message


def packed(
    placed: Iterable[Placed], prefixes: Mapping[str, str], contracts: Mapping[str, str]
) -> Iterator[tuple[str, bytes]]:
    """Yield (key, bytes) of each object. `prefixes` are keys of the streams with `{load_date}` in them."""
    for each in placed:
        prefix = prefixes[each.stream].replace("{load_date}", str(each.load_date))
        yield each.key(prefix), each.body(contracts[each.stream])
