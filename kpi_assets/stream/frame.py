"""The objects of a stream: each is a link of one partition's chain, and its key says which.

    raw/clicks/load_date=2026-03-01/hour=09/p0003-0000000000001200.ndjson.gz

holds the events of partition 3 from position 1200 on. Its first line, the frame, says where it ends: `next`, which is
the position from which the next link of the partition goes on. So the last object of a partition is the position of
the landing, and a link that is missing shows. The other lines are one event each (door.py).

Bytes and key are a pure function of the events, the stream's name and the contract: no clock is in them. Whoever lands
the same events again makes the same object.

Belongs here: keys, frames, packing and unpacking. Not here: which events an object holds (land.py).
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kpi_assets.errors import UserError
from kpi_assets.stream import door

if TYPE_CHECKING:
    from kpi_assets.stream.reader import Event

SUFFIX = ".ndjson.gz"
_NAME = re.compile(
    r"(?P<prefix>.*load_date=(?P<load_date>\d{4}-\d\d-\d\d)/)hour=(?P<hour>[01]\d|2[0-3])/"
    r"p(?P<partition>\d{4,})-(?P<start>\d+)\.ndjson\.gz",
    re.ASCII,
)
_PLACE = re.compile(rb'\{"o":(\d+),"t":(-?\d+)[,}]', re.ASCII)
_LEVEL = 1  # of gzip: a sixth of the time of the default level, and a tenth more bytes


class FrameError(UserError):
    """An object of a stream is not what landing writes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The first line of an object.

    `lost` is the sentence of a person who decided to go on where events were lost: such a link has no events, and its
    positions are those that no broker has any more.
    """

    stream: str
    partition: int
    start: int  # "from" in the object
    next: int
    records: int
    contract: str  # the version of the table that the events are for
    lost: str | None = None

    def line(self) -> bytes:
        r"""Return the frame as a line, which ends with \n."""
        said: dict[str, Any] = {
            "stream": self.stream,
            "partition": self.partition,
            "from": self.start,
            "next": self.next,
            "records": self.records,
            "contract": self.contract,
        }
        if self.lost is not None:
            said["lost"] = self.lost
        return json.dumps(said, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True)
class Line:
    """One event in an object. Only its place is read at once, the rest when it is asked for."""

    text: bytes  # valid jsonb, without the line end
    position: int
    time_ms: int  # the broker's clock

    @property
    def time(self) -> datetime:
        """When the broker took the event."""
        return datetime.fromtimestamp(self.time_ms / 1000, timezone.utc)

    @cached_property
    def said(self) -> dict[str, Any]:
        """The line, parsed: o, t, k or k64, and v, or bad or bad64 and why."""
        parsed: dict[str, Any] = json.loads(self.text)
        return parsed

    @property
    def why(self) -> str | None:
        """Why the event could not be stored as JSON; None of one that is."""
        why: str | None = self.said.get("why")
        return why


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """What the key of an object says; links of one partition sort by their place in the chain."""

    partition: int
    start: int
    load_date: date
    hour: int
    key: str


def key_of(prefix: str, hour: int, partition: int, start: int, digits: int) -> str:
    """Return the key of the link of a partition that begins at `start`; `prefix` ends with `load_date=.../`."""
    return f"{prefix}hour={hour:02}/p{partition:04}-{start:0{digits}}{SUFFIX}"


def link_of(key: str) -> Link | None:
    """Return what a key says; None of a key that no landing made."""
    found = _NAME.fullmatch(key)
    if not found:
        return None
    try:
        day = date.fromisoformat(found["load_date"])
    except ValueError:
        return None
    return Link(int(found["partition"]), int(found["start"]), day, int(found["hour"]), key)


def encode(frame: Frame, events: "Iterable[Event]") -> bytes:
    """Return the bytes of an object."""
    return pack(frame, map(door.line, events))


def pack(frame: Frame, lines: Iterable[bytes]) -> bytes:
    """Return the bytes of an object whose lines are made already."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=_LEVEL, mtime=0, filename="") as file:
        file.write(frame.line())
        file.writelines(lines)
    return packed.getvalue()


def decode(body: bytes, key: str | None = None) -> tuple[Frame, Iterator[Line]]:
    """Return the frame of an object and its lines, all of which have been checked to be there. Raises FrameError.

    With its key, the object must also be the link that the key names.
    """
    named = key or "An object of a stream"
    first, *rest = _unpack(body, named)[:-1].split(b"\n")
    frame = _frame(first, named)
    expected = link_of(key) if key else None
    if expected and (expected.partition, expected.start) != (frame.partition, frame.start):
        raise FrameError(
            f"{named} is another link than its key says: it holds partition {frame.partition} from {frame.start}. "
            f"Delete it, and restore the object that was landed there."
        )
    if len(rest) != frame.records:
        raise FrameError(
            f"{named} holds {len(rest)} events, and its first line counts {frame.records}: restore the object that was "
            f"landed there."
        )
    return frame, iter(_lines(rest, frame, named))


def _unpack(body: bytes, named: str) -> bytes:
    again = "restore the object that was landed there."
    try:
        text = gzip.decompress(body)
    except EOFError:
        raise FrameError(f"{named} is cut off: it ends before its gzip does: {again}") from None
    except (gzip.BadGzipFile, zlib.error):
        raise FrameError(f"{named} is damaged: it cannot be unpacked as gzip: {again}") from None
    if not text.endswith(b"\n"):
        raise FrameError(f"{named} is cut off: its last line has no end: {again}")
    return text


def _frame(first: bytes, named: str) -> Frame:
    try:
        said = json.loads(first)
        frame = Frame(
            said["stream"],
            said["partition"],
            said["from"],
            said["next"],
            said["records"],
            said["contract"],
            said.get("lost"),
        )
        texts, numbers = (frame.stream, frame.contract), (frame.partition, frame.start, frame.next, frame.records)
        if not all(isinstance(each, str) for each in texts) or not all(type(each) is int for each in numbers):
            raise ValueError
        if min(numbers) < 0 or frame.next - frame.start < max(frame.records, 1):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FrameError(
            f"{named} does not begin with the frame of a stream's object: only landing (`kpi stream`) may write there. "
            f"Delete it, and restore what was landed there."
        ) from None
    return frame


def _lines(texts: list[bytes], frame: Frame, named: str) -> list[Line]:
    """Return the lines, whose positions rise and lie within the link. Raises FrameError."""
    lines, least = [], frame.start
    for number, text in enumerate(texts, start=2):
        place = _PLACE.match(text)
        if not place or not least <= int(place[1]) < frame.next:
            raise FrameError(
                f"{named}, line {number}, is no event at position {least} or later and before {frame.next}: restore "
                f"the object that was landed there."
            )
        lines.append(Line(text, int(place[1]), int(place[2])))
        least = lines[-1].position + 1
    return lines
