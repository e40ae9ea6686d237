"""Decisions: what people decide on records and rows that were set aside, as they lie on S3.

Belongs here: one decision, its words and its kinds, and its line of JSON. Not here: the objects that hold the lines
(sources/decisions.py), and applying a decision in a build.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

from kpi_assets.errors import UserError
from kpi_assets.model.excerpt import cut
from kpi_assets.model.manifest import etag_of_parts
from kpi_assets.model.table import Table

Kind = Literal["correct", "accept", "discard"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NO_DECISIONS = etag_of_parts(())  # the hash of the objects of decisions where there are none
RECORD, PLACE = "record", ("object", "line")  # the words of `set` and `was`, and of `key`, for a raw table
_WORDS = ("kind", "key", "was", "set", "reason", "by", "at")
_DOCUMENTS = ("json", "jsonb")  # the types whose values may be lists and objects
_DIGITS = 4000  # an integer with fewer digits is below the limit of Python's int()
_DEEPEST = 100  # lists and objects within each other
_LARGEST, _SMALLEST = 131_071, -16_383  # powers of ten that a numeric of PostgreSQL holds
_SHOWN = 80  # characters of a value in a sentence


class DecisionError(UserError):
    """A line of an object of decisions is no decision on its table. The sentence names the object and the line."""


@dataclass(frozen=True)
class Decision:
    """One decision on one row that was set aside, or on one record of an object.

    It names the row by the values of its grain in `key`; it holds only while the row also has the values in `was`. A
    record of an object is named by `object` and by what it was, its `record`; `line` tells apart those that read alike.
    Values are those of JSON; a number that a float would round is a Decimal.
    """

    kind: Kind
    key: Mapping[str, Any]
    was: Mapping[str, Any]
    set: Mapping[str, Any]  # the corrected values, by column, or the corrected `record`; empty unless kind is correct
    reason: str
    by: str
    at: datetime  # in UTC
    place: str = ""  # the key of its object on S3 and the line there, such as `decisions/…/0001.jsonl:3`

    def line(self) -> str:
        """Return the decision as its line of JSON, with the line's end."""
        words = {word: getattr(self, word) for word in _WORDS}
        if self.kind != "correct":
            del words["set"]
        return json_text({**words, "at": self.at.isoformat(timespec="seconds")}) + "\n"

    def is_on(self, key: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
        """Whether it is a decision on the row of that key, which has these values now."""
        return self.key == key and all(name in row and row[name] == value for name, value in self.was.items())


def read_lines(body: bytes, table: Table, key: str) -> Iterator[Decision]:
    """Yield the decisions of the object at `key`; blank lines are passed over. Raises DecisionError."""
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield _Line(table, line, f"{key}:{number}").decision()
        except _BrokenError as error:
            raise DecisionError(f"Line {number} of {key} is no decision on {table.relation}: {error}.") from None


def problem_of(table: Table, decision: Decision) -> str:
    """Return why a decision cannot be made on a table, as the end of a sentence; empty if it can."""
    try:
        _Line(table, decision.line().encode(), "").decision()
    except _BrokenError as error:
        return str(error)
    return ""


def json_text(value: Any) -> str:
    """Return a value as JSON in which each number is written as it was read."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json_text(str(name))}: {json_text(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(json_text, value)) + "]"
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def parse_json(text: str) -> Any:
    """Read JSON; a number that a float would round is a Decimal. Raises ValueError, with the reason as its text."""
    try:
        value = json.loads(
            text, parse_float=_number, parse_int=_whole, parse_constant=_no_number, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg} at character {error.pos + 1})") from None
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    """Raise ValueError if so many lists and objects lie within each other that code that follows them may fail."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            part
            for each in level
            if isinstance(each, dict | list)
            for part in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    if any(isinstance(each, dict | list) for each in level):
        raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested too deeply: at most {_DEEPEST} lists and objects may lie within each other")


def _number(text: str) -> float | Decimal:
    exact, short = _decimal(text), float(text)
    return short if short - short == 0 and Decimal(repr(short)) == exact else exact


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) < _DIGITS else _decimal(text)


