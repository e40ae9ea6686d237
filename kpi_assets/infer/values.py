"""The values of a column: which of them are NULL, and the type of the others.

A type is proposed only if all values have it that were read. Where two types explain all of them, both are returned,
and a person decides.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kpi_assets.infer import dates, numbers
from kpi_assets.infer.dialect import Field
from kpi_assets.infer.numbers import Notation

# Texts that programs write for an unknown value. Those in CERTAIN mean it in a column of texts too.
NULLS = ("", "\\N", "NULL", "null", "Null", "NA", "N/A", "n/a", "#N/A", "None", "none", "(null)", "-", "--", "?", ".")
CERTAIN = ("", "\\N")
_NOT_A_NUMBER = re.compile(r"[nN][aA][nN]")
_INFINITE = re.compile(r"[+-]?[iI][nN][fF](?:[iI][nN][iI][tT][yY])?")
_USUAL_BOOLEANS = ({"true", "false"}, {"True", "False"}, {"TRUE", "FALSE"}, {"t", "f"}, {"T", "F"})
_BOOLEANS = (
    *(("Y", "N"), ("y", "n"), ("yes", "no"), ("Yes", "No"), ("YES", "NO"), ("J", "N"), ("j", "n"), ("ja", "nein")),
    *(("Ja", "Nein"), ("JA", "NEIN"), ("oui", "non"), ("Oui", "Non"), ("si", "no"), ("Si", "No"), ("on", "off")),
    *(("ON", "OFF"), ("wahr", "falsch"), ("WAHR", "FALSCH")),
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CODES = re.compile(r"phone|telefon|\btel\b|mobile|fax|zip|postal|postcode|\bplz\b|\bean\b|barcode|iban|isbn|sku", re.I)
_LONG = 64  # a longer value is no number


@dataclass(frozen=True)
class Reading:
    """One way to read a column: its type and the words that its values need; `why` is for the reader of the file."""

    type: str
    words: Mapping[str, object] = field(default_factory=dict)
    notation: Notation | None = None  # of numbers with marks
    why: str = ""


@dataclass(frozen=True)
class Column:
    """What was found out about a column; several `readings` are left to a person."""

    name: str  # in the file
    counts: Counter[Field]
    readings: tuple[Reading, ...]
    nulls: tuple[str, ...] = ()  # the texts that are NULL in it, besides the empty one
    notes: tuple[str, ...] = ()

    @property
    def reading(self) -> Reading:
        """The only reading, or the first of several."""
        return self.readings[0]

    def is_null(self, value: Field) -> bool:
        """Return whether a value is NULL."""
        return not value.is_quoted and (value.text == "" or value.text in self.nulls)

    @property
    def null_share(self) -> float:
        """The share of the values that are NULL."""
        nulls = sum(count for value, count in self.counts.items() if self.is_null(value))
        return nulls / max(sum(self.counts.values()), 1)

    @property
    def distinct(self) -> list[str]:
        """The different values that are not NULL."""
        return [value.text for value in self.counts if not self.is_null(value)]


def read_column(name: str, counts: Counter[Field]) -> Column:
    """Find the type of a column by its values alone."""
    missing = tuple(text for text in NULLS if text and Field(text) in counts)
    known = [value for value in counts if value.is_quoted or value.text not in NULLS]
    texts = sorted({value.text for value in known})
    if not texts:
        nulls = tuple(text for text in missing if text in CERTAIN)
        return Column(name, counts, (Reading("text"),), nulls, ("no value was seen, so its type is not known",))
    readings = _typed(name, texts)
    if readings:
        return Column(name, counts, readings, missing, _notes(readings, texts))
    nulls = tuple(text for text in missing if text in CERTAIN)
    return Column(name, counts, (Reading("text"),), nulls, _text_notes(name, counts, texts))


def _typed(name: str, texts: Sequence[str]) -> tuple[Reading, ...]:
    if any(not text or len(text) > _LONG or text != text.strip() for text in texts):
        return ()
    readers: tuple[Callable[[str, Sequence[str]], tuple[Reading, ...]], ...] = (_boolean, _moment, _number, _uuid)
    return next((found for reader in readers if (found := reader(name, texts))), ())


def _boolean(_name: str, texts: Sequence[str]) -> tuple[Reading, ...]:
    if set(texts) in _USUAL_BOOLEANS or (set(texts) < {"true", "false"}) or (set(texts) < {"True", "False"}):
        return (Reading("boolean"),)
    for true, false in _BOOLEANS:
        if set(texts) == {true, false}:
            return (Reading("boolean", {"true": [true], "false": [false]}),)
    return ()


def _moment(name: str, texts: Sequence[str]) -> tuple[Reading, ...]:
    found = dates.formats_of(texts)
    if found and all(text.isdigit() for text in texts) and _CODES.search(_spaced(name)):
        return ()
    return tuple(Reading(each.type, {"format": each.format} if each.format else {}) for each in found)


def _number(name: str, texts: Sequence[str]) -> tuple[Reading, ...]:
    named = [text for text in texts if _NOT_A_NUMBER.fullmatch(text) or _INFINITE.fullmatch(text)]
    plain = [text for text in texts if text not in named]
    allow = [
        *(["nan"] if any(map(_NOT_A_NUMBER.fullmatch, named)) else []),
        *(["infinity"] if any(map(_INFINITE.fullmatch, named)) else []),
    ]
    words = {"allow": allow} if allow else {}
    if not plain or any(re.match(r"-?0[0-9]", text) for text in plain):
        return ()
    found = numbers.notations_of(plain)
    if not found:
        is_floating = all(map(numbers.FLOATING.fullmatch, plain))
        return (Reading("double precision", words),) if is_floating else ()
    if all(text.isdigit() for text in plain) and _CODES.search(_spaced(name)):
        return ()
    readings = []
    for notation in found:
        type_ = numbers.type_of(map(notation.plain, plain))
        # Only numeric without digits, and the floating-point types, have infinity; integers have neither.
        type_ = "numeric" if allow else type_
        reading = Reading(type_, words, notation if numbers.uses(notation, plain) else None)
        readings += [reading] if reading not in readings else []
    return tuple(readings)


def _uuid(_name: str, texts: Sequence[str]) -> tuple[Reading, ...]:
    return (Reading("uuid"),) if all(map(_UUID.fullmatch, texts)) else ()


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_\W]+", " ", name)


def _notes(readings: Sequence[Reading], texts: Sequence[str]) -> tuple[str, ...]:
    first = readings[0]
    if len(readings) > 1:
        return ()
    if first.type == dates.LOCAL:
        return ("its values have no offset: with time_zone it can be a timestamp with time zone",)
    if first.type == dates.DATE and first.words.get("format") == "YYYYMMDD":
        return ("eight digits that are all dates",)
    if first.type in ("integer", "bigint") and all(len(text) in (10, 13) for text in texts) and texts[0] >= "1":
        return ("may count the seconds or milliseconds since 1970: format: epoch or epoch_ms of a timestamp",)
    if "allow" in first.words:
        return ("NaN is no number: write it below null instead if it means that the value is not known",)
    return ()


def _text_notes(name: str, counts: Mapping[Field, int], texts: Sequence[str]) -> tuple[str, ...]:
    notes = []
    digits = all(re.fullmatch(r"[-+]?[0-9]+", text) for text in texts)
    if digits and any(re.match(r"0[0-9]", text) for text in texts):
        notes.append("a text, because numbers would lose their leading zeros")
    elif digits and any(text.startswith("+") for text in texts):
        notes.append("a text, because of the plus signs")
    elif digits and _CODES.search(_spaced(name)):
        notes.append("a text, because of its name: nobody adds up such numbers")
    words = [word for word in NULLS if word not in CERTAIN and Field(word) in counts]
    if words:
        notes.append(f"{', '.join(words)} may mean that the value is not known: then write it below null")
    if Field("", True) in counts:
        notes.append('"" in quotes is an empty text, not NULL')
    return tuple(notes)


def settle(columns: Sequence[Column], *, is_semicolon: bool) -> list[Column]:
    """Choose the readings that the other columns of the file decide: one file has one decimal mark."""
    decimals = {
        column.reading.notation.decimal
        for column in columns
        if len(column.readings) == 1 and column.reading.notation and _has_decimals(column)
    }
    return [_settled(column, decimals, is_semicolon=is_semicolon) for column in columns]


def _has_decimals(column: Column) -> bool:
    notation = column.reading.notation
    mark = numbers.MARKS[notation.decimal] if notation else ""
    return any(mark in text for text in column.distinct)


def _settled(column: Column, decimals: Collection[str], *, is_semicolon: bool) -> Column:
    if len(column.readings) == 1 or column.reading.notation is None:
        return column
    if len(decimals) == 1:
        fitting = tuple(each for each in column.readings if each.notation and each.notation.decimal in decimals)
        return replace(column, readings=fitting[:1] or column.readings)
    # Spaces and apostrophes group digits with either decimal mark, and no value has decimals.
    if {each.notation.thousands for each in column.readings if each.notation} in ({"space"}, {"apostrophe"}):
        return replace(column, readings=column.readings[:1])
    plain = [each for each in column.readings if each.notation == Notation()]
    if plain and not is_semicolon and not decimals:
        note = "each value has three digits behind the point, which is read as a decimal point"
        return replace(column, readings=(plain[0],), notes=(*column.notes, note))
    return column
