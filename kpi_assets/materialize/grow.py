"""Adds to a load_date what is new: one audited batch after another, each in the time that the batch takes.

A batch is a candidate as that of any build: filled aside, audited by the same checks, published or held in one
transaction with the ledger. It is added to the rows of the load_date instead of replacing them, so nothing in here
reads these rows, unless by an index. A load_date whose SQL has changed, or whose input was built as a whole again, is
built as a whole too (build.py), and grows from there.

A batch that its gate holds stops its table there. It is tried again when SQL, checks or budget change, and with more
objects after RETRY_SECONDS.

Belongs here: which batch is next, and the order of its steps. Not here: the steps that a whole load_date has too
(load_stream.py, transform.py, audit.py, batch.py, publish.py, hold.py), and which tables grow when (tick.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import Any, Literal

import psycopg
from psycopg import Connection

from kpi_assets.ledger import batches, publishes, runs, stream_objects
from kpi_assets.ledger.batches import Batch, Held
from kpi_assets.ledger.locks import build_lock
from kpi_assets.materialize.audit import AuditedCandidate, audit_candidate, record
from kpi_assets.materialize.batch import wait_for_repeats
from kpi_assets.materialize.build import build, close_failed, explain, interruption
from kpi_assets.materialize.context import BuildContext, BuildOutcome, Stopwatch
from kpi_assets.materialize.fill import Added, FillResult
from kpi_assets.materialize.hold import hold
from kpi_assets.materialize.inputs import Inputs, as_of
from kpi_assets.materialize.load_stream import Basis, lake_of, load_links, positions_of
from kpi_assets.materialize.places import IN_POSTGRES
from kpi_assets.materialize.publish import publish
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.materialize.time_limit import limited
from kpi_assets.materialize.transform import transform
from kpi_assets.model.names import Relation
from kpi_assets.model.results import CheckResult
from kpi_assets.model.table import Table
from kpi_assets.observed import Work, observed
from kpi_assets.stream.frame import link_of
from kpi_assets.stream.links import NOTHING, Chains, End, Followed, added_hash
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate

RETRY_SECONDS = 60.0  # before a held batch of a raw table is tried again with what came since
_chains: dict[tuple[str, str], Chains] = {}  # by bucket and prefix: what a process has listed


@dataclass(frozen=True)
class Grown:
    """One batch of a table that grows: published, or held as a candidate that can be inspected."""

    relation: Relation
    load_date: date
    batch: int
    build_id: int
    publish_id: int | None  # None: held
    objects: int
    records: int
    rows: int
    repeats: int
    quarantined: int
    through: datetime | None
    results: Sequence[CheckResult]

    @property
    def held(self) -> bool:
        """Whether the batch was not published, so that readers keep what they had."""
        return self.publish_id is None


@dataclass(frozen=True)
class _Next:
    """The next batch: its number, the one before, what it reads, and what fills its candidate."""

    batch: int
    before: Batch | None
    inputs: Inputs
    fill: Callable[[BuildContext, Candidate, Stopwatch], FillResult]


_Found = _Next | Literal["whole"] | None


def grow(context: BuildContext, table: Table, load_date: date) -> list[Grown]:
    """Build every batch that the table lacks; of a raw table one of at most `live.most_records` records a call.

    Waits while another session builds the same. An empty result says that there is nothing new. Raises UpstreamError,
    LakeError, WarehouseError and DefinitionError, and writes them in the run log once a batch was begun; raises
    UsageError for a load_date that may not be built.
    """
    context.pipeline.check_due(table, load_date)
    with context.session(table, f"{context.run_id[:8]} {table.relation} {load_date}") as connection:
        wait_for_lock(
            connection,
            build_lock(table.relation, load_date),
            "waiting for another build of it",
            context.on_progress,
        )
        grown: list[Grown] = []
        is_alone = False
        while True:
            own = batches.last(connection, table.relation, load_date)
            published = publishes.current(connection, [table.relation], load_date).get(table.relation)
            if not (own and published and published.build_id == own.build_id):
                own = None
            is_other_code = bool(own and published and published.code_version != table.code_version)
            is_other_input = bool(own and not table.stream and _is_replaced(connection, table, load_date, own))
            if is_other_code or is_other_input:
                break
            found = _next_of_stream if table.stream else _next_of_select
            following = found(context, connection, table, load_date, own)
            if isinstance(following, str):
                break
            if following is None:
                return grown
            if not is_alone:
                wait_for_repeats(context, connection, table)
                is_alone = True
            grown.append(_Growth(context, connection, table, load_date, following).run())
            if table.stream or grown[-1].held:
                return grown
        if _is_held_as_a_whole(connection, table, load_date):
            return grown
    return [*grown, _of_whole(context, table, build(context, table, load_date))]


def forget_listing(context: BuildContext, table: Table, load_date: date) -> None:
    """Let the next call list the whole load_date of a stream: it finds objects that otherwise wait for a sweep."""
    _chains.pop((context.store.bucket, table.stream_prefix(load_date)), None)


def _is_replaced(connection: Connection[Any], table: Table, load_date: date, own: Batch) -> bool:
    """Whether the input was built as a whole since the batches that were built from it."""
    [read] = table.growing_reads
    last = batches.last(connection, read, load_date)
    return last is not None and last.base_build_id != own.input_base_build_id


def _is_held_as_a_whole(connection: Connection[Any], table: Table, load_date: date) -> bool:
    """Whether a build of the whole load_date was held not long ago, with the same SQL and checks."""
    held = batches.held(connection, table.relation, load_date)
    return held is not None and _is_same(held, table) and not _is_long_ago(held)


def _is_same(held: Held, table: Table) -> bool:
    return (held.code_version, held.checks_version) == (table.code_version, table.checks_version)


def _is_long_ago(held: Held) -> bool:
    return datetime.now(timezone.utc) - held.at >= timedelta(seconds=RETRY_SECONDS)


def _of_whole(context: BuildContext, table: Table, outcome: BuildOutcome) -> Grown:
    """Return what a build of a whole load_date made as its first batch."""
    with context.session(table, f"{context.run_id[:8]} {table.relation} {outcome.load_date}") as connection:
        batch = batches.last(connection, table.relation, outcome.load_date)
    if batch is None or batch.build_id != outcome.build_id:
        batch = None
    return Grown(
        relation=table.relation,
        load_date=outcome.load_date,
        batch=1,
        build_id=outcome.build_id,
        publish_id=outcome.publish_id,
        objects=batch.objects if batch else 0,
        records=batch.records if batch else 0,
        rows=outcome.rows,
        repeats=batch.repeats if batch else 0,
        quarantined=batch.quarantined if batch else 0,
        through=batch.through if batch else None,
        results=outcome.results,
    )


# ---- which batch is next


def _next_of_stream(
    context: BuildContext, connection: Connection[Any], table: Table, load_date: date, own: Batch | None
) -> _Found:
    """Return the batch of the objects that continue the chains; None if there are none, or if they would be held."""
    landed = positions_of(connection, table)
    of_own = (connection, table.relation, load_date, own.base_build_id) if own else None
    ends = stream_objects.ends(*of_own) if of_own else {}
    starts = stream_objects.starts(*of_own) if of_own else {}
    lake, prefix = lake_of(context), table.stream_prefix(load_date)
    chains = _chains.setdefault((context.store.bucket, prefix), Chains(lake, prefix))
    now = datetime.now(timezone.utc)
    followed = chains.follow(
        {partition: End(each.next, link_of(each.key)) for partition, each in ends.items()},
        {partition: each.first for partition, each in starts.items()},
        context.pipeline.config.live.most_records,
        now.hour if load_date == now.date() else 23,
    )
    if not followed.found and not followed.problem:
        return None
    if _would_be_held(connection, context, table, load_date, own, followed):
        return None
    basis = Basis(landed, own, ends)

    def fill(limited_context: BuildContext, candidate: Candidate, watch: Stopwatch) -> FillResult:
        links = partial(iter, followed.found)
        return load_links(limited_context, connection, candidate, links, basis, watch, followed.problem)

    return _Next(own.batch + 1 if own else 1, own, Inputs(table, load_date, {}), fill)


def _would_be_held(
    connection: Connection[Any],
    context: BuildContext,
    table: Table,
    load_date: date,
    own: Batch | None,
    followed: Followed,
) -> bool:
    """Whether the same objects were held before, or some of them a moment ago."""
    held = batches.held(connection, table.relation, load_date)
    if held is None or not _is_same(held, table):
        return False
    old = own.manifest_hash if own else NOTHING
    was_chain = held.manifest_hash in {old, NOTHING}  # it had no objects, because they could not be read
    if followed.problem:
        return was_chain and not _is_long_ago(held)
    same = held.manifest_hash == added_hash(old, context.store.bucket, (each.entry for each in followed.found))
    return same or not (was_chain or _is_long_ago(held))


def _next_of_select(
    _context: BuildContext, connection: Connection[Any], table: Table, load_date: date, own: Batch | None
) -> _Found:
    """Return the batch of the next batch of the input; None if it has none, or if it would be held.

    Batches that were merged, because their load_date is old, are built as a whole.
    """
    [read] = table.growing_reads
    source = batches.next_after(connection, read, load_date, own.up_to if own else 0)
    current = publishes.current(connection, [read], load_date).get(read)
    if source is None or current is None:
        return None
    if source.merged_from is not None:
        return "whole"
    inputs = Inputs(table, load_date, {read: as_of(current, source, source.rows)}, growing={read: source})
    held = batches.held(connection, table.relation, load_date)
    if held and _is_same(held, table) and held.manifest_hash == inputs.manifest_hash:
        return None

    def fill(limited_context: BuildContext, candidate: Candidate, watch: Stopwatch) -> FillResult:
        filled = transform(limited_context, connection, candidate, inputs, watch)
        added = Added(
            up_to=source.up_to,
            records=candidates.count(connection, candidate) + filled.repeats,
            before=own,
            input_base_build_id=source.base_build_id,
            through=source.through,
        )
        return replace(filled, added=added)

    return _Next(source.batch, own, inputs, fill)


# ---- its steps


class _Growth:
    """One batch in its session; `run` executes its steps in order."""

    def __init__(
        self, context: BuildContext, connection: Connection[Any], table: Table, load_date: date, following: _Next
    ) -> None:
        self._context, self._connection, self._table, self._load_date = context, connection, table, load_date
        self._next, self._watch = following, Stopwatch()

    def run(self) -> Grown:
        """Build the batch; it is published or held when this returns."""
        name, run_id = self._context.pipeline.name, self._context.run_id
        work = Work("batch", name, str(self._table.relation), self._load_date, facts={"run_id": run_id})
        with observed(work):
            grown = self._run()
            work.outcome = "held" if grown.held else "published"
            counts = ("build_id", "batch", "objects", "records", "rows", "repeats", "quarantined")
            work.facts = {"run_id": run_id, **{count: getattr(grown, count) for count in counts}}
            work.phases, work.verdicts = self._watch.seconds, {each.name: each.verdict for each in grown.results}
        return grown

    def _run(self) -> Grown:
        build_id = runs.open_row(
            self._connection,
            run_id=self._context.run_id,
            pipeline=self._context.pipeline.name,
            job=str(self._table.relation),
            load_date=self._load_date,
        )
        candidate = Candidate(
            self._table,
            self._load_date,
            build_id,
            batch=self._next.batch,
            is_added=self._next.before is not None,
        )
        try:
            return self._build(candidate)
        except BaseException as error:
            self._context.on_progress("failed", 0, 0)
            reported = interruption(error) or error
            if isinstance(reported, psycopg.Error):
                reported = explain(self._table, reported)
            close_failed(self._context, self._connection, candidate, reported)
            if reported is error:
                raise
            raise reported from None if self._table.pii else error

    def _build(self, candidate: Candidate) -> Grown:
        connection, following = self._connection, self._next
        for leftover in candidates.find_leftovers(connection, self._table, self._load_date):
            candidates.drop(connection, leftover)
        with limited(self._context, connection, self._table, self._load_date) as context:
            filled = following.fill(context, candidate, self._watch)
            context.on_progress("checking", 0, len(self._table.checks))
            audit = audit_candidate(context, connection, candidate, following.inputs, filled)
        record(self._context, connection, candidate, audit, filled, is_held=audit.blocks_publish)
        size_bytes = candidates.size_of(connection, candidate)
        audited = AuditedCandidate(candidate, following.inputs, filled, audit, size_bytes, IN_POSTGRES)
        publish_id = None
        if audit.blocks_publish:
            hold(self._context, connection, audited)
        else:
            self._context.on_progress("publishing", 0, 0)
            publish_id = publish(self._context, connection, audited).publish_id
        self._context.on_progress("held" if publish_id is None else "published", audit.rows, audit.rows)
        added = filled.added
        assert added is not None
        return Grown(
            relation=self._table.relation,
            load_date=self._load_date,
            batch=candidate.batch,
            build_id=candidate.build_id,
            publish_id=publish_id,
            objects=len(added.objects),
            records=added.records,
            rows=audit.rows,
            repeats=filled.repeats,
            quarantined=filled.counts.quarantined or 0,
            through=added.through,
            results=audit.results,
        )
