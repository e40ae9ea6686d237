"""Rewrites proven records of any dialect as COPY's text format: fields reordered, left out, collected or converted.

Whole columns are handled at once, which is several times faster than record by record.
Belongs here: cutting what is proven, and writing it. Not here: the proof (proof.py), and the records that break the
rules (records.py).
"""

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

from kpi_assets.model.names import EXTRA_FIELDS
from kpi_assets.model.written import Form, RefusedError
from kpi_assets.sources.extra_fields import extra_json
from kpi_assets.sources.formats.base import UnprovenError
from kpi_assets.sources.formats.csv.grammar import Grammar
from kpi_assets.sources.formats.csv.layout import Layout
from kpi_assets.sources.formats.csv.records import RECORD_LIMIT

NULL = "\\N"
_BETWEEN = "\0"  # between values, and before those in quotes that would be NULL without them: no value holds it
_MOST_KNOWN = 50_000  # texts whose conversion is remembered
Column = Sequence[str]

# The process has one limit. A record may be as long as one field of it.
csv.field_size_limit(max(csv.field_size_limit(), RECORD_LIMIT))


class Rewriter:
    """Rewrites the records of one file."""

    def __init__(self, layout: Layout, date_style: str) -> None:
        """`date_style` is the setting of the session under which Postgres will read the result."""
        self._layout, self._count = layout, len(layout.fields)
        grammar = layout.grammar
        self._delimiter, self._quote = grammar.delimiter.decode(), grammar.quote.decode()
        self._writers = [
            (number, _writer(each.form, date_style, grammar))
            for number, each in enumerate(layout.fields)
            if each is not None
        ]
        self._keeps = layout.dialect.extra == "keep" and bool(layout.extra)
        self._null = set(layout.dialect.null)
        self.columns = [*layout.columns, *([EXTRA_FIELDS] if self._keeps else [])]
        self._cleaned = self._cleaning()
        null = {text for each in layout.fields if each is not None for text in each.form.null} | self._null
        quote = re.escape(self._quote)
        self._looks_null = null
        looks_null = "|".join(map(re.escape, sorted(null, reverse=True)))
        delimiter = re.escape(self._delimiter)
        # A text in quotes that would be NULL without them; within another text it is harmless.
        # The pattern begins with a character, not with a look-behind, so that it is searched for quickly.
        begin = f"{quote}(?<![^{delimiter}\n]{quote})"
        self._no_null = re.compile(f"{begin}({looks_null}){quote}(?=[{delimiter}\r\n])")
        self.records = 0

    def _cleaning(self) -> Callable[[str], str]:
        """Return a function that takes out comments, and doubles quotes that are escaped."""
        grammar = self._layout.grammar
        comment, escape, quote = (re.escape(each.decode()) for each in (grammar.comment, grammar.escape, grammar.quote))
        if not comment and not escape:
            return lambda text: text
        quoted = f"{quote}{grammar.body.decode()}{quote}" if quote else "(?!)"
        pattern = re.compile(f"({quoted})" + (f"|^{comment}[^\n]*\n" if comment else ""), re.MULTILINE)

        def clean(found: re.Match[str]) -> str:
            if not found[1] or not escape:
                return found[1] or ""
            value = grammar.without_quotes(found[1][1:-1].encode()).decode()
            return self._quote + value.replace(self._quote, self._quote * 2) + self._quote

        return lambda text: pattern.sub(clean, text)

    def rewrite(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the records of proven chunks in COPY's text format. Raises UnprovenError for what is no value."""
        for chunk in chunks:
            try:
                text = self._cleaned(chunk.decode())
                written = self._written(text) if text else ""
            except (UnicodeDecodeError, RefusedError):
                raise UnprovenError from None
            yield written.encode()

    def _written(self, text: str) -> str:
        columns = self._columns(text)
        found = [write(columns[number]) for number, write in self._writers]
        if self._keeps:
            found.append(self._extra(columns))
        rows = len(columns[0])
        self.records += rows
        last = len(found) - 1
        pieces = (["", "\t"] * last + ["", "\n"]) * rows
        for number, column in enumerate(found):
            pieces[2 * number :: 2 * len(found)] = column
        return "".join(pieces)

    def _columns(self, text: str) -> Sequence[Column]:
        """Return the fields of proven records, column by column."""
        if _BETWEEN in text:
            raise UnprovenError
        if self._quote and self._quote in text:
            if not self._needs_quotes(text):
                text = text.replace(self._quote, "")
            else:
                return self._read(self._no_null.sub(rf"{_BETWEEN}\g<0>", text))
        flat = text.replace("\r\n", "\n").replace("\n", self._delimiter).split(self._delimiter)
        del flat[-1]
        if len(flat) % self._count:
            raise UnprovenError
        return [flat[number :: self._count] for number in range(self._count)]

    def _needs_quotes(self, text: str) -> bool:
        """Return whether the values in quotes would not be the same without them."""
        if self._quote * 2 in text:
            return True
        inside = text.split(self._quote)[1::2]
        joined = "".join(inside)
        return self._delimiter in joined or "\n" in joined or "\r" in joined or not self._looks_null.isdisjoint(inside)

    def _read(self, text: str) -> Sequence[Column]:
        # A quote that does not begin a field is a character of its value: so a marked field keeps its quotes.
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter, quotechar=self._quote)
        try:
            columns = list(zip(*rows, strict=True)) if self._count > 1 else [[(row or [""])[0] for row in rows]]
        except (ValueError, csv.Error):
            raise UnprovenError from None  # records of another width
        if len(columns) != self._count:
            raise UnprovenError
        return columns

    def _extra(self, columns: Sequence[Column]) -> Column:
        """Return the fields that are no column as JSON."""
        names = [self._layout.names[number] for number in self._layout.extra]
        rows = zip(*(columns[number] for number in self._layout.extra), strict=True)
        return [
            _escaped(
                extra_json(
                    (name, None if value in self._null else _unmarked(value))
                    for name, value in zip(names, row, strict=True)
                )
            )
            for row in rows
        ]


