"""Written values: the forms that a file may use for each column, and the reason for refusing any other text.

A value is accepted if its form *and* Postgres accept it. So a form may be loose where Postgres refuses the value anyway
(month 13, two minus signs), which keeps the pattern fast. Nothing is guessed, rounded or taken from the server's clock.
Belongs here: the forms and the reasons, which docs/reference/values.md shows. Not here: quotes and records, the words
of a header that choose a form (column.py, source.py), and single formats of dates (date_format.py).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import cache, cached_property, partial

from kpi_assets.model import time_zone
from kpi_assets.model.date_format import OFFSET, DateFormat, NoValueError

INTEGERS = ("smallint", "integer", "bigint")
FLOATS = ("real", "double precision")
_DIGITS = r"[-0-9]*"  # Postgres refuses a minus sign in a wrong place
_DECIMAL = _DIGITS + r"(?:\.[0-9]*|)"
_EXPONENT = r"(?:[eE][-+]?[0-9]+|)"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6}0*|)"
_TIME = _DATE + "[ T]" + _CLOCK
_OFFSET = " ?" + OFFSET
# An offset must not lead out of the years 1 to 9999: Python, and most readers of a database, cannot show such a date.
_OUTSIDE = r"(?:9999-12-31[ T0-9:.]*-[0:]*[1-9]|0001-01-01[ T0-9:.]*\+[0:]*[1-9])"
_MOMENT = f"(?!{_OUTSIDE}){_TIME}{_OFFSET}"
_NAN = "[nN][aA][nN]"
_INFINITY = "[-+]?[iI][nN][fF](?:[iI][nN][iI][tT][yY]|)"
# No repetition may be ambiguous: then a value that does not match its form is refused in linear time.
_FORMS = {
    "boolean": r"(?:t(?:rue|)|T(?:rue|RUE|)|f(?:alse|)|F(?:alse|ALSE|)|)",
    "date": f"(?:{_DATE}|)",
    "time without time zone": f"(?:{_CLOCK}|)",
    "timestamp without time zone": f"(?:{_TIME}|)",
    "timestamp with time zone": f"(?:{_MOMENT}|)",
}
_ALPHABETS = {
    "boolean": "trueTRUEfalseFALSE",
    "date": "0123456789-",
    "time without time zone": "0123456789:.",
    "timestamp without time zone": "0123456789-: T.",
    "timestamp with time zone": "0123456789-: T.ZUTC+",
}
_NUMERIC = re.compile(r"numeric(?:\(\d+,(\d+)\))?")
EDGES = ("(?! )", "(?<! )")  # a text with a length has no blanks around it
_LIMITED = re.compile(r"(?:character varying|character)\(\d+\)")
# The words that Postgres reads as booleans; it also takes them in capitals.
_BOOLEANS = {
    True: {"t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"},
    False: {"f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"},
}

EMPTY = "an empty text in quotes is not NULL: leave the field empty, or null in JSON, where nothing is known"
BLANKS = "the value has blanks before or after it: remove them, or declare the column as text and trim it in staging"
_OTHERWISE = "write it so, or declare the column as text and cast it in staging"
_WHOLE = f"a whole number has digits only, with a minus sign before them if it is negative: {_OTHERWISE}"
_POINT = "a whole number has no decimal point: declare the column as numeric and cast it in staging"
_PLAIN = f"a decimal number has digits and at most one point, without exponent and grouping: {_OTHERWISE}"
_FLOATING = f"a floating-point number has digits, at most one point, and an exponent if it needs one: {_OTHERWISE}"
_REASONS = {
    "boolean": f"a boolean is true or false, or t or f: {_OTHERWISE}",
    "date": f"a date is YYYY-MM-DD: {_OTHERWISE}",
    "time without time zone": f"a time is HH:MM:SS, with at most 6 decimals and no offset: {_OTHERWISE}",
    "timestamp without time zone": (
        f"a timestamp without time zone is YYYY-MM-DD HH:MM:SS, with at most 6 decimals and no offset: {_OTHERWISE}"
    ),
    "timestamp with time zone": (
        "a timestamp with time zone is YYYY-MM-DD HH:MM:SS, with at most 6 decimals and an offset such as +02:00 or Z: "
        f"{_OTHERWISE}"
    ),
}
_OUT_OF_YEARS = "its offset may lead out of the years 0001 to 9999: write the instant in UTC"

MARKS = {"point": ".", "comma": ",", "space": " ", "apostrophe": "'"}  # the words of `decimal` and `thousands`
# Other characters that programs write for a thousands separator: spaces that do not break, a typographic apostrophe.
_LIKE = {"space": ("\u00a0", "\u202f"), "apostrophe": ("\u2019",)}


class RefusedError(Exception):
    """A text is no written value of its column; the message says why, and what to do."""


@dataclass(frozen=True)
class Notation:
    """How a file writes the values of one column; the defaults are those of a file that says nothing."""

    null: tuple[str, ...] = ("",)
    format: str = ""
    decimal: str = "point"
    thousands: str = ""
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    time_zone: str = ""
    allow: tuple[str, ...] = ()
    round: str = ""


USUAL = Notation()


@dataclass(frozen=True)
class Form:
    """The written values of one column.

    Postgres itself reads a text that matches `native`, under the DateStyle of the form, and after the characters of
    `translation` were replaced. Every other text that matches `pattern` must be given to `read`. A pattern may match
    the empty text, and texts that Postgres refuses.
    """

    type: str
    null: tuple[str, ...]  # the texts without quotes that are NULL
    pattern: str | None  # None: any text
    refusal: Callable[[str], str]  # why a text that does not match is refused
    alphabet: str | None = None  # the characters that may occur; None: any
    is_text: bool = False  # whether a text of any characters matches, except for blanks around it if it has a pattern
    is_native: bool = True  # whether Postgres reads some of the texts itself
    native: str | None = None  # the pattern of those; None: that of all
    date_style: str = ""
    translation: Mapping[str, str] = field(default_factory=dict)
    convert: Callable[[str], str] | None = None  # makes the text that Postgres reads under any settings

    @cached_property
    def _compiled(self) -> re.Pattern[str] | None:
        return None if self.pattern is None else re.compile(self.pattern)

    def read(self, text: str) -> str:
        """Return a text that is not NULL as Postgres reads it under any settings. Raises RefusedError."""
        if self._compiled is not None and not ((text or self.is_text) and self._compiled.fullmatch(text)):
            if not text:
                raise RefusedError(EMPTY)
            raise RefusedError(BLANKS if text != text.strip() else self.refusal(text))
        return self.convert(text) if self.convert else text

    def problem(self, text: str) -> str | None:
        """Return why a text is not a written value, and what to do; None if Postgres has to decide."""
        try:
            self.read(text)
        except RefusedError as error:
            return str(error)
        return None

    @property
    def is_plain_integer(self) -> bool:
        """Whether every value is a whole number of digits, and an empty field is NULL."""
        return self.type in INTEGERS and self.pattern == _DIGITS and self.null == ("",)


@cache
def form_of(type_: str, notation: Notation = USUAL) -> Form:
    """Return the form of a column of this type."""
    if type_.endswith("[]"):
        return _array(type_, notation)
    if type_ in INTEGERS or type_ in FLOATS or _NUMERIC.fullmatch(type_):
        return _number(type_, notation)
    return _formatted(type_, notation) if notation.format else _other(type_, notation)


def _other(type_: str, notation: Notation) -> Form:
    if type_ == "boolean" and notation.true:
        return _boolean(notation)
    if type_ == "timestamp with time zone" and notation.time_zone:
        return _local_or_instant(notation)
    if _LIMITED.fullmatch(type_):
        return _limited(type_, notation)
    pattern, refusal = _FORMS.get(type_), partial(_usual_refusal, type_)
    return Form(
        type_, notation.null, pattern, refusal, alphabet=_ALPHABETS.get(type_), is_text=pattern is None, native=pattern
    )


def problem(type_: str, text: str) -> str | None:
    """Return why a text is not a written value of a type, as a file writes it that says nothing else."""
    return form_of(type_).problem(text)


def _usual_refusal(type_: str, text: str) -> str:
    if type_ == "timestamp with time zone" and re.fullmatch(_TIME + _OFFSET, text):
        return _OUT_OF_YEARS
    return _REASONS[type_]


# ---- numbers


def _number(type_: str, notation: Notation) -> Form:
    point = MARKS[notation.decimal]
    groups = [MARKS[notation.thousands], *_LIKE.get(notation.thousands, ())] if notation.thousands else []
    scale = (_NUMERIC.fullmatch(type_) or [None, None])[1]
    is_rounded = bool(notation.round)
    named = [pattern for name, pattern in (("nan", _NAN), ("infinity", _INFINITY)) if name in notation.allow]

    def pattern(marks: Sequence[str], scale: str | None) -> str:
        whole = _DIGITS
        if marks:
            mark = "(?:" + "|".join(map(re.escape, marks)) + ")"
            whole = rf"(?:-?[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+|{_DIGITS})"
        if type_ in INTEGERS:
            return whole
        decimals = rf"[0-9]{{0,{scale}}}0*" if scale else "[0-9]*"
        found = whole + rf"(?:{re.escape(point)}{decimals}|)" + (_EXPONENT if type_ in FLOATS else "")
        return f"(?:{'|'.join([found, *named])})" if named else found

    # In this order: what groups digits is taken out before a comma becomes a point.
    translation = {**dict.fromkeys(groups, ""), **({point: "."} if point != "." and type_ not in INTEGERS else {})}
    letters = ("eE+" if type_ in FLOATS else "") + ("naNA" + "infityINFITY+" if named else "")
    convert = partial(_as_number, translation, int(scale) if scale and is_rounded else None)
    return Form(
        type_,
        notation.null,
        pattern(groups, None if is_rounded else scale),
        partial(_number_refusal, type_, notation, scale),
        alphabet="0123456789-" + "".join(groups) + ("" if type_ in INTEGERS else point) + letters,
        native=pattern(groups[:1], scale),
        translation={old: new for old, new in translation.items() if old not in groups[1:]},
        convert=convert if translation or is_rounded else None,
    )


_EXACT = Context(prec=4000, rounding=ROUND_HALF_EVEN)


def _as_number(translation: Mapping[str, str], scale: int | None, text: str) -> str:
    for old, new in translation.items():
        text = text.replace(old, new)
    if scale is not None and len(text.partition(".")[2]) > scale:
        try:
            return f"{Decimal(text).quantize(Decimal(1).scaleb(-scale), context=_EXACT):f}"
        except InvalidOperation:
            return text  # Postgres refuses it
    return text


def _number_refusal(type_: str, notation: Notation, scale: str | None, text: str) -> str:
    marks, point = _is_usual(notation), MARKS[notation.decimal]
    decimal = form_of("numeric", Notation(decimal=notation.decimal, thousands=notation.thousands)).pattern or ""
    if re.fullmatch(decimal, text):
        if type_ in INTEGERS:
            return _POINT
        if scale and not notation.round:
            return f"more than {scale} decimals would be rounded: declare numeric with more, and round it in staging"
    if marks:
        return _WHOLE if type_ in INTEGERS else _FLOATING if type_ in FLOATS else _PLAIN
    grouped = f", which {MARKS[notation.thousands]!r} may group by three" if notation.thousands else ""
    what = "a whole number" if type_ in INTEGERS else "a number"
    decimals = "" if type_ in INTEGERS else f" and at most one {point!r} before its decimals"
    return f"{what} has digits here{grouped}{decimals}: write it so, or correct decimal and thousands"


def _is_usual(notation: Notation) -> bool:
    return notation.decimal == "point" and not notation.thousands


# ---- booleans, dates and times


def _boolean(notation: Notation) -> Form:
    words = {**dict.fromkeys(notation.true, "true"), **dict.fromkeys(notation.false, "false")}
    pattern = "(?:" + "|".join(re.escape(word) for word in sorted(words, reverse=True)) + "|)"
    known = all(word.lower() in _BOOLEANS[value == "true"] for word, value in words.items())
    shown = " or ".join(", ".join(map(repr, each)) for each in (notation.true, notation.false))
    return Form(
        "boolean",
        notation.null,
        pattern,
        lambda _text: f"a boolean is {shown} here: write it so, or add it to the words of true or of false",
        alphabet="".join(words),
        is_native=known,
        native=pattern,
        convert=lambda text: words.get(text, text),
    )


def _formatted(type_: str, notation: Notation) -> Form:
    declared = DateFormat(notation.format, type_)
    pattern, style = f"(?:{declared.pattern}|)", declared.date_style
    is_local = type_ == "timestamp with time zone" and "Z" not in notation.format and "epoch" not in notation.format
    zone = time_zone.zone(notation.time_zone) if is_local else None

    def convert(text: str) -> str:
        try:
            found = declared.read(text) if text else ""
            return zone.with_offset(found) if zone and found else found
        except (NoValueError, time_zone.NoInstantError) as error:
            raise RefusedError(str(error)) from None

    return Form(
        type_,
        notation.null,
        pattern,
        lambda _text: (
            f"it is not written as {notation.format}, the format of its column: write it so, or correct format"
        ),
        alphabet=declared.alphabet,
        is_native=style is not None,
        native=pattern,
        date_style=style or "",
        convert=convert,
    )


def _local_or_instant(notation: Notation) -> Form:
    """Return the form of instants that may lack their offset: then they are local times of the time zone."""
    type_, zone = "timestamp with time zone", time_zone.zone(notation.time_zone)
    has_offset = re.compile(_TIME + _OFFSET)

    def convert(text: str) -> str:
        if not text or has_offset.fullmatch(text):
            return text
        try:
            return zone.with_offset(text)
        except time_zone.NoInstantError as error:
            raise RefusedError(str(error)) from None

    def refusal(text: str) -> str:
        if has_offset.fullmatch(text):
            return _OUT_OF_YEARS
        return f"a timestamp is YYYY-MM-DD HH:MM:SS here, with at most 6 decimals, and an offset or none: {_OTHERWISE}"

    return Form(
        type_,
        notation.null,
        f"(?:(?!{_OUTSIDE}){_TIME}(?:{_OFFSET}|)|)",
        refusal,
        alphabet=_ALPHABETS[type_],
        native=_FORMS[type_],
        convert=convert,
    )


# ---- texts and arrays

# A text in an array: Postgres drops the blanks around one without quotes, so there are none.
_ARRAY_PLAIN = r'[^{},"\\ \t\n\v\f\r]+'
_TEXT_ITEM = rf'{_ARRAY_PLAIN}(?: +{_ARRAY_PLAIN})*|"(?:[^"\\]|\\[^\x00])*"'
_ARRAY = (
    "an array is {a,b}, each element is written as its own type is, or NULL, and blanks and braces stand only between "
    f"double quotes: {_OTHERWISE}"
)


def _limited(type_: str, notation: Notation) -> Form:
    """Return the form of a text with a length: Postgres would cut off blanks behind it and tell nobody."""
    return Form(type_, notation.null, rf"{EDGES[0]}[^\x00]*{EDGES[1]}", lambda _text: BLANKS, is_text=True)


def _array(type_: str, notation: Notation) -> Form:
    """Return the form of an array as Postgres writes it, {1,2,NULL}, of one dimension."""
    item = form_of(type_.removesuffix("[]"))
    one = _TEXT_ITEM if item.pattern is None else f'"{item.pattern}"|{item.pattern}'
    one = r"(?![,}])(?:NULL|" + one + ")"
    pattern = r"(?:\{(?:" + one + "(?:," + one + r")*|)\}|)"
    # A comma and quotes are special in every file, so each array is read by its record.
    alphabet = (item.alphabet or "") + '{},"NULL'
    return Form(type_, notation.null, pattern, lambda _text: _ARRAY, alphabet=alphabet, native=pattern)
