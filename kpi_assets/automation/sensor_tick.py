"""The look that the sensor and the schedule take: which load_dates are in need of a run, and a request for each.

What S3 holds is compared with what Postgres says, each time anew. The cursor only spares work: where it is lost, or
comes back from yesterday, more is looked at and nothing else happens. What keeps one need from being answered by two
runs are Dagster's own list of unfinished runs and the claim in ops.requests.
Belongs here: how much is looked at in one tick, and what is asked for. Not here: the decision (plan/).
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
from kpi_assets.assets.resources import server_of
from kpi_assets.assets.run_tags import STATE
from kpi_assets.automation.unfinished_runs import unfinished_load_dates
from kpi_assets.ledger import incidents, run_claims, runs
from kpi_assets.materialize.drop import orphans
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.plan.collect import collect
from kpi_assets.plan.status import STATES, LoadDateStatus
from kpi_assets.settings import settings
from kpi_assets.sources.store import Store, open_store
from kpi_assets.warehouse.connection import connect

REST = 20  # a sweep is followed by a pause of so many times its length, so that it takes a twentieth of the time
LONGEST_REST = 3600.0  # seconds
MOST_REQUESTS = 1000  # in one tick; the rest is asked for in the next
CLAIMED_AT_ONCE = 200


@dataclass(frozen=True)
class Sweep:
    """What the cursor says of the load_dates before the look-back: with which year to go on, and not before when."""

    year: int = 0
    rest_until: float = 0.0  # seconds since 1970

    @classmethod
    def parse(cls, cursor: str | None, now: float) -> "Sweep":
        """What a cursor says; of one that makes no sense, that everything is to be looked at."""
        try:
            words = json.loads(cursor or "{}")
            found = cls(int(words["year"]), float(words["rest_until"]))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return cls()
        return found if found.rest_until <= now + LONGEST_REST else cls(found.year)

    def text(self) -> str:
        """As a cursor."""
        return json.dumps({"year": self.year, "rest_until": round(self.rest_until, 1)})


@dataclass
class Look:
    """What one look came to."""

    standings: Counter[str] = field(default_factory=Counter)
    due: list[LoadDateStatus] = field(default_factory=list)
    requests: list[dg.RunRequest] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)  # published tables that no file describes
    problems: list[str] = field(default_factory=list)  # sentences on runs that were passed over
    cursor: str = ""

    @property
    def summary(self) -> str:
        """One line on what was seen."""
        counts = ", ".join(f"{self.standings[state]} {state}" for state in STATES if self.standings[state])
        asked = f"; runs asked for: {len(self.requests)}" if self.requests else ""
        orphans = f" No file describes {', '.join(self.orphans)}: see `kpi plan`." if self.orphans else ""
        return f"Load_dates looked at: {counts or 'none'}{asked}.{orphans}"


class Watch:
    """Looks after one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.words = pipeline, pipeline.config.automation
        self._is_prepared = False
        self._told: set[str] = set()  # runs that are passed over, and of which a look has told

    def look(self, instance: dg.DagsterInstance, cursor: str | None, seconds: float) -> Look:
        """Look at what is recent, and sweep for some seconds through what is not.

        Raises UserError where a server cannot be used.
        """
        config = settings()
        server, store = server_of(config), open_store(self.pipeline, config)
        if not self._is_prepared:
            prepare(self.pipeline, server)
            self._is_prepared = True
        # First of all: a run that ends while we look is then either here, or in what Postgres says.
        unfinished, problems = unfinished_load_dates(instance, self.pipeline)
        look = Look(problems=[f"Run {run}: {problems[run]}" for run in problems if run not in self._told])
        self._told = set(problems)
        with connect(server, self.pipeline.name, "sensor") as connection:
            runs.close_dead_rows(connection)
            today = datetime.now(timezone.utc).date()
            recent = max(self.pipeline.config.start_date, today - timedelta(days=self.words.look_back_days))
            for standings in collect(self.pipeline, store, connection, recent, today):
                self._take(connection, look, standings)
            state = Sweep.parse(cursor, time.time())
            look.cursor = self._sweep(connection, store, look, state, recent, seconds).text()
            self._ask(connection, look, unfinished, recent)
            look.orphans = [str(orphan) for orphan in orphans(connection, self.pipeline.tables)]
        return look

    def _sweep(
        self, connection: Connection[Any], store: Store, look: Look, state: Sweep, before: date, seconds: float
    ) -> Sweep:
        """Go on with the years before a date until the time of this tick is over; returns where to go on next."""
        began = time.time()
        first, last = self.pipeline.config.start_date, before - timedelta(days=1)
        if first > last or began < state.rest_until:
            return state
        if first.year < state.year <= last.year:
            first = date(state.year, 1, 1)
        for standings in collect(self.pipeline, store, connection, first, last):
            self._take(connection, look, standings)
            spent = time.time() - began
            year = standings[-1].load_date.year + 1
            if spent > seconds and year <= last.year:
                return Sweep(year)
        return Sweep(0, time.time() + min(REST * (time.time() - began), LONGEST_REST))

    def _take(self, connection: Connection[Any], look: Look, standings: list[LoadDateStatus]) -> None:
        """Take down what was seen, and keep in memory only what calls for a run."""
        look.standings.update(standing.state for standing in standings)
        ends = standings[0].load_date, standings[-1].load_date
        for standing in standings:
            if standing.state == "late":  # an incident, which is told once
                incidents.report_late(connection, self.pipeline.name, standing.load_date, standing.reason)
        due = [s for s in standings if s.is_due(rebuild_on_sql_change=self.words.rebuild_on_sql_change)]
        running = [standing for standing in standings if standing.state == "running"]
        run_claims.settle(connection, ends, [standing.load_date for standing in (*due, *running)])
        look.due += due

    def _ask(self, connection: Connection[Any], look: Look, unfinished: set[date], recent: date) -> None:
        """Claim what is due, the oldest first: its gates compare a load_date with the one before."""
        now = datetime.now(timezone.utc)
        wanted = {
            standing.load_date: standing
            for standing in sorted(look.due, key=lambda standing: standing.load_date)
            if standing.load_date not in unfinished and self._is_settled(standing, now)
        }
        for part in _parts(list(wanted), CLAIMED_AT_ONCE):
            claimed = run_claims.claim(connection, {day: wanted[day].basis for day in part})
            look.requests += [
                dg.RunRequest(
                    run_key=f"{day} {wanted[day].basis} {at.isoformat()}",
                    partition_key=day.isoformat(),
                    asset_selection=self._keys(wanted[day]) or None,
                    # What landed just now goes before a heap of old load_dates.
                    tags={STATE: wanted[day].state, "dagster/priority": "1" if day >= recent else "0"},
                )
                for day, at in sorted(claimed.items())
            ]
            if len(look.requests) >= MOST_REQUESTS:
                return

    def _keys(self, standing: LoadDateStatus) -> list[dg.AssetKey]:
        """The tables that a run of it has to build, where that is not everything."""
        return [table_key(self.pipeline.name, Relation.parse(name)) for name in standing.tables]

    def _is_settled(self, standing: LoadDateStatus, now: datetime) -> bool:
        """Whether its newest object is old enough; a store whose clock is ahead of ours is not waited for."""
        age = now - standing.newest if standing.newest else timedelta.max
        return not timedelta(0) <= age < timedelta(seconds=self.words.settle_seconds)


def _parts(days: list[date], size: int) -> Iterable[list[date]]:
    return (days[start : start + size] for start in range(0, len(days), size))
