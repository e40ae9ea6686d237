"""The shop as it happens: visitors come, some of them order, orders are paid, sent and delivered, and stock moves.

All of it is events in the sequence of their times. The shop is simulated from its opening on, and as many visitors come
as are needed for the asked number of events a second. The same arguments give the same events.

Belongs here: what happens, when, and what an event says. Not here: what goes wrong on the way to the broker
(faults.py), and where an event stands in its stream (bronze.py).
"""

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from kpi_assets.samples.realtime.catalog import (
    CATALOG,
    CHANNEL_SHARES,
    CHANNELS,
    CUSTOMERS,
    FIRST_CUSTOMER,
    WAREHOUSES,
    Product,
    currency_of,
    is_counted,
)

ORDERS, INVENTORY, CLICKS = "order_events", "inventory_events", "clicks"
STREAMS = (ORDERS, INVENTORY, CLICKS)

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000  # in milliseconds

ANONYMOUS, LOGGED_IN_LATER = 0.35, 0.15  # of sessions; the others are logged in from the beginning
CART, CHECKOUT, ORDER = 0.30, 0.55, 0.80  # of sessions, of those with a cart, and of those at the checkout
MOST_VIEWS, MOST_LINES, MOST_PIECES = 6, 3, 3
CANCELLED_UNPAID, CANCELLED_PAID = 0.02, 0.03
LATE_DELIVERIES, REFUNDED, REFUNDED_IN_PART = 0.07, 0.04, 0.5
COUNT_EVERY = 2 * DAY
FULL, ORDER_AGAIN_BELOW, ADJUSTED = 400, 60, 0.05

Rate = Callable[[float], float]  # seconds since the opening -> events a second
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Happening:
    """An event: when it happened, in milliseconds since 1970, the stream and key that it goes to, and what it says."""

    at: int
    stream: str
    key: str
    said: dict[str, Any]


@dataclass(slots=True)
class _Order:
    id: str
    customer: int
    channel: str
    lines: list[tuple[Product, int]]

    @property
    def cents(self) -> int:
        return sum(product.cents * pieces for product, pieces in self.lines)


_Process = Iterator[int | Happening]  # yields what happens now, or when it goes on


