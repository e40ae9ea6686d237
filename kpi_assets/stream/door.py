r"""What an event becomes in its object: one line that PostgreSQL can read as jsonb, whatever bytes were sent.

`{"o": position, "t": milliseconds, "k": key, "v": the event}`, or, of bytes that are no JSON object which PostgreSQL
can store, `{"o", "t", "k", "bad": the bytes, "why": a sentence}`. `k` is left out if there is no key. Bytes that are
not text are in base64, under `k64` and `bad64`.

A line is a pure function of its event. It does not depend on the header of a table: whether an event is as a table
needs it is judged when the table is built, so that a corrected header is replayed and nothing has to be landed again.
Numbers and texts are kept as they were sent: only line breaks between them become spaces.

Belongs here: one event. Not here: the object around the lines (frame.py).
"""

import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from kpi_assets.stream.reader import Event

MOST_DEPTH = 100  # PostgreSQL and Python both end somewhere beyond
MOST_DIGITS = 1000  # of one number; numeric has 131,072 before and 16,383 after the decimal point
# Escapes of characters that jsonb refuses, and numbers that numeric may refuse. Rare, so that only they are looked at.
_SUSPECT = re.compile(rf"\\u(?:0000|[dD][89a-fA-F])|[0-9][eE][+-]?[0-9]{{4}}|[0-9.]{{{MOST_DIGITS}}}")
_LINE_BREAKS = str.maketrans("\r\n", "  ")


class BadEventError(Exception):
    """Why an event cannot be stored as jsonb."""


def line(event: "Event") -> bytes:
    r"""Return the line of an event, which ends with \n."""
    try:
        return good_line(event, checked(event.value)[0])
    except BadEventError as error:
        return bad_line(event, str(error))


def good_line(event: "Event", text: str) -> bytes:
    """Return the line of an event whose value is the JSON `text`."""
    return f'{_start(event)},"v":{text.translate(_LINE_BREAKS)}}}\n'.encode()


def bad_line(event: "Event", why: str) -> bytes:
    """Return the line of an event whose value is kept as bytes."""
    bad = "" if event.value is None else f',"bad{_as_text(event.value)}'
    return f'{_start(event)}{bad},"why":{json.dumps(why)}}}\n'.encode()


def checked(value: bytes | None) -> tuple[str, dict[str, Any]]:
    """Return the JSON text of an event and what it says. Raises BadEventError."""
    if value is None:
        raise BadEventError("it has no value (a tombstone)")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise BadEventError(f"it is not UTF-8: byte {error.start + 1}") from None
    suspect = _SUSPECT.search(text) or text.count("{") + text.count("[") > MOST_DEPTH
    try:
        parsed = (_CAREFUL if suspect else _QUICK).decode(text)
    except json.JSONDecodeError as error:
        raise BadEventError(f"it is not JSON: character {error.pos + 1}") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(parsed, dict):
        raise BadEventError("it is JSON, but not an object")
    if suspect:
        _check_inside(parsed)
    return text, parsed


def _start(event: "Event") -> str:
    key = "" if event.key is None else f',"k{_as_text(event.key)}'
    return f'{{"o":{event.position},"t":{event.time_ms}{key}'


def _as_text(value: bytes) -> str:
    """Return the end of a name and a JSON value: the text, or base64 of bytes that are none."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return f'64":"{b64encode(value).decode()}"'
    return f'":{json.dumps(text, ensure_ascii=False)}'


def _no_number(name: str) -> NoReturn:
    raise BadEventError(f"{name} is no JSON")


def _number(text: str) -> float:
    """Check a number's length; its value is not used."""
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa) > MOST_DIGITS or len(exponent.lstrip("+-").lstrip("0")) > 3:
        raise BadEventError("it has a number with more digits than can be stored")
    return 0.0


_QUICK = json.JSONDecoder(parse_constant=_no_number)
_CAREFUL = json.JSONDecoder(parse_constant=_no_number, parse_int=_number, parse_float=_number)


def _check_inside(parsed: dict[str, Any]) -> None:
    """Refuse what jsonb refuses, at any depth. Raises BadEventError."""
    level: list[Any] = [parsed]
    for _ in range(MOST_DEPTH):
        inside: list[Any] = []
        for each in level:
            inside.extend(each)
            if isinstance(each, dict):
                inside.extend(each.values())
        for text in inside:
            if isinstance(text, str):
                _check_text(text)
        level = [each for each in inside if isinstance(each, dict | list)]
    if level:
        raise _too_deep()


def _check_text(text: str) -> None:
    if "\0" in text:
        raise BadEventError("it has a text with the character U+0000, which PostgreSQL cannot store")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadEventError("it has a text with one half of a surrogate pair, which is no character") from None


def _too_deep() -> BadEventError:
    return BadEventError(f"it is nested more than {MOST_DEPTH} deep")
