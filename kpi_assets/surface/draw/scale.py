"""The axis of numbers: round ticks around the values, their texts, and where a value lies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext

from kpi_assets.model.number_format import digits_of, is_percent, write

LETTER = 7.2  # pixels of a letter of the axis
_STEPS = tuple(map(Decimal, ("1", "2", "2.5", "5", "10")))
_LARGE = ((Decimal("1e15"), ""), (Decimal("1e12"), " tn"), (Decimal("1e9"), " bn"), (Decimal("1e6"), " m"))
_PRECISE = Context(prec=60, Emin=-999_999, Emax=999_999)


@dataclass(frozen=True)
class Axis:
    """Ticks from the lowest to the highest, and their texts; `top` and `bottom` are their pixels."""

    ticks: Sequence[Decimal]
    texts: Sequence[str]
    top: float
    bottom: float

    @property
    def room(self) -> float:
        """The pixels that its texts take, with some air."""
        return 14 + LETTER * max(map(len, self.texts))

    def y(self, value: Decimal) -> float:
        """Return where a value lies."""
        low, high = self.ticks[0], self.ticks[-1]
        with localcontext(_PRECISE):
            share = float((value - low) / (high - low))
        return self.top + (self.bottom - self.top) * (1 - share)


def axis(values: Iterable[Decimal], style: str, top: float, bottom: float, *, zero: bool = False) -> Axis:
    """Return the axis of these values, from zero if it must begin there; without values, from 0 to 1."""
    shown = [*values, *([Decimal(0)] if zero else [])]
    low, high = (min(shown), max(shown)) if shown else (Decimal(0), Decimal(1))
    with localcontext(_PRECISE):
        ticks = _ticks(low, high, 4 if bottom - top > 180 else 3, _least_step(style), zero=zero)
    return Axis(ticks, _texts(ticks, style), top, bottom)


def _least_step(style: str) -> Decimal:
    """The least difference between two ticks that have different texts."""
    return Decimal(1).scaleb(-digits_of(style) - (2 if is_percent(style) else 0))


def _ticks(low: Decimal, high: Decimal, steps: int, least: Decimal, *, zero: bool) -> list[Decimal]:
    if low == high:  # one value lies in the middle, or at the end of a bar
        room = abs(high) * Decimal("0.05") or Decimal(1)
        low, high = (min(low, Decimal(0)), high or Decimal(1)) if zero else (low - room, high + room)
    raw = max((high - low) / steps * Decimal("0.9"), least)  # a tick more is better than half an empty picture
    unit = Decimal(1).scaleb(raw.adjusted())
    step = next(each * unit for each in _STEPS if each * unit >= raw)
    if step < 100 * least and step % least:  # 2.5 of something whole
        step = 5 * unit
    first = (low / step).to_integral_value(ROUND_FLOOR)
    last = (high / step).to_integral_value(ROUND_CEILING)
    return [step * number for number in range(int(first), max(int(last), int(first) + 1) + 1)]


def _texts(ticks: Sequence[Decimal], style: str) -> list[str]:
    """Write the ticks, whole ones without decimals, and large ones in millions or more: the picture keeps its room."""
    highest = max(map(abs, ticks))
    if highest < 10_000_000:
        if style.startswith("decimal") and all(tick == tick.to_integral_value() for tick in ticks):
            style = "integer"
        return [write(tick, style) for tick in ticks]
    unit, name = next(each for each in _LARGE if highest >= each[0])
    if not name:
        return [f"{tick:.2g}".replace("-", "−") for tick in ticks]
    with localcontext(_PRECISE):
        scaled = [tick / unit for tick in ticks]
        digits = max(0, *(-int(each.normalize().as_tuple().exponent) for each in scaled))
    return [write(each, f"decimal{min(digits, 3)}") + name for each in scaled]
