"""What goes wrong between the shop and its broker: shares of events come twice, late, broken, or with other fields.

Belongs here: the faults by name, and what each does to a message. A fault of a share hits one event in a hundred, or
as many as are asked for: `repeats=0.02` two in a hundred. Not here: what happens in the shop (world.py).
"""

import heapq
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kpi_assets.errors import UsageError
from kpi_assets.samples.realtime.world import CLICKS, DAY, HOUR, MINUTE, ORDERS, SECOND, Happening, Rate, time_text

BURST, BURST_EVERY, BURST_SECONDS = 10, 600, 120
CLOCK_EVERY, CLOCK_SECONDS, CLOCK_AHEAD = 600, 60, HOUR
MANY_CANCELLED = 0.4
LATEST = 3 * DAY

# Faults of a share of all events: name -> (what it does, the share if none is named).
SHARES: Mapping[str, tuple[str, float]] = {
    "repeats": ("events are sent a second time, most of them soon, some after hours", 0.01),
    "poison": ("messages come in between that are no JSON, no text, or no object", 0.001),
    "late": ("events are sent between 6 minutes and 3 days after they happened", 0.01),
    "drift": ("clicks have a field more, campaign", 0.01),
    "early": ("events happened up to 30 minutes in the future, by their producers' clocks", 0.001),
    "new-type": ("clicks are of the type wishlist, which nobody has announced", 0.001),
    "wrong-type": ("clicks have a product_id that is no number", 0.001),
    "missing-key": ("clicks have no session_id", 0.001),
}
# Faults that hit every event of some time, or all.
TIMES: Mapping[str, str] = {
    "bursts": f"{BURST_SECONDS // 60} minutes in ten have {BURST} times as many events",
    "clock-jumps": "for a minute in ten, the clocks of the producers are an hour ahead",
    "cancellations": f"{MANY_CANCELLED:.0%} of the orders are cancelled after they were paid",
    "broken-release": 'the amounts of all orders are texts such as "12,50 EUR"',
}
FAULTS = {
    **{name: f"{what}; 1 in {1 / share:.0f}, or {name}=SHARE" for name, (what, share) in SHARES.items()},
    **TIMES,
}
POISON = (b'{"event_id": "cut', b"\xff\xfe\x00 not text", b"[1, 2, 3]", b'{"event_id": "nul\\u0000"}', b"")


@dataclass(frozen=True, slots=True)
class Message:
    """What a producer sends: when, in milliseconds since 1970, and to which stream."""

    at: int
    stream: str
    key: bytes
    value: bytes


@dataclass(frozen=True)
class Planted:
    """The faults of a stream of messages: the share of each fault of SHARES, and those of TIMES."""

    shares: Mapping[str, float] = field(default_factory=dict)
    times: frozenset[str] = frozenset()

    def rate(self, rate: float) -> Rate:
        """Return the rate with its bursts."""
        if "bursts" not in self.times:
            return lambda _: rate
        return lambda seconds: rate * (BURST if seconds % BURST_EVERY >= BURST_EVERY - BURST_SECONDS else 1)

    def messages(self, events: Iterator[Happening], seed: int = 1) -> Iterator[Message]:
        """Yield the message of each event, and those that the faults add, in the sequence in which they are sent."""
        draws = random.Random(f"realtime faults {seed}")  # noqa: S311 (a simulation)
        later: list[tuple[int, int, Message]] = []
        for number, event in enumerate(events):
            while later and later[0][0] <= event.at:
                yield heapq.heappop(later)[2]
            message = Message(event.at, event.stream, event.key.encode(), self._value(event, draws))
            if self._hits("late", draws):
                wait = 6 * MINUTE + int(draws.random() ** 4 * (LATEST - 6 * MINUTE))
                heapq.heappush(later, (event.at + wait, 2 * number, _sent_later(message, wait)))
            else:
                yield message
            if self._hits("repeats", draws):
                wait = SECOND + int(draws.random() ** 8 * 12 * HOUR)
                again = _sent_later(message, wait)
                heapq.heappush(later, (again.at, 2 * number + 1, again))
            if self._hits("poison", draws):
                yield Message(event.at, event.stream, message.key, POISON[int(draws.random() * len(POISON))])

    def _hits(self, name: str, draws: random.Random) -> bool:
        return name in self.shares and draws.random() < self.shares[name]

    def _value(self, event: Happening, draws: random.Random) -> bytes:
        said = dict(event.said)
        if event.stream == CLICKS:
            if self._hits("drift", draws):
                said["campaign"] = f"c{int(draws.random() * 20)}"
            if self._hits("new-type", draws):
                said["event_type"] = "wishlist"
            if self._hits("wrong-type", draws):
                said["product_id"] = "none"
            if self._hits("missing-key", draws):
                del said["session_id"]
        if self._hits("early", draws):
            said["occurred_at"] = time_text(event.at + 6 * MINUTE + int(draws.random() * 24 * MINUTE))
        if "clock-jumps" in self.times and event.at // SECOND % CLOCK_EVERY < CLOCK_SECONDS:
            said["occurred_at"] = time_text(event.at + CLOCK_AHEAD)
        if "broken-release" in self.times and event.stream == ORDERS and "amount" in said:
            said["amount"] = f"{said['amount']:.2f} {said['currency']}".replace(".", ",")
        return json.dumps(said, separators=(",", ":")).encode()


def _sent_later(message: Message, wait: int) -> Message:
    return Message(message.at + wait, message.stream, message.key, message.value)


def planted(names: Sequence[str]) -> Planted:
    """Return the faults of these names. Raises UsageError for one that is unknown, and for a share that is none."""
    shares: dict[str, float] = {}
    for each in names:
        name, equals, text = each.partition("=")
        if name not in FAULTS:
            raise UsageError(f"Realtime has no fault {name!r}: choose from {', '.join(FAULTS)}.")
        if equals and (name in TIMES or not re.fullmatch(r"0?\.\d{1,6}|1(\.0*)?", text) or not float(text)):
            raise UsageError(
                f"The fault {each!r} cannot be planted: give a share above 0 and up to 1 behind the name of a fault "
                "that hits some events, such as repeats=0.02."
            )
        if name in SHARES:
            shares[name] = float(text) if equals else SHARES[name][1]
    return Planted(shares, frozenset(names) & TIMES.keys())
