"""The events of one partition between the broker and the store: cut into the segments that become links.

Belongs here: which events share a link, and in which hour it lies. Not here: putting links (land.py).

A link never lies in an earlier hour than the one before it. So an event that arrives after the broker's clock was put
back is landed in the hour that the chain has reached; its line keeps what the broker's clock said. The broker is taken
at its word for an hour into the future; beyond that, an event is landed in the hour in which it was read.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from kpi_assets.stream.chain import End
from kpi_assets.stream.frame import Frame, pack
from kpi_assets.stream.reader import Event

MOST_BYTES = 8 << 20  # of the lines of one link
MOST_AHEAD = timedelta(hours=1)


@dataclass(slots=True)
class Segment:
    """Events in a row that become one link."""

    start: int  # where the link before ended
    hour: datetime
    since: float  # when the first of them was read, by the monotonic clock
    next: int = 0
    last_ms: int = 0  # the broker's clock at the last of them
    size: int = 0
    records: int = 0
    lines: list[bytes] = field(default_factory=list)
    body: bytes | None = None  # once it is packed; then the lines are gone

    def packed(self, frame: Frame) -> bytes:
        """Return the bytes of the link; they are made once, however often it is put."""
        if self.body is None:
            self.body = pack(frame, self.lines)
            self.lines, self.size = [], len(self.body)
        return self.body


@dataclass(slots=True)
class Waiting:
    """One partition: where its chain ends, and the segments that come behind it."""

    end: End
    expected: int | None = None  # the position after the last event that was taken; None: any may come
    sealed: deque[Segment] = field(default_factory=deque)
    open: Segment | None = None

    @classmethod
    def at(cls, end: End) -> "Waiting":
        """Return a partition whose events are read from the end of its chain on."""
        return cls(end, end.next)

    @property
    def size(self) -> int:
        """The bytes that wait."""
        return sum(segment.size for segment in self.sealed) + (self.open.size if self.open else 0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self.open is None and not self.sealed

    @property
    def first_hour(self) -> datetime:
        """The hour of the first event that waits, or else the one before which no event is landed any more."""
        if self.sealed:
            return self.sealed[0].hour
        return self.open.hour if self.open else self.end.hour

    @property
    def last_hour(self) -> datetime:
        """The hour before which no further event is landed."""
        if self.open:
            return self.open.hour
        return self.sealed[-1].hour if self.sealed else self.end.hour

    def take(self, event: Event, line: bytes, now: datetime, monotonic: float) -> bool:
        """Take an event; False if it was taken before."""
        if self.expected is not None and event.position < self.expected:
            return False
        hour = landing_hour(event.time_ms, self.last_hour, now)
        if self.open and self.open.hour != hour:
            self.seal()
        if self.open is None:
            start = event.position if self.expected is None else self.expected
            self.open = Segment(start, hour, monotonic)
        self.open.lines.append(line)
        self.open.records += 1
        self.open.size += len(line)
        self.open.last_ms = event.time_ms
        self.open.next = self.expected = event.position + 1
        if self.open.size >= MOST_BYTES:
            self.seal()
        return True

    def seal(self) -> None:
        """Let no further event into the open segment."""
        if self.open:
            self.sealed.append(self.open)
            self.open = None

    def landed(self) -> Segment:
        """Take out the first segment, whose link is in the store."""
        segment = self.sealed.popleft()
        self.end = End(segment.next, segment.hour)
        return segment

    def go_on_at(self, end: End) -> None:
        """Drop what waits: somebody else has landed it up to `end`."""
        self.end, self.expected, self.open = end, end.next, None
        self.sealed.clear()


def landing_hour(time_ms: int, floor: datetime, now: datetime) -> datetime:
    """Return the hour in which an event is landed."""
    is_believed = 0 <= time_ms <= (now + MOST_AHEAD).timestamp() * 1000
    said = datetime.fromtimestamp(time_ms / 1000, timezone.utc) if is_believed else now
    return max(floor, said.replace(minute=0, second=0, microsecond=0))
