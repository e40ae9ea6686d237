"""Reads the records of a JSON object one by one, each with its text letter by letter, its place and its fields.

An object is a sequence of JSON values: an array of records, several arrays, records line by line, or documents of which
one field is the list of records (the pages of an API). Nobody has to say which; only the field has to be named.
Belongs here: the beginning and the end of a record, and what is no JSON. Not here: the columns (object.py).
"""

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from kpi_assets.sources.formats.base import UnreadableError

BYTE_ORDER_MARK = "\ufeff"
RECORD_LIMIT = 16 << 20  # characters; a longer record is not read, to bound the memory
DOCUMENT_LIMIT = 64 << 20  # characters of a document, which is read as a whole
DEEPEST = 500  # values within each other; the limits of Python and Postgres depend on their stacks
BATCH = 500  # records of a batch, at most
_SPACE = re.compile(r"[ \t\n\r]*")
_LINE = re.compile(r"[^\n]*")
# What is between a record and the next one, in an array and outside.
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*(?=\{)")
_BETWEEN = re.compile(r"[ \t\n\r]*(?=\{)")
# A NUL, or half of a surrogate pair, may hide in these escapes; a text of Postgres can hold neither.
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89abAB])|\\u[dD][c-fC-F]|\x00")

NO_OBJECT = "it is no object, but another value"
NO_TEXT = "it contains \\u0000, or half of a surrogate pair, which no text has"
NOT_UTF8 = "a byte of it is not UTF-8"
TOO_DEEP = f"its values are more than {DEEPEST} deep within each other"
TOO_LONG = f"it is longer than {RECORD_LIMIT >> 20} Mi characters"


class JsonRecord(NamedTuple):
    """One record: its number in the object from 1, the byte at which it begins, its text, and its fields.

    Numbers in the fields are texts, so that 0.10 stays 0.10. A record that cannot be read has a problem, and no fields.
    """

    number: int
    offset: int
    text: str
    fields: dict[str, Any] | None
    problem: str | None = None


class Batch(NamedTuple):
    """Records that follow each other: the fields and the text of each. If it is not sound, one has a problem."""

    fields: list[dict[str, Any]]
    texts: list[str]
    is_sound: bool = True


class Number(str):
    """The text of a number, for readers who have to tell it from other texts."""

    __slots__ = ()


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"its field {names.most_common(1)[0][0]!r} is there twice")
    return found


def _scanner(number: type[str]) -> Callable[[str, int], tuple[Any, int]]:
    decoder: Any = json.JSONDecoder(
        parse_constant=_refuse_constant, parse_float=number, parse_int=number, object_pairs_hook=_without_repetition
    )
    scan_once: Callable[[str, int], tuple[Any, int]] = decoder.scan_once
    return scan_once


_scan = _scanner(str)
_SCANNERS = {str: _scan, Number: _scanner(Number)}


