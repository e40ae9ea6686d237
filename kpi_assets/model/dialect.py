"""The dialect of a raw table's files: the words of its source and columns, as the readers of a file need them.

Belongs here: the words resolved, and what is wrong with them together. Not here: what a single word may be (source.py,
column.py), and the forms of values (written.py).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from kpi_assets.model.column import Column
from kpi_assets.model.date_format import INSTANT, DateFormat
from kpi_assets.model.pii import declared
from kpi_assets.model.sentences import Loc
from kpi_assets.model.source import Source, boolean_problems
from kpi_assets.model.written import FLOATS, INTEGERS, Form, Notation, form_of

_WORDS = (
    *("field", "format", "decimal", "thousands", "null", "true", "false", "time_zone"),
    *("allow", "round", "since", "optional"),
)
_OF_TEXT = ("format", "decimal", "thousands", "null", "true", "false", "time_zone")
_OF_FILES = ("allow", "round", "since", "optional")  # and not for the events of a stream
_OF_VALUES = ("decimal", "thousands", "null", "true", "false", "time_zone")


@dataclass(frozen=True)
class Field:
    """One column that the fields of a file fill."""

    column: str
    name: str  # in the file
    form: Form
    since: date | None = None
    optional: bool = False
    decimal: str = "point"  # the word, for formats whose numbers are no texts
    booleans: tuple[str, str] = ("false", "true")  # a text of the form for each


@dataclass(frozen=True)
class Dialect:
    """How the files of a table are written; the defaults are those of a header that says nothing."""

    fields: tuple[Field, ...]
    delimiter: str = ","
    quote: str = '"'  # empty: none
    escape: str = ""  # empty: a quote within a value is doubled
    header: bool = True
    skip_lines: int = 0
    comment: str = ""  # empty: none
    encoding: str = "utf-8"
    compression: str = ""
    extra: str = "hold"  # hold, ignore, keep or warn
    null: tuple[str, ...] = ("",)  # of fields that are no column
    records: str = ""  # empty: the documents are the records
    whole: str = ""  # empty: no column has the whole record
    is_personal: bool = False  # a field may have values about a person, so that no message quotes one

    @property
    def columns(self) -> list[str]:
        """The columns that the fields fill, in order."""
        return [field.column for field in self.fields]


def dialect_of(source: Source, columns: Mapping[str, Column]) -> Dialect:
    """Return the dialect of the files of a source with these columns."""
    return Dialect(
        tuple(_field(source, name, column) for name, column in columns.items()),
        delimiter=source.delimiter,
        quote="" if source.quote == "none" else source.quote,
        escape=source.escape or "",
        header=source.header,
        skip_lines=source.skip_lines,
        comment=source.comment or "",
        encoding=source.encoding,
        compression=source.compression or "",
        extra=source.unknown_fields,
        null=source.null_texts,
        records=source.records or "",
        whole=source.whole or "",
        is_personal=bool(declared(columns, None)),
    )


def _field(source: Source, name: str, column: Column) -> Field:
    written = notation(source, column)
    is_worded = column.type == "boolean" and written.true and written.false
    return Field(
        name,
        column.field or name,
        form_of(column.type, written),
        column.since,
        column.optional,
        written.decimal,
        (written.false[0], written.true[0]) if is_worded else ("false", "true"),
    )


def notation(source: Source, column: Column) -> Notation:
    """Return how the values of a column are written: its own words, or else those of the source."""
    words = {word: getattr(column, word) for word in _OF_VALUES}
    of_source = {word: getattr(source, word) for word in _OF_VALUES} | {"null": source.null_texts}
    found = {word: of_source[word] if value is None else value for word, value in words.items()}
    return Notation(
        null=tuple(found["null"]),
        format=column.format or "",
        decimal=found["decimal"],
        thousands=found["thousands"] or "",
        true=tuple(found["true"] or ()),
        false=tuple(found["false"] or ()),
        time_zone=found["time_zone"] or "",
        allow=tuple(column.allow or ()),
        round=column.round or "",
    )


def problems(source: Source | None, columns: Mapping[str, Column]) -> Iterator[tuple[Loc, str]]:
    """Yield (place, sentence) for each word of a column that its type, its source or another word forbids."""
    if source is None:
        for name, word in _written_words(columns, _WORDS):
            yield ("columns", name, word), "is for raw tables, whose rows come from files: take it out"
        return
    if not source.format_kind.has_written_values:
        for name, word in _written_words(columns, _OF_TEXT):
            yield ("columns", name, word), f"{source.format} says by itself how its values are written: take it out"
    if source.stream:
        for name, word in _written_words(columns, _OF_FILES):
            yield (
                ("columns", name, word),
                "is for files, and an event may lack any field that not_null does not name: take it out",
            )
    names = Counter(column.field or name for name, column in columns.items())
    for name, column in columns.items():
        yield from ((("columns", name, *loc), problem) for loc, problem in _column_problems(source, column))
        if names[column.field or name] > 1:
            yield ("columns", name), f"the field {column.field or name!r} fills another column too: name another"


def _written_words(columns: Mapping[str, Column], words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (column, word) for each of the words that a column has."""
    for name, column in columns.items():
        yield from ((name, word) for word in words if getattr(column, word) not in (None, False))


