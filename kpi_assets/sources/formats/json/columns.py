"""Writes a column of many records at once, as COPY's text format has it, and proves that its values are in its form.

Belongs here: proving and writing texts. Not here: the forms (model/written.py), and the records whose values have
another form (object.py).
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from kpi_assets.model.written import Form, RefusedError
from kpi_assets.sources.formats.base import UnprovenError
from kpi_assets.sources.formats.json.layout import NESTED, Filled

NULL = "\\N"
_TEXT_OR_NULL = {str, type(None)}  # types of values that are their own text: a Number may get another decimal mark
_BETWEEN = "\0"  # no value of a record holds it
_MOST_KNOWN = 20_000  # texts of a column that are remembered
Texts = list[str]


def writer_of(filled: Filled) -> "Writer":
    """Return the writer of a column that is not of type json or jsonb."""
    form = filled.form
    if form.is_text and form.pattern is None:
        return Writer(filled, escaped)
    is_plain = form.convert is None and form.native == form.pattern and not form.translation
    if form.pattern is None or not is_plain or form.type.endswith("[]"):
        return Writer(filled, _Read(form))
    return Writer(filled, _Proven(form.pattern))


class Writer:
    """Writes the values of one column."""

    def __init__(self, filled: Filled, write: Callable[[Texts], Texts]) -> None:
        """`write` proves and writes texts that are not NULL."""
        self._filled, self._write, self._null = filled, write, set(filled.form.null)

    def __call__(self, values: Sequence[Any]) -> Texts:
        """Return the values as COPY's text format has them. Raises UnprovenError."""
        types = set(map(type, values))
        texts: Sequence[str | None] = values
        if not types <= _TEXT_OR_NULL:
            if not types.isdisjoint(NESTED):
                raise UnprovenError
            texts = [self._filled.text(value) for value in values]
        elif self._null:
            texts = [None if value in self._null else value for value in values]
        known = [text for text in texts if text is not None]
        if len(known) == len(texts):
            return self._write(known)
        written = iter(self._write(known))
        return [NULL if text is None else next(written) for text in texts]


def escaped(texts: Texts) -> Texts:
    """Return texts of any letters as COPY's text format has them."""
    joined = _BETWEEN.join(texts)
    if "\\" not in joined and "\n" not in joined and "\t" not in joined and "\r" not in joined:
        return texts
    joined = joined.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return joined.split(_BETWEEN) if texts else []


class _Proven:
    """Proves texts by a pattern; they need no other letters. Texts that recur are proven once."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(f"(?:(?:{pattern})\n)*")
        self._known: set[str] = set()
        self._do_recur = True

    def __call__(self, texts: Texts) -> Texts:
        if self._do_recur:
            new = list(set(texts).difference(self._known))
            self._do_recur = 2 * len(new) < len(texts) or len(self._known) < len(texts)
            if len(self._known) < _MOST_KNOWN:
                self._prove(new)
                self._known.update(new)
                return texts
        else:
            new = texts
        self._prove(new)
        return texts

    def _prove(self, texts: Texts) -> None:
        joined = "\n".join([*texts, ""])
        # A text with a line end would be proven as two.
        if joined.count("\n") != len(texts) or not self._pattern.fullmatch(joined):
            raise UnprovenError


class _Read:
    """Reads texts one by one; each is read once."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._known: dict[str, str] = {}

    def __call__(self, texts: Texts) -> Texts:
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        known, read = self._known, self._read
        return [found if (found := known.get(text)) is not None else read(text) for text in texts]

    def _read(self, text: str) -> str:
        try:
            [found] = escaped([self._form.read(text)])
        except RefusedError:
            raise UnprovenError from None
        self._known[text] = found
        return found
