"""Raw CSV on an engine: Spark SQL that reads the lines of one object as the reader of records does, or sets them aside.

The engine's own reader of CSV is not used: it replaces bytes that are not UTF-8, and loses records of another width.
Here a line is a record, its fields are cut by the grammar of the dialect, and each value must match the written form of
its type before it is cast. What does not is fetched as bytes, and the reader of records says why it is refused. An
object in which a quote may be closed on a later line is refused: no line of it tells where its records begin.

The number of a line is that of the lines of the blocks before its own, and its place in its block: an engine reads each
block of an object in one piece, from its beginning. `Counted` proves that for the object at hand.
Belongs here: text of statements, and what their answers mean. Not here: sessions, writing rows to a table, words of a
header that are refused before (model/portable/raw_words.py), and the written forms of one type (raw_values.py).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from kpi_assets.lake import object_names
from kpi_assets.lake.raw_values import byte_of, constant, in_texts, pattern, read
from kpi_assets.lake.sql_text import quoted
from kpi_assets.model.dialect import notation
from kpi_assets.model.portable.types import declared
from kpi_assets.model.records import Record
from kpi_assets.model.table import Table
from kpi_assets.model.written import Form
from kpi_assets.sources.formats.csv.layout import Layout
from kpi_assets.sources.formats.csv.records import RECORD_LIMIT, read_records

# Into how many blocks an object is cut depends on its size alone, so that each scan cuts it in the same way.
SETTINGS: Mapping[str, str] = {"spark.sql.files.minPartitionNum": "64"}
_PLACE = 33  # the bits of monotonically_increasing_id() for the place in a partition
_PACKED = re.compile(r"\.(gz|bz2|zst|lz4|snappy|deflate|xz)")  # by which an engine unpacks whatever they end
# An engine moves a condition to where the lines are read, and would cut each line anew for every column that it needs,
# unless what decides stands beside a value that may differ each time.
_BARRIER = "each_once"
_MARK = 3  # bytes of a byte order mark


class Counted(NamedTuple):
    """What the engine counted of one object; places are (block, place in it), each None if there is no such line."""

    lines: int
    octets: int  # without line ends
    joined: int  # lines that hold a line end
    misplaced: int  # blocks whose lines are not numbered from their beginning
    first_block: int  # lines of the block in which the object begins
    records: int
    bad: int
    opened: tuple[int, int] | None  # the first line whose last quote is not closed
    quoted: tuple[int, int] | None  # the last line with a quote

    @classmethod
    def of(cls, row: Iterable[int | None]) -> "Counted":
        """Return what the row of `RawText.count` says."""
        *numbers, block, place, last_block, last_place = row
        lines, octets, joined, misplaced, first_block, records, bad = (number or 0 for number in numbers)
        opened = None if block is None or place is None else (block, place)
        quoted = None if last_block is None or last_place is None else (last_block, last_place)
        return cls(lines, octets, joined, misplaced, first_block, records, bad, opened, quoted)


@dataclass(frozen=True)
class RawText:
    """One CSV object of a table, whose first lines were compared with the columns."""

    table: Table
    layout: Layout
    path: str  # as the engine names the object
    object_key: str
    size: int  # bytes
    is_marked: bool  # whether it begins with a byte order mark

    def refusal(self) -> str:
        """Return why an engine cannot read an object of this name; empty if it can."""
        if found := object_names.problem(self.object_key):
            return found
        if _PACKED.search(self.object_key.rpartition("/")[2]):
            return "an engine takes an object of this name for a packed one: land it under another name"
        return ""

    def problem(self, counted: Counted) -> str:
        """Return why no record can be loaded; empty if all lines were read and each is a record."""
        read_bytes = counted.octets + counted.lines + _MARK * self.is_marked
        if read_bytes - self.size not in ((0, 1) if counted.lines else (0,)) or counted.joined:
            return (
                f"the engine read {read_bytes:,} bytes in {counted.lines:,} lines, and the object has {self.size:,} "
                "bytes: build it again"
            )
        if counted.misplaced or (counted.lines and counted.first_block < min(self._above, counted.lines)):
            return "the engine read its lines in another order than they stand: build it again"
        if counted.opened is not None and counted.quoted is not None and counted.opened < counted.quoted:
            return (
                "a value in quotes has a line end, or a quote is not closed, and an engine reads line by line: deliver "
                "it as Parquet, or without line ends in values, or leave the table to Postgres"
            )
        return ""

    @property
    def _above(self) -> int:
        """The lines above the first record."""
        return self.layout.line - 1

    def count(self) -> str:
        """Return the SELECT of one row for `Counted.of`."""
        quote = self._quote
        has_quote = f"instr(value, {quote}) > 0" if quote else "false"
        is_open = f"is_record and not is_good and t rlike {pattern(self._open)}" if quote else "false"
        record = "count_if(is_record) as records, count_if(is_record and not is_good) as bad"
        blocks = (
            "select block, count(*) as n, sum(octet_length(value)) as octets, "
            f"count_if(instr(value, chr(10)) > 0) as joined, min(place) as first, max(place) as last, {record}, "
            f"min(case when {is_open} then struct(block, place) end) as opened, "
            f"max(case when {has_quote} then struct(block, place) end) as quoted from ({self._judged}) group by block"
        )
        together = (
            "select sum(n), sum(octets), sum(joined), count_if(first <> 0 or last <> n - 1), min_by(n, block), "
            f"sum(records), sum(bad), min(opened) as opened, max(quoted) as quoted from ({blocks})"
        )
        return f"select * except (opened, quoted), opened.*, quoted.* from ({together})"

    def rows(self) -> str:
        """Return the SELECT of the readable records: the columns of the table in order, in the types of the engine."""
        source = self.table.source
        columns = []
        for name, type_ in self.table.types.items():
            found = _typed(name)
            if name == source.object_key:
                found = constant(self.object_key)
            elif name == source.position:
                found = f"before + place + 1 - {self._above}"
            to = declared(type_)
            assert to is not None, "the pipeline was refused"
            columns.append(f"cast({found} as {to.on('spark').sql('spark')}) as {quoted(name)}")
        lines = self._numbered if source.position else f"({self._judged})"
        return f"select {', '.join(columns)} from {lines} where is_record and is_good and {_BARRIER} >= 0"

    def bad(self, most: int) -> str:
        """Return the SELECT of the first unreadable records, in order: the number of the line, and its bytes."""
        return (
            f"select before + place + 1 as line, substring(cast(value as binary), 1, {RECORD_LIMIT + 1}) as record "
            f"from {self._numbered} where is_record and not is_good and {_BARRIER} >= 0 order by line limit {most}"
        )

    def records(self, rows: Iterable[tuple[int, bytes]]) -> Iterator[Record]:
        """Read the rows of `bad` as the reader of records does: each with its fields, or with its problem."""
        for line, record in rows:
            [found] = read_records(iter([bytes(record), b"\n"]), self.layout)
            yield replace(found, line=line)

    # ---- lines

    @cached_property
    def _lines(self) -> str:
        """Every line, with its block and its place in it."""
        return (
            "select value, _metadata.file_block_start as block, "
            f"monotonically_increasing_id() & {(1 << _PLACE) - 1} as place "
            f"from text.{quoted(self.path)} with ('lineSep' = '\n')"
        )

    @property
    def _numbered(self) -> str:
        """The judged lines, with the number of lines before their block."""
        counts = f"select block as of_block, count(*) as n from ({self._lines}) group by block"
        before = f"select of_block, sum(n) over (order by of_block) - n as before from ({counts})"
        return f"({self._judged}) inner join ({before}) on of_block = block"

    @cached_property
    def _judged(self) -> str:
        """Every line with whether it is a record, whether that is readable, and the value of each column."""
        comment = self.layout.grammar.comment.decode()
        is_record = f"not (block = 0 and place < {self._above})"
        if comment:
            is_record += f" and not startswith(value, {constant(comment)})"
        # Bytes that are not UTF-8 are one character each: then the grammar is that of bytes, as it is for the reader.
        text = "case when is_valid_utf8(value) then value else decode(cast(value as binary), 'ISO-8859-1') end"
        lines = f"select *, {is_record} as is_record, {text} as u from ({self._lines})"
        ended = "case when endswith(u, chr(13)) then substring(u, 1, length(u) - 1) else u end"
        cut = f"select *, {self._cut} as f from (select *, {ended} as t from ({lines}))"
        texts = ", ".join(f"{text} as {_text(name)}" for name, text in self._texts.items())
        typed = ", ".join(f"{self._read(name)} as {_typed(name)}" for name in self._texts)
        values = f"select *, {typed} from (select *, {texts} from ({cut}))"
        return f"select *, {self._is_good} as is_good, monotonically_increasing_id() as {_BARRIER} from ({values})"

    @cached_property
    def _forms(self) -> dict[str, Form]:
        return {each.column: each.form for each in self.table.dialect.fields}

    def _read(self, name: str) -> str:
        """The value of a column, from its text."""
        return read(self._forms[name], notation(self.table.source, self.table.header.columns[name]), _text(name))

    @cached_property
    def _texts(self) -> dict[str, str]:
        """The text of each column, or NULL."""
        numbers = {each.column: number for number, each in enumerate(self.layout.fields) if each is not None}
        found = {}
        for name, form in self._forms.items():
            if name not in numbers:
                found[name] = "cast(null as string)"
                continue
            field = f"get(f, {numbers[name]})"
            # A text with a quote stands in quotes, and so it is not NULL.
            quote = self.layout.grammar.quote.decode()
            null = [text for text in form.null if not (quote and quote in text)]
            found[name] = f"case when not {in_texts(field, null)} then {self._unquoted(field)} end"
        return found

    @property
    def _is_good(self) -> str:
        """Whether a line is a readable record."""
        proven = [
            f"octet_length(value) < {RECORD_LIMIT}",
            "is_valid_utf8(value)",
            "instr(value, chr(0)) = 0",
            "f is not null",
            f"size(f) = {len(self.layout.fields)}",
            *(
                f"({_text(name)} is null or {_typed(name)} is not null)"
                for name, form in self._forms.items()
                if not (form.is_text and form.pattern is None)
            ),
        ]
        if self.layout.dialect.header:
            again = (
                f"{self._unquoted(f'get(f, {number})')} in ({', '.join(map(constant, names))})"
                for number, names in enumerate(self._header)
            )
            proven.append(f"not ({' and '.join(again)})")
        return " and ".join(f"coalesce({each}, false)" for each in proven)

    @property
    def _header(self) -> Iterator[tuple[str, ...]]:
        """The names of the fields, as a record that repeats the header may have them."""
        for number, name in enumerate(self.layout.names):
            yield (name,) if number else (name, "\ufeff" + name)

    # ---- the grammar

    @cached_property
    def _quote(self) -> str:
        """The quote as SQL; empty if the dialect has none."""
        return constant(self.layout.grammar.quote.decode()) if self.layout.grammar.quote else ""

    @cached_property
    def _body(self) -> str:
        """The pattern of a text between quotes; no repetition goes back, so that none is deep."""
        quote, escape = map(byte_of, (self.layout.grammar.quote, self.layout.grammar.escape))
        if escape:
            return rf"[^{quote}{escape}]*+(?:{escape}(?s:.)[^{quote}{escape}]*+)*+"
        return rf"[^{quote}]*+(?:{quote}{quote}[^{quote}]*+)*+"

    @cached_property
    def _field(self) -> str:
        """The pattern of a field."""
        delimiter, quote = map(byte_of, (self.layout.grammar.delimiter, self.layout.grammar.quote))
        return rf"(?:{quote}{self._body}{quote}|[^{delimiter}{quote}\x0d]*+)"

    @property
    def _open(self) -> str:
        """The pattern of a line whose last field has a quote that is not closed."""
        delimiter, quote = map(byte_of, (self.layout.grammar.delimiter, self.layout.grammar.quote))
        escape = byte_of(self.layout.grammar.escape)
        # An escape at the very end has nothing to escape on this line.
        return rf"\A(?:{self._field}{delimiter})*+{quote}{self._body}{escape and f'{escape}?'}\z"

    @property
    def _cut(self) -> str:
        """The fields of a line as they stand there; NULL if it breaks the grammar."""
        delimiter = byte_of(self.layout.grammar.delimiter)
        plain = f"case when instr(t, chr(13)) = 0 then split(t, {pattern(delimiter)}, -1) end"
        if not self._quote:
            return plain
        whole = rf"\A{self._field}(?:{delimiter}{self._field})*+\z"
        each = f"regexp_extract_all(concat({constant(self.layout.grammar.delimiter.decode())}, t), "
        each += f"{pattern(f'{delimiter}({self._field})')}, 1)"
        return f"case when instr(t, {self._quote}) = 0 then {plain} when t rlike {pattern(whole)} then {each} end"

    def _unquoted(self, field: str) -> str:
        """Return SQL for the value of a field that may stand in quotes."""
        if not self._quote:
            return field
        grammar = self.layout.grammar
        inner = f"substring({field}, 2, length({field}) - 2)"
        quote = grammar.quote.decode()
        if grammar.escape:
            letters = f"{byte_of(grammar.escape)}([{byte_of(grammar.escape)}{byte_of(grammar.quote)}])"
            value = f"regexp_replace({inner}, {pattern(letters)}, {constant('$1')})"
        else:
            value = f"replace({inner}, {constant(quote * 2)}, {constant(quote)})"
        return f"case when startswith({field}, {self._quote}) then {value} else {field} end"


def _text(column: str) -> str:
    return quoted(f"text of {column}")


def _typed(column: str) -> str:
    return quoted(f"value of {column}")
