"""The objects of a load_date that continue what is known of a stream's chains: found, read, and proven to be links.

The key of the next link of a partition is known but for its hour, so that it is asked for by name; how many objects the
load_date has does not matter. A sweep, from time to time, lists the objects: it finds new partitions, and links that
follow no other one. A link that is not there yet is waited for; after GAP_SECONDS it is a gap, and nothing that comes
behind it may be built.

Belongs here: which objects come next, and that each is whole. Not here: the rows that they become (rows.py), landing
(land.py), and which objects a table was made from (ledger/stream_objects.py).
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Protocol

from kpi_assets.ahead import AheadPool
from kpi_assets.errors import UserError
from kpi_assets.model.query import digest
from kpi_assets.sources.lake import ChangedError, MissingError
from kpi_assets.sources.objects import Entry
from kpi_assets.stream.frame import Frame, FrameError, Line, Link, decode, key_of, link_of

AT_ONCE = 8  # requests at the same time
SWEEP_SECONDS = 60.0  # between two listings of the current hour
FULL_SECONDS = 600.0  # between two listings of the whole load_date
GAP_SECONDS = 60.0  # that a link may be there before the one that it continues
NOTHING = "0" * 16  # the hash of no objects


class Objects(Protocol):
    """What is used of a store (sources/lake.py)."""

    def get(self, key: str, etag: str | None = None) -> bytes:
        """Return the bytes of an object. Raises MissingError, and ChangedError if it has another ETag."""

    def head(self, key: str) -> Entry | None:
        """Return an object as a listing would, or None if there is none."""

    def entries(self, prefix: str, after: str | None = None) -> Iterator[Entry]:
        """Yield the objects below a prefix and after a key, in the order of their keys."""


class ChainError(UserError):
    """A chain is not whole: a link is missing, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Found:
    """One object that was read and is a link of its chain; it stays packed."""

    link: Link
    frame: Frame
    entry: Entry
    body: bytes

    def lines(self) -> Iterator[Line]:
        """Yield its events."""
        return decode(self.body, self.link.key)[1]


@dataclass(frozen=True, slots=True)
class End:
    """Where the chain of a partition ends: what the next link begins with, and the last link, if there is one."""

    next: int
    link: Link | None = None


@dataclass(frozen=True)
class Followed:
    """The links that come next, by partition and position, and why the first one behind them cannot be built."""

    found: Sequence[Found]
    problem: str = ""


def added_hash(before: str, bucket: str, entries: Iterable[Entry]) -> str:
    """Return the hash of the objects that had the hash `before` and of some more, in whatever order they are added."""
    total = int(before, 16)
    for each in entries:
        total += int(digest(bucket, each.key, str(each.size_bytes), each.etag.strip('"')), 16)
    return f"{total % (1 << 64):016x}"


def read_link(objects: Objects, link: Link, entry: Entry) -> Found:
    """Read an object and prove that it is whole. Raises ChainError, and LakeError if the store cannot be used."""
    try:
        body = objects.get(link.key, entry.etag or None)
        frame, _ = decode(body, link.key)
    except (FrameError, MissingError, ChangedError) as error:
        raise ChainError(str(error)) from None
    return Found(link, frame, entry, body)


def missing_sentence(partition: int, wanted: int, found: Link) -> str:
    """Return what is told of a gap."""
    return (
        f"The object of partition {partition} from position {wanted} is missing before {found.key}: look whether "
        "landing (`kpi stream`) goes on, and restore the object if somebody removed it"
    )


@dataclass
class _Swept:
    """When a load_date was listed last, in seconds of a clock that only rises."""

    at: float = float("-inf")
    full_at: float = float("-inf")


