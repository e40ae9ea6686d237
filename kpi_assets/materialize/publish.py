"""Publishes a candidate: its rows, the ledger and the run log change in one transaction.

Not here: replacing the rows of a load_date (warehouse/kinds/), and the values of KPIs (measures.py).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.ledger import causes, drift, kpi_values, kpis, publishes, rulings, runs
from kpi_assets.ledger.kpi_values import Value
from kpi_assets.ledger.kpis import DeclaredKpi
from kpi_assets.ledger.locks import lock_publish
from kpi_assets.ledger.publishes import ViewPublish, shown_as
from kpi_assets.materialize import keep, measures
from kpi_assets.materialize.audit import AuditedCandidate
from kpi_assets.materialize.batch import PublishedRows, add, record_batch
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.keep import Content
from kpi_assets.materialize.measures import Computed
from kpi_assets.materialize.release import release
from kpi_assets.materialize.retry import LOCK_TIMEOUT, retry_on_lock
from kpi_assets.materialize.rulings import WaiverGoneError
from kpi_assets.model.names import Relation
from kpi_assets.model.records import Drifted
from kpi_assets.model.table import Table
from kpi_assets.monitoring.declared_kpis import declared
from kpi_assets.sources.decisions import add_use
from kpi_assets.sources.refusals import LakeError
from kpi_assets.warehouse import tables
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets.warehouse.drift import of_candidate
from kpi_assets.warehouse.shape import Published
from kpi_assets.warehouse.versions import VersionChanges
from kpi_assets.warehouse.views import views_on


@dataclass(frozen=True)
class PublishOutcome:
    """The id of a publish and, of a history, what it changed in the versions.

    `values` are those of the measures of a KPI, and `warnings` name those that could not be computed, also of the views
    that show the table.
    """

    publish_id: int
    versions: VersionChanges | None = None
    values: Mapping[str, Decimal | None] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def publish(context: BuildContext, connection: Connection[Any], audited: AuditedCandidate) -> PublishOutcome:
    """Publish a candidate and return the outcome; wait for readers who hold the table.

    Raises WarehouseError if readers hold the table for longer than `publish_timeout`, UpstreamError if an input was
    published again meanwhile, and WaiverGoneError if its checks fail and the ruling on that does not count any more.
    """
    candidate, computed = audited.candidate, list[Computed]()
    try:
        if not candidate.is_added:
            audited.place.prepare(context, connection, candidate, _others(connection, candidate))
        computed = measures.of_candidate(connection, context.pipeline, candidate)
        drifted = of_candidate(connection, candidate) if candidate.table.stream else []
        outcome = retry_on_lock(
            partial(_publish, context, connection, audited, computed, drifted),
            *("published", context.on_progress, context.publish_timeout),
        )
    except psycopg.OperationalError:
        # When the connection breaks during COMMIT, only the ledger knows whether the transaction was committed.
        publish_id = None
        with suppress(psycopg.Error, WarehouseError), context.session(candidate.table, "ask") as ask:
            publish_id = publishes.of_build(ask, candidate.build_id)
        if publish_id is None:
            raise
        outcome = PublishOutcome(publish_id)
    keep.drop_due_quietly(context, connection, candidate.table)
    audited.place.after_publish(connection, candidate)
    own = next((each.values for each in computed if each.table is candidate.table), {})
    if audited.waiver and not audited.waiver.was_used:
        with suppress(LakeError):  # the next build writes it, by what the ledger says
            add_use(context.store, audited.waiver.key)
    return replace(
        outcome, values=own, warnings=[*(text for each in computed for text in each.warnings), *outcome.warnings]
    )


def _publish(
    context: BuildContext,
    connection: Connection[Any],
    audited: AuditedCandidate,
    computed: Sequence[Computed],
    drifted: Sequence[Drifted],
) -> PublishOutcome:
    """Replace the published rows by the candidate's and record that in the ledger and the run log, all or nothing."""
    candidate, table, load_date = audited.candidate, audited.candidate.table, audited.candidate.load_date
    with connection.transaction():
        connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        audited.inputs.check_unchanged(connection)
        ruled = _ruled(connection, audited)
        lock_publish(connection, table.relation, load_date if table.header.history else None)
        published = PublishedRows(audited.audit.rows, audited.audit.checksum, audited.size_bytes)
        if candidate.is_added:
            versions, published = None, add(connection, audited)
        else:
            others = _others(connection, candidate)
            versions = audited.place.put_in(context, connection, audited, _content(audited), others)
        publish_id = publishes.record(
            connection,
            table.relation,
            load_date,
            build_id=candidate.build_id,
            run_id=context.run_id,
            manifest_hash=audited.filled.manifest_hash,
            code_version=table.code_version,
            rows=published.rows,
            checksum=published.checksum,
            size_bytes=published.size_bytes,
            inputs=audited.inputs.publish_ids,
            columns=table.types,
            rulings=ruled,
            lacks=_lacking(connection, audited),
            place=audited.place.snapshot(candidate),
            checksum_kind=audited.place.checksum_kind,
        )
        keep.forget_shown(connection, table, load_date)
        if table.grows:
            base = record_batch(connection, audited, publish_id)
            drift.record(connection, table.relation, load_date, drifted, base=base)
        shown = _publish_views(context, connection, table, load_date)
        if not candidate.is_added:  # more events are no restatement, here and in what shows them
            views = (each.publish_id for of_view in shown.values() for each in of_view)
            causes.record(connection, [publish_id, *views])
        warnings = _record_values(context, connection, candidate, publish_id, shown, computed)
        release(connection, context.pipeline, [table.relation, *shown], load_date)
        layer = context.pipeline.layer(table.relation)
        runs.close_build(connection, candidate.build_id, "success", layer=layer, counts=audited.counts)
    return PublishOutcome(publish_id, versions, warnings=warnings)


