"""How a number is written for people: `integer`, `decimal2`, `percent1`, `EUR2`.

Belongs here: the words of formats, and exact texts of decimals. Not here: which number has which format (measure.py).
"""

import re
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_UP, Decimal, localcontext
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


def currency_of(style: str) -> str:
    """Return the currency of a format, such as `EUR`; empty if it has none."""
    return style[:3] if style[:3].isupper() else ""


def digits_of(style: str) -> int:
    """Return the digits behind the point."""
    return int(style[-1]) if style[-1].isdigit() else 0


def write(value: Decimal | None, style: str) -> str:
    """Write a number; `–` for none. Halves are rounded away from zero, as Postgres rounds numerics.

    >>> write(Decimal("-1234.5"), "integer"), write(Decimal("0.918"), "percent1"), write(Decimal("-0.001"), "EUR2")
    ('−1,235', '91.8 %', '0.00 EUR')
    """
    if value is None:
        return NOTHING
    if not value.is_finite():
        return "not a number" if value.is_nan() else ("∞" if value > 0 else "−∞")
    with localcontext() as context:
        # A numeric of Postgres may have more digits than the 28 of the default context.
        context.prec = max(len(value.as_tuple().digits), value.adjusted() + 1, 1) + 12
        context.Emax, context.Emin = MAX_EMAX, MIN_EMIN
        number = value * 100 if is_percent(style) else value
        rounded = number.quantize(Decimal(1).scaleb(-digits_of(style)), rounding=ROUND_HALF_UP)
        sign = "−" if rounded < 0 else ""  # not for what is rounded to zero
        text = f"{sign}{rounded.copy_abs():,f}"
    if is_percent(style):
        return f"{text} %"
    return f"{text} {currency_of(style)}".rstrip()
