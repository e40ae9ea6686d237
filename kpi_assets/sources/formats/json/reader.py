"""Reads the records of a JSON object one by one, each with its text letter by letter, its place and its fields.

An object is a sequence of JSON values: an array of records, several arrays, records line by line, or documents of which
one field is the list of records (the pages of an API). Nobody has to say which; only the field has to be named.
Belongs here: the beginning and the end of a record, and what is no JSON. Not here: the columns (object.py).
"""

import codecs
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from kpi_assets.sources.formats.base import UnreadableError
from kpi_assets.sources.formats.json.value import (
    BEYOND,
    DEEPEST,
    RECORD_LIMIT,
    SCANNERS,
    SPACE,
    TOO_DEEP,
    TOO_LONG,
    Number,
    Scan,
    is_definite,
    is_encodable,
    problem_of,
    reason,
    scan_loosely,
    scan_plainly,
)

BYTE_ORDER_MARK = "\ufeff"
BATCH, BATCH_SIZE = 500, 1 << 20  # records of a batch, and characters behind which it has no more
MOST_SHAPES = 1_000  # that are counted apart
_LINE = re.compile(r"[^\n]*")
# What is between a record and the next one, in an array and outside.
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*(?=\{)")
_BETWEEN = re.compile(r"[ \t\n\r]*(?=\{)")


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


class JsonReader:
    """One pass over the blocks of an object; `field` is that of the list of records in a document, if there is one.

    `number` is the type of the texts of numbers: `str`, or `Number`. `kept` are other fields of a document; their
    values are in `around` afterwards, with numbers of type `Number`.
    """

    def __init__(
        self,
        blocks: Iterable[bytes],
        field: str | None = None,
        number: type[str] = str,
        kept: Collection[str] = (),
    ) -> None:
        self._blocks, self._field, self._kept = iter(blocks), field, kept
        self._scan = SCANNERS[number]
        # A byte that is not UTF-8 is the problem of its record alone, so it becomes a lone surrogate for now.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._at, self._more = "", 0, True
        self._is_utf8 = True  # the text that was read and not used
        self._offset, self._counted = 0, 0  # the byte at which the character `_counted` of the text begins
        self._shapes: Counter[tuple[str, ...]] = Counter()
        self._fields: Counter[str] = Counter()  # of the shapes that are counted apart no more
        self._only_counts = False
        self.records = 0
        self.values = 0  # arrays and documents so far
        self.around: dict[str, Any] = {}  # of the last document
        self.list_bytes = range(0)  # where its list is in the object

    @property
    def fields(self) -> dict[str, int]:
        """The number of records that have each field, in the order in which the fields were met."""
        for shape, count in self._shapes.items():
            self._fields.update(dict.fromkeys(shape, count))
        self._shapes.clear()
        return dict(self._fields)

    def _count(self, shapes: Iterable[tuple[str, ...]]) -> None:
        self._shapes.update(shapes)
        if len(self._shapes) > MOST_SHAPES:
            _ = self.fields

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

    def count(self) -> None:
        """Read to the end and only count, which is several times faster still; raises UnreadableError too."""
        self._only_counts = True
        for _ in self:
            continue

    def _pass_array(self) -> bool:
        """Count the records of an array that is whole in the text here, and go behind it; False if it is unusual."""
        if len(self._text) > RECORD_LIMIT:
            return False
        try:
            found, end = scan_plainly(self._text, self._at)
        except (StopIteration, ValueError, RecursionError):
            return False
        self.records += len(found)
        self._at = end
        return True

    def _found(self, *, in_batches: bool) -> Iterator[JsonRecord | Batch]:
        while (letter := self._next_letter()) is not None:
            if letter == "[":
                self.values += 1
                yield from self._array(in_batches=in_batches)
            elif self._field is not None:
                self.values += 1
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
            while len(fields) < BATCH and at - start < BATCH_SIZE:
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
        if (long or "\\u" in text[start:at]) and any(map(problem_of, texts, fields)):
            return Batch([], [], is_sound=False)
        self._at = at
        self.records += len(fields)
        self._count(map(tuple, fields))
        return Batch(fields, texts)

    def _next_letter(self) -> str | None:
        """Go to the next letter that is no blank and return it; None at the end."""
        while True:
            found = SPACE.match(self._text, self._at)
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
        self._is_utf8 = (not rest or self._is_utf8) and is_encodable(decoded)
        self._text, self._at = rest + decoded, 0
        return block is not None or len(self._text) > len(rest)

    def _count_to(self, place: int) -> int:
        """Return the byte at which a character of the text begins; places must not fall."""
        between = self._text[self._counted : place]
        self._offset += len(between) if between.isascii() else len(between.encode("utf-8", "surrogateescape"))
        self._counted = place
        return self._offset

    def _value(self, limit: int, scan: Scan) -> tuple[Any, str]:
        """Return the value that begins here, and its text. Raises ValueError, and RecursionError if it is too deep."""
        while True:
            size = len(self._text) - self._at
            try:
                value, end = scan(self._text, self._at)
            except (StopIteration, ValueError) as error:
                if not self._more or is_definite(error, len(self._text)):
                    raise ValueError(reason(error, self._at)) from None
                if size > limit:
                    raise ValueError(TOO_LONG) from None
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
            value, text = self._value(RECORD_LIMIT, self._scan)
        except (ValueError, RecursionError) as error:
            is_deep = isinstance(error, RecursionError)
            problem = TOO_DEEP if is_deep else str(error)
            if (whole := self._passed_by()) is not None:
                problem = problem if problem.startswith(BEYOND) else f"it is no JSON: {problem}"
                return JsonRecord(self.records, offset, whole, None, problem)
            if in_array:
                raise UnreadableError(
                    f"its record {self.records}, at byte {offset:,}, is no JSON ({problem}), and what follows was not "
                    "read: correct it where the file is made"
                ) from None
            problem = problem if is_deep else f"it is no JSON: {problem}"
            return JsonRecord(self.records, offset, self._rest_of_line(), None, problem)
        problem_found = problem_of(text, value)
        if problem_found:
            return JsonRecord(self.records, offset, text, None, problem_found)
        self._count([tuple(value)])
        return JsonRecord(self.records, offset, text, value)

    def _passed_by(self) -> str | None:
        """Go to the end of a record whose end is certain although it is no JSON; None if it is not certain."""
        try:
            return self._value(RECORD_LIMIT, scan_loosely)[1]
        except (ValueError, RecursionError):
            return None

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
        if self._only_counts and self._pass_array():
            return
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
        """Read a document up to the list that is its field, the records in that list, and what follows them."""
        offset, has_list, self.around = self._count_to(self._at), False, {}
        if self._next_letter() != "{":
            self._part(offset)
            raise _no_list(offset, field)
        self._at += 1
        letter = self._next_letter()
        while letter != "}":
            name = self._part(offset) if letter == '"' else None
            if name is None or self._next_letter() != ":":
                raise self._no_document(offset, "a name and a colon are missing")
            self._at += 1
            is_list = self._next_letter() == "[" and name == field
            if is_list and has_list:
                raise self._no_document(offset, f"its field {field!r} is there twice")
            if is_list:
                has_list, begins = True, self._count_to(self._at)
                yield from self._array(in_batches=in_batches)
                self.list_bytes = range(begins, self._count_to(self._at))
            else:
                part = self._part(offset)
                if name in self._kept:
                    self.around[name] = part
            letter = self._next_letter()
            if letter == ",":
                self._at += 1
                letter = "," if self._next_letter() == "}" else self._next_letter()
            elif letter != "}":
                raise self._no_document(offset, "it does not end")
        if not has_list:
            raise _no_list(offset, field)
        self._at += 1

    def _part(self, document: int) -> Any:
        """Return a name or a value of the document that begins at a byte. Raises UnreadableError."""
        try:
            value, _ = self._value(RECORD_LIMIT, SCANNERS[Number])
        except (ValueError, RecursionError) as error:
            reason = TOO_DEEP if isinstance(error, RecursionError) else str(error)
            raise self._no_document(document, reason) from None
        return value

    def _no_document(self, document: int, reason: str) -> UnreadableError:
        return UnreadableError(
            f"its document at byte {document:,} is no JSON at byte {self._count_to(self._at):,} ({reason}): correct it "
            "where the file is made"
        )


def _no_list(offset: int, field: str) -> UnreadableError:
    return UnreadableError(
        f"its document at byte {offset:,} has no list {field!r}: name the field of the list in records"
    )
