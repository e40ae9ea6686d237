"""Types of values that several words of a header have in common.

Belongs here: what a text, a constant or an owner may be. Not here: the words themselves (header.py, checks/).
"""

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, StringConstraints, WithJsonSchema

from kpi_assets.model.sentences import shown


def _is_scalar(value: object) -> object:
    if not isinstance(value, (str, bool, int, float)):
        raise ValueError(f"{shown(value)} is not a single value: write a text, a number, true or false")
    return value


def _is_number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError(f"{shown(value)} is not a number: write a plain decimal number, without quotes")
    if not Decimal(str(value)).is_finite():
        raise ValueError(f"{shown(value)} is not a number to compare with: write a plain decimal number")
    return Decimal(str(value))


def _is_owner(value: str) -> str:
    if not re.fullmatch(r"team:[a-z0-9_-]+|[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError(f"{shown(value)} is neither a team nor an address: write team:name or name@example.com")
    return value


Sentence = Annotated[str, StringConstraints(min_length=4, strip_whitespace=True)]
Title = Annotated[
    str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Number = Annotated[Decimal, BeforeValidator(_is_number), WithJsonSchema({"type": "number"})]  # exact, as written
Expression = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]  # of SQL
Value = Annotated[str | bool | int | float, BeforeValidator(_is_scalar)]
Owner = Annotated[str, AfterValidator(_is_owner)]
Strictness = Literal["warn", "hold", "ignore"]  # the consequence of a doubt: a warning, a held load_date, or nothing
