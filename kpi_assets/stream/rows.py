"""The rows that the events of a stream become: the columns of the raw table, or the reason why an event is no row.

An event whose bytes were no JSON, a value of which is not written in a form of its column, or that lacks a value which
`not_null` of its table demands, is a bad record: one event among millions must not hold them, and a release that breaks
all events exceeds the share that may be set aside. The others are written as COPY's text format has them. Postgres may
still refuse a value; then all events are given to it one by one, as records (warehouse/quarantine.py), and the verdict
on each event is the same.

Belongs here: one event. Not here: the objects of a stream (links.py), and the forms of values (model/written.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from kpi_assets.model import excerpt
from kpi_assets.model.names import BATCH, RECEIVED_AT, STREAM_PARTITION, STREAM_POSITION, UNEXPECTED
from kpi_assets.model.records import BadRecord, Record
from kpi_assets.model.table import Table
from kpi_assets.model.written import RefusedError
from kpi_assets.sources.formats.base import UnprovenError
from kpi_assets.sources.formats.json.columns import NULL, Texts, escaped, writer_of
from kpi_assets.sources.formats.json.layout import NESTED, NO_COLUMN, Filled, layout_of, own_letters
from kpi_assets.sources.formats.json.value import scan, spans
from kpi_assets.stream.frame import Line
from kpi_assets.stream.links import Found

PIECE = 1_000  # events whose columns are written at once


class _Event(NamedTuple):
    """An event whose fields can be read; `text` is that of its value."""

    number: int
    line: Line
    fields: Mapping[str, Any]
    text: str


class _Bad(NamedTuple):
    """An event that has no fields."""

    number: int
    text: str
    why: str


@dataclass(frozen=True)
class Written:
    """The rows of some events as COPY's text format has them, how many they are, and the events that are none."""

    text: bytes
    rows: int
    bad: Sequence[BadRecord]


