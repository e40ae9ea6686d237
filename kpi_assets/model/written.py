"""Written values: the forms that a file may use for each column type, and the reason for refusing any other text.

A value is accepted if its form *and* Postgres accept it. So a form may be loose where Postgres refuses the value anyway
(month 13, two minus signs), which keeps the pattern fast. Nothing is guessed, rounded or taken from the server's clock.
Belongs here: the forms and the reasons, which docs/reference/values.md shows. Not here: quotes and records.
"""

import re
from functools import cache

from kpi_assets.model import array_forms
from kpi_assets.model.column_types import element_of, length_of

INTEGERS = ("smallint", "integer", "bigint")
_DIGITS = r"[-0-9]*"  # Postgres refuses a minus sign in a wrong place
_DECIMAL = _DIGITS + r"(?:\.[0-9]*|)"
_FLOATING = _DECIMAL + r"(?:[eE][-+]?[0-9]+|)"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = _DATE + r"[ T](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6}0*|)"
_OFFSET = r" ?(?:Z|UTC|[+-][0-9]{2}(?::?[0-9]{2}|))"
# An offset must not lead out of the years 1 to 9999: Python, and most readers of a database, cannot show such a date.
_OUTSIDE = r"(?:9999-12-31[^,\n]*-[0:]*[1-9]|0001-01-01[^,\n]*\+[0:]*[1-9])"
# No repetition may be ambiguous: then a value that does not match its form is refused in linear time.
_FORMS = {
    **dict.fromkeys(INTEGERS, _DIGITS),
    "numeric": _DECIMAL,
    "real": _FLOATING,
    "double precision": _FLOATING,
    "boolean": r"(?:t(?:rue|)|T(?:rue|RUE|)|f(?:alse|)|F(?:alse|ALSE|)|)",
    "date": f"(?:{_DATE}|)",
    "timestamp without time zone": f"(?:{_TIME}|)",
    "timestamp with time zone": f"(?:(?!{_OUTSIDE}){_TIME}{_OFFSET}|)",
}
# The types below came later. Postgres cuts the blanks that are beyond a text's length, and tells nobody.
_CLOCK = _TIME.removeprefix(_DATE + "[ T]")
_FORMS["time without time zone"] = f"(?:{_CLOCK}|)"
_NO_BLANKS_AROUND = r"(?! )%s(?<! )"
_SIZED_BARE, _SIZED_IN_QUOTES, _SIZED = (
    _NO_BLANKS_AROUND % each for each in (r'[^,"\r\n]*', r'[^"]*(?:""[^"]*)*', r"[^\x00]*")
)
_SCALED = re.compile(r"numeric\(\d+,(\d+)\)")

EMPTY = "an empty text in quotes is not NULL: leave the field empty where nothing is known"
BLANKS = "the value has blanks before or after it: remove them, or declare the column as text and trim it in staging"
_OTHERWISE = "write it so, or declare the column as text and cast it in staging"
_WHOLE = f"a whole number has digits only, with a minus sign before them if it is negative: {_OTHERWISE}"
_POINT = "a whole number has no decimal point: declare the column as numeric and cast it in staging"
_PLAIN = f"a decimal number has digits and at most one point, without exponent and grouping: {_OTHERWISE}"
_REASONS = {
    **dict.fromkeys(INTEGERS, _WHOLE),
    "numeric": _PLAIN,
    "real": f"a floating-point number has digits, at most one point, and an exponent if it needs one: {_OTHERWISE}",
    "boolean": f"a boolean is true or false, or t or f: {_OTHERWISE}",
    "date": f"a date is YYYY-MM-DD: {_OTHERWISE}",
    "timestamp without time zone": (
        f"a timestamp without time zone is YYYY-MM-DD HH:MM:SS, with at most 6 decimals and no offset: {_OTHERWISE}"
    ),
    "timestamp with time zone": (
        "a timestamp with time zone is YYYY-MM-DD HH:MM:SS, with at most 6 decimals and an offset such as +02:00 or Z: "
        f"{_OTHERWISE}"
    ),
}
_REASONS["double precision"] = _REASONS["real"]
_REASONS["time without time zone"] = f"a time is HH:MM:SS, with at most 6 decimals and no offset: {_OTHERWISE}"
_ARRAY = (
    "an array is {a,b}, each element is written as its own type is, or NULL, and blanks and braces stand only between "
    f"double quotes: {_OTHERWISE}"
)
_OUT_OF_YEARS = "its offset may lead out of the years 0001 to 9999: write the instant in UTC"


def form(type_: str) -> str | None:
    """Return the pattern of a type's written values and of the empty text for NULL, or None if Postgres alone decides.

    The pattern matches no comma, no quote and no line end, in bytes as well as in text.
    """
    if scaled := _SCALED.fullmatch(type_):
        return _DIGITS + rf"(?:\.[0-9]{{0,{scaled[1]}}}0*|)"
    if element := element_of(type_):
        return array_forms.bare(form(element))
    return _SIZED_BARE if length_of(type_) else _FORMS.get(type_)


def form_in_quotes(type_: str) -> str | None:
    """Return the pattern of the same values between quotes, with each quote in them doubled; None as `form` does."""
    if element := element_of(type_):
        return array_forms.in_quotes(form(element))
    return _SIZED_IN_QUOTES if length_of(type_) else form(type_)


def problem(type_: str, text: str) -> str | None:
    """Return why a text is not a written value of a type, and what to do; None if Postgres has to decide."""
    pattern = _compiled(type_)
    if pattern is None or ((text or length_of(type_)) and pattern.fullmatch(text)):
        return None
    if not text:
        return EMPTY
    return BLANKS if text != text.strip() else _reason(type_, text)


@cache
def _compiled(type_: str) -> re.Pattern[str] | None:
    found = form(type_)
    if element := element_of(type_):
        found = array_forms.alone(form(element))
    elif length_of(type_):
        found = _SIZED
    return None if found is None else re.compile(found)


def _reason(type_: str, text: str) -> str:
    if type_ in INTEGERS and re.fullmatch(_DECIMAL, text):
        return _POINT
    if scaled := _SCALED.fullmatch(type_):
        if not re.fullmatch(_DECIMAL, text):
            return _PLAIN
        return f"more than {scaled[1]} decimals would be rounded: declare numeric with more, and round it in staging"
    if element_of(type_):
        return _ARRAY
    if type_ == "timestamp with time zone" and re.fullmatch(_TIME + _OFFSET, text):
        return _OUT_OF_YEARS
    return _REASONS[type_]
