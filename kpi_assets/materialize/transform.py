"""Fills a candidate from its file's SELECT, in slices if the tables that it reads are large.

Not here: filling from an S3 object (load.py), and the decision whether the candidate is published (audit.py, build.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from kpi_assets.warehouse.slices import Stored


def transform(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, inputs: Inputs, watch: Stopwatch
) -> FillResult:
    """Fill the candidate from its file's SELECT.

    Raises UpstreamError if an input was published again meanwhile, and DefinitionError if the SELECT does not match
    its header.
    """
    context.on_progress("selecting", 0, 0)
    try:
        unread = [context.pipeline.tables[relation] for relation in inputs.unread]
        empty = candidates.cast_to_declared(connection, unread, inputs.unread)
        float_sums.refuse(connection, candidate.table, candidate.load_date, inputs.window, empty)
        proven = _select(context, connection, candidate, inputs, watch)
    except psycopg.errors.UndefinedTable:
        inputs.check_unchanged(connection)  # raises if another publish replaced the missing table
        inputs.check_previous(connection)
        raise
    return FillResult(Counts(), inputs.manifest_hash, [], proven)


@dataclass(frozen=True)
class SlicePlan:
    """The slices in which a SELECT is run, none if it is run as a whole, and where its sources are stored."""

    slices: Sequence[Slice]
    sources: Mapping[Relation, Stored]

    def read(self, relation: Relation, column: str, part: Slice) -> sql.Composable:
        """Return the rows of one slice of a table as a subquery; the slice is a range of `column`."""
        source = self.sources.get(relation)
        return source.read(column, part) if source else candidates.read_slice(relation, column, part)


def plan_slices(
    sources: Mapping[Relation, Stored], large: Sequence[Relation], cut: Callable[[Relation], list[Slice]]
) -> SlicePlan:
    """Decide in which slices to run a SELECT that reads these `sources` by the first column of its grain.

    The slices are those of the source with the most slices. If no source is sliced, `cut` is applied to the `large`
    sources in order, and the first slices that it returns are taken.
    """
    finest = max((source.slices for source in sources.values()), key=len, default=[])
    return SlicePlan(finest or next(filter(None, map(cut, large)), []), sources)


def _select(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, inputs: Inputs, watch: Stopwatch
) -> bool:
    """Run the SELECT into the candidate; return whether no two rows share a key."""
    reads = [context.pipeline.tables[relation] for relation in candidate.table.query_reads]
    substitutes = candidates.cast_to_declared(connection, reads, inputs.unread)
    # A slice is read with its stored types. If they differ from the declared ones, `substitutes` has a subquery.
    plan = SlicePlan([], {}) if substitutes else _plan(context, connection, candidate, inputs)
    if plan.slices:
        proven = _select_in_slices(context, connection, candidate, plan, watch)
        if proven is not None:
            return proven
    with connection.transaction():
        previous = inputs.previous.load_date if inputs.previous else None
        candidates.create_from_select(connection, candidate, inputs.window, substitutes=substitutes, previous=previous)
        inputs.check_previous(connection)
        candidates.add_partition_check(connection, candidate)
        watch.lap("select")
        return analyze_and_index(context, connection, candidate, watch)


def _plan(context: BuildContext, connection: Connection[Any], candidate: Candidate, inputs: Inputs) -> SlicePlan:
    """Find where the tables that can be read in slices are stored, and plan the slices."""
    tables, origins = context.pipeline.tables, context.pipeline.co_sliced_inputs(candidate.table)
    sources = {
        relation: stored
        for relation, origin in origins.items()
        if (stored := slices.find_stored(connection, tables[relation], origin, candidate.load_date))
    }
    large = [each for each in sources if context.slice_count(inputs.of_load_date[origins[each]].size_bytes) > 1]

    def cut(relation: Relation) -> list[Slice]:
        key = tables[origins[relation]].header.grain[0]
        return slices.even_slices(connection, sources[relation].partition, key, context.writers)

    return plan_slices(sources, large, cut)


def _select_in_slices(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, plan: SlicePlan, watch: Stopwatch
) -> bool | None:
    """Run the SELECT once for each slice; return whether no two rows share a key.

    Return None if a row has a NULL key, which belongs to no slice. All slices are then dropped, so that the SELECT can
    be run as a whole and the audit counts the row.
    """

    def write(session: Connection[Any], part: Candidate, laps: Stopwatch) -> bool:
        candidates.create_from_select(session, part, read=plan.read)
        candidates.add_partition_check(session, part)
        laps.lap("select")
        return analyze_and_index(context, session, part, laps)

    try:
        proven = write_slices(context, connection, candidate, plan.slices, write, watch)
    except psycopg.errors.CheckViolation:
        return None
    return index_slices(connection, candidate, proven)
