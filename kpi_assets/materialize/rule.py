"""Ruling on builds: what a person asks for becomes a ruling on S3, or a sentence says why not.

Belongs here: which build is ruled on, and what speaks against it. Not here: the words of a ruling (model/ruling.py),
the lock and the objects (decisions.py), and what a ruling does to a build (rulings.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.errors import UsageError, UserError
from kpi_assets.ledger import growth, holds, publishes, results, rulings
from kpi_assets.ledger.publishes import Publish
from kpi_assets.ledger.rulings import RecordedRuling
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.decisions import rule
from kpi_assets.materialize.tick import tables_after
from kpi_assets.model.ruling import SHORTEST, CandidateKey, Revocation, Ruling, why_unwaivable
from kpi_assets.model.table import Table
from kpi_assets.sources.decisions import may_be_ruled_on, number_of
from kpi_assets.warehouse.connection import connect, may_act_as
from kpi_assets.warehouse.provision import DECIDER

USUAL_HOURS = 72


@dataclass(frozen=True)
class AskedWaiver:
    """What a person asks for: the latest build of a table and load_date is published although these checks fail."""

    table: Table
    load_date: date
    checks: Sequence[str]
    reason: str
    by: str
    hours: int | None = None  # None: USUAL_HOURS, or as many as the pipeline allows


def waive(context: BuildContext, asked: AskedWaiver) -> RecordedRuling:
    """Rule that the held build may be published although the named checks fail.

    Raises UserError if it may not be waived, DecisionError, LakeError and WarehouseError.
    """
    check_reason(asked.reason)
    hours = _hours(context, asked.hours)
    table, load_date = asked.table, asked.load_date
    context.pipeline.check_due(table, load_date)
    with _session(context, f"waive {table.relation} {load_date}") as connection:
        _check_grown(context, connection, table, load_date)

        def make(standing: Sequence[Ruling]) -> Ruling:
            candidate, seen = _held(connection, asked)
            now = datetime.now(timezone.utc).replace(microsecond=0)
            if same := next((each for each in standing if each.lets_through(candidate, seen, now)), None):
                raise UserError(
                    f"{same.by} waived this already on {_minute(same.at)} ({same.reason}): "
                    f"`{_run(context, table, load_date)}` publishes it."
                )
            return Ruling("waive", candidate, seen, asked.reason, asked.by, now, until=now + timedelta(hours=hours))

        return _recorded(connection, rule(context, connection, table, load_date, make))


def keep_out(context: BuildContext, table: Table, load_date: date, reason: str, by: str) -> RecordedRuling:
    """Rule that the published build of a table and load_date is never published again; readers keep it until then.

    Raises UserError if nothing is published, DecisionError, LakeError and WarehouseError.
    """
    check_reason(reason)
    if not may_be_ruled_on(table):
        raise UserError(f"{table.relation} cannot be kept out: rule on what it shows, or on a table that is whole.")
    with _session(context, f"hold {table.relation} {load_date}") as connection:
        found = publishes.current(connection, [table.relation], load_date).get(table.relation)
        if found is None:
            raise UserError(f"{table.relation} of {load_date} is not published: there is nothing to keep out.")
        return _kept_out(context, connection, table, found, reason, by)


def keep_out_all(
    context: BuildContext, builds: Sequence[tuple[Table, Publish]], reason: str, by: str
) -> list[RecordedRuling]:
    """Rule that each of these publishes is never published again, as `keep_out` does, also if others took its place."""
    check_reason(reason)
    with _session(context, "roll back") as connection:
        return [_kept_out(context, connection, table, publish, reason, by) for table, publish in builds]


def _kept_out(
    context: BuildContext, connection: Connection[Any], table: Table, publish: Publish, reason: str, by: str
) -> RecordedRuling:
    """Return the ruling that keeps a publish out: one that stands, or else a new one."""
    versions = publish.code_version, table.checks_version
    candidate = CandidateKey(publish.manifest_hash, *versions, publish.rows, publish.checksum)
    now = datetime.now(timezone.utc).replace(microsecond=0)

    def make(standing: Sequence[Ruling]) -> Ruling:
        same = next((each for each in standing if each.keeps_out(candidate)), None)
        return same or Ruling("hold", candidate, {}, reason, by, now)

    return _recorded(connection, rule(context, connection, table, publish.load_date, make))


def revoke(context: BuildContext, ruling_id: int, reason: str, by: str) -> RecordedRuling:
    """Take a ruling back. What was published by it stays until it is built again.

    Raises UserError if there is no such ruling or it was revoked before, DecisionError, LakeError and WarehouseError.
    """
    check_reason(reason)
    name = context.pipeline.name
    with _session(context, f"revoke {ruling_id}") as connection:
        found = rulings.of_id(connection, ruling_id)
        if found is None:
            raise UserError(f"There is no ruling {ruling_id} in {name}: `kpi rulings {name}` prints them.")
        table = next((each for each in context.pipeline.tables.values() if str(each.relation) == found.asset), None)
        if table is None:
            raise UserError(f"Ruling {ruling_id} is on {found.asset}, which no file describes any more.")

        def make(standing: Sequence[Ruling]) -> Revocation:
            ruling = next((each for each in standing if each.key == found.object_key), None)
            if ruling is None:
                raise UserError(f"Ruling {ruling_id} is gone from S3 ({found.object_key}): it counts no more.")
            if before := ruling.revoked:
                when = _minute(before.at)
                raise UserError(f"Ruling {ruling_id} was revoked by {before.by} on {when}: {before.reason}.")
            return Revocation(number_of(ruling.key), reason, by, datetime.now(timezone.utc))

        rule(context, connection, table, found.load_date, make)
        return _recorded(connection, found.object_key)


@contextmanager
def _session(context: BuildContext, name: str) -> Iterator[Connection[Any]]:
    """Yield a session that acts as the role that may rule. Raises UserError if the login is not granted it."""
    with connect(context.server, context.pipeline.name, name, role=DECIDER) as connection:
        if not may_act_as(connection, DECIDER):
            raise UserError(
                f"The login of KPI_POSTGRES_URL may not rule on builds: have an administrator grant it {DECIDER}."
            )
        yield connection


def _recorded(connection: Connection[Any], key: str) -> RecordedRuling:
    found = rulings.of_key(connection, key)
    assert found is not None
    return found


def check_reason(reason: str) -> None:
    """Raise UsageError if a reason is too short to say anything."""
    if len(reason.strip()) < SHORTEST:
        raise UsageError(
            f"The reason has fewer than {SHORTEST} characters: write with --reason why, for whoever reads it later."
        )


def _hours(context: BuildContext, hours: int | None) -> int:
    most = context.pipeline.config.waivers.most_hours
    if hours is None:
        return min(USUAL_HOURS, most)
    if not 1 <= hours <= most:
        raise UsageError(
            f"A waiver of {context.pipeline.name} may be used for 1 to {most} hours, as pipeline.yaml says (waivers: "
            f"most_hours): give other --hours than {hours}."
        )
    return hours


def _check_grown(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> None:
    """Refuse a table whose next build is another one, whatever a person rules on this one."""
    if table.grows:
        raise UserError(
            f"{table.relation} grows by batches, and no batch can be waived, as the next one would be added to it: "
            "correct its SQL, its checks or its budget, or replay the load_date."
        )
    grown = growth.between(connection, load_date, load_date).get(load_date)
    if grown and grown.finished_at is None and table in tables_after(context.pipeline, load_date):
        raise UserError(
            f"{load_date} still grows, so that {table.relation} is built from other rows with each tick: waive it once "
            "the load_date is over."
        )


def _held(connection: Connection[Any], asked: AskedWaiver) -> tuple[CandidateKey, dict[str, float | None]]:
    """Return the candidate that is held, and the metric of each check that holds it. Raises UserError."""
    table, load_date = asked.table, asked.load_date
    name = f"{table.relation} of {load_date}"
    found = holds.last_candidate(connection, table.relation, load_date)
    if found is None or not found.is_latest:
        raise UserError(f"The latest build of {name} is not held: there is nothing to waive.")
    if found.key is None:
        raise UserError(f"{name} was held by an earlier version of kpi_assets: run it again first.")
    if (found.key.code_version, found.key.checks_version) != (table.code_version, table.checks_version):
        raise UserError(f"{table.path.name} has changed since {name} was held: run it again first.")
    failed = {result.name: result for result in results.blocking_of(connection, found.build_id)}
    for check in asked.checks:
        if check not in failed:
            raise UserError(f"{check} does not hold {name}: what holds it is {', '.join(failed)}.")
        if why := why_unwaivable(failed[check], table.checks):
            raise UserError(f"{check} of {name} cannot be waived: {why}.")
    if missing := [check for check in failed if check not in asked.checks]:
        more = " ".join(f"--check {check}" for check in missing)
        reasons = "; ".join(f"{check} ({failed[check].message})" for check in missing)
        raise UserError(f"{name} is held by {reasons} too, and stays so unless that is waived with it: add {more}.")
    return found.key, {check: failed[check].metric for check in asked.checks}


def _run(context: BuildContext, table: Table, load_date: date) -> str:
    return f"kpi run {context.pipeline.name} --load-date {load_date} --select {table.relation}+"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
