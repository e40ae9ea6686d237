"""One value of JSON: scanned with the texts of its numbers, with the place of each of its fields, or with its problem.

Belongs here: what a value is, and why it is no record. Not here: where records begin and end (reader.py).
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

RECORD_LIMIT = 16 << 20  # characters; a longer record is not read, to bound the memory
DEEPEST = 500  # values within each other; the limits of Python and Postgres depend on their stacks
_LONGEST = 16  # characters behind the place of an error that decide whether it is one: -Infinity, or an escape
SPACE = re.compile(r"[ \t\n\r]*")
# A NUL, or half of a surrogate pair, may hide in these escapes; a text of Postgres can hold neither.
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89abAB])|\\u[dD][c-fC-F]|\x00")

BEYOND = "its number "  # how the only problem begins that JSON itself does not have
NO_OBJECT = "it is no object, but another value"
NO_TEXT = "it contains \\u0000, or half of a surrogate pair, which no text has"
NOT_UTF8 = "a byte of it is not UTF-8"
TOO_DEEP = f"its values are more than {DEEPEST} deep within each other"
TOO_LONG = f"it is longer than {RECORD_LIMIT >> 20} Mi characters"


# An exponent that may be beyond those of numeric, which every number of jsonb is.
_FAR = re.compile("[eE][+-]?[0-9]{5,}$")
_NUMERIC_DIGITS = (131_072, 16_383)  # before and after the point; Postgres' documentation, table 8.2


class Number(str):
    """The text of a number, for readers who have to tell it from other texts."""

    __slots__ = ()


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


def _is_numeric(text: str) -> bool:
    """Return whether numeric can hold a number."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        return False
    before, after = _NUMERIC_DIGITS
    exponent = found.as_tuple().exponent
    return not found or (found.adjusted() < before and isinstance(exponent, int) and -exponent <= after)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"its field {names.most_common(1)[0][0]!r} is there twice")
    return found


Scan = Callable[[str, int], tuple[Any, int]]  # from a place of a text on: the value, and its end


def _scanner(number: type[str]) -> Scan:
    def parse_float(text: str) -> str:
        if ("e" in text or "E" in text) and _FAR.search(text) and not _is_numeric(text):
            raise ValueError(f"{BEYOND}{text[:40]} is beyond what Postgres can hold")
        return number(text)

    decoder: Any = json.JSONDecoder(
        parse_constant=_refuse_constant,
        parse_float=parse_float,
        parse_int=number,
        object_pairs_hook=_without_repetition,
    )
    scan_once: Scan = decoder.scan_once
    return scan_once


scan = _scanner(str)
# Finds the end of a value that has NaN, a field twice, or a line end within a text.
_loose: Any = json.JSONDecoder(strict=False, parse_int=str)
scan_loosely: Scan = _loose.scan_once
# Finds the end of a value of any kind. It takes what others refuse within a record: who uses it only counts records.
_plain: Any = json.JSONDecoder()
scan_plainly: Scan = _plain.scan_once
SCANNERS = {str: scan, Number: _scanner(Number)}


def spans(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (name, start, end) of the value of each field of an object, given as the text of valid JSON."""
    at = text.index("{") + 1
    while (at := _after_space(text, at)) < len(text) and text[at] != "}":
        name, at = scan(text, at)
        at = _after_space(text, _after_space(text, at) + 1)  # over the colon
        _, end = scan(text, at)
        yield str(name), at, end
        at = _after_space(text, end) + 1  # over the comma, or the end of the object


def _after_space(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at


def reason(error: Exception, start: int) -> str:
    """Say why the value that begins at a place of the text cannot be read."""
    if isinstance(error, json.JSONDecodeError):
        message = error.msg.removesuffix(" at").removesuffix(" starting")
        return f"{message[0].lower()}{message[1:]}, at its character {error.pos - start + 1}"
    if isinstance(error, StopIteration):
        return f"a value is missing, at its character {error.value - start + 1}"
    return str(error)


def is_definite(error: Exception, size: int) -> bool:
    """Return whether a text of this size cannot be read, whatever follows it."""
    if isinstance(error, StopIteration):
        return bool(error.value < size - _LONGEST)
    if isinstance(error, json.JSONDecodeError):
        return error.pos < size - _LONGEST and not error.msg.startswith("Unterminated string")
    return True


def problem_of(text: str, value: Any) -> str:
    """Return why the text of valid JSON cannot be a record; empty if it can."""
    if len(text) > RECORD_LIMIT:
        return TOO_LONG
    if not is_encodable(text):
        return NOT_UTF8
    if not isinstance(value, dict):
        return NO_OBJECT
    if len(text) > DEEPEST and text.count("{") + text.count("[") > DEEPEST and _is_deep(value, DEEPEST):
        return TOO_DEEP
    if _SUSPECT.search(text) and not all(map(_is_text, _strings(value))):
        return NO_TEXT
    return ""


def is_encodable(text: str) -> bool:
    """Return whether a text holds no byte that was not UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_deep(value: Any, most: int) -> bool:
    """Return whether more than `most` values are within each other."""
    level = [value]
    for _ in range(most):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for values in inner for each in values if isinstance(each, (dict, list))]
        if not level:
            return False
    return True


def _strings(value: Any) -> Iterator[str]:
    """Yield every text within a value, names of fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _is_text(value: str) -> bool:
    return "\x00" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
