"""A broker, a store, a ledger and clocks in memory, which fail where a test says so."""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from threading import Lock
from types import TracebackType

from kpi_assets.ledger.streams import Position
from kpi_assets.sources.lake import MissingError
from kpi_assets.sources.objects import Entry
from kpi_assets.stream.chain import Checked, check
from kpi_assets.stream.described import Stream
from kpi_assets.stream.frame import decode, link_of
from kpi_assets.stream.land import Clock, Landing
from kpi_assets.stream.positions import Turn
from kpi_assets.stream.reader import DatedBy, Event, PositionGoneError, StreamError

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
FETCHED = 32 << 20  # bytes that a reader gives at once
CLICKS = Stream("clicks", "raw/clicks/", date(2026, 1, 1), "c1", frozenset({"id"}), flush_seconds=5)


@dataclass
class HandClock(Clock):
    """Stands still until somebody moves or sleeps."""

    at: datetime = NOON
    since: float = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.since

    def sleep(self, seconds: float) -> None:
        self.move(seconds)

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.since += seconds


@dataclass
class Broker:
    """Partitions with their events; retention may remove the first ones."""

    clock: HandClock = field(default_factory=HandClock)
    events: dict[int, list[Event]] = field(default_factory=lambda: {0: [], 1: []})
    earliest: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    is_down: bool = False

    def send(
        self, partition: int, value: bytes | None, *, at: datetime | None = None, gap: int = 0, key: bytes | None = None
    ) -> Event:
        """Take an event, at the time of the clock unless another is given, `gap` positions behind the one before."""
        position = self.ends.get(partition, 0) + gap
        event = Event(partition, position, int((at or self.clock.now()).timestamp() * 1000), key, value)
        self.events[partition].append(event)
        self.ends[partition] = position + 1
        return event

    def send_many(self, count: int, *, at: datetime | None = None) -> list[Event]:
        """Take events in turn into each partition."""
        total = sum(map(len, self.events.values()))
        return [self.send((total + i) % len(self.events), b'{"id": "%d"}' % (total + i), at=at) for i in range(count)]

    def forget(self, partition: int, earliest: int) -> None:
        """Remove the events before a position."""
        self.earliest[partition] = earliest
        self.events[partition] = [event for event in self.events[partition] if event.position >= earliest]
        self.ends[partition] = max(self.ends.get(partition, 0), earliest)

    @property
    def sent(self) -> list[Event]:
        return [event for events in self.events.values() for event in events]


class MemoryReader:
    """Reads a Broker as the contract of reader.py says."""

    position_digits = 16

    def __init__(self, broker: Broker) -> None:
        self.broker, self.after = broker, dict[int, int]()
        self.told: dict[int, int] = {}  # through which position all is landed

    def partitions(self) -> list[int]:
        self._ask()
        return sorted(self.broker.events)

    def seek(self, partition: int, position: int | None) -> int:
        self._ask()
        earliest, end = self.broker.earliest.get(partition, 0), self.broker.ends.get(partition, 0)
        wanted = earliest if position is None else position
        if not earliest <= wanted <= end:
            raise PositionGoneError("clicks", partition, wanted, earliest, end)
        self.after[partition] = wanted
        return wanted

    def read(self, most: int, seconds: float) -> list[Event]:
        found: list[Event] = []
        for partition, after in [] if self.broker.is_down else list(self.after.items()):
            earliest = self.broker.earliest.get(partition, 0)
            if after < earliest:
                del self.after[partition]
                raise PositionGoneError("clicks", partition, after, earliest, self.broker.ends.get(partition, 0))
            events = self.broker.events[partition]
            first = bisect.bisect_left(events, after, key=lambda event: event.position)
            room = FETCHED - sum(len(event.value or b"") for event in found)
            taken = list(_fitting(events[first : first + most - len(found)], room))
            found += taken
            if taken:
                self.after[partition] = taken[-1].position + 1
        if not found:
            self.broker.clock.move(seconds)
        return found

    def dated_by(self) -> DatedBy:
        return "broker"

    def landed(self, partition: int, position: int) -> None:
        self.told[partition] = position

    def ends(self) -> dict[int, int]:
        self._ask()
        return {partition: self.broker.ends.get(partition, 0) for partition in self.after}

    def close(self) -> None:
        pass

    def __enter__(self) -> "MemoryReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self) -> None:
        if self.broker.is_down:
            raise StreamError("The broker does not answer.", transient=True)


