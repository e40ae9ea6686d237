"""A JSON object: its first bytes, and its records with a text for each column of the table.

Not here: where a record begins and ends (reader.py).
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any

from kpi_assets.model import excerpt
from kpi_assets.model.records import Record
from kpi_assets.model.table import Table
from kpi_assets.sources.formats.base import Instead, UnreadableError
from kpi_assets.sources.formats.json.copy_mode import Blocks, JsonCopy
from kpi_assets.sources.formats.json.layout import NESTED, NO_COLUMN, layout_of, own_letters
from kpi_assets.sources.formats.json.reader import BYTE_ORDER_MARK, JsonReader, JsonRecord
from kpi_assets.sources.formats.json.taken_out import without
from kpi_assets.sources.formats.packable import PackableObject
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.signatures import other_format

START = 64 << 10  # bytes within which the first record begins
_MARK = BYTE_ORDER_MARK.encode()
_BLANK = b" \t\n\r"


class JsonObject(PackableObject):
    """A JSON object that begins as JSON does."""

    def __init__(self, content: ObjectBytes, table: Table, load_date: date) -> None:
        super().__init__(content, table)
        self._reader: JsonReader | None = None
        self._layout = layout_of(table.dialect, load_date)
        try:
            self.problem = _start_problem(self._start(START))
        except UnreadableError as error:
            self.problem = str(error)
        if not self.problem:
            self.copy_modes = (JsonCopy(self._begin, self._layout),)

    @property
    def field_counts(self) -> Mapping[str, int]:
        """The number of readable records that have each field."""
        return {} if self._reader is None else self._reader.fields

    def _begin(self) -> tuple[Blocks, JsonReader]:
        """Begin a pass over the object."""
        blocks = self._content.read()
        self._reader = JsonReader(blocks, self._dialect.records or None, self._layout.number)
        return blocks, self._reader

    def records(self) -> Iterator[Record]:
        """Read the records one by one. The line of a record is its number."""
        _, reader = self._begin()
        for found in reader:
            yield self._record(found)

    def _without(self, gone: Collection[int], instead: Instead) -> Iterator[bytes]:
        _, reader = self._begin()
        names = {each.column: each.name for each in self._layout.filled}
        by_name = {
            number: {names[column]: value for column, value in values.items() if column in names}
            for number, values in instead.items()
        }
        return without(self._content, reader, gone, by_name, self.manifest.url)

    def read_again(self, text: str) -> Record:
        """Read a record whose text was corrected by decision."""
        try:
            found = list(JsonReader([text.encode(errors="backslashreplace")], None, self._layout.number))
        except UnreadableError as error:
            return Record(0, text, None, str(error))
        return self._record(found[0]) if len(found) == 1 else Record(0, text, None, f"it is {len(found)} records")

    def _record(self, found: JsonRecord) -> Record:
        shown = _shown(found.text)
        if found.fields is None:
            return Record(found.number, shown, None, found.problem, byte_offset=found.offset)
        texts, refusals = self._texts(found.text, found.fields)
        return Record(found.number, shown, texts, byte_offset=found.offset, refusals=refusals)

    def _texts(self, text: str, fields: Mapping[str, Any]) -> tuple[list[str | None], dict[int, str]]:
        """Return the text of each column, and the numbers of those that are a list or an object and may not be."""
        letters: dict[str, str] | None = None
        of_columns: dict[str, str | None] = {}
        refused: list[str] = []
        for each in self._layout.filled:
            value = fields.get(each.name)
            if isinstance(value, NESTED) or (each.is_json and each.text(value) is not None):
                letters = own_letters(text) if letters is None else letters
                of_columns[each.column] = letters[each.name]
                refused += [] if each.is_json else [each.column]
            else:
                of_columns[each.column] = each.text(value)
        columns = self._dialect.columns
        texts = [of_columns.get(column) for column in columns]
        texts += [text] if self._layout.has_whole else []
        texts += [self._layout.other_fields(text, fields)] if self._layout.keeps_extra else []
        return texts, {columns.index(column): NO_COLUMN for column in refused}


def _shown(text: str) -> str:
    """Return the excerpt of a record that is kept, as text that Postgres can store."""
    text = excerpt.cut(text, excerpt.RECORD).replace("\x00", "\\x00")
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _start_problem(start: bytes) -> str:
    """Return what is wrong with the first bytes of an object; empty if it may be JSON."""
    text = start.removeprefix(_MARK)
    if problem := other_format(text, "JSON"):
        return problem
    first = text.lstrip(_BLANK)[:1]
    if not first:
        return "" if len(start) == START else "it has blanks only, and no record: land it again from its source"
    if first not in b"{[":
        return "it does not begin as JSON does, with { or [: land the JSON file itself"
    return ""
