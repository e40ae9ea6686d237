"""Rolls a load_date back: tables show again what they showed before, all at once, and what took its place is kept out.

First the rulings are written to S3 that keep out what is at the root, so that no build and no database made anew shows
it again. Then one transaction changes all tables. Killed in between, readers see what they saw, and the same command
goes on. Readers wait only for the last part of the transaction, in which partitions are swapped.
Belongs here: the order of the steps. Not here: what changes, and what speaks against it (rolled_back.py), keeping rows
(keep.py), and replacing those of a table (warehouse/kinds/).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.errors import UserError
from kpi_assets.ledger import causes, holds, incidents, kept, kpi_values, kpis, locks, marks, past, publishes, results
from kpi_assets.ledger.kpis import DeclaredKpi
from kpi_assets.ledger.locks import build_lock, lock_publish, run_lock
from kpi_assets.ledger.publishes import Publish, ViewPublish
from kpi_assets.ledger.rulings import RecordedRuling
from kpi_assets.materialize import keep
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.decisions import look
from kpi_assets.materialize.keep import Content
from kpi_assets.materialize.retry import LOCK_TIMEOUT, retry_on_lock, wait_for_lock, wait_for_snapshots
from kpi_assets.materialize.rolled_back import Change, Planned, plan
from kpi_assets.materialize.rule import check_reason, keep_out_all
from kpi_assets.model.names import InputName, Relation
from kpi_assets.model.results import CheckResult
from kpi_assets.model.ruling import NOT_RULED_OUT
from kpi_assets.monitoring.declared_kpis import declared
from kpi_assets.warehouse import tables
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.connection import may_act_as
from kpi_assets.warehouse.content import kept_rows_and_checksum
from kpi_assets.warehouse.ddl import identifier
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets.warehouse.provision import role_of
from kpi_assets.warehouse.views import views_on

TIMEOUT = 60.0  # seconds to wait for a run of the load_date, and again for readers
# For so long at most a statement waits for readers of some tables. Others queue behind it, and PostgreSQL looks for
# deadlocks after a second: a reader who waits for one table, while this waits for another that the reader has, must not
# be ended by that.
TABLES_TIMEOUT = "300ms"


@dataclass(frozen=True)
class RolledBack:
    """What a rollback has done: the new publishes by table, and the rulings that keep out what was there."""

    publishes: dict[Relation, int]
    rulings: Sequence[RecordedRuling]
    locked_seconds: float  # for which readers of partitioned tables had to wait


def roll_back(context: BuildContext, planned: Planned, reason: str, by: str, timeout: float = TIMEOUT) -> RolledBack:
    """Show again what was shown before, and keep out what took its place.

    Raises UserError if something was published or dropped since it was planned, if a run of the load_date is in
    progress, or if the kept rows are not those that were published; WarehouseError if readers hold a table for longer
    than `timeout`; and what ruling raises.
    """
    check_reason(reason)
    load_date = planned.load_date
    own = next((each.table for each in planned.changes if each.table.pii), planned.changes[0].table)
    with context.login_session(own, f"{context.run_id[:8]} roll back {load_date}") as connection:
        acting = _Acting(context, connection, planned)
        _lock(context, connection, planned, timeout)
        only = [change.table.relation for change in planned.changes]
        if plan(connection, context.pipeline, load_date, planned.moment, only).changes != planned.changes:
            raise UserError(f"{load_date} was published again meanwhile, and nothing was changed: roll it back again.")
        for change in planned.changes:
            with connection.transaction():
                acting.set_for(change)
                _check_rows(connection, change)
        ruled = keep_out_all(context, [(each.table, each.now) for each in planned.roots], reason, by)
        decided = {each.table.relation: _decided(context, each) for each in planned.roots}
        rollback = _Rollback(context, acting, planned, decided, _said(ruled))
        if rollback.swaps:
            wait_for_snapshots(connection, "rolled back", context.on_progress, timeout)
        retry_on_lock(rollback.run, "rolled back", context.on_progress, timeout)
    for change in {acting.role(each): each for each in planned.changes}.values():
        with context.session(change.table, "drop kept rows") as connection:
            keep.drop_due_quietly(context, connection, change.table)
    return RolledBack(rollback.made, ruled, rollback.locked_seconds)


def _said(ruled: Sequence[RecordedRuling]) -> dict[str, str]:
    """Return what is said of each table that is kept out."""
    return {each.asset: f"rolled back by {each.ruled_by}: {each.reason}" for each in ruled}


def _lock(context: BuildContext, connection: Connection[Any], planned: Planned, timeout: float) -> None:
    """Keep runs of the load_date, and builds of its tables, away until the session ends. Raises UserError."""
    deadline = time.monotonic() + timeout
    relations = sorted(change.table.relation for change in planned.changes)
    for lock in (run_lock(planned.load_date), *(build_lock(each, planned.load_date) for each in relations)):
        phase = "waiting for a run of its load_date"
        if not wait_for_lock(connection, lock, phase, context.on_progress, deadline - time.monotonic()):
            raise UserError(
                f"A run of {planned.load_date} is in progress ({locks.holder(connection, lock)}), so nothing was "
                "rolled back: let it end first."
            )


def _decided(context: BuildContext, change: Change) -> Publish | None:
    """Record what is decided on a table by now, also that it is kept out, and return that state in the ledger."""
    name = f"{context.run_id[:8]} decided {change.table.relation}"
    with context.session(change.table, name) as connection:
        return look(context, connection, change.table, change.now.load_date).publish


class _Acting:
    """A session of the login, which acts for each table as the role that owns it, where the login has that role."""

    def __init__(self, context: BuildContext, connection: Connection[Any], planned: Planned) -> None:
        self.connection = connection
        self._roles = {
            each.table.relation: role_of(context.pipeline.layer(each.table.relation)) for each in planned.changes
        }
        self._granted = {role for role in {*self._roles.values()} if may_act_as(connection, role)}

    def role(self, change: Change) -> str:
        """Return the role that owns a table."""
        return self._roles[change.table.relation]

    def set_for(self, change: Change) -> None:
        """Act as the role that owns a table, until the transaction ends."""
        if (role := self.role(change)) in self._granted:
            self.connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))


def _check_rows(connection: Connection[Any], change: Change) -> None:
    """Raise UserError if kept rows are not those that were published."""
    found = kept_rows_and_checksum(
        connection, change.table, Relation.parse(change.kept.relation), change.then.types or {}
    )
    if found != (change.then.rows, change.then.checksum):
        raise UserError(
            f"The rows of {change.then.asset} of {change.then.load_date} that are kept in {change.kept.relation} are "
            f"not those of publish {change.then.publish_id}: somebody changed them, and nothing was rolled back; leave "
            "the table out with --select."
        )


class _Rollback:
    """The one transaction that changes all tables; `run` may be called again if it did not get its locks."""

    def __init__(
        self,
        context: BuildContext,
        acting: _Acting,
        planned: Planned,
        decided: dict[Relation, Publish | None],
        said: dict[str, str],
    ) -> None:
        self._context, self._acting, self._connection, self._planned = context, acting, acting.connection, planned
        self._decided, self._said = decided, said
        self.swaps = [each for each in planned.changes if self._is_swap(each)]
        self.made: dict[Relation, int] = {}
        self._by_name: dict[str, int] = {}  # the same, and the publishes of the views that show them
        self.locked_seconds = 0.0
        self._attempts = 0

    def run(self) -> None:
        """Change all tables, or none."""
        connection, load_date = self._connection, self._planned.load_date
        self.made, self._by_name = {}, {}
        with connection.transaction():
            self._acting.set_for(self._planned.changes[0])
            incidents.await_turn(connection)
            connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            for change in sorted(self._planned.changes, key=lambda each: each.table.relation):
                relation = change.table.relation
                lock_publish(connection, relation, load_date if change.table.header.history else None)
                for view in views_on(connection, relation):
                    lock_publish(connection, view)
            self._check_kept()
            for change in self._planned.changes:
                if change not in self.swaps:
                    self._replace(change)
            made = [publish_id for change in self._planned.changes for publish_id in self._record(change)]
            causes.record_rollback(connection, made, [self.made[each.table.relation] for each in self._planned.roots])
            self._hold_roots()
            since = self._lock_tables()
            for change in self.swaps:
                self._replace(change)
        self.locked_seconds = time.perf_counter() - since if self.swaps else 0.0

    def _is_swap(self, change: Change) -> bool:
        others = self._others(change)
        return strategy_of(change.table).publish_swaps(self._connection, change.table, self._planned.load_date, others)

    def _others(self, change: Change) -> list[Any]:
        found = publishes.by_columns(self._connection, change.table.relation, self._planned.load_date)
        return tables.published_of(self._connection, change.table, found)

    def _check_kept(self) -> None:
        """Keep the kept rows from being dropped meanwhile. Raises UserError if some were."""
        for change in self._planned.changes:
            now = publishes.current(self._connection, [change.table.relation], self._planned.load_date)
            if kept.find(self._connection, change.then, locked=True) != change.kept or change.now not in now.values():
                raise UserError(
                    f"{change.table.relation} of {self._planned.load_date} was published or dropped meanwhile, and "
                    "nothing was changed: roll it back again."
                )

    def _replace(self, change: Change) -> None:
        """Replace the rows of a table, and keep what was there."""
        connection, table, load_date = self._connection, change.table, self._planned.load_date
        self._acting.set_for(change)
        keep.set_publish_aside(connection, self._context.pipeline, table, change.now, Content.of(change.then))
        tables.ensure(connection, table, load_date, self._others(change))
        version = Candidate(table, load_date, change.then.build_id, version=change.kept.version_id)
        strategy_of(table).publish(connection, version)
        tables.declare(connection, table)
        kept.record_shown(connection, change.kept.version_id)

    def _record(self, change: Change) -> list[int]:
        """Record that a publish is what readers see again, also in the views that show it; return the new publishes."""
        connection, then, relation = self._connection, change.then, change.table.relation
        self.made[relation] = publishes.record(
            connection,
            relation,
            then.load_date,
            build_id=then.build_id,
            run_id=self._context.run_id,
            manifest_hash=then.manifest_hash,
            code_version=then.code_version,
            rows=then.rows,
            checksum=then.checksum,
            size_bytes=then.size_bytes,
            inputs=self._now_of(then.inputs),
            columns=then.types or {},
            rulings=then.rulings,
            lacks=then.lacks,
        )
        restored = {relation: ViewPublish(self.made[relation], then.load_date, then.code_version)}
        for view in views_on(connection, relation):
            for each in publishes.record_shown(connection, view, relation, then.load_date, run_id=self._context.run_id):
                restored[view] = each
        self._record_values(change, restored)
        self._by_name |= {str(each): made.publish_id for each, made in restored.items()}
        return [each.publish_id for each in restored.values()]

    def _record_values(self, change: Change, restored: dict[Relation, ViewPublish]) -> None:
        """Record for each new publish which one it restores, and the values that this one had.

        Measures that were changed since are those of `kpi measures --refresh`.
        """
        due, connection, load_date = list[DeclaredKpi](), self._connection, self._planned.load_date
        for relation, made in restored.items():
            then = change.then.publish_id
            if relation != change.table.relation:
                shown = past.showing(connection, relation, change.table.relation, then, made.code_version)
                if shown is None:
                    continue
                then = shown
            past.record_restored(connection, made.publish_id, then)
            kpi_values.copy(connection, made.publish_id, then)
            table = self._context.pipeline.tables.get(relation)
            if table and table.header.kpi:
                due.append(declared(connection, self._context.pipeline, table, load_date))
        kpis.record(connection, due)

    def _now_of(self, inputs: dict[str, int]) -> dict[str, int]:
        """Return inputs with the publishes of this rollback in the place of those that they restore."""
        return {name: self._by_name.get(name, publish_id) for name, publish_id in inputs.items()}

    def _marks_of(self, inputs: dict[str, int]) -> dict[str, int]:
        """Return the marks of histories among some inputs which this rollback has published."""
        names = [name for name in map(InputName.parse, inputs) if name.is_up_to and name.relation in self.made]
        day = self._planned.load_date
        return {str(name): marks.known(self._connection, name.relation, day).mark for name in names}

    def _hold_roots(self) -> None:
        """Record what was rolled back as held, so that no run is started for it before something is new."""
        for change in self._planned.roots:
            relation, now, said = change.table.relation, change.now, self._said[change.now.asset]
            decided = self._decided.get(relation)
            of_decisions = {decided.asset: decided.publish_id} if decided else {}
            inputs = {**self._now_of(now.inputs), **self._marks_of(now.inputs), **of_decisions}
            build_id = holds.record_rolled_back(
                self._connection,
                replace(now, inputs=inputs),
                run_id=self._context.run_id,
                pipeline=self._context.pipeline.name,
                error=said,
                checks_version=change.table.checks_version,
            )
            result = CheckResult(NOT_RULED_OUT, passed=False, blocking=True, metric=1, threshold=0, message=said)
            results.record(
                self._connection,
                [result],
                run_id=self._context.run_id,
                build_id=build_id,
                table=str(relation),
                load_date=self._planned.load_date,
                subject="candidate",
            )
            incidents.report_row(self._connection, build_id)

    def _lock_tables(self) -> float:
        """Lock the tables that are swapped against readers; return since when.

        A reader who locks several tables in another order would have one of them, and wait for one that is locked here.
        So the order is the one in which the tables are built, or that of their names, in turn.
        """
        connection, since = self._connection, time.perf_counter()
        [[before]] = connection.execute("select current_setting('statement_timeout')").fetchall()
        self._attempts += 1
        in_order = self.swaps if self._attempts % 2 else sorted(self.swaps, key=lambda each: each.table.relation)
        for _, changes in groupby(in_order, self._acting.role):
            of_role = [*changes]
            self._acting.set_for(of_role[0])
            names = sql.SQL(", ").join(identifier(each.table.relation) for each in of_role)
            connection.execute("select set_config('statement_timeout', %s, true)", [TABLES_TIMEOUT])
            try:
                connection.execute(sql.SQL("lock table {} in access exclusive mode").format(names))
            except psycopg.errors.QueryCanceled as error:
                raise psycopg.errors.LockNotAvailable(str(error)) from None
            connection.execute("select set_config('statement_timeout', %s, true)", [before])
        return since
