"""How much one reader may ask for: the size of a request, how many a second, and how many at once.

Belongs here: the limits and their counting. Not here: who a reader is (security.py).
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import Scope

from kpi_assets.surface.problems import Problem

ADDRESS = 4096  # bytes of an address with its query
HEADERS = 16384  # bytes of all headers together
IN_FLIGHT = 200  # requests that are answered at once
RATE, BURST = 50.0, 200.0  # requests a second of one reader, and how many at once after a pause
STREAMS, STREAMS_OF_READER = 200, 50  # answers that stay open, of all readers and of one
_READERS = 10_000  # of whom it is remembered how much they asked for


def check_size(scope: Scope) -> None:
    """Raise Problem if a request is too large. No request has a body here."""
    if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > ADDRESS:
        raise Problem(414, detail=f"An address has at most {ADDRESS} characters here.")
    total = 0
    for name, value in scope["headers"]:
        total += len(name) + len(value)
        if (name == b"content-length" and value.strip() != b"0") or name == b"transfer-encoding":
            raise Problem(413, detail="Requests have no body here.")
    if total > HEADERS:
        raise Problem(431, detail=f"The headers of a request have at most {HEADERS} bytes here.")


class Buckets:
    """A token bucket for each reader: it fills at RATE up to BURST, and each request takes one token."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # reader -> (tokens, at)

    def take(self, reader: str) -> None:
        """Take one token. Raises Problem with the seconds to wait if there is none."""
        now = self._clock()
        tokens, at = self._left.pop(reader, (BURST, now))
        tokens = min(BURST, tokens + (now - at) * RATE)
        enough = tokens >= 1
        self._left[reader] = (tokens - 1 if enough else tokens, now)
        if len(self._left) > _READERS:
            self._left.popitem(last=False)
        if not enough:
            raise Problem(
                429,
                detail=f"At most {RATE:.0f} requests a second are answered: send the ETag back, and ask for ranges.",
                headers={"Retry-After": "1"},
            )


class Streams:
    """Counts the answers that stay open: at most STREAMS at once, and STREAMS_OF_READER of one reader."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many are open."""
        return self._of.total()

    @contextmanager
    def one_more(self, reader: str) -> Iterator[None]:
        """Count one until the end of the context. Raises Problem if there are too many."""
        if self._of[reader] >= STREAMS_OF_READER:
            raise Problem(
                429,
                detail=f"At most {STREAMS_OF_READER} event streams of one reader are open at once.",
                headers={"Retry-After": "30"},
            )
        if self.open >= STREAMS:
            raise Problem(503, detail="Too many event streams are open.", headers={"Retry-After": "30"})
        self._of[reader] += 1
        try:
            yield
        finally:
            self._of[reader] -= 1
            if not self._of[reader]:
                del self._of[reader]
