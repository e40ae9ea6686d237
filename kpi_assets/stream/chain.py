"""The chains of a stream as they lie in the store: where each partition ends, and whether each is whole.

A chain never goes back in time: a link lies in the load_date and hour of the one before it, or in later ones. So its
last link lies in the latest hour that has one. A load_date that is closed says in `_closed.json` where each partition
ended, so that nobody looks further back.

Belongs here: reading the store. Not here: making links (land.py), and what their bytes mean (frame.py).
"""

import json
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Protocol

from kpi_assets.errors import UserError
from kpi_assets.sources.lake import MissingError
from kpi_assets.sources.objects import Entry
from kpi_assets.stream.described import CLOSED, Stream
from kpi_assets.stream.frame import Frame, FrameError, Link, decode, link_of

_READERS = 8  # objects that are read at once


class Objects(Protocol):
    """What is used of a store (sources/lake.py)."""

    def create(self, key: str, body: bytes) -> bool:
        """Put an object where none is; False if there is one."""

    def get(self, key: str) -> bytes:
        """Return the bytes of an object. Raises MissingError."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield the objects below a prefix in the order of their keys."""

    def folders(self, prefix: str) -> list[str]:
        """Return the folders directly below a prefix, in order, each ending with a slash."""


class ChainError(UserError):
    """A chain is not whole."""


@dataclass(frozen=True, slots=True)
class End:
    """The end of a partition's chain: where the next link begins, and the hour before which it may not lie."""

    next: int | None  # None: nothing has been landed yet
    hour: datetime


@dataclass(frozen=True, slots=True)
class Closed:
    """A load_date in which nothing is landed any more, and where each partition ended."""

    load_date: date
    next: Mapping[int, int]


def ends(lake: Objects, stream: Stream, partitions: Collection[int]) -> tuple[dict[int, End], Closed | None]:
    """Return the end of each partition's chain, and the latest closed load_date. Raises LakeError and FrameError."""
    last: dict[int, Link] = {}
    closed = None
    for load_date in reversed(load_dates(lake, stream)):
        if closed := _closed(lake, stream, load_date):
            break
        for hour in reversed(lake.folders(stream.prefix(load_date))):
            if set(partitions) <= last.keys():
                break
            last = {**{link.partition: link for link in links_below(lake, hour)}, **last}
    return {each: _end(lake, stream, each, last.get(each), closed) for each in partitions}, closed


def _end(lake: Objects, stream: Stream, partition: int, last: Link | None, closed: Closed | None) -> End:
    first = beginning(stream, closed)
    if last is None:
        return End(closed.next.get(partition) if closed else None, first.hour)
    return End(frame_of(lake, last).next, max(first.hour, hour_of(last)))


def beginning(stream: Stream, closed: Closed | None) -> End:
    """Return the end of a chain that has no link yet."""
    day = closed.load_date + timedelta(days=1) if closed else stream.start_date
    return End(None, datetime.combine(day, time(), timezone.utc))


def frame_of(lake: Objects, link: Link) -> Frame:
    """Return the frame of a link, all of whose lines are there. Raises LakeError and FrameError."""
    return decode(lake.get(link.key), link.key)[0]


def hour_of(link: Link) -> datetime:
    """Return the hour in which a link lies."""
    return datetime.combine(link.load_date, time(link.hour), timezone.utc)


def links_below(lake: Objects, prefix: str) -> Iterator[Link]:
    """Yield the links below a prefix, in the order of their keys: of one hour, those of each partition together."""
    for entry in lake.entries(prefix):
        if link := link_of(entry.key):
            yield link


def load_dates(lake: Objects, stream: Stream) -> list[date]:
    """Return the load_dates that have objects, in order."""
    return [day for folder in lake.folders(stream.folder) if (day := _date_of(folder))]


def close(lake: Objects, stream: Stream, load_date: date, following: Mapping[int, int]) -> None:
    """Write down where each partition of a load_date ended. Safe to repeat: what was written first counts."""
    said = {
        "stream": stream.name,
        "load_date": load_date.isoformat(),
        "next": {str(partition): position for partition, position in sorted(following.items())},
    }
    lake.create(f"{stream.prefix(load_date)}{CLOSED}", json.dumps(said).encode() + b"\n")


def _closed(lake: Objects, stream: Stream, load_date: date) -> Closed | None:
    key = f"{stream.prefix(load_date)}{CLOSED}"
    with suppress(MissingError):
        body = lake.get(key)
        try:
            following = json.loads(body)["next"]
            return Closed(load_date, {int(partition): int(position) for partition, position in following.items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise FrameError(
                f"{key} does not say where the partitions of {stream.name} ended: restore what `kpi stream` wrote "
                "there."
            ) from None
    return None


def _date_of(folder: str) -> date | None:
    name, _, day = folder.rstrip("/").rpartition("/")[2].partition("=")
    with suppress(ValueError):
        return date.fromisoformat(day) if name == "load_date" else None
    return None


@dataclass(frozen=True)
class Checked:
    """What a check of the chains of some load_dates found."""

    links: int
    records: int
    lost: int  # links of events that a person gave up
    problems: tuple[str, ...]


def check(lake: Objects, stream: Stream, prefixes: Collection[str]) -> Checked:
    """Read the links below prefixes, which follow each other in time, and compare where each ends and the next begins.

    Raises LakeError.
    """
    links = sorted(link for prefix in prefixes for link in links_below(lake, prefix))

    def read(link: Link) -> Frame | str:
        try:
            return frame_of(lake, link)
        except FrameError as error:
            return str(error)

    with ThreadPoolExecutor(_READERS) as pool:
        read_frames = list(pool.map(read, links))
    frames = [frame for frame in read_frames if isinstance(frame, Frame)]
    problems = [problem for problem in read_frames if isinstance(problem, str)]
    before: tuple[Link, Frame] | None = None
    for link, frame in zip(links, read_frames, strict=True):
        if before and isinstance(frame, Frame) and before[0].partition == link.partition:
            problems += _joint(stream, *before, link)
        before = (link, frame) if isinstance(frame, Frame) else None
    lost = sum(frame.lost is not None for frame in frames)
    return Checked(len(links), sum(frame.records for frame in frames), lost, tuple(problems))


def _joint(stream: Stream, before: Link, frame: Frame, link: Link) -> Iterator[str]:
    """Yield what is wrong where one link follows another."""
    place = f"the chain of {stream.name}, partition {link.partition},"
    if link.start > frame.next:
        yield (
            f"{place} lacks positions {frame.next} to {link.start - 1}, between {before.key} and {link.key}: restore "
            "the objects that were there."
        )
    elif link.start < frame.next:
        yield (
            f"{place} has positions {link.start} to {frame.next - 1} twice, in {before.key} and {link.key}: two "
            "landings wrote where the store let both, so look who else lands this stream, and delete the second."
        )
    elif hour_of(link) < hour_of(before):
        yield f"{place} goes back in time from {before.key} to {link.key}: only `kpi stream` may write there."
