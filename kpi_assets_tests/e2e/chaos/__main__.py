"""`python -m kpi_assets_tests.e2e.chaos`: kill everything at random for some minutes, then account for each event."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from kpi_assets.sources.lake import open_lake
from kpi_assets.sources.store import bucket_of
from kpi_assets_tests import realtime_oracle
from kpi_assets_tests.e2e.chaos import accounts, verdict
from kpi_assets_tests.e2e.chaos.parts import PIPELINE, Parts
from kpi_assets_tests.e2e.chaos.schedule import SHARES, Kill, schedule
from kpi_assets_tests.e2e.chaos.sending import Sender
from kpi_assets_tests.machine import PATIENCE

RESTS = ("marts.customer_360",)  # its `refresh` lets it rest for minutes
PROGRESS_SECONDS, MEASURE_SECONDS, STEP_SECONDS = 15.0, 1.0, 0.2
STATE = """
select (select coalesce(sum(next), 0) from ops.stream_positions),
    (select coalesce(sum(records), 0) from ops.batches where superseded_at is null and asset like 'raw.%'),
    (select max(through) from ops.growth),
    (select count(*) from pg_stat_activity where backend_type = 'client backend')
"""


@dataclass
class Chaos:
    """One run: its processes, and what was counted."""

    parts: Parts
    sender: Sender
    killed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))
    absent: int = 0  # kills of a part that did not run
    most_sessions: int = 0  # of the database server at once
    began: float = field(default_factory=time.monotonic)
    _measured: float = 0.0
    _said: float = 0.0

    def kill_all(self, seed: int, seconds: float) -> None:
        """Let the schedule of a seed happen."""
        kills = list(schedule(seed, seconds))
        owed: list[Kill] = []  # builders who were not there
        self.began = time.monotonic()
        while (spent := time.monotonic() - self.began) < seconds:
            due = [kill for kill in kills if spent >= kill.at]
            kills = kills[len(due) :]
            owed = [kill for kill in [*owed, *due] if not self._kill(kill, spent)]
            self.step()
        self.absent += len(owed)

    def _kill(self, kill: Kill, spent: float) -> bool:
        """Kill a part; False if that is to be tried again, because no builder is there."""
        was_there = self.parts.kill(kill)
        self.killed[kill.part] += was_there
        if not was_there and kill.part == "builder":
            return False
        self.absent += not was_there
        also = " with its children" if kill.part == "daemon" and kill.its_children else ""
        say(f"{spent:6.1f} s: killed {kill.part}{also}" if was_there else f"{spent:6.1f} s: no {kill.part}")
        return True

    def step(self) -> None:
        """Start again what has ended, measure, and print a line now and then."""
        self.parts.tend()
        now = time.monotonic()
        if now - self._measured >= MEASURE_SECONDS:
            self._measured, memory = now, self.parts.measure()
            if now - self._said >= PROGRESS_SECONDS:
                self._said = now
                mb = ", ".join(f"{name} {size >> 20} MB" for name, size in memory.items())
                say(f"        acknowledged {self.sender.acknowledged:,}, {self._state()}; {mb}")
        time.sleep(STEP_SECONDS)

    def until(self, what: str, fact: Callable[[], bool], patience: float = PATIENCE) -> float:
        """Take care of the processes until a fact is true; return the seconds."""
        began = time.monotonic()
        while not fact():
            assert time.monotonic() - began < patience, f"{what}: not within {patience:.0f} seconds. {self._state()}"
            self.step()
        say(f"{what}: after {time.monotonic() - began:.1f} s")
        return time.monotonic() - began

    def built_through(self) -> datetime | None:
        """Return before which instant everything is built; None if nobody knows now."""
        rows = self.rows(STATE)
        through: datetime | None = rows[0][2] if rows else None
        return through

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none while the server is down or has no tables yet."""
        with suppress(psycopg.Error), self.connect() as connection:
            return connection.execute(query.encode()).fetchall()
        return []

    def connect(self) -> "psycopg.Connection[Any]":
        """Return a new session on the pipeline's database."""
        return psycopg.connect(
            self.parts.servers.postgres.get_secret_value(), dbname=PIPELINE, autocommit=True, connect_timeout=5
        )

    def _state(self) -> str:
        rows = self.rows(STATE)
        if not rows:
            return "the database does not answer"
        landed, built, through, sessions = rows[0]
        self.most_sessions = max(self.most_sessions, sessions)
        seconds = (datetime.now(timezone.utc) - through).total_seconds() if through else 0
        age = f"{seconds:.1f} s ago" if through else "nothing yet"
        return f"landed {landed:,}, built {built:,}, through {age}; {sessions} sessions"