def _writer(form: Form, date_style: str, grammar: Grammar) -> Callable[[Column], Column]:
    """Return a function that makes the values of a column those of COPY's text format."""
    if form.is_text:
        return _Texts(form)
    if any(map(grammar.is_special, form.alphabet or "")):
        return _Read(form)  # the proof does not know them
    if form.is_native and form.native == form.pattern and form.date_style in ("", date_style):
        if not form.translation:
            return partial(_as_they_are, frozenset(form.null))
        if form.null == ("",):
            return partial(_translated, form.translation)
    return _Read(form)


def _as_they_are(null: Collection[str], values: Column) -> Column:
    return [NULL if value in null else value for value in values]


def _translated(translation: Mapping[str, str], values: Column) -> Column:
    joined = "\n".join(values)
    for old, new in translation.items():
        joined = joined.replace(old, new)
    return [value or NULL for value in joined.split("\n")]


class _Texts:
    """Writes texts: what COPY would read as something else is escaped."""

    def __init__(self, form: Form) -> None:
        self._null = {_escaped(text) for text in form.null}

    def __call__(self, values: Column) -> Column:
        joined = _BETWEEN.join(values)
        if "\\" in joined or "\t" in joined or "\n" in joined or "\r" in joined:
            joined = _escaped(joined)
        elif joined.count(_BETWEEN) == len(values) - 1 and self._null == {""}:
            return [value or NULL for value in values]
        found = joined.split(_BETWEEN)
        if len(found) == len(values):
            return [NULL if value in self._null else value for value in found]
        return [NULL if _escaped(value) in self._null else _escaped(_unmarked(value)) for value in values]


class _Read:
    """Writes values that are read one by one; each text is read once."""

    def __init__(self, form: Form) -> None:
        self._null, self._form = set(form.null), form
        self._known: dict[str, str] = {}

    def __call__(self, values: Column) -> Column:
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        known, read = self._known, self._converted
        return [found if (found := known.get(value)) is not None else read(value) for value in values]

    def _converted(self, value: str) -> str:
        found = NULL if value in self._null else _escaped(self._form.read(_unmarked(value)))
        self._known[value] = found
        return found


def _unmarked(value: str) -> str:
    """Return the value of a field that may be marked; within a value, a mark stands where it means nothing."""
    return value[2:-1] if value.startswith(_BETWEEN) else value.replace(_BETWEEN, "")


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("\t", "\\t")
    return text.replace("\n", "\\n").replace("\r", "\\r")
