"""How a number is written for people: `integer`, `decimal2`, `percent1`, `EUR2`.

Belongs here: the words of formats, and exact texts of decimals. Not here: which number has which format (measure.py).
"""

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated

from pydantic import AfterValidator

from kpi_assets.model.sentences import shown

_FORMAT = re.compile(r"(integer)|(decimal)([0-6])|(percent)([0-4])|([A-Z]{3})([0-4])")
NOTHING = "–"  # a number that is not there


def _is_format(value: str) -> str:
    if not _FORMAT.fullmatch(value):
        raise ValueError(
            f"{shown(value)} is no format: write integer, decimal0 to decimal6, percent0 to percent4, or a currency "
            "with its decimals, such as EUR2"
        )
    return value


NumberFormat = Annotated[str, AfterValidator(_is_format)]


def is_percent(style: str) -> bool:
    """Return whether a format writes a share of 1 as a percentage."""
    return style.startswith("percent")


def digits_of(style: str) -> int:
    """Return the digits behind the point."""
    return int(style[-1]) if style[-1].isdigit() else 0


def write(value: Decimal | None, style: str) -> str:
    """Write a number; `–` for none. Halves are rounded away from zero, as Postgres rounds numerics."""
    if value is None:
        return NOTHING
    if not value.is_finite():
        return "not a number" if value.is_nan() else ("∞" if value > 0 else "−∞")
    number = value * 100 if is_percent(style) else value
    rounded = number.quantize(Decimal(1).scaleb(-digits_of(style)), rounding=ROUND_HALF_UP)
    text = f"{abs(rounded):,f}"
    sign = "−" if rounded < 0 else ""
    if is_percent(style):
        return f"{sign}{text} %"
    return f"{sign}{text} {style[:3]}" if style[:3].isupper() else f"{sign}{text}"
