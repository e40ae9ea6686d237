"""Two formats that exist only in tests: COPY loads one, also in slices; the other is read record by record.

They are as short as a format can be: the values of the first are checked one by one, and nothing is optimized.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from kpi_assets.model import written
from kpi_assets.model.format_kinds import FormatKind
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.records import Record
from kpi_assets.model.table import Table
from kpi_assets.sources.formats.base import (
    NO_SETTINGS,
    CopyMode,
    Cut,
    Format,
    ModeMismatchError,
    OpenObject,
    UnprovenError,
)
from kpi_assets.sources.object_bytes import ByteRead, ObjectBytes
from kpi_assets.sources.signatures import other_format
from kpi_assets.sources.store import Store


def lines(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of an object without their ends."""
    for line in b"".join(blocks).splitlines():
        yield line.decode()


@dataclass
class PipeCopy(CopyMode):
    """Loads by COPY's text format, in which a backslash is special."""

    opened: "PipeObject"

    def stream(self, start: int, end: int) -> "PipeStream":
        return PipeStream(self.opened, self.opened.bytes.read(start, end))


@dataclass
class PipeStream:
    """Yields the bytes unchanged, a line at a time."""

    opened: "PipeObject"
    read: ByteRead
    records: int = 0
    options: str = "format text, delimiter '|', null ''"
    settings = NO_SETTINGS

    def __iter__(self) -> Iterator[bytes]:
        types = list(self.opened.types.values())
        for line in lines(self.read):
            if "\\" in line:
                raise ModeMismatchError
            fields = zip(types, line.split("|"), strict=False)
            if any(value and written.problem(type_, value) for type_, value in fields):
                raise UnprovenError
            self.records += 1
            yield line.encode() + b"\n"

    @property
    def columns(self) -> list[str]:
        return list(self.opened.types)

    @property
    def done(self) -> int:
        return self.read.done

    @property
    def waited(self) -> float:
        return self.read.waited


class PipeObject(OpenObject):
    """Fields separated by pipes, one record a line, no header; an empty field is NULL."""

    def __init__(self, content: ObjectBytes, table: Table) -> None:
        super().__init__(content)
        self.types = table.types
        self.copy_modes = (PipeCopy(self),)
        count = content.head(1 << 20).split(b"\n")[0].count(b"|") + 1
        if count != len(self.types):
            self.problem = f"its first line has {count} fields, not {len(self.types)}"

    def may_be_cut_off(self) -> bool:
        return self.bytes.head(1, self.size - 1) != b"\n"

    def find_cuts(self, key: str, count: int) -> list[Cut] | None:
        body, column = self.bytes.head(self.size), list(self.types).index(key)
        starts, keys = [0], []
        for line in body.splitlines(keepends=True):
            keys.append(int(line.split(b"|")[column]))
            starts.append(starts[-1] + len(line))
        numbers = [len(keys) * part // count for part in range(1, count)]
        return [(starts[number], keys[number]) for number in numbers]

    def records(self) -> Iterator[Record]:
        for number, line in enumerate(lines(self.bytes.read()), start=1):
            fields = [value or None for value in line.split("|")]
            if len(fields) == len(self.types):
                yield Record(number, line, fields)
            else:
                yield Record(
                    number, line, None, f"it has {len(fields)} field{'s' * (len(fields) != 1)}, not {len(self.types)}"
                )


class Pipes(Format):
    """The format of PipeObject."""

    kind = FormatKind("pipes", "text/x-pipes", "Its first line has as many fields as columns.", ends_with_line_end=True)

    def open(self, store: Store, manifest: Manifest, table: Table, load_date: date) -> PipeObject:
        return PipeObject(ObjectBytes(store, manifest), table)


class JsonLinesObject(OpenObject):
    """One flat JSON object a line, whose fields are found by name."""

    def __init__(self, content: ObjectBytes, table: Table) -> None:
        super().__init__(content)
        start = content.head(1 << 20)
        self._columns = table.columns
        self.problem = other_format(start, "JSON") or ("" if start.startswith(b"{") else "its first line is no object")

    def records(self) -> Iterator[Record]:
        for number, line in enumerate(lines(self.bytes.read()), start=1):
            try:
                values: dict[str, Any] = json.loads(line, parse_float=str, parse_int=str)
            except ValueError:
                yield Record(number, line, None, "it is no JSON")
                continue
            yield Record(number, line, [values.get(name) for name in self._columns])


class JsonLines(Format):
    """The format of JsonLinesObject."""

    kind = FormatKind("jsonl", "application/jsonl", "Its first line is an object.", ends_with_line_end=False)

    def open(self, store: Store, manifest: Manifest, table: Table, load_date: date) -> JsonLinesObject:
        return JsonLinesObject(ObjectBytes(store, manifest), table)


OTHER_FORMATS: tuple[Format, ...] = (Pipes(), JsonLines())
