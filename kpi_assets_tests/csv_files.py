"""Reading and proving the records of CSV files in tests, without a table: columns, and words of a dialect."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kpi_assets.model.dialect import Dialect, Field
from kpi_assets.model.records import Record
from kpi_assets.model.written import form_of
from kpi_assets.sources.formats.base import UnprovenError
from kpi_assets.sources.formats.csv.grammar import Grammar
from kpi_assets.sources.formats.csv.layout import Layout, layout_of
from kpi_assets.sources.formats.csv.proof import FieldProof, Proof
from kpi_assets.sources.formats.csv.records import GrammarError, cut_record, read_records
from kpi_assets_tests.pipeline_harness import DAY

Types = Mapping[str, str]


def dialect(columns: Types | Sequence[str], **words: Any) -> Dialect:
    """Return the dialect of a file with these columns, which are texts unless they have types."""
    types = columns if isinstance(columns, Mapping) else dict.fromkeys(columns, "text")
    return Dialect(tuple(Field(name, name, form_of(type_)) for name, type_ in types.items()), **words)


def header_problem(start: bytes, columns: Sequence[str], **words: Any) -> str:
    """Return what is wrong with the first bytes of a file."""
    return layout_of(start, dialect(columns, **words), DAY).problem


def without_header(blocks: Iterable[bytes]) -> tuple[Iterable[bytes], int]:
    """Return the blocks without their first record, or without their first line if it is no record, and its lines."""
    whole = list(blocks)
    data = b"".join(whole)
    try:
        end = cut_record(data)[1]
    except GrammarError:
        end = data.find(b"\n") + 1
    left, found = end, []
    for block in whole:
        found.append(block[left:])
        left = max(left - len(block), 0)
    return found, max(data.count(b"\n", 0, end), 1)


def _without_line(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks, as they are asked for, without the first line of the first one."""
    coming = iter(blocks)
    yield next(coming).partition(b"\n")[2]
    yield from coming


def records_of(blocks: Iterable[bytes], columns: Sequence[str], **words: Any) -> Iterator[Record]:
    """Yield the records of a file whose first line is its header."""
    declared = dialect(columns, **words)
    rest, lines = without_header(blocks) if isinstance(blocks, list) else (_without_line(blocks), 1)
    return read_records(rest, Layout(declared, "", list(columns), declared.fields, 0, 1 + lines, Grammar.of(declared)))


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
    if layout_of(first, declared, DAY).names != list(types):
        raise UnprovenError
    yield first + end
    yield from proof.watch(without_header(whole)[0])
