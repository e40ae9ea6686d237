"""Rechecks a table: runs its checks again on its published rows. Nothing is built, and readers see no change.

The stored rows are compared with the ledger first, to detect rows that were changed after the publish.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import batches, publishes, quarantine, results, rulings
from kpi_assets.ledger.locks import run_lock
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.check_facts import FactLookup
from kpi_assets.materialize.context import BuildContext, UpstreamError
from kpi_assets.materialize.dropped import explain_replay
from kpi_assets.materialize.inputs import window_of
from kpi_assets.materialize.places import IN_POSTGRES, Place, place_of
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.model.checks.base import AuditFacts
from kpi_assets.model.lookback import Window
from kpi_assets.model.manifest import NO_OBJECT
from kpi_assets.model.names import InputName, Relation
from kpi_assets.model.quality import CheckCount
from kpi_assets.model.records import SetAside
from kpi_assets.model.results import CheckResult
from kpi_assets.model.ruling import why_unwaivable
from kpi_assets.model.table import Table

AS_PUBLISHED = "as_published"  # the check that every recheck makes: the rows are still those that were published
OTHER_COLUMNS = "its other checks were not made: it was published with columns that differ from those in its file"


def recheck(context: BuildContext, table: Table, load_date: date) -> list[CheckResult]:
    """Run the checks of a table on its published rows and record the results.

    Raises UpstreamError if the load_date is not published, and UsageError if the pipeline cannot have it.
    """
    context.pipeline.check_load_date(load_date)
    name = f"{context.run_id[:8]} recheck {table.relation}"
    with context.session(table, name) as connection:
        # Without the lock, a run or retention could remove the rows during the checks.
        wait_for_lock(connection, run_lock(load_date), "waiting for a run of its load_date", context.on_progress)
        wanted = (table.relation, *table.reads)
        published = publishes.current(connection, wanted, load_date)
        if gone := publishes.dropped(connection, wanted, load_date):
            reason = explain_replay(context.pipeline, gone, load_date)
            raise UpstreamError(f"{table.relation} of {load_date} cannot be checked: {reason}.")
        if table.relation not in published:
            raise UpstreamError(
                f"{table.relation} of {load_date} is not published: there is nothing to check; run it first."
            )
        publish = published[table.relation]
        with place_of(context, table) as place:
            checked = [check_as_published(connection, table, publish, place)]
            # The checks need the rows, with the columns that the file declares now.
            if not place.is_lost(connection, table, publish) and (publish.types or table.types) == table.types:
                checked += _audit_published(context, connection, table, publish, published, place)
        checked = _waived(connection, table, publish, checked)
        results.record(
            connection,
            checked,
            run_id=context.run_id,
            build_id=publish.build_id,
            table=str(table.relation),
            load_date=load_date,
            subject="published",
        )
    return checked


def _waived(
    connection: Connection[Any], table: Table, publish: Publish, checked: list[CheckResult]
) -> list[CheckResult]:
    """Return the results with the ruling by which the rows were published, on those failures that it covers."""
    own = [
        each
        for each in rulings.of_publish(connection, table.relation, publish.load_date)
        if (each.asset, each.load_date, each.checksum) == (publish.asset, publish.load_date, publish.checksum)
        and each.revoked_at is None
    ]
    found = []
    for result in checked:
        may_fail = result.blocks_publish and not why_unwaivable(result, table.checks)
        ruling = next((each for each in own if may_fail and result.name in each.checks), None)
        found.append(replace(result, ruling_id=ruling.ruling_id) if ruling else result)
    return found


def check_as_published(
    connection: Connection[Any], table: Table, publish: Publish, place: Place = IN_POSTGRES
) -> CheckResult:
    """Check that the stored rows of a load_date still have the count and the checksum of its publish."""
    rows, problem = 0, "its rows are gone from the database: run it again"
    if not place.is_lost(connection, table, publish):
        rows, checksum = place.stored_rows(connection, table, publish)
        if rows != publish.rows:
            problem = f"{rows} rows are stored, and {publish.rows} were published: somebody changed them; run it again"
        elif checksum not in {publish.checksum, None}:
            problem = "the rows differ from what was published: somebody changed them; run it again"
        else:
            problem = ""
    others = "" if (publish.types or table.types) == table.types else OTHER_COLUMNS
    return CheckResult(
        AS_PUBLISHED, passed=not problem, blocking=True, metric=rows, threshold=publish.rows, message=problem or others
    )


def _audit_published(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    publish: Publish,
    published: Mapping[Relation, Publish],
    place: Place,
) -> list[CheckResult]:
    """Run the table's checks on its published rows and return the results."""
    checks = [check for check in table.checks if "published" in check.applies_to]
    own = batches.last(connection, table.relation, publish.load_date) if table.grows else None
    of_build = {check.name for check in table.checks} - {check.name for check in checks}
    facts = AuditFacts(
        publish.load_date,
        source_rows={relation: each.rows for relation, each in published.items()},
        set_aside=_set_aside(connection, table, publish) if table.rules else None,
        is_by_weekday=context.pipeline.calendars[table.relation].is_by_weekday,
        is_without_object=publish.manifest_hash == NO_OBJECT,
        batch=1 if table.grows else None,
        repeats=own.total_repeats if own else 0,
        counted=[count for count in _counted(connection, table, publish) if count.name in of_build],
        looked_up=FactLookup(connection, context.pipeline, table, publish.load_date, checks).answers(),
        window=_window_read(context, table, publish),
        pii=table.pii,
    )
    return place.audit_published(context, connection, table, publish, checks, facts)


def _counted(connection: Connection[Any], table: Table, publish: Publish) -> list[CheckCount]:
    """Return what the checks of the published build counted for its quality score, of a table that has one."""
    if table.header.quality is None:
        return []
    return results.counts_of(connection, str(table.relation), publish.load_date, publish.build_id)


def _set_aside(connection: Connection[Any], table: Table, publish: Publish) -> SetAside:
    """Return what rules set aside in the published build, and have its rows where the checks count them."""
    return quarantine.restore_rows(
        connection,
        table=str(table.relation),
        load_date=publish.load_date,
        build_id=publish.build_id,
        types=table.types,
    )


def _window_read(context: BuildContext, table: Table, publish: Publish) -> Window | None:
    """Return the window of a table with `lookback`: the load_dates from which its published rows were built."""
    if not table.window_reads:
        return None
    first, day, pipeline = context.pipeline.window_start(table, publish.load_date), publish.load_date, context.pipeline
    reads = pipeline.window_inputs_of(table)
    days = (first + timedelta(days=n) for n in range((day - first).days + 1))
    names = {each: [str(InputName(read, None if each == day else each)) for read in reads] for each in days}
    return window_of(pipeline, table, day, [each for each, of in names.items() if publish.inputs.keys() & {*of}])
