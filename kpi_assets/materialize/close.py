"""Closes a load_date that grew: proves that all that was landed is built, and leaves the ledger as small as a day's.

Landing says when nothing comes any more, and where each partition ended. Then the list of the objects is written beside
them, `_manifest.json.gz`, what it says and what later batches have made superfluous goes from the ledger, and the rows
are vacuumed, which Postgres would otherwise do at a time of its choice. Closing changes no row, and may be repeated.

Belongs here: what follows from the end of a load_date. Not here: when it is over (stream/, automation/).
"""

import gzip
import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from psycopg import Connection, sql

from kpi_assets.ledger import batches, stream_objects, upkeep
from kpi_assets.ledger.batches import Batch
from kpi_assets.ledger.locks import build_lock
from kpi_assets.ledger.stream_objects import StreamObject
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.load_stream import lake_of
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.materialize.upkeep import prune
from kpi_assets.model.table import Table
from kpi_assets.sources.lake import MissingError
from kpi_assets.stream.described import CLOSED
from kpi_assets.stream.frame import FrameError
from kpi_assets.warehouse.ddl import identifier
from kpi_assets.warehouse.kinds.partitions import partitions_of

MANIFEST = "_manifest.json.gz"


def close(context: BuildContext, load_date: date) -> list[str]:
    """Close each growing table of a load_date; return a sentence for each thing that is not as it should be.

    A table of which something lacks is left as it is. Raises LakeError and WarehouseError.
    """
    problems: list[str] = []
    for table in context.pipeline.growing_tables:
        with context.session(table, f"{context.run_id[:8]} close {table.relation} {load_date}") as connection:
            lock, phase = build_lock(table.relation, load_date), "waiting for a build of it"
            wait_for_lock(connection, lock, phase, context.on_progress)
            last = batches.last(connection, table.relation, load_date)
            found = [*_lacks(context, connection, table, load_date, last)]
            if last and not found:
                _settle(context, connection, table, load_date, last)
            problems += found
    if not problems:
        prune(context, load_date)
    return problems


def _lacks(
    context: BuildContext, connection: Connection[Any], table: Table, load_date: date, last: Batch | None
) -> Iterator[str]:
    """Yield what lacks before a table can be closed."""
    if not table.stream:
        [read] = table.growing_reads
        source = batches.last(connection, read, load_date)
        if source and (last is None or last.up_to < source.up_to or last.input_base_build_id != source.base_build_id):
            yield (
                f"{table.relation} of {load_date} lacks batches that {read} has: look what holds it with `kpi status`."
            )
        return
    landed = _ended(context, table, load_date)
    if landed is None:
        yield f"{table.relation} of {load_date} is not closed: its stream {table.stream} is still landed."
        return
    of_own = (connection, table.relation, load_date, last.base_build_id) if last else None
    ends, starts = (stream_objects.ends(*of_own), stream_objects.starts(*of_own)) if of_own else ({}, {})
    before = _ended(context, table, load_date - timedelta(days=1)) or {}
    for partition, position in sorted(landed.items()):
        begun = starts[partition].first if partition in starts else position
        if partition in ends and ends[partition].next != position:
            yield (
                f"{table.relation} of {load_date} is built up to position {ends[partition].next} of partition "
                f"{partition}, and landed up to {position}: look what holds it with `kpi status`."
            )
        elif partition in before and begun != before[partition]:
            yield (
                f"{table.relation} of {load_date} begins at position {begun} of partition {partition}, and the "
                f"load_date before ended at {before[partition]}: `kpi doctor` says which object is missing."
            )


def _ended(context: BuildContext, table: Table, load_date: date) -> dict[int, int] | None:
    """Return where each partition ended, of a load_date in which nothing is landed any more. Raises FrameError."""
    key = f"{table.stream_prefix(load_date)}{CLOSED}"
    try:
        said = json.loads(lake_of(context).get(key))
        return {int(partition): int(position) for partition, position in said["next"].items()}
    except MissingError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FrameError(f"{key} does not say where the partitions ended: restore what `kpi stream` wrote.") from None


def _settle(context: BuildContext, connection: Connection[Any], table: Table, load_date: date, last: Batch) -> None:
    if table.stream:
        objects = stream_objects.of_load_date(connection, table.relation, load_date, last.base_build_id)
        if len(objects) == batches.objects_of(connection, table.relation, load_date):  # else it was closed before
            body = _manifest(table, load_date, last, objects)
            lake_of(context).create(f"{table.stream_prefix(load_date)}{MANIFEST}", body)
        upkeep.prune_stream_objects(connection, table.relation, load_date)
    for partition in partitions_of(connection, table.relation, load_date):
        connection.execute(sql.SQL("vacuum (freeze, analyze) {}").format(identifier(partition)))


def _manifest(table: Table, load_date: date, last: Batch, objects: list[StreamObject]) -> bytes:
    """Return the list of the objects of a load_date: the same bytes whenever it is made."""
    said = {
        "stream": table.stream,
        "load_date": load_date.isoformat(),
        "manifest_hash": last.manifest_hash,
        "records": last.total_records,
        "objects": [
            {
                "key": each.key,
                "partition": each.partition,
                "from": each.first,
                "next": each.next,
                "records": each.records,
                "size_bytes": each.size_bytes,
                "etag": each.etag.strip('"'),
            }
            for each in objects
        ],
    }
    return gzip.compress(json.dumps(said, indent=1).encode() + b"\n", mtime=0)
