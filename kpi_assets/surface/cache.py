"""Answers kept in memory, at most so many bytes of them: the least recently used go first."""

import gzip
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

BYTES = 12 << 20
_WORTH_PACKING = 500  # bytes; a smaller answer fits into one packet anyway
_TEXTS = ("text/", "application/json", "image/svg", "application/yaml", "application/vnd.oai")


@dataclass(frozen=True)
class Entry:
    """An answer. `asked_at` is a time (monotonic) before its data were read; `is_packed` says that it is in gzip."""

    tag: str
    content: bytes
    media: str
    headers: Mapping[str, str]
    asked_at: float
    is_packed: bool

    @classmethod
    def of(cls, tag: str, content: bytes, media: str, headers: Mapping[str, str], asked_at: float) -> "Entry":
        """Return the entry, packed if that is worth it: most readers can unpack, and memory is short."""
        is_packed = len(content) >= _WORTH_PACKING and media.startswith(_TEXTS)
        return cls(
            tag, gzip.compress(content, 6, mtime=0) if is_packed else content, media, headers, asked_at, is_packed
        )

    def response(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Return the response to a request, with `headers` before its own."""
        sent, content = {**headers, **self.headers, "Vary": "Accept-Encoding"}, self.content
        if self.is_packed and "gzip" in request.headers.get("accept-encoding", ""):
            sent["Content-Encoding"] = "gzip"
        elif self.is_packed:
            content = gzip.decompress(content)
        return Response(content, 200, sent, self.media)

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self.content) + 1000


class Cache:
    """Entries by key. Not safe for threads: only the event loop uses it."""

    def __init__(self, limit: int = BYTES) -> None:
        self._limit, self._size = limit, 0
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def get(self, key: str) -> Entry | None:
        """Return an entry, which is then the last to go."""
        found = self._entries.get(key)
        if found:
            self._entries.move_to_end(key)
        return found

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry, unless it alone is a quarter of what may be kept."""
        self.drop(key)
        if entry.size > self._limit // 4:
            return
        self._entries[key] = entry
        self._size += entry.size
        while self._size > self._limit:
            self.drop(next(iter(self._entries)))

    def drop(self, key: str) -> None:
        """Forget an entry."""
        if gone := self._entries.pop(key, None):
            self._size -= gone.size

    @property
    def size(self) -> int:
        """The bytes that all entries take."""
        return self._size
