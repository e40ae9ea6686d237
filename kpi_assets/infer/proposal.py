"""The proposal for a raw table: what all samples together say.

Not here: its text (write.py).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path, PurePath

from kpi_assets.errors import UsageError
from kpi_assets.infer import json_records, parquet
from kpi_assets.infer.dialect import Dialect, Field, Record, find_dialect, has_header
from kpi_assets.infer.encoding import Encoding, example_line, find_encoding, texts_of
from kpi_assets.infer.keys import find_key, unique_columns
from kpi_assets.infer.names import column_names
from kpi_assets.infer.objects import Objects, find_objects
from kpi_assets.infer.sample import PARQUET, Sample, read_sample
from kpi_assets.infer.values import CERTAIN, Column, Reading, read_column, settle

Row = tuple[Field, ...]


@dataclass(frozen=True)
class Source:
    """How the objects are written."""

    format: str = "csv"
    compression: str = ""
    encoding: Encoding = field(default_factory=lambda: Encoding("utf-8"))
    example: str = ""  # a line by which a guessed encoding can be judged
    dialect: Dialect = field(default_factory=Dialect)
    header: bool = True
    is_header_a_guess: bool = False
    records: str = ""  # the field of the list of records in documents of JSON


@dataclass(frozen=True)
class Proposal:
    """Everything that the file of the table says."""

    table: str
    paths: Sequence[PurePath]
    source: Source
    objects: Objects
    names: Sequence[str]
    columns: Sequence[Column]
    nulls: Sequence[str] = ()  # of the whole file, besides the empty text
    since: Sequence[date | None] = ()
    optional: Sequence[bool] = ()
    key: Sequence[str] = ()
    unique: Sequence[str] = ()
    notes: Sequence[str] = ()
    read: int = 0  # bytes
    records: int = 0


def propose(paths: Sequence[Path], table: str, shown: Sequence[PurePath]) -> Proposal:
    """Propose a table for files of one source; `shown` are their paths as a person named them. Raises UsageError."""
    samples = [read_sample(path) for path in paths]
    kinds = {(sample.compression, _format(sample)) for sample in samples}
    if len(kinds) > 1:
        raise UsageError(f"{paths[0]} and {_other(samples)} are not written in the same way: name files of one source.")
    objects = find_objects(shown, table)
    if samples[0].start.startswith(PARQUET):
        return _of_parquet(paths, table, shown, objects)
    if _format(samples[0]) == "json":
        return _of_json(samples, table, shown, objects)
    return _of_csv(samples, table, shown, objects)


def _format(sample: Sample) -> str:
    if sample.start.startswith(PARQUET):
        return "parquet"
    return "json" if json_records.is_json(sample) else "csv"


def _other(samples: Sequence[Sample]) -> Path:
    first = samples[0]
    return next(
        each.path for each in samples if (each.compression, _format(each)) != (first.compression, _format(first))
    )


def _of_parquet(paths: Sequence[Path], table: str, shown: Sequence[PurePath], objects: Objects) -> Proposal:
    schemas = [parquet.columns_of(path) for path in paths]
    fields = {name: (type_, note) for schema in schemas for name, type_, note in schema}
    _belong_together(paths, [[name for name, _, _ in schema] for schema in schemas])
    columns = [
        Column(name, Counter(), (Reading(type_),), notes=(note,) if note else ())
        for name, (type_, note) in fields.items()
    ]
    present = [{name for name, _, _ in schema} for schema in schemas]
    since, optional = _absences(list(fields), present, objects.dates)
    return Proposal(table, shown, Source("parquet"), objects, column_names(list(fields)), columns, (), since, optional)


def _of_json(samples: Sequence[Sample], table: str, shown: Sequence[PurePath], objects: Objects) -> Proposal:
    within = json_records.list_within(samples[0])
    found = [json_records.records_of(sample, within) for sample in samples]
    _belong_together([sample.path for sample in samples], [each.names for each in found])
    source = Source("json", samples[0].compression, records=within)
    headers, rows = [each.names for each in found], [each.rows for each in found]
    proposal = _of_rows(table, shown, source, objects, headers, rows, json_records.read_json_column)
    notes = [note for each in found for note in each.notes]
    return replace(proposal, notes=notes, read=sum(len(sample.start) for sample in samples))


def _of_csv(samples: Sequence[Sample], table: str, shown: Sequence[PurePath], objects: Objects) -> Proposal:
    encoding = find_encoding(samples)
    texts = [texts_of(sample, encoding) for sample in samples]
    dialect = find_dialect([start for start, _ in texts])
    records = [list(dialect.records(start)) for start, _ in texts]
    widths = [_width(each) for each in records]
    good = [
        [record for record in each if len(record.fields) == width] for each, width in zip(records, widths, strict=True)
    ]
    if not all(good):
        empty = next(sample.path for sample, each in zip(samples, good, strict=True) if not each)
        raise UsageError(f"{empty} has no record that can be read: name a CSV, JSON or Parquet file.")
    header, is_guess = has_header(good)
    notes = list(_set_aside(samples, records, good))
    headers = [each[0].texts for each in good]
    if header and not _are_names(headers):
        # A field without a name of its own can be declared by its place only.
        notes.append(f"names of fields are empty or occur twice: {', '.join(map(repr, headers[0]))}")
        dialect, header = replace(dialect, skip_lines=good[0][0].line), False
        good = [each[1:] for each in good]
        headers = [headers[0]] * len(headers)
    elif header:
        good = [each[1:] for each in good]
    if not header and len(set(widths)) > 1:
        raise UsageError("The files have different numbers of fields and no header: name files of one source.")
    if header:
        _belong_together([sample.path for sample in samples], headers)
        if len({tuple(sorted(each)) for each in headers}) == 1 and len(set(headers)) > 1:
            notes.append("the files have the same columns in another order")
    rows = [
        [*(record.fields for record in each), *_of_blocks(replace(dialect, skip_lines=0), blocks, width)]
        for each, (_, blocks), width in zip(good, texts, widths, strict=True)
    ]
    example = example_line("\n".join(start for start, _ in texts)) if encoding.is_guess else ""
    source = Source("csv", samples[0].compression, encoding, example, dialect, header, is_guess)
    fields = headers if header or headers[0] != good[0][0].texts else [tuple("" for _ in headers[0])] * len(headers)
    found = _of_rows(table, shown, source, objects, fields, rows)
    return replace(found, notes=notes, read=sum(sample.read for sample in samples))


def _width(records: Sequence[Record]) -> int:
    counts = Counter(len(record.fields) for record in records if record.fields)
    return max(counts, key=lambda width: (counts[width], width), default=0)


def _are_names(headers: Sequence[Sequence[str]]) -> bool:
    return all(all(name.strip() for name in each) and len(set(each)) == len(each) for each in headers)


def _set_aside(
    samples: Sequence[Sample], records: Sequence[Sequence[Record]], good: Sequence[Sequence[Record]]
) -> list[str]:
    found = []
    for sample, all_of_it, read in zip(samples, records, good, strict=True):
        left = [record for record in all_of_it if len(record.fields) != len(read[0].fields)]
        if left:
            what = f"{len(left)} record{'s' * (len(left) > 1)} of {sample.path.name}"
            found.append(f"{what} cannot be read by these words, the first in line {left[0].line}")
    return found


def _of_blocks(dialect: Dialect, blocks: Sequence[str], width: int) -> list[Row]:
    """Return the records of blocks; one that begins within quotes has another number of fields, mostly."""
    return [record.fields for block in blocks for record in dialect.records(block) if len(record.fields) == width]


def _belong_together(paths: Sequence[Path], headers: Sequence[Sequence[str]]) -> None:
    first = set(headers[0])
    for path, names in zip(paths, headers, strict=True):
        if len(first & set(names)) * 2 < min(len(first), len(names)):
            raise UsageError(f"{path} has other fields than {paths[0]}: name files of one source.")


def _of_rows(
    table: str,
    shown: Sequence[PurePath],
    source: Source,
    objects: Objects,
    headers: Sequence[Sequence[str]],
    files: Sequence[Sequence[Row]],
    read: Callable[[str, Counter[Field]], Column] = read_column,
) -> Proposal:
    """Propose the columns and the key. Fields without a name are told apart by their places."""
    by_name = source.header
    fields = list(dict.fromkeys(name for each in headers for name in each)) if by_name else list(headers[0])
    places = [
        [list(each).index(name) if name in each else None for name in fields] if by_name else list(range(len(fields)))
        for each in headers
    ]
    counts: list[Counter[Field]] = [Counter() for _ in fields]
    for rows, of_file in zip(files, places, strict=True):
        for number, place in enumerate(of_file):
            if place is not None:
                counts[number].update(row[place] for row in rows)
    columns = settle(
        [read(name, counted) for name, counted in zip(fields, counts, strict=True)],
        is_semicolon=source.dialect.delimiter == ";",
    )
    names = column_names(fields)
    nulls = sorted({text for column in columns for text in column.nulls})
    values = [
        [
            tuple(
                None if place is None or column.is_null(row[place]) else row[place].text
                for column, place in zip(columns, of_file, strict=True)
            )
            for row in rows
        ]
        for rows, of_file in zip(files, places, strict=True)
    ]
    types = [column.reading.type if len(column.readings) == 1 else "" for column in columns]
    key = find_key(names, types, values)
    unique = unique_columns(names, types, values, key)
    present = [set(each) for each in headers]
    since, optional = _absences(fields, present if by_name else [set(fields)] * len(files), objects.dates)
    total = sum(map(len, files))
    return Proposal(table, shown, source, objects, names, columns, nulls, since, optional, key, unique, records=total)


def _absences(
    fields: Sequence[str], present: Sequence[set[str]], days: Sequence[date | None]
) -> tuple[list[date | None], list[bool]]:
    """Return (since, optional) of each field: it came on a day and stayed, or it is in some files only."""
    since: list[date | None] = []
    optional: list[bool] = []
    for name in fields:
        with_it = [day for day, names in zip(days, present, strict=True) if name in names]
        without = [day for day, names in zip(days, present, strict=True) if name not in names]
        known_with, known_without = [day for day in with_it if day], [day for day in without if day]
        is_dated = len(known_with) == len(with_it) and len(known_without) == len(without)
        came = is_dated and bool(without) and max(known_without) < min(known_with)
        since.append(min(known_with) if came else None)
        optional.append(bool(without) and not came)
    return since, optional


def needs_own_nulls(proposal: Proposal, column: Column) -> bool:
    """Return whether a text that is NULL in other columns is a value of this column, or may become one.

    Any text may be a value of a column of texts, such as NA for Namibia, also if no sample has it.
    """
    doubtful = [text for text in proposal.nulls if text not in (*CERTAIN, *column.nulls)]
    is_text = column.reading.type == "text"
    return any(is_text or Field(text) in column.counts for text in doubtful)