class EventRows:
    """Makes rows of the events of a raw table."""

    def __init__(self, table: Table, load_date: date, batch: int) -> None:
        self._table, self._batch = table, batch
        self._layout = layout_of(table.dialect, load_date)
        self._writers = [None if each.is_json else writer_of(each) for each in self._layout.filled]
        self._required = required_columns(table)
        self.newest_ms: int | None = None  # of the events of the object that was read last
        self.columns = [*self._layout.columns, STREAM_PARTITION, STREAM_POSITION, RECEIVED_AT, UNEXPECTED]

    def written(self, found: Found) -> Iterator[Written]:
        """Yield the rows of an object, piece by piece."""
        piece: list[_Event | _Bad] = []
        for event in self._events(found):
            piece.append(event)
            if len(piece) == PIECE:
                yield self._written(found, piece)
                piece = []
        if piece:
            yield self._written(found, piece)

    def records(self, found: Found) -> Iterator[Record]:
        """Yield the events of an object one by one, each with a text for every column of the table, or its problem."""
        for event in self._events(found):
            if isinstance(event, _Bad):
                yield Record(event.number, event.text, None, event.why, event.number, found.link.key)
                continue
            texts, refusals = self._texts(event)
            if lacking := self._lacking(texts):
                why, shown = _is_lacking(lacking), excerpt.cut(_value_text(event.text), excerpt.RECORD)
                yield Record(event.number, shown, None, why, event.number, found.link.key)
                continue
            of_columns = {**texts, **self._place(found, event), BATCH: str(self._batch)}
            yield Record(
                event.number,
                excerpt.cut(_value_text(event.text), excerpt.RECORD),
                [of_columns[name] for name in self._table.types],
                position=event.number,
                object_key=found.link.key,
                refusals=refusals,
            )

    def _events(self, found: Found) -> Iterator[_Event | _Bad]:
        self.newest_ms = None
        for number, line in enumerate(found.lines(), start=1):
            text = line.text.decode()
            self.newest_ms = line.time_ms if self.newest_ms is None else max(self.newest_ms, line.time_ms)
            try:
                said, _ = scan(text, 0)
            except (StopIteration, ValueError, RecursionError) as error:
                yield _Bad(number, excerpt.cut(_value_text(text), excerpt.RECORD), f"it cannot be read: {error}")
                continue
            if "v" in said:
                yield _Event(number, line, said["v"], text)
            else:
                bytes_sent = said.get("bad") or said.get("bad64") or ""
                yield _Bad(number, excerpt.cut(bytes_sent, excerpt.RECORD), str(said.get("why")))

    def _written(self, found: Found, piece: Sequence[_Event | _Bad]) -> Written:
        bad = [_bad_record(each, found) for each in piece if isinstance(each, _Bad)]
        events = [each for each in piece if isinstance(each, _Event)]
        try:
            columns = [
                self._letters(events, filled) if write is None else write(_values(events, filled.name))
                for filled, write in zip(self._layout.filled, self._writers, strict=True)
            ]
        except UnprovenError:
            return self._one_by_one(found, events, bad)
        if any(NULL in columns[self._layout.columns.index(name)] for name in self._required):
            return self._one_by_one(found, events, bad)
        places = [self._place(found, each) for each in events]
        columns += [_escaped_or_null(place[name] for place in places) for name in self.columns[-4:]]
        text = "".join(f"{row}\n" for row in map("\t".join, zip(*columns, strict=True)))
        return Written(text.encode(), len(events), bad)

    def _one_by_one(self, found: Found, events: Sequence[_Event], bad: list[BadRecord]) -> Written:
        """Write the rows of events of which some are none."""
        rows = []
        for event in events:
            texts, refusals = self._texts(event)
            if lacking := self._lacking(texts):
                bad.append(_refused(event, found, lacking, None, _is_lacking(lacking)))
                continue
            read: dict[str, str | None] = {}
            for number, filled in enumerate(self._layout.filled):
                text = texts[filled.column]
                try:
                    if number in refusals:
                        raise RefusedError(refusals[number])
                    read[filled.column] = text if text is None else filled.form.read(text)
                except RefusedError as error:
                    bad.append(_refused(event, found, filled.column, text, str(error)))
                    break
            else:
                of_columns = {**read, **self._place(found, event)}
                rows.append("\t".join(_escaped_or_null(of_columns[name] for name in self.columns)))
        return Written("".join(f"{row}\n" for row in rows).encode(), len(rows), bad)

    def _lacking(self, texts: Mapping[str, str | None]) -> str:
        """Return the first column without a value that must have one; empty if there is none."""
        return next((name for name in self._required if texts[name] is None), "")

    def _texts(self, event: _Event) -> tuple[dict[str, str | None], dict[int, str]]:
        """Return the text of each declared column, and the numbers of those that are a list or an object in vain."""
        texts: dict[str, str | None] = {}
        refusals: dict[int, str] = {}
        for number, filled in enumerate(self._layout.filled):
            value = event.fields.get(filled.name)
            if isinstance(value, NESTED) or (filled.is_json and filled.text(value) is not None):
                texts[filled.column] = own_letters(_value_text(event.text))[filled.name]
                if not filled.is_json:
                    refusals[number] = NO_COLUMN
            else:
                texts[filled.column] = filled.text(value)
        return texts, refusals

    def _letters(self, events: Sequence[_Event], filled: Filled) -> Texts:
        found = []
        for event in events:
            value = event.fields.get(filled.name)
            is_null = value is None or (isinstance(value, str) and value in filled.form.null)
            found.append(None if is_null else own_letters(_value_text(event.text))[filled.name])
        return _escaped_or_null(found)

    def _place(self, found: Found, event: _Event) -> dict[str, str | None]:
        """Return the columns that every raw table of a stream has."""
        return {
            STREAM_PARTITION: str(found.link.partition),
            STREAM_POSITION: str(event.line.position),
            RECEIVED_AT: event.line.time.isoformat(),
            UNEXPECTED: self._unexpected(event),
        }

    def _unexpected(self, event: _Event) -> str | None:
        """Return the fields of an event that are no column, as JSON with their own letters; None if it has none."""
        if event.fields.keys() <= self._layout.known:
            return None
        value = _value_text(event.text)
        # The names are copied with their escapes, and so is the value of each.
        parts = [value[begins:end] for name, begins, end in _pairs(value) if name not in self._layout.known]
        return "{" + ",".join(parts) + "}"


def _pairs(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (name, start, end) of each field of an object, from the quote of its name to the end of its value."""
    last = text.index("{") + 1
    for name, _, end in spans(text):
        begins = text.index('"', last)
        yield name, begins, end
        last = end


def _value_text(line: str) -> str:
    """Return the letters of the event in a line; the line itself if it has none.

    The event is what comes last. Before it comes the key at most, in which every quote has a backslash.
    """
    _, found, value = line.partition(',"v":')
    return value[:-1] if found else line


def _values(events: Sequence[_Event], name: str) -> list[Any]:
    return [event.fields.get(name) for event in events]


def _escaped_or_null(texts: Iterable[str | None]) -> Texts:
    return [NULL if text is None else escaped([text])[0] for text in texts]


def required_columns(table: Table) -> list[str]:
    """Return the columns of which an event of a raw table must have a value."""
    is_gate = any(check.name == "not_null" and check.blocking for check in table.checks)
    # The words of checks become fields when the program runs, so that mypy knows none of them.
    declared: list[str] = getattr(table.header.checks, "not_null", None) or []
    return [name for name in declared if name in table.dialect.columns] if is_gate else []


def _is_lacking(column: str) -> str:
    return f"it has no value for {column}, and not_null of its table demands one"


def _refused(event: _Event, found: Found, column: str, value: str | None, why: str) -> BadRecord:
    shown = excerpt.cut(_value_text(event.text), excerpt.RECORD)
    cut = value if value is None else excerpt.cut(value)
    return BadRecord(event.number, shown, column, cut, excerpt.cut(why), object_key=found.link.key)


def _bad_record(event: _Bad, found: Found) -> BadRecord:
    return BadRecord(event.number, event.text, None, None, excerpt.cut(event.why), object_key=found.link.key)