def main() -> None:
    """Run it, and end with an error if something is not as it should be."""
    asked = argparse.ArgumentParser(prog="python -m kpi_assets_tests.e2e.chaos", description=__doc__)
    asked.add_argument("--minutes", type=float, default=20, help="of kills")
    asked.add_argument("--seed", type=int, default=1, help="of what is killed when, and of what is sent")
    asked.add_argument("--rate", type=float, default=833, help="events a second")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="kpi-chaos-") as folder, Parts.open(Path(folder)) as parts:
        sender = Sender(parts.servers.settings, options.rate, options.seed, Path(folder) / "acknowledged.csv")
        chaos = Chaos(parts, sender)
        first = datetime.now(timezone.utc).date()
        sender.start()
        try:
            chaos.until("the first events are built", lambda: chaos.built_through() is not None)
            chaos.kill_all(options.seed, options.minutes * 60)
        finally:
            sender.stop()
        chaos.until("the broker has answered for every event", sender.is_answered)
        problems = judge(chaos, Path(folder), first)
    if problems:
        sys.exit(f"{len(problems)} things are not as they should be.")
    say("all as it should be")


def judge(chaos: Chaos, folder: Path, first: date) -> list[str]:
    """Wait until everything is built, compare, and print the table of counts; return what is wrong."""
    last = chaos.sender.last_at
    days = [first + timedelta(days=number) for number in range((last.date() - first).days + 1)]
    say(f"the broker took the last event at {last:%H:%M:%S} UTC")
    caught_up = chaos.until("all is built", lambda: (chaos.built_through() or last) > last + timedelta(seconds=1))
    objects = folder / "objects"
    settings, pipeline = chaos.parts.servers.settings, chaos.parts.pipeline
    keys = verdict.fetch(open_lake(settings, bucket_of(pipeline, settings)), objects)
    problems: list[str] = []
    with duckdb.connect() as database, chaos.connect() as connection:
        verdict.load_accounts(database, connection, folder / "acknowledged.csv", objects, keys, days)
        realtime_oracle.read(database, objects, days)
        wanted = {day: realtime_oracle.of_day(database, day, with_silver=False) for day in days}
        problems += _lines(accounts.wrong(database))
        problems += _lines(verdict.silver_differences(database, connection, objects, days))

        def tiles(leave_out: tuple[str, ...] = RESTS) -> list[str]:
            found = {day: verdict.tile_differences(connection, day, wanted[day], leave_out) for day in days}
            return [f"{day} {table}: {what}" for day in days for table, what in found[day].items()]

        with suppress(AssertionError):  # what differs is told below; some tables rest for minutes before they are built
            chaos.until("the tiles are those of the oracle", lambda: not tiles())
        problems += tiles()
        grown = verdict.checksums(connection, days)
        for day in days:
            said = chaos.parts.call("run", PIPELINE, "--load-date", str(day))
            if said.returncode:
                problems.append(f"the replay of {day} ended with {said.returncode}: {said.stdout}{said.stderr}")
        replayed = verdict.checksums(connection, days)
        problems += [f"{key}: {grown.get(key)} grown, {replayed.get(key)} replayed" for key in {**grown, **replayed}
                     if grown.get(key) != replayed.get(key)]  # fmt: skip
        problems += [f"after the replay, {each}" for each in tiles(())]
        counts = accounts.counts(database)
        repeats = {name: sum(wanted[day].repeats[name] for day in days) for name in verdict.STREAMS}
    said = chaos.parts.call("doctor", "--deep")
    chains = [line for line in said.stdout.splitlines() if "chain of" in line]
    say("\n".join(["kpi doctor:", *chains]))
    problems += [line for line in said.stdout.splitlines() if line.startswith("broken")]
    if len(chains) != len(verdict.STREAMS) or not all("is whole" in line for line in chains):
        problems.append(f"kpi doctor says of the chains: {chains} {said.stderr}")
    _print_table(chaos, {**counts, "objects": len(keys), "repeats in silver": sum(repeats.values())}, caught_up)
    for problem in problems:
        say(f"WRONG: {problem}")
    return problems


def _lines(found: Mapping[str, int]) -> list[str]:
    return [f"{what}: {count:,}" for what, count in found.items() if count]


def _print_table(chaos: Chaos, counts: Mapping[str, int], caught_up: float) -> None:
    rows = {
        **{f"killed: {part}": f"{count}" for part, count in chaos.killed.items()},
        "not there to be killed": f"{chaos.absent}",
        "landing, daemon ended by themselves": f"{chaos.parts.lander.ended_by_itself}, "
        f"{chaos.parts.daemon.ended_by_itself}",
        "most sessions of the database server": f"{chaos.most_sessions}",
        "sent": f"{chaos.sender.sent:,}",
        "refused by the broker": f"{chaos.sender.refused:,}",
        **{name: f"{count:,}" for name, count in counts.items()},
        "all built, seconds after the last event": f"{caught_up:.1f}",
        **{f"most memory of the {name}": f"{size >> 20} MB" for name, size in chaos.parts.peaks.items()},
    }
    for name, value in rows.items():
        say(f"  {name:44} {value:>12}")


def say(text: str) -> None:
    """Print a line with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