@dataclass
class Chains:
    """The chains of one load_date of a stream; kept by a process, so that it need not list everything each time."""

    objects: Objects
    prefix: str  # of the load_date, with its slash
    last_hour: int = 23  # behind which no link of the load_date can lie now
    _swept: _Swept = field(default_factory=_Swept)
    _waiting: dict[int, dict[int, tuple[Link, Entry]]] = field(default_factory=dict)  # listed: partition -> start

    def follow(self, ends: Mapping[int, End], starts: Mapping[int, int], most_records: int, hour: int = 23) -> Followed:
        """Return the links after `ends`, of at least one partition and at most so many records, if it is not one link.

        `starts` are the first positions that are known, `hour` is the last one in which a link can lie now. Raises
        LakeError.
        """
        self.last_hour = hour
        self._sweep(ends, starts)
        known, problems = dict(ends), [*self._before_starts(starts)]
        for partition, waiting in self._waiting.items():
            if partition not in known and waiting:
                known[partition] = End(min(waiting))
        found, records, active = list[Found](), 0, sorted(known)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="links") as pool:
            while active and records < most_records:
                results = list(pool.map(lambda p: self._next(p, known[p]), active))
                going_on = []
                for partition, result in zip(active, results, strict=True):
                    if isinstance(result, str):
                        problems.append(result)
                        continue
                    if result is None or (found and records + result.frame.records > most_records):
                        continue
                    found.append(result)
                    records += result.frame.records
                    known[partition] = End(result.frame.next, result.link)
                    going_on.append(partition)
                active = going_on
        problems += self._gaps(known)
        return Followed(sorted(found, key=lambda each: each.link), problems[0] if problems else "")

    def _next(self, partition: int, end: End) -> Found | str | None:
        """Return the next link of a partition, why it cannot be built, or None if it is not there."""
        listed = self._waiting.get(partition, {}).get(end.next)
        try:
            if listed:
                return read_link(self.objects, *listed)
            if end.link is None:
                return None
            return self._ask(partition, end.next, end.link)
        except ChainError as error:
            return str(error)

    def _ask(self, partition: int, start: int, last: Link) -> Found | None:
        digits = len(last.key.rpartition("-")[2].partition(".")[0])
        # Of a partition that rested, a sweep finds the link if it lies in none of these hours.
        hours = {last.hour, last.hour + 1, self.last_hour - 1, self.last_hour}
        for hour in sorted(hour for hour in hours if last.hour <= hour <= self.last_hour):
            key = key_of(self.prefix, hour, partition, start, digits)
            entry, link = self.objects.head(key), link_of(key)
            if entry and link:
                return read_link(self.objects, link, entry)
        return None

    def _sweep(self, ends: Mapping[int, End], starts: Mapping[int, int]) -> None:
        """List the objects if it is time, and keep those that no chain has yet."""
        now = time.monotonic()
        if now - self._swept.at < SWEEP_SECONDS:
            self._waiting = {
                partition: {
                    start: each for start, each in waiting.items() if not _is_known(ends, starts, partition, start)
                }
                for partition, waiting in self._waiting.items()
            }
            return
        is_full = now - self._swept.full_at >= FULL_SECONDS or not ends
        latest = max((end.link.hour for end in ends.values() if end.link), default=0)
        after = None if is_full else f"{self.prefix}hour={max(latest - 1, 0):02}/"
        self._waiting = {}
        for entry in self.objects.entries(self.prefix, after):
            link = link_of(entry.key)
            if link and not _is_known(ends, starts, link.partition, link.start):
                self._waiting.setdefault(link.partition, {})[link.start] = link, entry
        self._swept = _Swept(now, now if is_full else self._swept.full_at)

    def _before_starts(self, starts: Mapping[int, int]) -> Iterator[str]:
        for partition, waiting in self._waiting.items():
            for start, (link, _) in waiting.items():
                if partition in starts and start < starts[partition]:
                    yield (
                        f"{link.key} came before the first object that was built of partition {partition}: run the "
                        "load_date again, which builds it from all of its objects"
                    )

    def _gaps(self, ends: Mapping[int, End]) -> Iterator[str]:
        """Yield a sentence for each partition of which a later link has been there for long, and the next one not."""
        longest_ago = datetime.now(timezone.utc) - timedelta(seconds=GAP_SECONDS)
        for partition, waiting in sorted(self._waiting.items()):
            wanted = ends[partition].next if partition in ends else min(waiting, default=0)
            later = [each for start, each in sorted(waiting.items()) if start > wanted]
            if later and wanted not in waiting and later[0][1].last_modified <= longest_ago:
                yield missing_sentence(partition, wanted, later[0][0])


def _is_known(ends: Mapping[int, End], starts: Mapping[int, int], partition: int, start: int) -> bool:
    """Whether a link is one of a chain that was built: a chain has no link between two others."""
    return partition in ends and starts.get(partition, 0) <= start < ends[partition].next


def whole(objects: Objects, prefix: str) -> Iterator[Found]:
    """Yield all links of a load_date by partition and position, proven to be whole chains.

    Raises ChainError and LakeError.
    """
    listed = ((link_of(entry.key), entry) for entry in objects.entries(prefix))
    links = sorted((link, entry) for link, entry in listed if link)
    before: Found | None = None
    for each in _ahead(links, lambda pair: read_link(objects, *pair)):
        if before and before.link.partition == each.link.partition and each.frame.start != before.frame.next:
            raise ChainError(f"{missing_sentence(each.link.partition, before.frame.next, each.link)}.")
        yield each
        before = each


def _ahead(links: Sequence[tuple[Link, Entry]], read: Callable[[tuple[Link, Entry]], Found]) -> Iterator[Found]:
    """Read objects in order, a few of them ahead."""
    pending: deque[Future[Found]] = deque()
    with AheadPool(AT_ONCE, thread_name_prefix="links") as pool:
        for pair in links:
            pending.append(pool.submit(read, pair))
            if len(pending) > AT_ONCE:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
