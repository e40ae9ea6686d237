"""Filling a candidate from its file's SELECT, in slices where the tables it reads are sliced.

Not here: filling it from an S3 object (load.py), and whether it may be published (audit.py, build.py).
"""

from contextlib import suppress
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.context import BuildContext, Stopwatch
from kpi_assets.materialize.fill import FillResult, analyze_and_index, index_slices
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.materialize.parallel import write_slices
from kpi_assets.model.names import Relation
from kpi_assets.model.slices import Slice
from kpi_assets.warehouse import candidates, float_sums, slices
from kpi_assets.warehouse.candidates import Candidate


def transform(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, inputs: Inputs, watch: Stopwatch
) -> FillResult:
    """Make the candidate from its file's SELECT.

    Raises UpstreamError where an input was published again meanwhile, and DefinitionError where the SELECT does not do
    what its header declares.
    """
    context.on_progress("selecting", 0, 0)
    try:
        float_sums.refuse(connection, candidate.table, candidate.load_date, inputs.window)
        proven = _select(context, connection, candidate, inputs, watch)
    except psycopg.errors.UndefinedTable:
        inputs.check_unchanged(connection)  # raises where the missing table was replaced by another publish
        raise
    return FillResult(Counts(), inputs.manifest_hash, [], proven)


def _select(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, inputs: Inputs, watch: Stopwatch
) -> bool:
    """Make the candidate from its SELECT, sliced as the table its key comes from; whether no two rows share it."""
    tables, origins = context.pipeline.tables, context.pipeline.co_sliced_inputs(candidate.table)
    instead = candidates.as_declared(connection, [tables[relation] for relation in candidate.table.query_reads])
    if instead:
        origins = {}  # slices are read where they lie, which has other types for the time being
    sources = {
        named: found
        for named, origin in origins.items()
        if (found := slices.stored(connection, tables[named], origin, candidate.load_date))
    }
    parts = max((source.slices for source in sources.values()), key=len, default=[])
    for named, source in sources.items():
        if not parts and context.slices_of(inputs.of_day[origins[named]].size_bytes) > 1:
            key = tables[origins[named]].header.grain[0]
            parts = slices.even_slices(connection, source.partition, key, context.writers)

    def read(relation: Relation, column: str, part: Slice) -> sql.Composable:
        source = sources.get(relation)
        return source.read(column, part) if source else candidates.read_slice(relation, column, part)

    def write(session: Connection[Any], part: Candidate, laps: Stopwatch) -> bool:
        candidates.create_from_select(session, part, read=read)
        candidates.promise(session, part)
        laps.lap("select")
        return analyze_and_index(context, session, part, laps)

    if parts:
        with suppress(psycopg.errors.CheckViolation):  # a row without a key, which the audit then counts
            return index_slices(
                connection, candidate, write_slices(context, connection, candidate, parts, write, watch)
            )
    with connection.transaction():
        candidates.create_from_select(connection, candidate, inputs.window, instead=instead)
        candidates.promise(connection, candidate)
        watch.lap("select")
        return analyze_and_index(context, connection, candidate, watch)
