"""Fills a candidate from its file's SELECT, in slices if the tables that it reads are large, and sets rows aside.

Not here: filling from an S3 object (load.py), and the decision whether the candidate is published (audit.py, build.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.check_facts import FactLookup
from kpi_assets.materialize.context import BuildContext, Stopwatch
from kpi_assets.materialize.fill import FillResult, analyze_and_index, index_slices
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.materialize.parallel import write_slices
from kpi_assets.model.checks.base import AuditFacts
from kpi_assets.model.names import Relation
from kpi_assets.model.records import SetAside
from kpi_assets.model.slices import Slice
from kpi_assets.warehouse import candidates, float_sums, repeats, set_aside, slices
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
        if not candidate.is_added:  # the batches before have been proven to have no such sum
            empty = inputs.substitutes(context.pipeline, connection, inputs.unread)
            float_sums.refuse(connection, candidate.table, candidate.load_date, inputs.window, empty)
        facts = _facts_of_rules(context, connection, candidate, inputs) if candidate.table.rules else None
        proven, aside, repeated = _select(context, connection, candidate, inputs, watch, facts)
    except psycopg.errors.UndefinedTable:
        inputs.check_unchanged(connection)  # raises if another publish replaced the missing table
        inputs.check_previous(connection)
        raise
    counts = Counts(quarantined=aside.out if aside else None)
    return FillResult(counts, inputs.manifest_hash, [], proven, set_aside=aside, repeats=repeated)


def _facts_of_rules(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, inputs: Inputs
) -> AuditFacts:
    """Return what the rules need besides the rows of the candidate."""
    table, load_date = candidate.table, candidate.load_date
    lookup = FactLookup(connection, context.pipeline, table, load_date, table.rules, inputs=inputs.of_load_date)
    reads = [read for rule in table.rules for read in rule.mentions]
    return AuditFacts(
        load_date,
        source_rows={relation: publish.rows for relation, publish in inputs.of_load_date.items()},
        looked_up=lookup.answers(),
        window=inputs.window,
        substitutes=inputs.substitutes(context.pipeline, connection, reads),
    )


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
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    inputs: Inputs,
    watch: Stopwatch,
    facts: AuditFacts | None,
) -> tuple[bool, SetAside | None, int]:
    """Run the SELECT into the candidate; return whether no two rows share a key, what rules set aside, and the repeats.

    `facts` are those that the rules need; None if there are no rules.
    """
    substitutes = inputs.substitutes(context.pipeline, connection, candidate.table.query_reads)
    # A slice is read with its stored types. If they differ from the declared ones, `substitutes` has a subquery.
    is_whole = substitutes or not all(rule.rows.is_row_wise for rule in candidate.table.rules)
    plan = SlicePlan([], {}) if is_whole else _plan(context, connection, candidate, inputs)
    if plan.slices:
        found = _select_in_slices(context, connection, candidate, inputs, plan, watch, facts)
        if found is not None:
            return (*found, 0)
    aside, repeated = None, 0
    with connection.transaction():
        previous = inputs.previous.load_date if inputs.previous else None
        candidates.create_from_select(connection, candidate, inputs.window, substitutes=substitutes, previous=previous)
        inputs.check_previous(connection)
        watch.lap("select")
        if facts:
            set_aside.create(connection, candidate)
            set_aside.take_out(connection, candidate, facts)
            aside = _decide(connection, candidate, inputs, facts)
            watch.lap("quarantine")
        if candidate.table.header.repeats:
            repeated = repeats.leave_out(connection, candidate, _where_it_came(candidate))
            watch.lap("repeats")
        candidates.add_partition_check(connection, candidate)
        return analyze_and_index(context, connection, candidate, watch), aside, repeated


def _where_it_came(candidate: Candidate) -> list[date]:
    """Return the load_dates in whose published rows a key may have come before, also after midnight.

    While a load_date gets its last events, the next one has its first: what is published there came before, too. So no
    key is in two of these load_dates, in whatever order they are built.
    """
    spec = candidate.table.header.repeats
    assert spec is not None
    days = range(1 - spec.load_dates, spec.load_dates)
    return [candidate.load_date + timedelta(days=n) for n in days if n or candidate.is_added]


def _decide(connection: Connection[Any], candidate: Candidate, inputs: Inputs, facts: AuditFacts) -> SetAside:
    """Apply the decisions to the rows that were taken out, and count what became of all of these."""
    return set_aside.counts(
        connection, candidate, unused=set_aside.apply(connection, candidate, facts, inputs.decisions)
    )


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
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    inputs: Inputs,
    plan: SlicePlan,
    watch: Stopwatch,
    facts: AuditFacts | None,
) -> tuple[bool, SetAside | None] | None:
    """Run the SELECT once for each slice; return whether no two rows share a key, and what rules set aside.

    Each slice sets its own rows aside; what is decided on them is applied to all slices together, since a corrected row
    may belong to another one. Return None if a row that stays has a NULL key, which belongs to no slice. All slices are
    then dropped, so that the SELECT can be run as a whole and the audit counts the row.
    """

    def write(session: Connection[Any], part: Candidate, laps: Stopwatch) -> bool:
        candidates.create_from_select(session, part, read=plan.read)
        laps.lap("select")
        if facts:
            set_aside.take_out(session, part, facts)
            laps.lap("quarantine")
        candidates.add_partition_check(session, part)
        return analyze_and_index(context, session, part, laps)

    if facts:
        with connection.transaction():
            set_aside.create(connection, candidate)
    try:
        proven = write_slices(context, connection, candidate, plan.slices, write, watch)
    except psycopg.errors.CheckViolation:
        return None
    aside = None
    if facts:
        with connection.transaction():
            aside = _decide(connection, candidate, inputs, facts)
        watch.lap("quarantine")
    return index_slices(connection, candidate, proven), aside
