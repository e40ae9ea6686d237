"""Lands one stream: reads its events and puts them into the store as links of chains, each exactly once.

Where to go on is in the store alone (chain.py): there is no consumer group, and no position anywhere else. A link is
put where no object is. If there is one, somebody else has landed these events, or this landing did and the answer was
lost: what is there counts, and reading goes on behind it. So a landing may be killed at any instant, and two may run at
once, and each event is in one link.

A store that does not answer is asked again for ever. Meanwhile events wait in memory, up to a bound, and then at the
broker. A partition whose events the broker no longer has, or whose last link cannot be read, stands still and says so;
the others go on.

Belongs here: the order of things. Not here: which events share a link (waiting.py), the bytes of a link (frame.py), and
reports to the database (positions.py).
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Protocol

from kpi_assets.errors import UserError
from kpi_assets.ledger.streams import Position
from kpi_assets.observed import Work, observed
from kpi_assets.sources.refusals import LakeError
from kpi_assets.stream import chain, door
from kpi_assets.stream.chain import Closed, End, Objects
from kpi_assets.stream.described import Stream
from kpi_assets.stream.frame import Frame, FrameError, decode, key_of, pack
from kpi_assets.stream.positions import Turn
from kpi_assets.stream.reader import Event, PositionGoneError, Reader, StreamError
from kpi_assets.stream.waiting import Segment, Waiting
from kpi_assets.waiting import Waits

logger = logging.getLogger(__name__)

MOST_WAITING = 64 << 20  # bytes of lines in memory
MOST_EVENTS = 2000  # of one call of the reader, which gives at most the 32 MB that it has fetched
READ_SECONDS = 0.2
WRITERS = 4  # links that are put at once
LOOK_SECONDS = 2.0  # between two questions for the ends of the partitions
AGAIN_SECONDS = 30.0  # before a partition that stands still is tried again, and new partitions are looked for
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0  # seconds before a link is put again
LAST_SECONDS = 15.0  # for what waits when the landing is to end


class Ledger(Protocol):
    """What is used of the recorder (positions.py)."""

    @property
    def turn(self) -> Turn:
        """Whose turn it is to land the stream."""

    @property
    def closed(self) -> date | None:
        """The last load_date that was recorded as closed."""

    def report(self, positions: Sequence[Position]) -> None:
        """Write how far the partitions have been landed."""

    def close(self, load_date: date) -> None:
        """Record that a load_date is closed."""


class Clock:
    """The clocks of the landing."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of putting a link: it is there, somebody else's is there (`fence`), or it is not (`error`)."""

    fence: End | None = None
    error: UserError | None = None


@dataclass(slots=True)
class _Partition:
    """One partition of the stream, as the landing follows it."""

    number: int
    waiting: Waiting
    begun: int = 0  # the position from which it was sought last
    high_watermark: int | None = None
    goal: tuple[int, datetime] | None = None  # once this position is landed, all before this instant are
    caught_up_at: datetime | None = None
    problem: str | None = None
    tried: float = -math.inf  # when a partition that stands still was tried last
    put: "Future[Outcome] | None" = None
    pause: float = 0.0
    put_after: float = -math.inf

    def go_on_at(self, end: End) -> None:
        """Drop what waits, and be ready for the events from the end of a chain on."""
        self.waiting.go_on_at(end)
        self.problem, self.goal, self.pause = None, None, 0.0


@dataclass
class Counts:
    """What was done since the last line in the log."""

    events: int = 0
    bad: int = 0
    lacking: int = 0
    links: int = 0
    fenced: int = 0


