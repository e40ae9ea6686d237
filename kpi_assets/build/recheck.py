"""The checks of a table again, alone, on what is published: nothing is built, nothing changes for readers."""

from datetime import date, timedelta

from psycopg import sql

from kpi_assets.build.context import BuildContext, UpstreamError
from kpi_assets.build.patience import wait_for_turn
from kpi_assets.build.retention import replay
from kpi_assets.model.checks import Accounted, NotSeenBefore, Quarantine
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.pipeline import Table
from kpi_assets.model.results import CheckResult
from kpi_assets.ops import publishes, results
from kpi_assets.ops.publishes import Publish, input_name
from kpi_assets.warehouse.audit import Facts, audit
from kpi_assets.warehouse.candidates import identifier
from kpi_assets.warehouse.locks import try_lock_run

_OF_THE_OBJECT = (Accounted, Quarantine, NotSeenBefore)  # they judge the object, which is not read again


def recheck(context: BuildContext, table: Table, load_date: date) -> list[CheckResult]:
    """Make the checks of a table on its published rows and record them. Raises UpstreamError where it has none."""
    name = f"{context.run_id[:8]} recheck {table.relation}"
    with context.session(table, name) as connection:
        # Else a run, or retention, could take away meanwhile what the checks compare with.
        wait_for_turn(
            lambda: try_lock_run(connection, load_date), "waiting for a run of its load_date", context.on_progress
        )
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
        this = sql.SQL("pg_temp.this")
        connection.execute(
            sql.SQL("create temporary view this as select {} from {} where {} = {}").format(
                sql.SQL(", ").join(sql.Identifier(column) for column in (LOAD_DATE, *table.columns)),
                identifier(table.relation),
                sql.Identifier(LOAD_DATE),
                sql.Literal(load_date),
            )
        )
        facts = Facts(
            load_date,
            previous_rows=publishes.previous_rows(connection, table.relation, load_date),
            source_rows={relation: publish.rows for relation, publish in published.items()},
            window=_window_read(context, table, published[table.relation]),
        )
        checks = [check for check in table.checks if not isinstance(check, _OF_THE_OBJECT)]
        found = audit(connection, this, table.types, checks, facts)
        results.record(
            connection,
            found.results,
            run_id=context.run_id,
            build_id=published[table.relation].build_id,
            table=str(table.relation),
            load_date=load_date,
            subject="published",
        )
    return found.results


def _window_read(context: BuildContext, table: Table, publish: Publish) -> Window | None:
    """The window of a table with `lookback`, with the load_dates from which the rows were made that are published."""
    if not table.window_reads:
        return None
    first, day = context.pipeline.window_start(table, publish.load_date), publish.load_date
    days = (first + timedelta(days=n) for n in range((day - first).days))
    there = [each for each in days if input_name(table.window_reads[0], each) in publish.inputs]
    return Window(first, day, (*there, day))
