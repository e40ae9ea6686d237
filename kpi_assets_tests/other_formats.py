"""Two formats that exist only in tests: COPY loads one, also in slices; the other is read record by record.

They are as short as a format can be: the values of the first are checked one by one, and nothing is optimized.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kpi_assets.model import written
from kpi_assets.model.format_kinds import FormatKind
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.records import Record
from kpi_assets.sources.formats.base import CopyMode, Cut, Format, ModeMismatchError, Types, UnprovenError
from kpi_assets.sources.signatures import other_format
from kpi_assets.sources.store import Store


def lines(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of an object without their ends."""
    for line in b"".join(blocks).splitlines():
        yield line.decode()


class PipeCopy(CopyMode):
    """Loads by COPY's text format, in which a backslash is special."""

    def options(self, *, at_start: bool) -> str:
        return "format text, delimiter '|', null ''"

    def stream(self, blocks: Iterable[bytes], types: Types, *, at_start: bool) -> "PipeStream":
        return PipeStream(blocks, list(types.values()))


@dataclass
class PipeStream:
    """Yields the bytes unchanged, a line at a time."""

    blocks: Iterable[bytes]
    types: list[str]
    records: int = 0

    def __iter__(self) -> Iterator[bytes]:
        for line in lines(self.blocks):
            if "\\" in line:
                raise ModeMismatchError
            fields = zip(self.types, line.split("|"), strict=False)
            if any(value and written.problem(type_, value) for type_, value in fields):
                raise UnprovenError
            self.records += 1
            yield line.encode() + b"\n"


class Pipes(Format):
    """Fields separated by pipes, one record a line, no header; an empty field is NULL."""

    kind = FormatKind("pipes", "text/x-pipes", "Its first line has as many fields as columns.", ends_with_line_end=True)
    copy_modes = (PipeCopy(),)

    def check_start(self, start: bytes, types: Types) -> str:
        count = start.split(b"\n")[0].count(b"|") + 1
        return "" if count == len(types) else f"its first line has {count} fields, not {len(types)}"

    def find_cuts(self, store: Store, manifest: Manifest, column: int, count: int) -> list[Cut] | None:
        body = store.head(manifest, manifest.size_bytes)
        starts, keys = [0], []
        for line in body.splitlines(keepends=True):
            keys.append(int(line.split(b"|")[column]))
            starts.append(starts[-1] + len(line))
        numbers = [len(keys) * part // count for part in range(1, count)]
        return [(starts[number], keys[number]) for number in numbers]

    def records(self, blocks: Iterable[bytes], types: Types) -> Iterator[Record]:
        for number, line in enumerate(lines(blocks), start=1):
            fields = [value or None for value in line.split("|")]
            if len(fields) == len(types):
                yield Record(number, line, fields)
            else:
                yield Record(number, line, None, f"it has {len(fields)} fields, not {len(types)}")


class JsonLines(Format):
    """One flat JSON object a line, whose fields are found by name."""

    kind = FormatKind("jsonl", "application/jsonl", "Its first line is an object.", ends_with_line_end=False)

    def check_start(self, start: bytes, types: Types) -> str:
        return other_format(start, "JSON") or ("" if start.startswith(b"{") else "its first line is no object")

    def records(self, blocks: Iterable[bytes], types: Types) -> Iterator[Record]:
        for number, line in enumerate(lines(blocks), start=1):
            try:
                values: dict[str, Any] = json.loads(line, parse_float=str, parse_int=str)
            except ValueError:
                yield Record(number, line, None, "it is no JSON")
                continue
            yield Record(number, line, [values.get(name) for name in types])


OTHER_FORMATS: tuple[Format, ...] = (Pipes(), JsonLines())
