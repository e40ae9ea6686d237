"""The dialect of a CSV: delimiter, quotes, comments, lines before the header, and whether there is a header.

The dialect is the one by whose strict rules the most records have the same number of fields. Among equals it is the
more usual one.
Not here: what the values are (values.py).
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kpi_assets.infer.shapes import is_typed

# In this order if two explain a file equally well: a comma also stands within texts and numbers.
DELIMITERS = ("\t", ";", "|", ",", "^", "~")
_JUDGED = 200_000  # characters by which dialects are compared
_YEAR = re.compile("(?:19|20)[0-9]{2}")
_RECORDS = 50_000  # the most records of a text


class Field(NamedTuple):
    """A value as the file has it; only one without quotes may be NULL."""

    text: str
    is_quoted: bool = False


class Record(NamedTuple):
    """A record and its first line, from 1; without fields if it breaks the rules of quotes."""

    line: int
    fields: tuple[Field, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The values without what stands around them."""
        return tuple(field.text for field in self.fields)


@dataclass(frozen=True)
class Dialect:
    """How records are written; `quote` and the others are empty where there are none."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    comment: str = ""
    skip_lines: int = 0
    width: int = 1  # the number of fields

    def records(self, text: str) -> Iterator[Record]:
        """Cut a text into records, without empty lines, comments and the lines to skip."""
        fields, line, place = _fields_of(self), 1, 0
        for _ in range(self.skip_lines):
            place, line = text.find("\n", place) + 1 or len(text), line + 1
        found = 0
        while place < len(text) and found < _RECORDS:
            end = text.find("\n", place) + 1 or len(text)
            if text[place:end].strip("\r\n") and not (self.comment and text.startswith(self.comment, place)):
                record, end = self._record(fields, text, place, end, line)
                yield record
                found += 1
            line += text.count("\n", place, end)
            place = end

    def _record(self, field: re.Pattern[str], text: str, place: int, line_end: int, line: int) -> tuple[Record, int]:
        """Return the record that begins at a place, and its end."""
        whole = text[place:line_end]
        if not self.quote or self.quote not in whole:
            values = whole.rstrip("\r\n").split(self.delimiter)
            return Record(line, tuple(map(Field, values))), line_end
        found = []
        while match := field.match(text, place):
            inside = match["inside"]
            found.append(Field(match["bare"]) if inside is None else Field(self._plain(inside), True))
            place = match.end()
            if match["end"] != self.delimiter:
                return Record(line, tuple(found)), place
        return Record(line, ()), line_end

    def _plain(self, inside: str) -> str:
        if self.escape:
            return re.sub(re.escape(self.escape) + "(.)", r"\1", inside, flags=re.DOTALL)
        return inside.replace(self.quote * 2, self.quote)


def _fields_of(dialect: Dialect) -> re.Pattern[str]:
    delimiter, quote, escape = (re.escape(each) for each in (dialect.delimiter, dialect.quote or "\0", dialect.escape))
    inside = rf"(?:[^{quote}{escape}]|{escape}.)*" if escape else rf"[^{quote}]*(?:{quote}{quote}[^{quote}]*)*"
    return re.compile(
        rf"(?:{quote}(?P<inside>{inside}){quote}|(?P<bare>[^{delimiter}{quote}\r\n]*))(?P<end>{delimiter}|\r?\n|\Z)",
        re.DOTALL,
    )


def find_dialect(texts: Sequence[str]) -> Dialect:
    """Find the dialect of texts that are written by one program."""
    judged = [text[:_JUDGED] if len(text) <= _JUDGED else text[: text.rfind("\n", 0, _JUDGED) + 1] for text in texts]
    quotes = [('"', ""), ('"', "\\"), ("'", ""), ("", "")]
    candidates = [
        Dialect(delimiter, quote, escape)
        for delimiter in DELIMITERS
        if any(delimiter in text for text in judged)
        for quote, escape in quotes
        if not quote or any(quote in text for text in judged) or quote == '"'
    ] or [Dialect(quote=quote, escape=escape) for quote, escape in quotes]
    scored = [(_score(each, judged), -number, each) for number, each in enumerate(candidates)]
    best = max(scored, key=lambda each: each[:2])[2]
    best = replace(best, width=_width(best, judged))
    if not any(best.quote and best.quote in text for text in judged):
        best = replace(best, quote='"')
    return _with_lines_before(best, judged[0])


def _score(dialect: Dialect, texts: Sequence[str]) -> tuple[float, float, int]:
    """Return (the share of records with the same number of fields, that of fields without stray quotes, width)."""
    records = [record for text in texts for record in dialect.records(text)]
    width = _modal_width(records)
    good = [record for record in records if len(record.fields) == width]
    fields = [field for record in good for field in record.fields]
    if width <= 1:
        return 0.5 * len(good) / max(len(records), 1), 0, 1  # only if nothing separates values
    stray = sum(1 for field in fields if not field.is_quoted and field.text[:1] in ('"', "'") and len(field.text) > 1)
    quoted = sum(1 for field in fields if field.is_quoted and dialect.quote == "'")
    # A single quote is a quote only where it is always one.
    return round(len(good) / len(records), 3), -(stray / len(fields)) + (0.0 if quoted else 0.001), min(width, 2)


def _width(dialect: Dialect, texts: Sequence[str]) -> int:
    return _modal_width([record for text in texts for record in dialect.records(text)])


def _modal_width(records: Sequence[Record]) -> int:
    """Return the most frequent number of fields; the larger of two."""
    counts = Counter(len(record.fields) for record in records if record.fields)
    return max(counts, key=lambda width: (counts[width], width), default=1)


def _with_lines_before(dialect: Dialect, text: str) -> Dialect:
    """Find comments, and the lines before the first record with all fields."""
    records = list(dialect.records(text))
    others = [record for record in records if len(record.fields) != dialect.width]
    marked = [record for record in others if record.fields and record.fields[0].text.startswith("#")]
    if marked:
        dialect = replace(dialect, comment="#")
        records = list(dialect.records(text))
    first = next((record for record in records if len(record.fields) == dialect.width), None)
    if dialect.width > 1 and first is not None and first is not records[0]:
        return replace(dialect, skip_lines=first.line - 1)
    return dialect


def has_header(records: Sequence[Sequence[Record]]) -> tuple[bool, bool]:
    """Return (whether the first record of each file names the fields, whether that is a guess)."""
    first = [each[0].texts for each in records if each]
    if all(_are_years_over_values([record.texts for record in each]) for each in records):
        return True, True
    rest = [record.texts for each in records for record in each[1:]]
    if any(is_typed(text) for texts in first for text in texts) or not any(text.strip() for text in first[0]):
        return False, any(_is_name_over_values(text, place, rest) for place, text in enumerate(first[0]))
    if any(is_typed(text) for texts in rest[:1000] for text in texts):
        return True, False
    if len(first) > 1:
        return len(set(first)) == 1 or all(set(texts) & set(first[0]) for texts in first), False
    recurs = any(texts[place : place + 1] == (name,) for texts in rest for place, name in enumerate(first[0]))
    return not recurs, True


def _is_name_over_values(text: str, place: int, rest: Sequence[Sequence[str]]) -> bool:
    """Return whether a text of the first record stands over values that are all numbers, dates or times."""
    below = [texts[place] for texts in rest[:1000] if place < len(texts) and texts[place].strip()]
    return bool(text.strip()) and not is_typed(text) and bool(below) and all(map(is_typed, below))


def _are_years_over_values(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first record has several years, over values that are none, such as country,2024,2025."""
    first, rest = rows[0], rows[1:]
    years = [place for place, text in enumerate(first) if _YEAR.fullmatch(text)]
    if len(years) < 2 or any(is_typed(text) for place, text in enumerate(first) if place not in years):
        return False
    below = [[texts[place] for texts in rest if place < len(texts)] for place in years]
    return len({first[place] for place in years}) == len(years) and all(
        any(not _YEAR.fullmatch(text) for text in column) for column in below
    )