def _fitting(events: Sequence[Event], room: int) -> Iterator[Event]:
    for event in events:
        room -= len(event.value or b"")
        if room < 0:
            return
        yield event


class MemoryLake:
    """Objects in memory. `before` and `after` are called around each put, and may raise."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.before: Callable[[str], None] = lambda key: None
        self.after: Callable[[str], None] = lambda key: None
        self.reads: list[str] = []
        self._lock = Lock()

    def create(self, key: str, body: bytes) -> bool:
        self.before(key)
        with self._lock:
            is_new = key not in self.objects
            self.objects.setdefault(key, body)
        self.after(key)
        return is_new

    def get(self, key: str) -> bytes:
        self.reads.append(key)
        if key not in self.objects:
            raise MissingError(f"{key} is not there.")
        return self.objects[key]

    def entries(self, prefix: str) -> Iterator[Entry]:
        self.reads.append(prefix)
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            yield Entry(key, len(self.objects[key]), "", NOON)

    def folders(self, prefix: str) -> list[str]:
        self.reads.append(prefix)
        below = [key.removeprefix(prefix) for key in self.objects if key.startswith(prefix)]
        return sorted({f"{prefix}{name.partition('/')[0]}/" for name in below if "/" in name})

    def links(self) -> list[str]:
        """The keys of links, without the folder of the stream."""
        return sorted(key.removeprefix(CLICKS.folder) for key in self.objects if link_of(key))

    def places(self) -> list[tuple[int, int]]:
        """Partition and position of each event that is landed."""
        found = []
        for key in self.objects:
            if link := link_of(key):
                found += [(link.partition, line.position) for line in decode(self.objects[key], key)[1]]
        return sorted(found)

    def checked(self, stream: Stream = CLICKS) -> Checked:
        """The chains as `kpi doctor` sees them."""
        return check(self, stream, [stream.folder])


@dataclass
class MemoryLedger:
    """Keeps what the landing reports."""

    turn: Turn = "ours"
    closed: date | None = None
    reports: list[Sequence[Position]] = field(default_factory=list)
    closings: list[date] = field(default_factory=list)
    records: bool = True  # whether what is reported is written

    def report(self, positions: Sequence[Position]) -> None:
        self.reports.append(positions)

    def close(self, load_date: date) -> None:
        self.closings.append(load_date)
        if self.records:
            self.closed = load_date

    def last(self, partition: int) -> Position:
        return next(each for each in self.reports[-1] if each.partition == partition)


@dataclass
class Bench:
    """A stream in memory, and landings of it."""

    broker: Broker = field(default_factory=Broker)
    lake: MemoryLake = field(default_factory=MemoryLake)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    stream: Stream = CLICKS

    @property
    def clock(self) -> HandClock:
        return self.broker.clock

    def landing(self, ledger: MemoryLedger | None = None) -> Landing:
        """Return a landing that has not begun."""
        return Landing(self.stream, MemoryReader(self.broker), self.lake, ledger or self.ledger, self.clock)

    def land(self, landing: Landing | None = None, seconds: float = 6) -> Landing:
        """Let a landing run for some seconds of its clock, with all links put that are due; return it."""
        landing = landing or self.landing()
        until = self.clock.since + seconds
        while self.clock.since < until:
            landing.step()
            settle(landing)
        return landing

    def assert_all_landed(self) -> None:
        """Each event that was sent is in one link, and the chains are whole."""
        assert self.lake.places() == sorted((event.partition, event.position) for event in self.broker.sent)
        assert self.lake.checked(self.stream).problems == ()


def settle(landing: Landing) -> None:
    """Wait for the links that are being put, and take them up."""
    for partition in landing.partitions.values():
        if partition.put:
            partition.put.exception()
    landing._put()