def _content(audited: AuditedCandidate) -> Content:
    columns = tuple(audited.candidate.table.types.items())
    return Content(audited.audit.checksum, columns)


def _ruled(connection: Connection[Any], audited: AuditedCandidate) -> list[int]:
    """Return the rulings of a publish: its own, and those of what it was made from. Raises WaiverGoneError."""
    candidate = audited.candidate
    found = publishes.of_inputs(connection, "rulings", audited.inputs.publish_ids, candidate.load_date)
    if candidate.is_added:
        table = candidate.table.relation
        before = publishes.current(connection, [table], candidate.load_date).get(table)
        found += before.rulings if before else []
    if audited.waiver:
        own = rulings.take(connection, audited.waiver.key)
        if own is None:
            raise WaiverGoneError
        failed = [result.name for result in audited.audit.results if result.blocks_publish]
        rulings.mark_waived(connection, candidate.build_id, failed, own)
        found.append(own)
    return found


def _lacking(connection: Connection[Any], audited: AuditedCandidate) -> list[str]:
    """Return what a publish lacks: what was not there of its own window, and what the publishes lack that it reads."""
    candidate, inputs = audited.candidate, audited.inputs
    found = publishes.of_inputs(connection, "lacks", inputs.publish_ids, candidate.load_date)
    if candidate.is_added:
        before = publishes.current(connection, [candidate.table.relation], candidate.load_date)
        found += [name for each in before.values() for name in each.lacks]
    return [*found, *map(str, inputs.lacks)]


def _record_values(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    publish_id: int,
    views: Mapping[Relation, Sequence[ViewPublish]],
    computed: Sequence[Computed],
) -> list[str]:
    """Record the values of the KPIs whose publishes were just recorded; return warnings of those computed only now.

    `computed` are those of the candidate. A view that was redefined has other load_dates, and a view whose file changed
    since it was published is not yet what its file says: its values are recorded when it is published itself.
    """
    found, due, warnings = list[Value](), list[DeclaredKpi](), list[str]()
    of_candidate = {each.table.relation: each for each in computed}
    own = ViewPublish(publish_id, candidate.load_date, candidate.table.code_version)
    for relation, publishes_of in {
        **views,
        candidate.table.relation: [own, *views.get(candidate.table.relation, ())],
    }.items():
        table = context.pipeline.tables.get(relation)
        if table is None or not table.header.kpi:
            continue
        for each in publishes_of:
            if each.code_version != table.code_version:
                continue
            values = of_candidate.get(relation) if each.load_date == candidate.load_date else None
            if values is None:
                values = measures.of_published(connection, table, each.load_date)
                warnings += values.warnings
            found += values.of_publish(each.publish_id)
        if publishes_of:
            latest = max(each.load_date for each in publishes_of)
            due.append(declared(connection, context.pipeline, table, latest))
    kpi_values.record(connection, found)
    kpis.record(connection, due)
    return warnings


def _others(connection: Connection[Any], candidate: Candidate) -> list[Published]:
    """Return the other published load_dates of the table, whose rows stay as they are."""
    table = candidate.table
    return tables.published_of(connection, table, publishes.by_columns(connection, table.relation, candidate.load_date))


def _publish_views(
    context: BuildContext, connection: Connection[Any], table: Table, load_date: date
) -> dict[Relation, list[ViewPublish]]:
    """Record the publishes of views: of those that read the table, and of the table itself if it is a view.

    The rows of a view change with those of its table, and its definition is one for all load_dates.
    """
    found = {}
    for view in views_on(connection, table.relation):  # includes views whose files were removed
        lock_publish(connection, view)
        found[view] = publishes.record_shown(connection, view, table.relation, load_date, run_id=context.run_id)
    if not table.storage.stores_rows:
        shown, columns = table.origin
        for types, first, last, _ in publishes.by_columns(connection, shown, load_date):
            if lacking := [there for there in columns.values() if types is not None and there not in types]:
                raise DefinitionError(
                    f"{table.path}: {table.relation} cannot show {lacking[0]!r} yet, which would be NULL in other "
                    f"load_dates: {shown} was published without it from {first} to {last}; build those again first."
                )
        found[table.relation] = publishes.record_redefined(
            connection,
            table.relation,
            shown,
            load_date,
            run_id=context.run_id,
            code_version=table.code_version,
            columns=table.types,
            shown_as=shown_as(columns),
        )
    return found
