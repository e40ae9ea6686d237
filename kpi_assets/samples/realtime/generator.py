"""The generator of realtime: objects as landing writes them, or messages that are sent to the broker as they happen.

Belongs here: valid arguments, and what is written for whole load_dates. Not here: what happens (world.py), what goes
wrong (faults.py), the objects (bronze.py), and sending (sending.py).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path

from kpi_assets.errors import UserError
from kpi_assets.samples.realtime import bronze
from kpi_assets.samples.realtime.faults import FAULTS, MANY_CANCELLED, Message, planted
from kpi_assets.samples.realtime.world import CANCELLED_PAID, DAY, SECOND, STREAMS, World
from kpi_assets.samples.writing import show, whole

EVENTS_FOR_AN_ORDER = 60  # some 50 clicks, with what happens to the order and to the stock
MOST_EVENTS, MOST_DAYS, MOST_RATE, MOST_PACE = 10_000_000, 366, 100_000, 10_000
CONTRACT = "sample"  # in the frames of objects: no table's version, because they are made without one


@dataclass(frozen=True)
class Realtime:
    """Writes `days` load_dates with about `events` events each, by default 60 for each order."""

    events: int | None = None
    days: int = 1
    default_orders = 1000
    faults = FAULTS

    def sized(self, *, events: int | None, days: int | None) -> "Realtime":
        """The generator of so many events a day, and of so many days."""
        return replace(self, events=events, days=days or 1)

    def write(
        self,
        out: Path,
        *,
        load_date: date,
        orders: int,
        seed: int,
        faults: Sequence[str] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, int]:
        """Write the objects of load_date and the days after it below `out`; return their paths there -> events.

        They are `raw/<stream>/load_date=<date>/hour=<hour>/…`, as landing writes them, and each stream begins with the
        first of these load_dates. The faults are those of all of them. The objects appear when all are complete, in
        place of those of an earlier run. UserError: an unknown fault, a number out of its limits, a negative seed, a
        folder that cannot be written to.
        """
        count = EVENTS_FOR_AN_ORDER * orders if self.events is None else self.events
        self._check(load_date, count, seed)
        opening = datetime.combine(load_date, time(), timezone.utc)
        sent = bronze.until(
            messages(opening, count * SECOND / DAY, seed=seed, faults=faults), opening + timedelta(days=self.days)
        )
        rows: Counter[str] = Counter()
        with whole(out) as partial:
            for done, each in enumerate(bronze.objects(bronze.events(sent)), start=1):
                path = each.key(f"raw/{each.stream}/load_date={each.load_date}/")
                (partial / path).parent.mkdir(parents=True, exist_ok=True)
                (partial / path).write_bytes(each.body(CONTRACT))
                rows[path] = len(each.events)
                if progress and done % 100 == 0:
                    progress(min(orders, rows.total() // EVENTS_FOR_AN_ORDER), orders)
            show(partial, out, dict.fromkeys([*self._earlier(out, load_date), *rows]), rows)
        if progress:
            progress(orders, orders)
        return dict(rows)

    def messages(
        self, opening: datetime, rate: float, *, seed: int, faults: Sequence[str] = (), pace: float = 1
    ) -> Iterator[Message]:
        """Return what a shop that opens at `opening` sends, for ever, with so many events a second.

        With a pace of 1440, an order goes in a minute as far as in life in a day. UserError: an unknown fault, a rate
        or a pace out of its limits, a negative seed.
        """
        if not 0 < rate <= MOST_RATE:
            raise UserError(f"{rate:g} events a second cannot be made: ask for more than 0 and up to {MOST_RATE:,}.")
        if not 1 <= pace <= MOST_PACE:
            raise UserError(f"A pace of {pace:g} cannot be made: ask for 1 to {MOST_PACE:,}.")
        check_seed(seed)
        return messages(opening, rate, seed=seed, faults=faults, pace=pace)

    def _earlier(self, out: Path, load_date: date) -> Iterator[str]:
        """Yield the paths of the objects that an earlier run wrote for the same load_dates."""
        for number in range(self.days):
            for stream in STREAMS:
                folder = out / "raw" / stream / f"load_date={load_date + timedelta(days=number)}"
                yield from (path.relative_to(out).as_posix() for path in folder.rglob("*") if path.is_file())

    def _check(self, load_date: date, events: int, seed: int) -> None:
        if not 1 <= events <= MOST_EVENTS:
            raise UserError(f"A day of {events:,} events cannot be made: ask for 1 to {MOST_EVENTS:,} events.")
        if not 1 <= self.days <= MOST_DAYS:
            raise UserError(f"{self.days} days cannot be made at once: ask for 1 to {MOST_DAYS} days.")
        if (date.max - load_date).days < self.days:
            raise UserError(f"There are no {self.days} days from {load_date} on: begin earlier.")
        check_seed(seed)


def messages(
    opening: datetime, rate: float, *, seed: int = 1, faults: Sequence[str] = (), pace: float = 1
) -> Iterator[Message]:
    """Yield the messages of a shop that opens at `opening`, for ever, with so many events a second; see World."""
    found = planted(faults)  # at once, so that an unknown fault is refused before anything is sent
    cancelled = MANY_CANCELLED if "cancellations" in found.times else CANCELLED_PAID
    world = World(opening, found.rate(rate), seed=seed, pace=pace, cancelled=cancelled)
    return found.messages(world.events(), seed)


def check_seed(seed: int) -> None:
    """Raise UserError for a seed that is none."""
    if seed < 0:
        raise UserError(f"The seed {seed} is negative: choose 0 or more.")
