"""Reading and proving the records of CSV files in tests, without a table: columns, and words of a dialect."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kpi_assets.model.dialect import Dialect, Field
from kpi_assets.model.records import Record
from kpi_assets.model.written import form_of
from kpi_assets.sources.formats.base import UnprovenError
from kpi_assets.sources.formats.csv.grammar import Grammar
from kpi_assets.sources.formats.csv.layout import Layout, layout_of
from kpi_assets.sources.formats.csv.proof import FieldProof, Proof
from kpi_assets.sources.formats.csv.records import read_records
from kpi_assets_tests.pipeline_harness import DAY

Types = Mapping[str, str]


def dialect(columns: Types | Sequence[str], **words: Any) -> Dialect:
    """Return the dialect of a file with these columns, which are texts unless they have types."""
    types = columns if isinstance(columns, Mapping) else dict.fromkeys(columns, "text")
    return Dialect(tuple(Field(name, name, form_of(type_)) for name, type_ in types.items()), **words)


def header_problem(start: bytes, columns: Sequence[str], **words: Any) -> str:
    """Return what is wrong with the first bytes of a file."""
    return layout_of(start, dialect(columns, **words), DAY).problem


def without_first_line(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks without their first line, which is the header."""
    is_found = False
    for block in blocks:
        found = -1 if is_found else block.find(b"\n")
        if is_found or found >= 0:
            yield block if is_found else block[found + 1 :]
            is_found = True


def records_of(blocks: Iterable[bytes], columns: Sequence[str], **words: Any) -> Iterator[Record]:
    """Yield the records of a file whose first line is its header."""
    declared = dialect(columns, **words)
    layout = Layout(declared, "", list(columns), declared.fields, 0, 2, Grammar.of(declared))
    return read_records(without_first_line(blocks), layout)


def proven(types: Types, blocks: Iterable[bytes], *, header: bool = True, **words: Any) -> Iterator[bytes]:
    """Yield the blocks of a file with its header after proving its records. Raises UnprovenError."""
    declared = dialect(types, **words)
    fields = [FieldProof.of(each.form, Grammar.of(declared), native=True) for each in declared.fields]
    proof = Proof(fields, list(types), Grammar.of(declared))
    if not header:
        yield from proof.watch(blocks)
        return
    whole = list(blocks)
    first, end, _ = b"".join(whole).partition(b"\n")
    if layout_of(first, replace(declared, extra="hold"), DAY).names != list(types):
        raise UnprovenError
    yield first + end
    yield from proof.watch(without_first_line(whole))
