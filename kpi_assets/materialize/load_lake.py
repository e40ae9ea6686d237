"""Loads the objects of a raw table on the lake: the engine reads them, and no byte of them comes through this process.

The engine cannot pin what it reads. So the state of each object is looked at before and after: one that was replaced in
between fails the build. One that was replaced and put back would pass, which COPY's pinned read would notice.
The engine's count of the records is independent of the rows that it writes, so that lost rows are noticed.

Belongs here: the order of the steps, and the counts. Not here: how lines become rows (lake/raw_text.py).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

from psycopg import Connection

from kpi_assets.lake.raw_parquet import RawParquet
from kpi_assets.lake.raw_text import SETTINGS, Counted, RawText
from kpi_assets.lake.session import Engine
from kpi_assets.lake.sql_text import name_of, quoted
from kpi_assets.lake_places import object_url
from kpi_assets.ledger import manifests
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.context import BuildContext, Stopwatch, UpstreamError
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.materialize.load import is_absent
from kpi_assets.materialize.verify_object import asset_name
from kpi_assets.model.manifest import NO_OBJECT, Manifest
from kpi_assets.model.records import BadRecord, unused_text
from kpi_assets.model.table import Table
from kpi_assets.sources.formats import format_of
from kpi_assets.sources.formats.csv import CsvObject
from kpi_assets.sources.refusals import LakeError
from kpi_assets.warehouse import quarantine
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.quarantine import MIN_SAMPLES

_MARK = b"\xef\xbb\xbf"


def load_raw(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    inputs: Inputs,
    engine: Engine,
    write: Callable[[str], None],
    watch: Stopwatch,
) -> FillResult:
    """Fill the candidate from its objects; without rows if they cannot be read, or are optional and not there.

    `write` writes the rows of a SELECT. Raises UpstreamError if the object has not been verified.
    """
    table, load_date = candidate.table, candidate.load_date
    manifest = manifests.latest(connection, table.relation.table, load_date)
    if table.source.optional and is_absent(context, connection, candidate, manifest):
        write(_nothing(table))
        return FillResult(Counts(0, 0, 0), NO_OBJECT, [], grain_is_proven=False)
    if manifest is None:
        raise UpstreamError(
            f"{table.relation} of {load_date} cannot be built: its object has not been verified; "
            f"materialize {context.pipeline.name}/{asset_name(table).replace('.', '/')} of that load_date first."
        )
    _check_unchanged(context, manifest)
    for name, value in SETTINGS.items():
        engine.execute(f"set {name} = {value}")
    with ExitStack() as stack:
        objects, unreadable = [], ""
        for each in manifest.objects:
            found, unreadable = _open(context, stack, each, table, table.object_day(load_date, manifest.key))
            if unreadable:
                break
            objects.append(found)
    watch.lap("read")
    counted: list[_Counts] = []
    for raw in objects if not unreadable else ():
        context.on_progress("counting records", len(counted), len(objects))
        counts, problem = _count(engine, raw)
        counted.append(counts)
        if problem:
            unreadable = f"{object_url(manifest.bucket, raw.object_key)}: {problem}"
            break
    watch.lap("count")
    if unreadable:
        write(_nothing(table))
        return FillResult(Counts(0, 0, 0), manifest.hash, [], grain_is_proven=False, unreadable=unreadable)
    write("\nunion all\n".join(raw.rows() for raw in objects))
    watch.lap("select")
    records, bad = sum(each.records for each in counted), sum(each.bad for each in counted)
    samples = [*_bad_records(connection, engine, table, objects, counted)] if bad else []
    watch.lap("quarantine")
    _check_unchanged(context, manifest)
    rows = {raw.object_key: each.records for raw, each in zip(objects, counted, strict=True)}
    manifests.record_rows(connection, manifest, rows)
    read = Counts(records, records - bad, bad)
    decided = unused_text(len(inputs.decisions))
    return FillResult(read, manifest.hash, samples, grain_is_proven=False, decided=decided)


def _open(
    context: BuildContext, stack: ExitStack, manifest: Manifest, table: Table, day: date
) -> tuple[RawText | RawParquet, str]:
    """Read the first bytes of an object; return how the engine reads it, and why it cannot."""
    opened = stack.enter_context(format_of(table).open(context.store, manifest, table, day))
    path, problem = path_of(manifest), opened.problem
    raw: RawText | RawParquet
    if isinstance(opened, CsvObject):
        is_marked = context.store.head(manifest, len(_MARK)) == _MARK
        raw = RawText(table, opened.layout, path, manifest.key, manifest.size_bytes, is_marked)
    elif problem:
        raw = RawParquet(table, {}, path, manifest.key, 0)
    else:
        filled = {each.column: each.name for each in opened.layout.filled}  # type: ignore[attr-defined]  # Parquet
        raw = RawParquet(table, filled, path, manifest.key, opened.size)
    problem = problem or raw.refusal()
    return raw, f"{manifest.url}: {problem}" if problem else ""


def path_of(manifest: Manifest) -> str:
    """Return what the engine calls an object: on S3 by the scheme of Hadoop's client.

    A bucket may stand for a container of Azure or a folder, which Hadoop names in its own way.
    """
    scheme, _, rest = object_url(manifest.bucket, manifest.key).partition("://")
    if scheme == "az":
        account, container, key = rest.split("/", 2)
        return f"abfss://{container}@{account}.dfs.core.windows.net/{key}"
    return f"{'s3a' if scheme == 's3' else scheme}://{rest}"


def _nothing(table: Table) -> str:
    """Return the SELECT of no row of a table."""
    nulls = (f"cast(null as {name_of(type_)}) as {quoted(name)}" for name, type_ in table.types.items())
    return f"select {', '.join(nulls)} where false"


class _Counts(NamedTuple):
    """The records of an object as the engine counts them, and how many of them it cannot read."""

    records: int
    bad: int


def _count(engine: Engine, raw: RawText | RawParquet) -> tuple[_Counts, str]:
    """Let the engine count the records of an object; return why they cannot be loaded, too."""
    [row] = engine.rows(raw.count())
    if isinstance(raw, RawParquet):
        return _Counts(*row), raw.problem(*row)
    found = Counted.of(row)
    return _Counts(found.records, found.bad), raw.problem(found)


def _check_unchanged(context: BuildContext, manifest: Manifest) -> None:
    """Raise LakeError if an object is not as its manifest says."""
    for each in manifest.objects:
        now = context.store.manifest(each.object, each.load_date, each.key)
        is_same = now is not None and (now.etag, now.size_bytes) == (each.etag, each.size_bytes)
        if not is_same or (each.version_id and now and now.version_id != each.version_id):
            raise LakeError(f"{each.url} was replaced while it was read: run the load_date again.")


def _bad_records(
    connection: Connection[Any],
    engine: Engine,
    table: Table,
    objects: Sequence[RawText | RawParquet],
    counted: Sequence[_Counts],
) -> Iterator[BadRecord]:
    """Yield the first unreadable records, with the reason in the words of Postgres' loader."""
    budget, records = table.header.quarantine, sum(each.records for each in counted)
    most = max(budget.most(records) if budget else 0, MIN_SAMPLES)
    with connection.transaction():
        for raw, count in zip(objects, counted, strict=True):
            if count.bad and most > 0 and isinstance(raw, RawText):
                rows = [(int(line), bytes(record)) for line, record in engine.rows(raw.bad(most))]
                found = quarantine.reasons(connection, table, raw.records(rows))
                if len(found) != len(rows):
                    raise LakeError(
                        f"{table.path}: the engine could not read {len(rows)} records of {raw.object_key}, and "
                        f"Postgres could read {len(rows) - len(found)} of them: leave the table to Postgres."
                    )
                most -= len(found)
                several = len(objects) > 1
                yield from (replace(each, object_key=raw.object_key) if several else each for each in found)
