"""One tick of a pipeline's sensor or schedule: which load_dates need a run, and a request for each.

Each tick compares what S3 holds with what the ledger says. The cursor only saves work: if it is lost or outdated,
more load_dates are compared and nothing else happens. Two things keep one need from starting two runs: Dagster's list
of unfinished runs, and the claim in ops.requests.

Belongs here: how much is compared in one tick, and what is requested. Not here: the decision for one load_date (plan/).
"""

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

import dagster as dg
from psycopg import Connection

from kpi_assets.assets.metadata import table_key
from kpi_assets.assets.run_tags import STATE
from kpi_assets.automation.unfinished_runs import unfinished_load_dates
from kpi_assets.embedded.stack import servers_for_life
from kpi_assets.ledger import incidents, run_claims, runs
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.drop import orphans
from kpi_assets.materialize.erase import check_not_behind
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.plan.collect import collect
from kpi_assets.plan.status import STATES, LoadDateStatus
from kpi_assets.sources.store import Store, open_store
from kpi_assets.warehouse.connection import connect

REST = 20  # the pause after a sweep is so many times as long as the sweep, which so takes a twentieth of the time
LONGEST_REST = 3600.0  # seconds
MOST_REQUESTS = 1000  # in one tick; the next tick requests the rest
CLAIMED_AT_ONCE = 200


@dataclass(frozen=True)
class Sweep:
    """The state of the sweep over the load_dates before `look_back_days`: the next year, and when it may start.

    Year 0 stands for the first year.
    """

    year: int = 0
    rest_until: float = 0.0  # seconds since 1970

    @classmethod
    def parse(cls, cursor: str | None, now: float) -> "Sweep":
        """Read a cursor. An invalid cursor means that everything is compared."""
        try:
            values = json.loads(cursor or "{}")
            found = cls(int(values["year"]), float(values["rest_until"]))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return cls()
        return found if found.rest_until <= now + LONGEST_REST else cls(found.year)

    def text(self) -> str:
        """Return the sweep as a cursor."""
        return json.dumps({"year": self.year, "rest_until": round(self.rest_until, 1)})


@dataclass
class TickResult:
    """What one tick found, and the runs that it requests."""

    states: Counter[str] = field(default_factory=Counter)
    due: list[LoadDateStatus] = field(default_factory=list)
    requests: list[dg.RunRequest] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)  # published tables that no file describes
    problems: list[str] = field(default_factory=list)  # sentences on runs that were ignored
    cursor: str = ""

    @property
    def summary(self) -> str:
        """One line on what was found."""
        counts = ", ".join(f"{self.states[state]} {state}" for state in STATES if self.states[state])
        requested = f"; runs requested: {len(self.requests)}" if self.requests else ""
        orphans = f" No file describes {', '.join(self.orphans)}: see `kpi plan`." if self.orphans else ""
        return f"Load_dates compared: {counts or 'none'}{requested}.{orphans}"


