"""The tile of a measure: its number as text, how it compares, whether it meets its target, and what it was before.

Pages, pictures, the API and the digest show the same tile. Belongs here: arithmetic and texts of one measure. Not here:
reading (kpis.py), and drawing or printing (surface/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from kpi_assets.ledger.causes import Cause
from kpi_assets.model.measure import Measure
from kpi_assets.model.number_format import digits_of, is_percent, write
from kpi_assets.read.kpis import KpiState, Point

Direction = Literal["up", "down", "flat"]


@dataclass(frozen=True)
class Delta:
    """How a value differs from that of another load_date; percentages differ in percentage points (pp)."""

    text: str  # such as `+3.0 %`, `−0.8 pp`, `no change`
    direction: Direction
    good: bool | None  # None if the header does not say which direction is better, or nothing changed
    load_date: date
    value: Decimal
    value_text: str


@dataclass(frozen=True)
class TargetState:
    """Whether a value meets its target."""

    met: bool
    text: str


@dataclass(frozen=True)
class RestatedValue:
    """A value that readers saw before, and the one that took its place; both texts differ."""

    load_date: date
    publish_id: int
    was_publish_id: int
    at: datetime
    why: str
    was: Decimal | None
    now: Decimal | None
    was_text: str
    now_text: str
    is_like_shown: bool = True  # whether the same expression gave the value that is shown of the load_date now
    cause: Cause = "rebuilt"
    caused_by: Sequence[int] = ()  # the publishes at the root


@dataclass(frozen=True)
class Tile:
    """One measure of a KPI on its latest load_date, or on another one that is shown."""

    kpi: KpiState
    name: str
    measure: Measure
    point: Point | None
    value: Decimal | None
    text: str
    delta: Delta | None
    target: TargetState | None
    restated: Sequence[RestatedValue]  # of all load_dates that are shown, the newest first

    @property
    def breached_since(self) -> datetime | None:
        """Since when the newest value is beyond the threshold of the measure; None if it is not, or has none."""
        return self.kpi.breached.get(self.name) if self.point is self.kpi.latest else None

    def restated_to(self, point: Point) -> list[RestatedValue]:
        """Return what can be compared with the value that is shown of a load_date: its expression gave both."""
        return [each for each in self.restated if each.load_date == point.load_date and each.is_like_shown]

    @property
    def otherwise_restated(self) -> int:
        """How many times there were other rows, of which the values before and after cannot be compared."""
        every = (each for point in self.kpi.points for each in point.restated)
        return sum(self.name not in each.was or self.name not in each.now for each in every)

    @property
    def otherwise_defined(self) -> int:
        """How many load_dates show a value that another expression gave than the one that the header has now."""
        versions = (point.versions.get(self.name, self.measure.version) for point in self.kpi.points)
        return sum(version != self.measure.version for version in versions)

    @property
    def series(self) -> list[tuple[date, Decimal | None]]:
        """The value of each load_date that is shown, the oldest first."""
        return [(point.load_date, point.values.get(self.name)) for point in self.kpi.points]


def tile_of(kpi: KpiState, name: str, load_date: date | None = None) -> Tile:
    """Return the tile of a measure, by default of the latest load_date that is shown."""
    measure = kpi.measures[name]
    point = kpi.latest if load_date is None else kpi.point(load_date)
    value = point.values.get(name) if point else None
    return Tile(
        kpi,
        name,
        measure,
        point,
        value,
        write(value, measure.format),
        _delta_of(kpi, name, measure, point),
        _target_of(measure, value),
        _restated_of(kpi, name, measure),
    )


def tiles_of(kpi: KpiState) -> list[Tile]:
    """Return the tile of each measure, in the order of the header."""
    return [tile_of(kpi, name) for name in kpi.measures]


def _delta_of(kpi: KpiState, name: str, measure: Measure, point: Point | None) -> Delta | None:
    """Return how a value differs from that of the load_date it is compared with; None if one of them is not shown."""
    if point is None:
        return None
    before = kpi.point(point.load_date - timedelta(days=measure.compare))
    value, was = point.values.get(name), before.values.get(name) if before else None
    if before is None or value is None or was is None or not value.is_finite() or not was.is_finite():
        return None
    if before.versions.get(name) != point.versions.get(name):  # other expressions gave them
        return None
    if is_percent(measure.format):
        text = _signed((value - was) * 100, digits_of(measure.format), " pp")
    elif was:
        text = _signed((value - was) / abs(was) * 100, 1, " %")
    else:
        text = _signed(value, digits_of(measure.format), "")
    direction: Direction = "flat" if text is None else "up" if value > was else "down"
    good = None if measure.better is None or direction == "flat" else direction == measure.better
    return Delta(text or "no change", direction, good, before.load_date, was, write(was, measure.format))


def _signed(number: Decimal, digits: int, unit: str) -> str | None:
    """Return a difference with its sign; None if it rounds to nothing."""
    text = write(number, f"decimal{digits}")
    if not any(digit in text for digit in "123456789"):
        return None
    return f"{text}{unit}" if number < 0 else f"+{text}{unit}"


def _target_of(measure: Measure, value: Decimal | None) -> TargetState | None:
    target = measure.target
    if target is None or value is None or value.is_nan():
        return None
    met = target.is_met(value)
    bound = "at least" if target.at_least is not None else "at most"
    return TargetState(met, f"target of {bound} {write(target.number, measure.format)} {'met' if met else 'missed'}")


def _restated_of(kpi: KpiState, name: str, measure: Measure) -> list[RestatedValue]:
    """Return what readers saw before, where that is known and the text is another one; the newest load_date first."""
    found = []
    for point, each in ((shown, each) for shown in reversed(kpi.points) for each in reversed(shown.restated)):
        if name not in each.was or name not in each.now:
            continue
        was, now = each.was[name], each.now[name]
        texts = write(was, measure.format), write(now, measure.format)
        if texts[0] != texts[1]:
            is_like_shown = each.versions.get(name) == point.versions.get(name)
            found.append(
                RestatedValue(
                    each.load_date,
                    each.publish_id,
                    each.was_publish_id,
                    each.at,
                    each.why,
                    was,
                    now,
                    *texts,
                    is_like_shown,
                    each.cause,
                    each.caused_by,
                )
            )
    return found