class World:
    """The shop from its opening on, with so many events a second.

    `pace` says how much quicker than in life an order is paid, sent and delivered, and stock is counted: with 1440 a
    day of them takes a minute. `cancelled` is the share of orders that are cancelled after they were paid.
    """

    def __init__(
        self,
        opening: datetime,
        rate: float | Rate,
        *,
        seed: int = 1,
        pace: float = 1,
        cancelled: float = CANCELLED_PAID,
    ) -> None:
        self._opening = int(opening.timestamp() * 1000)
        self._rate: Rate = rate if callable(rate) else lambda _: float(rate)
        self._pace, self._cancelled = pace, cancelled
        # Only `random()` and `getrandbits()` are used: Python gives the same numbers in every release.
        self._random = random.Random(f"realtime {seed}")  # noqa: S311 (a simulation)
        self._draw = self._random.random
        self._later: list[tuple[int, int, _Process]] = []
        self._processes = 0
        self._stock = {(product.number, place): FULL for product in CATALOG for place in WAREHOUSES}
        for product in CATALOG:
            for place in WAREHOUSES:
                if is_counted(product, place):
                    first = self._opening + self._between(SECOND, COUNT_EVERY / self._pace / 8)
                    self._go_on(first, self._counts(product, place, first))

    def events(self) -> Iterator[Happening]:
        """Yield what happens, for ever, in the sequence of its times."""
        second, wanted, made = self._opening, 0.0, 0
        while True:
            wanted += self._rate((second - self._opening) / SECOND)
            happened: list[Happening] = []
            while self._later and self._later[0][0] < second + SECOND:
                _, _, process = heapq.heappop(self._later)
                happened += self._resume(process)
            while made + len(happened) + 1 <= wanted:
                at = second + int(self._draw() * SECOND)
                happened += self._resume(self._visit(at))
            happened.sort(key=lambda each: each.at)
            made += len(happened)
            yield from happened
            second += SECOND

    def _resume(self, process: _Process) -> list[Happening]:
        happened = []
        for step in process:
            if isinstance(step, int):
                self._go_on(step, process)
                break
            happened.append(step)
        return happened

    def _go_on(self, at: int, process: _Process) -> None:
        self._processes += 1
        heapq.heappush(self._later, (at, self._processes, process))

    def _visit(self, at: int) -> _Process:
        """A session: pages, perhaps a cart and a checkout, perhaps an order."""
        session = f"s{at:x}{self._random.getrandbits(24):06x}"
        kind = self._draw()
        visitor = FIRST_CUSTOMER + self._below(CUSTOMERS)
        customer = visitor if kind >= ANONYMOUS + LOGGED_IN_LATER else None
        product = self._one_of(CATALOG)
        views = 1 + self._below(MOST_VIEWS)
        for _ in range(views):
            product = self._one_of(CATALOG)
            yield self._click("page_view", at, session, customer, product)
            at += self._between(2 * SECOND, 60 * SECOND)
            yield at
            if kind >= ANONYMOUS:
                customer = visitor
        if self._draw() >= CART:
            return
        lines = [(product, 1 + self._below(MOST_PIECES))]
        while len(lines) < MOST_LINES and self._draw() < 0.3:
            lines.append((self._one_of(CATALOG), 1 + self._below(MOST_PIECES)))
        for each, _ in lines:
            yield self._click("add_to_cart", at, session, customer, each)
            at += self._between(2 * SECOND, 40 * SECOND)
            yield at
        if self._draw() >= CHECKOUT:
            return
        yield self._click("checkout", at, session, customer, None)
        if customer is None or self._draw() >= ORDER:
            return
        at += self._between(5 * SECOND, 90 * SECOND)
        yield at
        yield from self._ordered(at, customer, lines)

    def _ordered(self, at: int, customer: int, lines: list[tuple[Product, int]]) -> _Process:
        """An order from its placing to its end."""
        number = f"{at:x}{self._random.getrandbits(20):05x}".upper()
        order = _Order(f"R{number}", customer, self._channel(), lines)
        promise = at + int((2 + self._below(3)) * DAY / self._pace)
        yield self._order("placed", at, order, amount=_money(order.cents), promised_by=time_text(promise))
        for product, pieces in order.lines:
            place = WAREHOUSES[(customer + product.number) % len(WAREHOUSES)]
            self._stock[product.number, place] -= pieces
            yield self._stock_event("sold", at, product, place, pieces)
            if self._stock[product.number, place] < ORDER_AGAIN_BELOW:
                self._stock[product.number, place] += FULL
                self._go_on(arrives := at + self._paced(HOUR, 12 * HOUR), self._received(arrives, product, place, FULL))
        fate = self._draw()
        if fate < CANCELLED_UNPAID:
            yield (at := at + self._paced(MINUTE, HOUR))
            yield self._order("cancelled", at, order)
            return
        yield (at := at + self._between(2 * SECOND, 60 * SECOND))
        yield self._order("paid", at, order, amount=_money(order.cents))
        if fate < CANCELLED_UNPAID + self._cancelled:
            yield (at := at + self._paced(MINUTE, 3 * HOUR))
            yield self._order("cancelled", at, order)
            # What was paid is given back: no revenue twice, as the KPIs must know.
            yield (at := at + self._paced(MINUTE, HOUR))
            yield self._order("refunded", at, order, amount=_money(order.cents))
            return
        yield (at := at + self._paced(2 * HOUR, 30 * HOUR))
        yield self._order("shipped", at, order)
        is_late = self._draw() < LATE_DELIVERIES
        at = promise + self._paced(HOUR, 24 * HOUR) if is_late else at + int((promise - at) * self._draw())
        yield at
        yield self._order("delivered", at, order)
        if self._draw() < REFUNDED:
            yield (at := at + self._paced(HOUR, 72 * HOUR))
            cents = order.cents if self._draw() >= REFUNDED_IN_PART else order.lines[0][0].cents
            yield self._order("refunded", at, order, amount=_money(cents))

    def _counts(self, product: Product, place: str, at: int) -> _Process:
        """The pieces of a product in a warehouse, counted again and again; sometimes some are found to be missing."""
        while True:
            if self._draw() < ADJUSTED:
                self._stock[product.number, place] -= 1
                yield self._stock_event("adjusted", at, product, place, -1)
                yield (at := at + SECOND)
            yield self._stock_event("counted", at, product, place, max(0, self._stock[product.number, place]))
            yield (at := at + self._paced(COUNT_EVERY * 0.75, COUNT_EVERY * 1.25))

    def _received(self, at: int, product: Product, place: str, pieces: int) -> _Process:
        yield self._stock_event("received", at, product, place, pieces)

    def _click(self, kind: str, at: int, session: str, customer: int | None, product: Product | None) -> Happening:
        return self._happening(
            CLICKS,
            session,
            at,
            kind,
            session_id=session,
            user_id=customer,
            product_id=product and product.number,
        )

    def _order(self, kind: str, at: int, order: _Order, **more: object) -> Happening:
        return self._happening(
            ORDERS,
            order.id,
            at,
            kind,
            order_id=order.id,
            customer_id=order.customer,
            channel=order.channel,
            currency=currency_of(order.customer),
            **more,
        )

    def _stock_event(self, kind: str, at: int, product: Product, place: str, pieces: int) -> Happening:
        key = f"{product.sku}@{place}"
        return self._happening(INVENTORY, key, at, kind, sku=product.sku, warehouse_id=place, quantity=pieces)

    def _happening(self, stream: str, key: str, at: int, kind: str, **said: object) -> Happening:
        start = {"event_id": self._event_id(at), "event_type": kind, "occurred_at": time_text(at)}
        return Happening(at, stream, key, {**start, **said})

    def _event_id(self, at: int) -> str:
        """A UUID of version 7: it begins with the time, so ids rise with it."""
        bits = f"{self._random.getrandbits(76):019x}"
        return f"{at >> 16:08x}-{at & 0xFFFF:04x}-7{bits[:3]}-{8 + int(bits[3], 16) % 4:x}{bits[4:7]}-{bits[7:]}"

    def _channel(self) -> str:
        drawn = self._draw()
        for channel, share in zip(CHANNELS, CHANNEL_SHARES, strict=True):
            drawn -= share
            if drawn < 0:
                return channel
        return CHANNELS[-1]

    def _one_of(self, products: tuple[Product, ...]) -> Product:
        # A few products sell well: the square puts half of the draws into the first quarter.
        return products[int(self._draw() ** 2 * len(products))]

    def _below(self, limit: int) -> int:
        return int(self._draw() * limit)

    def _between(self, least: float, most: float) -> int:
        return int(least + self._draw() * (most - least))

    def _paced(self, least: float, most: float) -> int:
        """Return a duration that the pace makes shorter, at least a second."""
        return max(SECOND, int(self._between(least, most) / self._pace))


def _money(cents: int) -> float:
    """Return an amount for JSON, which is written with at most two decimals."""
    return cents / 100


def time_text(at: int) -> str:
    """Return a time as the producers write it, with milliseconds and in UTC."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