def _decimal(text: str) -> Decimal:
    """Read a number that PostgreSQL can hold. Raises ValueError."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal("NaN")
    exponent = found.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < _SMALLEST or found.adjusted() > _LARGEST:
        raise ValueError(f"it has the number {cut(text, _SHOWN)}, which PostgreSQL cannot store: write another")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"it is not JSON ({text} is no number there)")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {shown_value(twice)} twice: leave one out")
    return found


class _BrokenError(Exception):
    """A line is no decision; the text is the end of a sentence."""


class _Line:
    """One line, which is read as a decision on a table."""

    def __init__(self, table: Table, line: bytes, place: str) -> None:
        self._table, self._place = table, place
        try:
            words = parse_json(line.decode())
        except UnicodeDecodeError as error:
            raise _BrokenError(f"it is not UTF-8 (byte {error.start + 1})") from None
        except ValueError as error:
            raise _BrokenError(str(error)) from None
        if not isinstance(words, dict):
            raise _BrokenError(f"it is {kind_of_value(words)}: write an object with {', '.join(_WORDS)}")
        if found := unstorable(words):
            raise _BrokenError(f"it holds the character {found}, which PostgreSQL cannot store: take it out")
        self._words: dict[str, Any] = words

    def decision(self) -> Decision:
        """Return the decision. Raises _BrokenError."""
        for word in self._words:
            if word not in _WORDS:
                raise _BrokenError(f"it has the unknown word {shown_value(word)}: the words are {', '.join(_WORDS)}")
        kind = self._kind()
        for word in _WORDS:
            if word not in self._words and (word != "set" or kind == "correct"):
                raise _BrokenError(f"it lacks the word {word}: {_MEANINGS[word]}")
        key, was, corrected = self._values("key"), self._values("was"), self._values("set")
        if kind != "correct" and corrected:
            raise _BrokenError(f"it sets values, and its kind is {kind}: take set out, or write kind: correct")
        check = self._check_record if self._table.has_object else self._check_row
        check(kind, key, was, corrected)
        return Decision(
            kind, key, was, corrected, self._text("reason"), self._text("by"), self._at(), place=self._place
        )

    def _kind(self) -> Kind:
        if "kind" not in self._words:
            raise _BrokenError(f"it lacks the word kind: {_MEANINGS['kind']}")
        found = next((kind for kind in KINDS if kind == self._words["kind"]), None)
        if found is None:
            raise _BrokenError(f"its kind is {shown_value(self._words['kind'])}: {_MEANINGS['kind']}")
        return found

    def _values(self, word: str) -> dict[str, Any]:
        value = self._words.get(word, {})
        if not isinstance(value, dict):
            raise _BrokenError(f"its {word} is {kind_of_value(value)}: {_MEANINGS[word]}")
        return value

    def _text(self, word: str) -> str:
        value = self._words[word]
        if not isinstance(value, str) or not value.strip():
            said = "blank" if isinstance(value, str) else kind_of_value(value)
            raise _BrokenError(f"its {word} is {said}: {_MEANINGS[word]}")
        return value

    def _at(self) -> datetime:
        text = self._text("at")
        try:
            at = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
            if at.tzinfo is None:
                raise _BrokenError(f"its at is {shown_value(text)}, without a time zone: {_MEANINGS['at']}")
            return at.astimezone(timezone.utc)
        except (ValueError, OverflowError):
            raise _BrokenError(f"its at is {shown_value(text)}: {_MEANINGS['at']}") from None

    def _check_row(self, kind: Kind, key: dict[str, Any], _was: dict[str, Any], corrected: dict[str, Any]) -> None:
        """Check a decision on a row of a SELECT."""
        table, grain = self._table, self._table.header.grain
        if {*key} != {*grain}:
            named = ", ".join(map(shown_value, key)) or "empty"
            raise _BrokenError(f"its key is {named}: write the columns of the grain, {', '.join(grain)}")
        if nulls := [name for name in key if key[name] is None]:
            raise _BrokenError(f"{nulls[0]} of its key is null: a row whose key is unknown cannot be decided on")
        if kind == "correct" and not corrected:
            raise _BrokenError("it sets nothing: write at least one column and its value in set")
        for name, value in corrected.items():
            if name not in table.header.selected:
                columns = ", ".join(table.header.selected)
                where = f"which is no column of {table.relation}"
                raise _BrokenError(f"it sets {shown_value(name)}, {where}: it has {columns}")
            if name in grain and value is None:
                raise _BrokenError(f"it sets {name} to null, and {name} is a column of the grain: give it a value")
            if isinstance(value, dict | list) and table.types[name] not in _DOCUMENTS:
                kind_of = kind_of_value(value)
                raise _BrokenError(f"it sets {name} to {kind_of}, and {name} is {table.types[name]}: write one value")

    def _check_record(self, kind: Kind, key: dict[str, Any], was: dict[str, Any], corrected: dict[str, Any]) -> None:
        """Check a decision on a record of an object."""
        if kind == "accept":
            raise _BrokenError(
                "it accepts a record that cannot be read: correct the record, or discard it; only rows can be accepted"
            )
        if {*key} != {*PLACE}:
            named = ", ".join(map(shown_value, key)) or "empty"
            raise _BrokenError(f"its key is {named}: write the key of the record's object and its line")
        place, line = key["object"], key["line"]
        if not isinstance(place, str) or not place:
            raise _BrokenError(f"object of its key is {shown_value(place)}: write the key of the record's object on S3")
        if not isinstance(line, int) or isinstance(line, bool) or line < 1:
            raise _BrokenError(f"line of its key is {shown_value(line)}: write the line on which the record begins")
        for word, values in (("was", was), *([("set", corrected)] if kind == "correct" else [])):
            if {*values} != {RECORD} or not isinstance(values[RECORD], str) or not values[RECORD]:
                text = "as it was delivered" if word == "was" else "as it should have been delivered"
                raise _BrokenError(f'its {word} is {shown_value(values)}: write {{"record": …}} with the text {text}')


_MEANINGS = {
    "kind": "write correct, accept or discard",
    "key": "write an object with the columns of the grain",
    "was": "write an object with values that the row has",
    "set": "write an object with the corrected values",
    "reason": "write why, in words for whoever reads it later",
    "by": "write who decided",
    "at": "write when, as in 2025-03-01T09:30:00+00:00",
}


def kind_of_value(value: object) -> str:
    """Return what kind of JSON a value is, with its article."""
    if value is None:
        return "null"
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return kinds.get(type(value), "a number")


def shown_value(value: object) -> str:
    """Return a value as a sentence shows it."""
    return cut(json_text(value) if not isinstance(value, str) else repr(value), _SHOWN)


def unstorable(value: object) -> str:
    """Return the escape of the first character in a value that PostgreSQL cannot store; empty if there is none."""
    if isinstance(value, str):
        return next((f"\\u{ord(each):04x}" for each in value if each == "\x00" or "\ud800" <= each <= "\udfff"), "")
    if isinstance(value, dict):
        return next((found for each in value.items() for part in each if (found := unstorable(part))), "")
    return next((found for each in value if (found := unstorable(each))), "") if isinstance(value, list) else ""