def _column_problems(source: Source, column: Column) -> Iterator[tuple[Loc, str]]:
    written, base = notation(source, column), column.type.removesuffix("[]")
    is_number = base in INTEGERS or base in FLOATS or base.startswith("numeric")
    for word, fits, kind in (
        ("decimal", is_number, "numbers"),
        ("thousands", is_number, "numbers"),
        ("true", base == "boolean", "booleans"),
        ("false", base == "boolean", "booleans"),
        ("time_zone", base == INSTANT, "columns of type timestamp with time zone"),
        ("allow", is_number and base not in INTEGERS, "numeric, real and double precision"),
        ("round", base.startswith("numeric("), "columns of type numeric(p,s)"),
    ):
        if getattr(column, word) is not None and (not fits or column.type.endswith("[]")):
            yield (word,), f"is for {kind}, and the column is {column.type}: take it out"
    if "infinity" in written.allow and base.startswith("numeric("):
        yield ("allow",), f"{column.type} holds no infinity: declare numeric or double precision, or take it out"
    yield from _mark_problems(column, written, base)
    if base == "boolean" and (column.true is not None or column.false is not None or column.null is not None):
        yield from boolean_problems(list(written.true) or None, list(written.false) or None, list(written.null))
    yield from _time_problems(column, written)
    if not source.header:
        for word in ("field", "optional"):
            if getattr(column, word):
                yield (word,), "without a header no field has a name: take it out, or write header: true"


def _mark_problems(column: Column, written: Notation, base: str) -> Iterator[tuple[Loc, str]]:
    """Yield what is wrong with the marks in a number; a whole number has no decimals."""
    if written.thousands != written.decimal or base in INTEGERS:
        return
    if column.thousands is not None:
        yield ("thousands",), f"{written.thousands} stands before the decimals: write another, or correct decimal"
    elif column.decimal is not None:
        yield ("decimal",), f"{written.decimal} groups digits by the word thousands: correct one of them"


def _time_problems(column: Column, written: Notation) -> Iterator[tuple[Loc, str]]:
    if not column.format:
        return
    if problem := DateFormat(column.format, column.type).problem:
        yield ("format",), problem
    elif column.type == INSTANT:
        says_offset = "Z" in column.format or column.format.startswith("epoch")
        if says_offset and column.time_zone:
            yield ("time_zone",), f"the format {column.format} says the instant by itself: take it out"
        if not says_offset and not written.time_zone:
            yield (
                ("format",),
                f"{column.format!r} has no offset: write Z where it stands, or the time_zone of the values",
            )
