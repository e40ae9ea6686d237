"""The build of a table for one load_date: lock, look upstream, fill a candidate, audit it, publish it or hold it.

Whatever happens, the run log is closed, the publish is one transaction, and readers see the old rows or the new ones.
Not here: how each step is done in SQL (warehouse/).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.ledger import holds, manifests, publishes, quarantine, results, runs
from kpi_assets.ledger.locks import build_lock, lock_publish
from kpi_assets.ledger.publishes import Publish, shown_as
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.context import BuildContext, BuildOutcome, Stopwatch, reason_of
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.inputs import Inputs, look_upstream, rows_before
from kpi_assets.materialize.load import load_object
from kpi_assets.materialize.retry import LOCK_TIMEOUT, outlast_snapshots, retry_on_lock, wait_for_lock
from kpi_assets.materialize.transform import transform
from kpi_assets.model import excerpt
from kpi_assets.model.checks import ForeignKey, NotSeenBefore
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.model.results import ChartRows
from kpi_assets.model.slices import KEY_TYPES
from kpi_assets.warehouse import candidates, tables
from kpi_assets.warehouse.audit import SAMPLES, Audit, Facts, audit, gapless
from kpi_assets.warehouse.candidates import Candidate, DefinitionError, identifier
from kpi_assets.warehouse.connection import WarehouseError, is_lost
from kpi_assets.warehouse.refusal import cure_of
from kpi_assets.warehouse.shape import Published


def build(context: BuildContext, table: Table, load_date: date) -> BuildOutcome:
    """Build one table for one load_date; waits where another session is building the same.

    Raises UpstreamError, LakeError, WarehouseError and DefinitionError; the run log says so too. For a load_date that
    may not be built it raises UsageError, and nothing is written.
    """
    context.pipeline.check_load_date(load_date)
    name = f"{context.run_id[:8]} {table.relation} {load_date}"
    watch = Stopwatch()
    with context.session(table, name) as connection:
        lock = build_lock(table.relation, load_date)
        wait_for_lock(connection, lock, "waiting for another build of it", context.on_progress)
        build_id = runs.open_row(
            connection,
            run_id=context.run_id,
            pipeline=context.pipeline.name,
            job=str(table.relation),
            load_date=load_date,
        )
        candidate = Candidate(table, load_date, build_id)
        try:
            return _build(context, connection, candidate, watch)
        except BaseException as error:
            context.on_progress("failed", 0, 0)
            told = _explained(table, error) if isinstance(error, psycopg.Error) else error
            _close_failed(context, connection, candidate, told)
            if told is error:
                raise
            raise told from error


def _explained(table: Table, error: psycopg.Error) -> WarehouseError:
    """What Postgres said while it executed a file's SQL, with the file's name."""
    reason = excerpt.cut(" ".join(str(error).split()), excerpt.MESSAGE)
    cure = cure_of(error)
    end = f": {cure}." if cure else "."
    sentence = f"{table.path}: building {table.relation} failed ({type(error).__name__}: {reason}){end}"
    return WarehouseError(sentence, passing=is_lost(error))


def _close_failed(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, error: BaseException
) -> None:
    """Write the failure down, on another connection where this one is lost; then the original error goes on."""

    def close(session: Connection[Any]) -> None:
        layer = context.pipeline.layer(candidate.table.relation)
        # A build that was published or held came to its end before the error: what it left is not ours to drop.
        if runs.close_build(
            session, candidate.build_id, "failed", layer=layer, counts=Counts(), error=reason_of(error)
        ):
            candidates.drop(session, candidate.relation)

    with suppress(psycopg.Error):
        connection.rollback()
        close(connection)
        return
    with suppress(psycopg.Error, WarehouseError), context.session(candidate.table, "close") as session:
        close(session)


def _build(context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch) -> BuildOutcome:
    table, load_date = candidate.table, candidate.load_date
    inputs = look_upstream(context, connection, table, load_date)
    warnings = inputs.warnings(connection)
    for leftover in candidates.leftovers(connection, table, load_date):
        candidates.drop(connection, leftover)
    watch.lap("wait")
    if table.header.storage == "view":
        filled, found = _look_through(candidate, inputs)
    else:
        if table.has_object:
            filled = load_object(context, connection, candidate, watch)
        else:
            filled = transform(context, connection, candidate, inputs, watch)
        context.on_progress("checking", 0, len(table.checks))
        found = _audit(context, connection, candidate, inputs, filled)
    if found.holds:
        inputs.check_unchanged(connection)  # else it may be two versions that do not add up
    _record(context, connection, candidate, found, filled)
    preview = candidates.first_rows(connection, candidate, SAMPLES)
    kpi = table.header.kpi
    chart = candidates.chart_rows(connection, candidate, kpi.chart) if kpi else ChartRows([], 0)
    size = candidates.size_of(connection, candidate)
    watch.lap("check")
    counts = Counts(filled.counts.extracted, found.rows, filled.counts.quarantined)
    publish_id = None
    if found.holds:
        failed = ", ".join(result.name for result in found.results if result.holds)
        place = f"read from s3://{context.store.bucket}/{table.object_key(load_date)}; " if table.has_object else ""
        reason = f"held by {failed}; {place}the candidate is kept as {candidate.relation}"
        layer = context.pipeline.layer(table.relation)
        holds.record(
            connection,
            candidate.build_id,
            manifest_hash=filled.manifest_hash,
            code_version=table.code_version,
            checks_version=table.checks_version,
            inputs=inputs.publish_ids,
        )
        runs.close_build(
            connection,
            candidate.build_id,
            "held",
            layer=layer,
            counts=Counts(counts.extracted, 0, counts.quarantined),
            error=reason,
            candidate=str(candidate.relation),
        )
    else:
        context.on_progress("publishing", 0, 0)

        def publish() -> int:
            return _publish(context, connection, candidate, inputs, filled, found, counts, size)

        publish_id = _patiently(context, connection, candidate, publish)
    watch.lap("publish")
    context.on_progress("published" if publish_id else "held", found.rows, found.rows)
    return BuildOutcome(
        relation=table.relation,
        load_date=load_date,
        build_id=candidate.build_id,
        publish_id=publish_id,
        candidate=candidate.relation,
        rows=found.rows,
        checksum=found.checksum,
        size_bytes=size,
        manifest_hash=filled.manifest_hash,
        inputs={relation: publish.publish_id for relation, publish in inputs.of_day.items()},
        window=inputs.window,
        results=found.results,
        warnings=warnings,
        preview=preview,
        chart=chart,
        seconds=watch.seconds,
    )


def _look_through(candidate: Candidate, inputs: Inputs) -> tuple[FillResult, Audit]:
    """What a view is: the rows of the table that it shows, which were counted and audited there."""
    shown, columns = candidate.table.shows
    publish = inputs.of_day[shown]
    checksum = publish.checksum + shown_as(columns)
    return FillResult(Counts(), publish.manifest_hash, [], grain_is_proven=True), Audit(publish.rows, checksum, [])


def _audit(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    inputs: Inputs,
    filled: FillResult,
) -> Audit:
    table = candidate.table
    same_bytes: list[dict[str, Any]] = []
    if any(isinstance(check, NotSeenBefore) for check in table.checks):
        same_bytes = manifests.same_bytes(connection, table.relation.table, candidate.load_date, filled.manifest_hash)
    facts = Facts(
        candidate.load_date,
        **rows_before(connection, table, candidate.load_date),
        source_rows={relation: publish.rows for relation, publish in inputs.of_day.items()},
        records=filled.counts.extracted,
        quarantined=filled.counts.quarantined or 0,
        quarantine_samples=[
            {"line": bad.line, "column": bad.column, "value": bad.value, "reason": bad.reason}
            for bad in filled.quarantined[:SAMPLES]
        ],
        unreadable=filled.unreadable,
        same_bytes=same_bytes,
        grain_is_proven=filled.grain_is_proven,
        gapless=_gapless_keys(context, connection, candidate, inputs.of_day),
        window=inputs.window,
        instead=candidates.as_declared(connection, [context.pipeline.tables[read] for read in table.reads]),
    )
    return audit(connection, candidate.name, table.types, table.checks, facts)


def _gapless_keys(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, inputs: Mapping[Relation, Publish]
) -> dict[str, tuple[int, int]]:
    """Of each foreign key to such a key, its ends: a value between them is there, and no other is."""
    ends = {}
    for check in candidate.table.checks:
        if isinstance(check, ForeignKey):
            header, rows = context.pipeline.tables[check.refers].header, inputs[check.refers].rows
            if header.grain == [check.to] and header.columns[check.to].type in KEY_TYPES:
                found = gapless(connection, identifier(check.refers), check.to, candidate.load_date, rows)
                ends.update({check.name: found} if found else {})
    return ends


def _record(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, found: Audit, filled: FillResult
) -> None:
    table, load_date = str(candidate.table.relation), candidate.load_date
    with connection.transaction():
        results.record(
            connection,
            found.results,
            run_id=context.run_id,
            build_id=candidate.build_id,
            table=table,
            load_date=load_date,
            subject="candidate",
        )
        if filled.quarantined:
            quarantine.record(
                connection,
                filled.quarantined,
                build_id=candidate.build_id,
                run_id=context.run_id,
                table=table,
                load_date=load_date,
                object_key=candidate.table.object_key(load_date),
            )


def _publish(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    inputs: Inputs,
    filled: FillResult,
    found: Audit,
    counts: Counts,
    size: int,
) -> int:
    """Make the candidate what readers see, and write so in the ledger and the run log: all of it or nothing."""
    table, load_date = candidate.table, candidate.load_date
    with connection.transaction():
        connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        inputs.check_unchanged(connection)
        lock_publish(connection, table.relation)
        tables.ensure(connection, table, load_date, _others(connection, candidate))
        tables.publish_candidate(connection, candidate)
        publish_id = publishes.record(
            connection,
            table.relation,
            load_date,
            build_id=candidate.build_id,
            run_id=context.run_id,
            manifest_hash=filled.manifest_hash,
            code_version=table.code_version,
            rows=found.rows,
            checksum=found.checksum,
            size_bytes=size,
            inputs=inputs.publish_ids,
            columns=table.types,
        )
        _publish_views(context, connection, table, load_date)
        layer = context.pipeline.layer(table.relation)
        runs.close_build(connection, candidate.build_id, "success", layer=layer, counts=counts)
    return publish_id


def _others(connection: Connection[Any], candidate: Candidate) -> list[Published]:
    """The load_dates of its table that are published, and stay as they are."""
    table = candidate.table
    return tables.published_of(connection, table, publishes.by_columns(connection, table.relation, candidate.load_date))


def _publish_views(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> None:
    """Write down what else readers see now: a view has the rows of its table, and one definition for all load_dates."""
    for view in tables.views_on(connection, table.relation):  # also one whose file is away
        lock_publish(connection, view)
        publishes.record_shown(connection, view, table.relation, load_date, run_id=context.run_id)
    if table.header.storage == "view":
        shown, columns = table.shows
        for types, first, last, _ in publishes.by_columns(connection, shown, load_date):
            if lacking := [there for there in columns.values() if types is not None and there not in types]:
                raise DefinitionError(
                    f"{table.path}: {table.relation} cannot show {lacking[0]!r} yet, which would be NULL in other "
                    f"load_dates: {shown} was published without it from {first} to {last}; build those again first."
                )
        publishes.record_redefined(
            connection,
            table.relation,
            shown,
            load_date,
            run_id=context.run_id,
            code_version=table.code_version,
            columns=table.types,
            shown_as=shown_as(columns),
        )


def _patiently(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, publish: Callable[[], int]
) -> int:
    """Publish; give way to readers who hold the table, and come again until patience ends."""
    try:
        if tables.swaps(connection, candidate.table, candidate.load_date, _others(connection, candidate)):
            outlast_snapshots(connection, "published", context.on_progress, context.publish_patience)
        return retry_on_lock(publish, "published", context.on_progress, context.publish_patience)
    except psycopg.OperationalError:
        # Where the connection broke while COMMIT was under way, only the ledger knows whether it went through.
        publish_id = None
        with suppress(psycopg.Error, WarehouseError), context.session(candidate.table, "ask") as ask:
            publish_id = publishes.of_build(ask, candidate.build_id)
        if publish_id is None:
            raise
        return publish_id
