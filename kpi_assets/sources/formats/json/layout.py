"""The layout of JSON: which field of a record fills which column, and how its value becomes the text of a column.

The text is what a CSV would have: that of a string, the letters of a number, true or false. A list and an object are
values of columns of type json and jsonb alone, which get the letters that the record has.
Not here: whether a text is a value of its column (model/written.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from kpi_assets.model.dialect import Dialect, Field
from kpi_assets.model.names import EXTRA_FIELDS
from kpi_assets.model.written import MARKS, Form
from kpi_assets.sources.extra_fields import extra_json
from kpi_assets.sources.formats.json.value import Number, spans

JSON_TYPES = ("json", "jsonb")
NESTED = (dict, list)
NO_COLUMN = "a list or an object is a value of columns of type json and jsonb only: declare the column so"


@dataclass(frozen=True)
class Filled:
    """A column, and the field that fills it."""

    column: str
    name: str
    form: Form
    decimal: str  # the character before the decimals of a number, for `form`
    booleans: tuple[str, str]  # false and true, for `form`

    @property
    def is_json(self) -> bool:
        """Whether it gets the letters that the value has in the record."""
        return self.form.type in JSON_TYPES

    def text(self, value: Any) -> str | None:
        """Return the text of a value that is neither a list nor an object; None if it is NULL."""
        if value is None or value in self.form.null:
            return None
        if isinstance(value, bool):
            return self.booleans[value]
        if isinstance(value, Number) and self.decimal != ".":
            return value.replace(".", self.decimal)
        return str(value)


@dataclass(frozen=True)
class Layout:
    """What is read of the records of a table on a load_date."""

    filled: Sequence[Filled]
    columns: Sequence[str]  # of the table that are filled: those above, that of the whole record, that of other fields
    known: frozenset[str]  # the fields of `filled`
    keeps_extra: bool
    has_whole: bool

    @property
    def number(self) -> type[str]:
        """The type of the texts of numbers."""
        return Number if any(each.decimal != "." for each in self.filled) else str

    def other_fields(self, text: str, fields: Mapping[str, Any]) -> str | None:
        """Return the fields of a record that are no column as JSON; None if it has none."""
        if fields.keys() <= self.known:
            return None
        found = {name: value for name, value in fields.items() if name not in self.known}
        letters = own_letters(text) if any(isinstance(value, NESTED) for value in found.values()) else {}
        return extra_json((name, _as_text(value, letters.get(name))) for name, value in found.items())


def layout_of(dialect: Dialect, load_date: date) -> Layout:
    """Return the layout of the objects of a load_date."""
    filled = [_filled(each) for each in dialect.fields if each.since is None or each.since <= load_date]
    keeps = dialect.extra == "keep"
    more = [*([dialect.whole] if dialect.whole else []), *([EXTRA_FIELDS] if keeps else [])]
    columns = [*(each.column for each in filled), *more]
    return Layout(filled, columns, frozenset(each.name for each in filled), keeps, bool(dialect.whole))


def _filled(field: Field) -> Filled:
    return Filled(field.column, field.name, field.form, MARKS[field.decimal], field.booleans)


def own_letters(text: str) -> dict[str, str]:
    """Return the letters of the value of each field of a record."""
    return {name: text[start:end] for name, start, end in spans(text)}


def _as_text(value: Any, letters: str | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else letters