class TickEvaluator:
    """Evaluates the ticks of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.automation = pipeline, pipeline.config.automation
        self._is_prepared = False
        self._reported: set[str] = set()  # ignored runs that an earlier tick has reported

    def evaluate(self, instance: dg.DagsterInstance, cursor: str | None, seconds: float) -> TickResult:
        """Compare the recent load_dates, then older ones for some seconds, and claim those that need a run.

        Raises UserError if a server cannot be used.
        """
        servers = servers_for_life()
        server, store = servers.postgres, open_store(self.pipeline, servers.settings)
        if not self._is_prepared:
            prepare(self.pipeline, server)
            self._is_prepared = True
        check_not_behind(BuildContext(self.pipeline, server, store, "sensor", settings=servers.settings))
        # Read first: a run that ends during the tick is then in this list, or its result is in the ledger.
        unfinished, problems = unfinished_load_dates(instance, self.pipeline)
        result = TickResult(problems=[f"Run {run}: {problems[run]}" for run in problems if run not in self._reported])
        self._reported = set(problems)
        with connect(server, self.pipeline.name, "sensor") as connection:
            runs.close_dead_rows(connection)
            today = datetime.now(timezone.utc).date()
            recent = max(self.pipeline.config.start_date, today - timedelta(days=self.automation.look_back_days))
            for statuses in collect(self.pipeline, store, connection, recent, today):
                self._record(connection, result, statuses)
            sweep = Sweep.parse(cursor, time.time())
            result.cursor = self._sweep(connection, store, result, sweep, recent, seconds).text()
            self._request(connection, result, unfinished, recent)
            result.orphans = [str(orphan) for orphan in orphans(connection, self.pipeline.tables)]
        return result

    def _sweep(
        self, connection: Connection[Any], store: Store, result: TickResult, sweep: Sweep, before: date, seconds: float
    ) -> Sweep:
        """Go on with the years before a date for some seconds; return where the next tick goes on."""
        began = time.time()
        first, last = self.pipeline.config.start_date, before - timedelta(days=1)
        if first > last or began < sweep.rest_until:
            return sweep
        if first.year < sweep.year <= last.year:
            first = date(sweep.year, 1, 1)
        for statuses in collect(self.pipeline, store, connection, first, last):
            self._record(connection, result, statuses)
            spent = time.time() - began
            year = statuses[-1].load_date.year + 1
            if spent > seconds and year <= last.year:
                return Sweep(year)
        return Sweep(0, time.time() + min(REST * (time.time() - began), LONGEST_REST))

    def _record(self, connection: Connection[Any], result: TickResult, statuses: list[LoadDateStatus]) -> None:
        """Count the states and report what is late; only what is due stays in memory."""
        result.states.update(status.state for status in statuses)
        ends = statuses[0].load_date, statuses[-1].load_date
        for status in statuses:
            # Reported once, however often it is found. Of a load_date that grows, the freshness of its KPIs is.
            if status.state == "late" and not status.grows:
                incidents.report_late(connection, self.pipeline.name, status.load_date, status.reason)
        due = [s for s in statuses if s.is_due(rebuild_on_sql_change=self.automation.rebuild_on_sql_change)]
        running = [status for status in statuses if status.state == "running"]
        run_claims.settle(connection, ends, [status.load_date for status in (*due, *running)])
        result.due += due

    def _request(self, connection: Connection[Any], result: TickResult, unfinished: set[date], recent: date) -> None:
        """Claim what is due and request a run for each claim.

        The oldest goes first, because the gates of a load_date compare it with the one before.
        """
        now = datetime.now(timezone.utc)
        wanted = {
            status.load_date: status
            for status in sorted(result.due, key=lambda status: status.load_date)
            if status.load_date not in unfinished and self._is_settled(status, now)
        }
        for part in _chunks(list(wanted), CLAIMED_AT_ONCE):
            claimed = run_claims.claim(connection, {day: wanted[day].input_fingerprint for day in part})
            result.requests += [
                dg.RunRequest(
                    run_key=f"{day} {wanted[day].input_fingerprint} {at.isoformat()}",
                    partition_key=day.isoformat(),
                    asset_selection=self._keys(wanted[day]) or None,
                    # A load_date that landed just now goes before many old ones.
                    tags={STATE: wanted[day].state, "dagster/priority": "1" if day >= recent else "0"},
                )
                for day, at in sorted(claimed.items())
            ]
            if len(result.requests) >= MOST_REQUESTS:
                return

    def _keys(self, status: LoadDateStatus) -> list[dg.AssetKey]:
        """Return the assets that a run has to build; none if it has to build all."""
        return [table_key(self.pipeline.name, Relation.parse(name)) for name in status.tables_to_build]

    def _is_settled(self, status: LoadDateStatus, now: datetime) -> bool:
        """Whether its newest object is old enough. If the store's clock is ahead of ours, there is no wait."""
        age = now - status.newest if status.newest else timedelta.max
        return not timedelta(0) <= age < timedelta(seconds=self.automation.settle_seconds)


def _chunks(days: list[date], size: int) -> Iterable[list[date]]:
    return (days[start : start + size] for start in range(0, len(days), size))
