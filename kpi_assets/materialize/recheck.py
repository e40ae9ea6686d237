"""The checks of a table again, alone, on what is published: nothing is built, nothing changes for readers.

First of all the stored rows are compared with the ledger: that they are as they were published.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from psycopg import Connection, sql

from kpi_assets.ledger import publishes, results
from kpi_assets.ledger.locks import run_lock
from kpi_assets.ledger.publishes import Publish, input_name
from kpi_assets.materialize.context import BuildContext, UpstreamError
from kpi_assets.materialize.inputs import rows_before
from kpi_assets.materialize.retention import replay
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.model.checks import NotSeenBefore, Quarantine, RowAccounting
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.model.results import CheckResult
from kpi_assets.warehouse.audit import Facts, audit
from kpi_assets.warehouse.candidates import as_declared
from kpi_assets.warehouse.content import lost, published_rows, rows_and_checksum

AS_PUBLISHED = "as_published"  # the check that no file asks for: the rows are those that the ledger knows
OTHER_COLUMNS = "its other checks were not made: it was published with other columns than its file declares now"
_OF_THE_OBJECT = (RowAccounting, Quarantine, NotSeenBefore)  # they judge the object, which is not read again


def recheck(context: BuildContext, table: Table, load_date: date) -> list[CheckResult]:
    """Make the checks of a table on its published rows and record them.

    Raises UpstreamError where it has none, and UsageError for a load_date that the pipeline cannot have.
    """
    context.pipeline.check_load_date(load_date)
    name = f"{context.run_id[:8]} recheck {table.relation}"
    with context.session(table, name) as connection:
        # Else a run, or retention, could take away meanwhile what the checks compare with.
        wait_for_lock(connection, run_lock(load_date), "waiting for a run of its load_date", context.on_progress)
        wanted = (table.relation, *table.reads)
        published = publishes.current(connection, wanted, load_date)
        if gone := publishes.dropped(connection, wanted, load_date):
            raise UpstreamError(
                f"{table.relation} of {load_date} cannot be checked: {replay(context.pipeline, gone, load_date)}."
            )
        if table.relation not in published:
            raise UpstreamError(
                f"{table.relation} of {load_date} is not published: there is nothing to check; run it first."
            )
        publish = published[table.relation]
        checked = [as_published(connection, table, publish)]
        # What is gone, or was published with other columns, cannot be judged by checks of these.
        if not _is_lost(connection, table, publish) and (publish.types or table.types) == table.types:
            checked += _audited(context, connection, table, publish, published)
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


def as_published(connection: Connection[Any], table: Table, publish: Publish) -> CheckResult:
    """Whether what is stored of a load_date has the rows and the checksum with which it was published."""
    rows, problem = 0, "its rows are gone from the database: run it again"
    if not _is_lost(connection, table, publish):
        rows, checksum = _stored(connection, table, publish)
        if rows != publish.rows:
            problem = f"{rows} rows are stored, and {publish.rows} were published: somebody changed them; run it again"
        elif checksum not in {publish.checksum, None}:
            problem = "the rows are others than were published: somebody changed them; run it again"
        else:
            problem = ""
    others = "" if (publish.types or table.types) == table.types else OTHER_COLUMNS
    return CheckResult(
        AS_PUBLISHED, passed=not problem, blocking=True, metric=rows, threshold=publish.rows, message=problem or others
    )


def _is_lost(connection: Connection[Any], table: Table, publish: Publish) -> bool:
    return publish.rows > 0 and publish.load_date in lost(connection, table, [publish.load_date])


def _stored(connection: Connection[Any], table: Table, publish: Publish) -> tuple[int, str | None]:
    """The rows and the checksum of a load_date as they are stored; no checksum where the columns are not known.

    A view is as its table was published, which is looked at by itself.
    """
    if not table.storage.stores_rows:
        shown, columns = table.origin
        there = publishes.current(connection, [shown], publish.load_date).get(shown)
        return (there.rows, there.checksum + publishes.shown_as(columns)) if there else (0, None)
    types = publish.types or (table.types if publish.code_version == table.code_version else {})
    rows, checksum = rows_and_checksum(connection, table, publish.load_date, types or table.types)
    return rows, checksum if types else None


def _audited(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    publish: Publish,
    published: Mapping[Relation, Publish],
) -> list[CheckResult]:
    """What the table's checks say of its published rows."""
    connection.execute(
        sql.SQL("create temporary view this as select {} from {} as t").format(
            sql.SQL(", ").join(
                sql.SQL("{0}::{1} as {0}").format(sql.Identifier(name), sql.SQL(type_))
                for name, type_ in {LOAD_DATE: "date", **table.types}.items()
            ),
            published_rows(connection, table, publish.load_date),
        )
    )
    facts = Facts(
        publish.load_date,
        **rows_before(connection, table, publish.load_date),
        source_rows={relation: each.rows for relation, each in published.items()},
        window=_window_read(context, table, publish),
        instead=as_declared(connection, [context.pipeline.tables[read] for read in table.reads]),
    )
    checks = [check for check in table.checks if not isinstance(check, _OF_THE_OBJECT)]
    return audit(connection, sql.SQL("pg_temp.this"), table.types, checks, facts).results


def _window_read(context: BuildContext, table: Table, publish: Publish) -> Window | None:
    """The window of a table with `lookback`, with the load_dates from which the rows were made that are published."""
    if not table.window_reads:
        return None
    first, day = context.pipeline.window_start(table, publish.load_date), publish.load_date
    days = (first + timedelta(days=n) for n in range((day - first).days))
    there = [each for each in days if input_name(table.window_reads[0], each) in publish.inputs]
    return Window(first, day, (*there, day))