class JsonReader:
    """One pass over the blocks of an object; `field` is that of the list of records in a document, if there is one.

    `number` is the type of the texts of numbers: `str`, or `Number`.
    """

    def __init__(self, blocks: Iterable[bytes], field: str | None = None, number: type[str] = str) -> None:
        self._blocks, self._field, self._number = iter(blocks), field, number
        self._scan = _SCANNERS[number]
        # A byte that is not UTF-8 is the problem of its record alone, so it becomes a lone surrogate for now.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._at, self._more = "", 0, True
        self._is_utf8 = True  # the text that was read and not used
        self._offset, self._counted = 0, 0  # the byte at which the character `_counted` of the text begins
        self._shapes: Counter[tuple[str, ...]] = Counter()
        self.records = 0

    @property
    def fields(self) -> dict[str, int]:
        """The number of records that have each field, in the order in which the fields were met."""
        found: Counter[str] = Counter()
        for shape, count in self._shapes.items():
            found.update(dict.fromkeys(shape, count))
        return dict(found)

    def __iter__(self) -> Iterator[JsonRecord]:
        """Yield the records. Raises UnreadableError if what follows a record cannot be read."""
        for found in self._found(in_batches=False):
            assert isinstance(found, JsonRecord)
            yield found

    def batches(self) -> Iterator[Batch]:
        """Yield the records in batches, which is several times faster; raises UnreadableError too.

        It yields a batch that is not sound instead of a record that has a problem.
        """
        for found in self._found(in_batches=True):
            if isinstance(found, Batch):
                yield found
            elif found.fields is None:
                yield Batch([], [], is_sound=False)
            else:
                yield Batch([found.fields], [found.text])

    def _found(self, *, in_batches: bool) -> Iterator[JsonRecord | Batch]:
        while (letter := self._next_letter()) is not None:
            if letter == "[":
                yield from self._array(in_batches=in_batches)
            elif self._field is not None:
                yield from self._document(self._field, in_batches=in_batches)
            elif in_batches and letter == "{" and (batch := self._batch(_BETWEEN)):
                yield batch
            else:
                yield self._record(in_array=False)

    def _batch(self, between: re.Pattern[str]) -> Batch | None:
        """Read records that are whole in the text here, and followed by another one, to which it goes; None if none is.

        What is unusual in any way is left to `_record`.
        """
        if not self._is_utf8:
            return None
        text, start, scan, follows = self._text, self._at, self._scan, between.match
        at, fields, texts, long = start, list[dict[str, Any]](), list[str](), False
        try:
            while len(fields) < BATCH:
                value, end = scan(text, at)
                behind = follows(text, end)
                if behind is None:
                    break
                fields.append(value)
                texts.append(text[at:end])
                long = long or end - at > DEEPEST
                at = behind.end()
        except (StopIteration, ValueError, RecursionError):
            pass
        if not fields:
            return None
        if (long or "\\u" in text[start:at]) and any(map(_problem, texts, fields)):
            return Batch([], [], is_sound=False)
        self._at = at
        self.records += len(fields)
        self._shapes.update(map(tuple, fields))
        return Batch(fields, texts)

    def _next_letter(self) -> str | None:
        """Go to the next letter that is no blank and return it; None at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return None

    def _read(self) -> bool:
        """Read one block more, and forget what was used; return whether there was one."""
        block = next(self._blocks, None)
        self._more = block is not None
        rest = self._text[self._at :]
        self._count_to(self._at)
        self._counted = 0
        decoded = self._decoder.decode(block or b"", final=block is None)
        if self._offset == 0 and not rest and decoded.startswith(BYTE_ORDER_MARK):
            decoded, self._offset = decoded.removeprefix(BYTE_ORDER_MARK), len(BYTE_ORDER_MARK.encode())
        self._is_utf8 = (not rest or self._is_utf8) and _is_encodable(decoded)
        self._text, self._at = rest + decoded, 0
        return block is not None or len(self._text) > len(rest)

    def _count_to(self, place: int) -> int:
        """Return the byte at which a character of the text begins; places must not fall."""
        between = self._text[self._counted : place]
        self._offset += len(between) if between.isascii() else len(between.encode("utf-8", "surrogateescape"))
        self._counted = place
        return self._offset

    def _value(self, limit: int) -> tuple[Any, str]:
        """Return the value that begins here, and its text. Raises ValueError, and RecursionError if it is too deep."""
        while True:
            size = len(self._text) - self._at
            try:
                value, end = self._scan(self._text, self._at)
            except (StopIteration, ValueError) as error:
                if size > limit:
                    raise ValueError(TOO_LONG) from None
                if not self._more:
                    raise ValueError(_reason(error, self._at)) from None
            else:
                # A number at the end of the text may go on in the next block.
                if end < len(self._text) or not self._more:
                    if end - self._at > limit:
                        raise ValueError(TOO_LONG)
                    text = self._text[self._at : end]
                    self._at = end
                    return value, text
            # Tried again when twice as many characters are there, so that a long value is not scanned over and over.
            while self._more and len(self._text) - self._at < 2 * size + 1:
                self._read()

    def _record(self, *, in_array: bool) -> JsonRecord:
        self.records += 1
        offset = self._count_to(self._at)
        try:
            value, text = self._value(RECORD_LIMIT)
        except (ValueError, RecursionError) as error:
            is_deep = isinstance(error, RecursionError)
            problem = TOO_DEEP if is_deep else str(error)
            if in_array:
                raise UnreadableError(
                    f"its record {self.records}, at byte {offset:,}, is no JSON ({problem}), and what follows was not "
                    "read: correct it where the file is made"
                ) from None
            problem = problem if is_deep else f"it is no JSON: {problem}"
            return JsonRecord(self.records, offset, self._rest_of_line(), None, problem)
        problem_found = _problem(text, value)
        if problem_found:
            return JsonRecord(self.records, offset, text, None, problem_found)
        self._shapes[tuple(value)] += 1
        return JsonRecord(self.records, offset, text, value)

    def _rest_of_line(self) -> str:
        """Go to the end of the line, and return what is before it, of a very long line only the beginning."""
        kept = ""
        while True:
            found = _LINE.match(self._text, self._at)
            assert found is not None
            kept += found[0] if len(kept) < RECORD_LIMIT else ""
            self._at = found.end()
            if self._at < len(self._text) or not self._read():
                return kept

    def _array(self, *, in_batches: bool) -> Iterator[JsonRecord | Batch]:
        """Read the records of an array: a comma between each two."""
        self._at += 1
        letter = self._next_letter()
        while letter != "]":
            if letter is None:
                raise UnreadableError(
                    f"its array is not closed after record {self.records}, so it was cut off: land it again from its "
                    "source"
                )
            if in_batches and letter == "{" and (batch := self._batch(_COMMA)):
                yield batch
                letter = self._next_letter()
                continue
            yield self._record(in_array=True)
            letter = self._next_letter()
            if letter == ",":
                self._at += 1
                if (letter := self._next_letter()) == "]":
                    raise UnreadableError(
                        f"a comma follows its last record {self.records}: correct it where the file is made"
                    )
            elif letter not in {"]", None}:
                raise UnreadableError(
                    f"no comma follows its record {self.records}, but {letter!r}: correct it where the file is made"
                )
        self._at += 1

    def _document(self, field: str, *, in_batches: bool) -> Iterator[JsonRecord | Batch]:
        """Read a document as a whole, and then the records in the list that is its field."""
        offset = self._count_to(self._at)
        try:
            value, text = self._value(DOCUMENT_LIMIT)
        except (ValueError, RecursionError) as error:
            raise UnreadableError(
                f"its document at byte {offset:,} is no JSON ({error}): correct it where the file is made"
            ) from None
        if not isinstance(value, dict) or not isinstance(value.get(field), list):
            raise UnreadableError(
                f"its document at byte {offset:,} has no list {field!r}: name the field of the list in records"
            )
        start, end = next((start, end) for name, start, end in spans(text) if name == field)
        inner = JsonReader([text[start:end].encode("utf-8", "surrogateescape")], number=self._number)
        inner.records, inner._shapes = self.records, self._shapes
        inner._offset = offset + len(text[:start].encode("utf-8", "surrogateescape"))
        yield from inner._found(in_batches=in_batches)
        self.records = inner.records


def spans(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (name, start, end) of the value of each field of an object, given as the text of valid JSON."""
    at = text.index("{") + 1
    while (at := _after_space(text, at)) < len(text) and text[at] != "}":
        name, at = _scan(text, at)
        at = _after_space(text, _after_space(text, at) + 1)  # over the colon
        _, end = _scan(text, at)
        yield str(name), at, end
        at = _after_space(text, end) + 1  # over the comma, or the end of the object


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _reason(error: Exception, start: int) -> str:
    """Say why the value that begins at a place of the text cannot be read."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[0].lower()}{error.msg[1:]}, at its character {error.pos - start + 1}"
    if isinstance(error, StopIteration):
        return f"a value is missing, at its character {error.value - start + 1}"
    return str(error)


def _problem(text: str, value: Any) -> str:
    """Return why the text of valid JSON cannot be a record; empty if it can."""
    if len(text) > RECORD_LIMIT:
        return TOO_LONG
    if not _is_encodable(text):
        return NOT_UTF8
    if not isinstance(value, dict):
        return NO_OBJECT
    if len(text) > DEEPEST and text.count("{") + text.count("[") > DEEPEST and _is_deep(value, DEEPEST):
        return TOO_DEEP
    if _SUSPECT.search(text) and not all(map(_is_text, _strings(value))):
        return NO_TEXT
    return ""


def _is_encodable(text: str) -> bool:
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
