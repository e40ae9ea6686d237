"""Finds the records of raw rows in the objects that they were loaded from.

An object is read record by record, exactly as the manifest of the publish describes it. The values of the grain are
compared by Postgres as values of their types (1.50 is 1.5), in batches; for texts and whole numbers, Python passes by
the records that cannot be meant.

Belongs here: records and the objects they are in. Not here: which raw rows (trace.py).
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, sql

from kpi_assets.ledger import manifests
from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.records import Record
from kpi_assets.model.slices import KEY_TYPES
from kpi_assets.model.table import Table
from kpi_assets.model.written import RefusedError
from kpi_assets.sources.formats import format_of
from kpi_assets.sources.formats.base import UnreadableError
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store

BATCH = 5_000  # records that Postgres compares at once
BATCH_SIZE = 4 << 20  # characters of their values, at most; one record may have more

Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]  # shows the progress of some bytes
Grain = Sequence[str | None]
_Records = Generator[Record, None, None]


@dataclass(frozen=True)
class Origin:
    """The record that a raw row was loaded from: its object, its line there, and an excerpt of its text.

    `place` says what `line` counts: lines, or records.
    """

    object: str
    line: int
    record: str
    place: str = "line"


@dataclass(frozen=True)
class Origins:
    """The origin of each row, None for one that was not found, and why not all were found; empty if all were."""

    of_rows: Sequence[Origin | None]
    problem: str


def find_origins(
    connection: Connection[Any], store: Store, table: Table, publish: Publish, grains: Sequence[Grain], watch: Watch
) -> Origins:
    """Return the records of rows of one publish of a raw table, which have these values in their grain.

    Raises LakeError if S3 cannot be used.
    """
    origins: list[Origin | None] = [None] * len(grains)
    manifest = manifests.of_publish(connection, table.relation.table, publish.load_date, publish.manifest_hash)
    if manifest is None:
        return Origins(origins, "the ledger does not have the object that it was loaded from")
    problems: list[str] = []
    day = table.object_day(publish.load_date, manifest.key)
    for part in manifest.objects:
        lacking = [number for number, origin in enumerate(origins) if origin is None]
        if not lacking:
            break
        wanted = [grains[number] for number in lacking]
        try:
            with watch(part.url, part.size_bytes) as on_bytes:
                found = _search(connection, store, table, part, day, wanted, on_bytes)
        except LakeError:
            now = store.manifest(part.object, part.load_date, part.key)
            if now is not None and now.hash == part.hash:
                raise
            what = "was replaced" if now else "is not there any more"
            problems.append(f"{part.url} {what} since it was loaded, so the records of its rows cannot be shown")
        except UnreadableError as error:
            problems.append(f"{part.url} cannot be read: {error}")
        else:
            for number, record in found.items():
                origins[lacking[number]] = Origin(part.url, record.line, record.text, table.format.place)
    if None in origins and not problems:
        problems = [f"{origins.count(None)} of its rows were not found in {manifest.url}"]
    return Origins(origins, "; ".join(problems))


def _search(
    connection: Connection[Any],
    store: Store,
    table: Table,
    manifest: Manifest,
    day: date,
    grains: Sequence[Grain],
    on_bytes: Callable[[int], None],
) -> dict[int, Record]:
    """Return the records of the rows by the numbers of the rows; read until all are found."""
    found: dict[int, Record] = {}
    with format_of(table).open(store, manifest, table, day) as opened:
        if opened.problem:
            raise UnreadableError(opened.problem)
        opened.prepare(on_bytes)
        source = _Source(table, manifest.key)
        with closing(_watched(opened.records(), manifest, on_bytes)) as records:
            for batch in _batches(records, _Filter(source, grains)):
                for number, record in _matches(connection, source, batch, grains):
                    found.setdefault(number, record)
                if len(found) == len(grains):
                    break
    return found


def _watched(records: Iterable[Record], manifest: Manifest, on_bytes: Callable[[int], None]) -> _Records:
    """Yield the records and report about how many bytes they are: an object says only where it ends."""
    read = 0
    for number, record in enumerate(records):
        read += len(record.text) + 1
        if number % 1000 == 0:
            on_bytes(min(read, manifest.size_bytes))
        yield record


class _Source:
    """The values that the records of one object have for the columns of their table, as texts for Postgres."""

    def __init__(self, table: Table, key: str) -> None:
        self.grain = table.header.grain
        self.types = table.types
        self._key, self._source = key, table.source
        declared = [name for name in table.columns if name not in table.source.origin_columns]
        self._places = {name: number for number, name in enumerate(declared)}
        self._forms = dict(zip(declared, (each.form for each in table.dialect.fields), strict=False))

    def value(self, record: Record, number: int, name: str) -> str | None:
        """Return the value of a column in a record, the `number`th. Raises RefusedError if it is in a wrong form."""
        if name == self._source.position:
            return str(number)
        if name == self._source.object_key:
            return self._key
        if refusal := record.refusals.get(self._places[name]):
            raise RefusedError(refusal)
        text = (record.fields or [])[self._places[name]]
        return text if text is None or name not in self._forms else self._forms[name].read(text)

    def values(self, record: Record, number: int, names: Iterable[str]) -> list[str | None] | None:
        """Return the values of these columns; None if the record cannot be read."""
        try:
            return None if record.fields is None else [self.value(record, number, name) for name in names]
        except RefusedError:
            return None


class _Filter:
    """Passes by the records that cannot be one of the rows, as far as the forms of texts and whole numbers show."""

    def __init__(self, source: _Source, grains: Sequence[Grain]) -> None:
        self.source = source
        self._texts: dict[int, set[str | None]] = {}
        self._numbers: dict[int, set[int]] = {}
        for place, name in enumerate(source.grain):
            values = {grain[place] for grain in grains}
            if source.types[name] == "text":
                self._texts[place] = values
            elif source.types[name] in KEY_TYPES:
                self._numbers[place] = {int(value) for value in values if value is not None}
        self.is_sure = len(self._texts) + len(self._numbers) == len(source.grain)

    def __call__(self, grain: Grain) -> bool:
        """Whether a record with this grain may be one of the rows."""
        return all(grain[place] in texts for place, texts in self._texts.items()) and all(
            _is_among(grain[place], numbers) for place, numbers in self._numbers.items()
        )


def _is_among(text: str | None, numbers: set[int]) -> bool:
    try:
        return text is not None and int(text) in numbers
    except ValueError:  # not a number, or one with too many digits for a column
        return False


class _Candidate(NamedTuple):
    """A record that may be one of the rows: its number in the object, and the values of its grain."""

    number: int
    record: Record
    grain: Grain


def _batches(records: Iterable[Record], may_be: _Filter) -> Iterator[list[_Candidate]]:
    """Yield the records that may be one of the rows, in batches: each at once if it surely is one of them."""
    batch: list[_Candidate] = []
    read = size = 0
    for number, record in enumerate(records, start=1):
        read += 1
        grain = may_be.source.values(record, number, may_be.source.grain)
        if grain is not None and may_be(grain):
            batch.append(_Candidate(number, record, grain))
            size += sum(len(field or "") for field in record.fields or ())
        if batch and (may_be.is_sure or read >= BATCH or size >= BATCH_SIZE):
            yield batch
            batch, read, size = [], 0, 0
    if batch:
        yield batch


def _matches(
    connection: Connection[Any], source: _Source, batch: Sequence[_Candidate], grains: Sequence[Grain]
) -> Iterator[tuple[int, Record]]:
    """Yield (number of the row, record) for each record that has the grain of a row and can be loaded.

    A record that was set aside may have the grain of a row too, but it has a value that its column does not take.
    """
    types = [source.types[name] for name in source.grain]
    texts = [[each.grain[place] for each in batch] for place in range(len(types))]
    for n, row in _equal(connection, types, texts, grains):
        if _is_loadable(connection, source, batch[n]):
            yield row, batch[n].record


def _equal(
    connection: Connection[Any],
    types: Sequence[str],
    texts: Sequence[Sequence[str | None]],
    grains: Sequence[Grain],
    first: int = 0,
) -> list[tuple[int, int]]:
    """Return (number of the record, number of the row) for all that are equal as values of these types.

    A text that is no value of its type equals none. The batch is halved until it stands alone, because not every
    server can ask for the error of one value.
    """
    count = len(texts[0])
    slots = [sql.Identifier(f"c{number}") for number in range(len(types))]
    cast = [sql.SQL(type_) for type_ in types]
    query = sql.SQL(
        "select r.number, w.number from unnest({arrays}) with ordinality as r ({slots}, number) "
        "inner join unnest({wanted}) with ordinality as w ({slots}, number) on {equal} order by r.number"
    ).format(
        arrays=sql.SQL(", ").join(sql.SQL("{}::text[]").format(sql.Literal(list(each))) for each in texts),
        wanted=sql.SQL(", ").join(
            sql.SQL("{}::text[]").format(sql.Literal([grain[n] for grain in grains])) for n in range(len(types))
        ),
        slots=sql.SQL(", ").join(slots),
        equal=sql.SQL(" and ").join(
            sql.SQL("r.{slot}::{type} = w.{slot}::{type}").format(slot=slot, type=type_)
            for slot, type_ in zip(slots, cast, strict=True)
        ),
    )
    try:
        return [(first + int(n) - 1, int(row) - 1) for n, row in connection.execute(query).fetchall()]
    except psycopg.DataError:
        if count == 1:
            return []
    half = count // 2
    before, behind = [each[:half] for each in texts], [each[half:] for each in texts]
    return [
        *_equal(connection, types, before, grains, first),
        *_equal(connection, types, behind, grains, first + half),
    ]


def _is_loadable(connection: Connection[Any], source: _Source, candidate: _Candidate) -> bool:
    """Whether every field of a record is a value of its column."""
    texts = source.values(candidate.record, candidate.number, source.types)
    if texts is None:
        return False
    values = [
        sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(type_))
        for text, type_ in zip(texts, source.types.values(), strict=True)
    ]
    try:
        connection.execute(sql.SQL("select {}").format(sql.SQL(", ").join(values)))
    except psycopg.DataError:
        return False
    return True