@dataclass
class Landing:
    """The landing of one stream. `step` is one round of it; `run` is rounds until the end."""

    stream: Stream
    reader: Reader
    lake: Objects
    ledger: Ledger
    clock: Clock = field(default_factory=Clock)
    pipeline: str = ""  # its name
    most_waiting: int = MOST_WAITING  # when so much waits, nothing is read until some of it is landed
    partitions: dict[int, _Partition] = field(default_factory=dict)
    closed: Closed | None = None
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(WRITERS, thread_name_prefix=f"land {self.stream.name}")
        self._looked_for_partitions = self._looked = -math.inf
        self._refusal = "the broker says nothing of it any more"
        self._first_day: date | None = None  # the first load_date that may have to be closed
        self._said = self.clock.monotonic()
        self._waits = Waits(f"the landing of {self.stream.name} waits for the store")

    def run(self, is_over: Callable[[], bool]) -> None:
        """Land until it is over, then land what waits. Errors that a person or time mends are logged and survived."""
        waits, pause = Waits(f"the landing of {self.stream.name} cannot go on"), FIRST_PAUSE
        while not is_over():
            try:
                self.step()
                waits, pause = Waits(f"the landing of {self.stream.name} cannot go on"), FIRST_PAUSE
            except UserError as error:
                if pause == FIRST_PAUSE:
                    logger.warning("%s", error)
                waits(lambda said=error: said)  # type: ignore[misc]
                self._sleep(pause, is_over)
                pause = min(2 * pause, LONGEST_PAUSE)
        self.finish()

    def step(self) -> None:
        """Read once, land what is due, and report. Raises UserError if the broker or the store cannot be used."""
        if self.ledger.turn == "theirs":
            self._stand_by()
            return
        self._put()  # first, so that what was read is landed while the broker is down
        self._begin_partitions()
        self._read()
        self._look()

    def finish(self) -> None:
        """Land what waits, for some seconds at most, and report."""
        deadline = self.clock.monotonic() + LAST_SECONDS
        if self.ledger.turn != "theirs":
            for each in self.partitions.values():
                each.waiting.seal()
            while any(not each.waiting.is_empty for each in self.partitions.values()):
                self._put()
                if self.clock.monotonic() > deadline:
                    logger.warning("%s: events that were not landed in time are read again.", self.stream.name)
                    break
                if puts := [each.put for each in self.partitions.values() if each.put]:
                    wait(puts, READ_SECONDS, FIRST_COMPLETED)
                else:
                    self.clock.sleep(READ_SECONDS)
            self._report()
        self._say(at_once=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _stand_by(self) -> None:
        """Forget everything: whoever has the turn lands it, and the store says later how far that went."""
        self.partitions.clear()
        self._looked_for_partitions = -math.inf
        self.clock.sleep(READ_SECONDS)

    # Where to begin

    def _begin_partitions(self) -> None:
        """Begin with partitions that are new, and try those again that stand still."""
        now = self.clock.monotonic()
        if now - self._looked_for_partitions < AGAIN_SECONDS:
            return
        numbers = self.reader.partitions()
        wanted = [number for number in numbers if number not in self.partitions or self._may_try(number)]
        if wanted:
            self._begin(wanted)
        self._looked_for_partitions = now

    def _may_try(self, number: int) -> bool:
        found = self.partitions[number]
        return found.problem is not None and found.waiting.is_empty

    def _begin(self, numbers: Sequence[int]) -> None:
        """Read partitions from the ends of their chains on."""
        is_first = not self.partitions
        broken: dict[int, str] = {}
        try:
            ends, closed = chain.ends(self.lake, self.stream, numbers)
        except FrameError:  # find out whose it is
            ends, closed = {}, self.closed
            for number in numbers:
                try:
                    found, closed = chain.ends(self.lake, self.stream, [number])
                    ends |= found
                except FrameError as error:
                    broken[number] = str(error)
        if closed and (self.closed is None or closed.load_date > self.closed.load_date):
            self.closed = closed
        if is_first:
            self._begin_days()
        for number, end in ends.items():
            self._seek(number, end)
        for number, problem in broken.items():
            self._hold(
                self.partitions.get(number) or self._new(number, chain.beginning(self.stream, self.closed)), problem
            )

    def _begin_days(self) -> None:
        """Find the first load_date that is still to be closed, and record again the one that was closed last."""
        if self.closed:
            self.ledger.close(self.closed.load_date)
            self._first_day = self.closed.load_date + timedelta(days=1)
        else:
            days = chain.load_dates(self.lake, self.stream)
            self._first_day = min([*days, self.clock.now().date()])

    def _new(self, number: int, end: End) -> _Partition:
        made = self.partitions[number] = _Partition(number, Waiting.at(end))
        return made

    def _seek(self, number: int, end: End) -> None:
        partition = self.partitions.get(number) or self._new(number, end)
        partition.go_on_at(end)
        try:
            partition.begun = self.reader.seek(number, end.next)
        except StreamError as error:
            self._hold(partition, self._explained(error))
            if error.transient:
                self._looked_for_partitions = self.clock.monotonic() - AGAIN_SECONDS + LOOK_SECONDS

    def _explained(self, error: StreamError) -> str:
        if not isinstance(error, PositionGoneError) or error.position >= error.earliest:
            return str(error)
        return (
            f"{error} `kpi stream PIPELINE --skip-lost {self.stream.name}` goes on there and records in the chain what "
            "was lost."
        )

    def _hold(self, partition: _Partition, problem: str) -> None:
        """Let a partition stand still: nothing of it is skipped in silence."""
        if partition.problem != problem:
            logger.error("%s, partition %d, stands still: %s", self.stream.name, partition.number, problem)
        partition.problem = problem

    # Reading

    def _read(self) -> None:
        waiting = sum(each.waiting.size for each in self.partitions.values())
        if waiting >= self.most_waiting or not self.partitions:
            self.clock.sleep(READ_SECONDS)
            return
        try:
            events = self.reader.read(MOST_EVENTS, READ_SECONDS)
        except PositionGoneError as error:
            self._hold(self.partitions[error.partition], self._explained(error))
            return
        except StreamError as error:
            if error.transient:
                raise
            self._refusal = str(error)
            self._looked = -math.inf  # which partitions the reader has given up shows there
            return
        if events:
            self._take(events)

    def _take(self, events: Sequence[Event]) -> None:
        now, monotonic = self.clock.now(), self.clock.monotonic()
        for event in events:
            partition = self.partitions[event.partition]
            if partition.problem is None:
                partition.waiting.take(event, self._line(event), now, monotonic)

    def _line(self, event: Event) -> bytes:
        self.counts.events += 1
        try:
            text, said = door.checked(event.value)
        except door.BadEventError as error:
            self.counts.bad += 1
            return door.bad_line(event, str(error))
        if any(said.get(name) is None for name in self.stream.required):
            self.counts.lacking += 1
        return door.good_line(event, text)

    # Landing

    def _put(self) -> None:
        """Begin to put what is due, and take up what was put."""
        now = self.clock.monotonic()
        for each in self.partitions.values():
            if each.waiting.open and now - each.waiting.open.since >= self.stream.flush_seconds:
                each.waiting.seal()
            if each.put and each.put.done():
                done, each.put = each.put.result(), None
                self._took(each, done)
            if each.waiting.sealed and not each.put and now >= each.put_after:
                each.put = self._pool.submit(self._put_link, each.number, each.waiting.sealed[0])

    def _put_link(self, number: int, segment: Segment) -> Outcome:
        """Put one link. Runs in a thread of its own."""
        facts = {"partition": number, "records": segment.records}
        with observed(Work("landing", self.pipeline, self.stream.name, segment.hour.date(), facts=facts)) as work:
            outcome = self._put_once(number, segment)
            work.outcome = "failed" if outcome.error else "fenced" if outcome.fence else "landed"
            work.error = type(outcome.error).__name__ if outcome.error else ""
        return outcome

    def _put_once(self, number: int, segment: Segment) -> Outcome:
        key = self._key(number, segment)
        stream = self.stream
        frame = Frame(stream.name, number, segment.start, segment.next, segment.records, stream.contract)
        body = segment.packed(frame)
        try:
            if self.lake.create(key, body):
                return Outcome()
            there = self.lake.get(key)
            if there == body:  # put by this landing, and the answer was lost
                return Outcome()
            return Outcome(fence=End(decode(there, key)[0].next, segment.hour))
        except UserError as error:
            return Outcome(error=error)

    def _key(self, number: int, segment: Segment) -> str:
        prefix = self.stream.prefix(segment.hour.date())
        return key_of(prefix, segment.hour.hour, number, segment.start, self.reader.position_digits)

    def _took(self, partition: _Partition, done: Outcome) -> None:
        if isinstance(done.error, LakeError):
            partition.pause = min(max(2 * partition.pause, FIRST_PAUSE), LONGEST_PAUSE)
            partition.put_after = self.clock.monotonic() + partition.pause
            self._waits(lambda: done.error)
        elif done.error:  # what is there cannot be read, so nobody knows which events it has
            partition.waiting.go_on_at(partition.waiting.end)
            self._hold(partition, str(done.error))
        elif done.fence:
            self.counts.fenced += 1
            self._seek(partition.number, done.fence)
        else:
            segment = partition.waiting.landed()
            if not self.closed and self._first_day:  # the broker held events of days before the first landing
                self._first_day = min(self._first_day, segment.hour.date())
            partition.pause = 0.0
            self.counts.links += 1
            self._advance(partition, segment)
            self.reader.landed(partition.number, segment.next)
            self._waits = Waits(f"the landing of {self.stream.name} waits for the store")

    def _advance(self, partition: _Partition, segment: Segment) -> None:
        """Note through which instant all events are landed."""
        if 0 < segment.last_ms <= self.clock.now().timestamp() * 1000:
            self._catch_up(partition, datetime.fromtimestamp(segment.last_ms / 1000, timezone.utc))
        if partition.goal and segment.next >= partition.goal[0]:
            self._catch_up(partition, partition.goal[1])
            partition.goal = None

    def _catch_up(self, partition: _Partition, instant: datetime) -> None:
        partition.caught_up_at = max(instant, partition.caught_up_at or instant)

    # Reporting

    def _look(self) -> None:
        """Ask for the ends of the partitions now and then, report, and close what is over."""
        monotonic = self.clock.monotonic()
        if monotonic - self._looked < LOOK_SECONDS:
            return
        asked, ends = self.clock.now(), self.reader.ends()
        for partition in self.partitions.values():
            if partition.number in ends:
                partition.high_watermark = ends[partition.number]
                self._set_goal(partition, ends[partition.number], asked)
            elif not partition.problem:
                self._hold(partition, self._refusal)
        self._looked = self.clock.monotonic()
        self._close()
        self._report()
        self._say()

    def _set_goal(self, partition: _Partition, end: int, asked: datetime) -> None:
        """Note what must be landed until all events before the instant `asked` are."""
        if partition.problem:
            return
        if self._is_read(partition, end):
            partition.goal = (partition.waiting.expected or 0, asked)
            if partition.waiting.is_empty:
                self._catch_up(partition, asked)
                partition.goal = None
        elif partition.goal is None:
            partition.goal = (end, asked)

    def _is_read(self, partition: _Partition, end: int) -> bool:
        """Whether nothing is left to read of a partition."""
        expected = partition.waiting.expected
        return (partition.begun if expected is None else expected) == end

    def _report(self) -> None:
        self.ledger.report(
            [
                Position(
                    self.stream.name,
                    each.number,
                    each.waiting.end.next,
                    each.high_watermark,
                    each.caught_up_at,
                    each.problem,
                )
                for each in self.partitions.values()
            ]
        )

    def _close(self) -> None:
        """Close the first open load_date if it is over: no event will be landed in it any more.

        One at a time, each after the one before is recorded, and only by the landing whose turn it is.
        """
        day = self._first_day
        if day is None or self.ledger.turn != "ours" or not self.partitions:
            return
        if self.closed and self.closed.load_date != self.ledger.closed:
            return
        over = datetime.combine(day, datetime.min.time(), timezone.utc) + timedelta(days=1)
        due = over + timedelta(minutes=self.stream.close_after_minutes)
        if self.clock.now() < due or not all(self._is_beyond(each, over, due) for each in self.partitions.values()):
            return
        following = {
            each.number: each.begun if each.waiting.end.next is None else each.waiting.end.next
            for each in self.partitions.values()
        }
        for each in self.partitions.values():
            each.waiting.end = End(each.waiting.end.next, max(each.waiting.end.hour, over))
        chain.close(self.lake, self.stream, day, following)
        self.closed, self._first_day = Closed(day, following), day + timedelta(days=1)
        self.ledger.close(day)

    def _is_beyond(self, partition: _Partition, over: datetime, due: datetime) -> bool:
        """Whether all events of the load_date that ended at `over` are landed, as far as anybody can know."""
        waiting = partition.waiting
        if waiting.end.hour >= over:
            return True
        is_whole = partition.problem is None and partition.caught_up_at is not None and partition.caught_up_at >= due
        return is_whole and (waiting.is_empty or waiting.first_hour >= over)

    def _say(self, *, at_once: bool = False) -> None:
        """Log what was done, once a minute."""
        now, done = self.clock.monotonic(), self.counts
        if not at_once and now - self._said < 60:
            return
        self._said, self.counts = now, Counts()
        if done.events or done.links:
            lag = sum(
                max(0, each.high_watermark - (each.waiting.end.next or 0))
                for each in self.partitions.values()
                if each.high_watermark is not None
            )
            logger.info(
                "%s: %d events in %d objects; %d are no JSON that can be stored, %d lack a field of the contract; "
                "%d are left at the broker.",
                *(self.stream.name, done.events, done.links, done.bad, done.lacking, lag),
            )

    def _sleep(self, seconds: float, is_over: Callable[[], bool]) -> None:
        deadline = self.clock.monotonic() + seconds
        while self.clock.monotonic() < deadline and not is_over():
            self.clock.sleep(min(0.1, seconds))


def skip_lost(stream: Stream, reader: Reader, lake: Objects, now: datetime, who: str) -> list[Frame]:
    """Record in the chains the events that the broker no longer has, so that landing goes on behind them.

    It is what a person decides. Return the links that were put. Raises UserError.
    """
    ends, _ = chain.ends(lake, stream, reader.partitions())
    skipped = []
    for number, end in ends.items():
        try:
            reader.seek(number, end.next)
        except PositionGoneError as error:
            if error.position >= error.earliest:
                raise
            said = f"given up by {who} at {now:%Y-%m-%d %H:%M:%S} UTC"
            frame = Frame(stream.name, number, error.position, error.earliest, 0, stream.contract, said)
            hour = max(end.hour, now.replace(minute=0, second=0, microsecond=0))
            prefix = stream.prefix(hour.date())
            key = key_of(prefix, hour.hour, number, error.position, reader.position_digits)
            if lake.create(key, pack(frame, [])):
                skipped.append(frame)
    return skipped
