"""The tile of a measure: its number as text, how it compares, whether it meets its target, and what it was before.

Pages, pictures, the API and the digest show the same tile. Belongs here: arithmetic and texts of one measure. Not here:
reading (kpis.py), and drawing or printing (surface/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from kpi_assets.model.measure import Measure
from kpi_assets.read.kpis import KpiState, Point


@dataclass(frozen=True)
class Delta:
    """How a value differs from that of another load_date; percentages differ in percentage points (pp)."""

    text: str  # such as `+3.0 %`, `-0.8 pp`, `no change`
    direction: Literal["up", "down", "flat"]
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
    def series(self) -> list[tuple[date, Decimal | None]]:
        """The value of each load_date that is shown, the oldest first."""
        return [(point.load_date, point.values.get(self.name)) for point in self.kpi.points]


def tile_of(kpi: KpiState, name: str, load_date: date | None = None) -> Tile:
    """Return the tile of a measure, by default of the latest load_date that is shown."""
    raise NotImplementedError


def tiles_of(kpi: KpiState) -> list[Tile]:
    """Return the tile of each measure, in the order of the header."""
    return [tile_of(kpi, name) for name in kpi.measures]
