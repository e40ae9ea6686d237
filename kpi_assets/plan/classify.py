"""The decision where one load_date stands, made from facts alone.

Belongs here: the comparison of what a build would be made from with what the last one was made from. Not here: getting
the facts (collect.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import cached_property

from kpi_assets.ledger.history import Attempt, Facts, ObjectState
from kpi_assets.model.pipeline import Pipeline, Table
from kpi_assets.model.query import digest
from kpi_assets.plan.status import STALE_REASONS, LoadDateStatus, StaleReason, State
from kpi_assets.sources.store import Entry

NAMED = 3  # objects or tables that one sentence names


class Classifier:
    """Decides for the load_dates of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.late_after = timedelta(hours=pipeline.config.automation.late_after_hours)
        self.tables = {str(relation): table for relation, table in pipeline.tables.items()}  # in build order
        self.sources = {table.relation.table: table for table in pipeline.object_tables}
        self.versions = digest(*(table.code_version + table.checks_version for table in self.tables.values()))

    def standing(self, load_date: date, landed: Mapping[str, Entry], facts: Facts, now: datetime) -> LoadDateStatus:
        """Where a load_date stands, given its objects on S3 by raw table's name, and what has come of it."""
        case = _Case(self, load_date, landed, facts)
        newest = max((entry.last_modified for entry in landed.values()), default=None)
        if settled := case.settled(now):
            return LoadDateStatus(load_date, *settled, len(landed), newest)
        basis = digest(self.versions, *(str(case.states[name]) for name in sorted(landed)))
        return LoadDateStatus(load_date, *case.open(), len(landed), newest, case.cause, basis, case.suffices)


@dataclass(frozen=True)
class _Case:
    """One load_date."""

    judge: Classifier
    load_date: date
    landed: Mapping[str, Entry]
    facts: Facts

    @cached_property
    def states(self) -> dict[str, ObjectState]:
        """What its objects are now, by raw table's name."""
        return {name: ObjectState.of(e.key, e.size_bytes, e.etag) for name, e in self.landed.items()}

    def settled(self, now: datetime) -> tuple[State, str] | None:
        """The state and reason of what no run should be started for; None where one could do something."""
        attempts = [*self.facts.attempts.values(), *([self.facts.run] if self.facts.run else [])]
        if running := [attempt.started_at for attempt in attempts if attempt.status == "running"]:
            return "running", f"A run of it is going on since {_minute(min(running))}."
        if not self.gaps:
            reason = f"All {_count(self.judge.tables, 'table')} are what S3 and the SQL make of them."
            gone = f" The rows of {len(self.facts.dropped)} were dropped by retention." if self.facts.dropped else ""
            return "published", reason + gone
        return self._unbuildable(now)

    def _unbuildable(self, now: datetime) -> tuple[State, str] | None:
        """The state and reason where a run could build nothing of what has a gap."""
        if len(self.landed) < len(self.judge.sources):
            found = self._incomplete(now)
        elif not self.ready:
            reasons = "; ".join(f"{name}: {attempt.error}" for name, attempt in self.holding.items())
            found = "held", f"{reasons}. Nothing that it is made from has changed since."
        else:
            return None
        return ("lost", f"{self._lost} They cannot be built again: {found[1]}") if self.facts.lost else found

    def _incomplete(self, now: datetime) -> tuple[State, str]:
        landed, objects = len(self.landed), _count(self.judge.sources, "object")
        if not landed and not self.facts.published:
            return "missing", f"None of its {objects} lies on S3."
        reason = f"{landed} of its {objects} landed; lacking: {_some(self._lacking)}."
        first = min((entry.last_modified for entry in self.landed.values()), default=now)
        # What was published once lacks an object because a source was added, or objects were removed: nobody is late.
        if self.facts.published or now - first <= self.judge.late_after:
            return "incomplete", reason
        return "late", f"{reason} The first landed at {_minute(first)}."

    @property
    def _lacking(self) -> list[str]:
        """The keys of the objects that have not landed."""
        return [t.object_key(self.load_date) for name, t in self.judge.sources.items() if name not in self.landed]

    @property
    def _lost(self) -> str:
        return f"Published, but their rows are gone from the database: {_some(self.facts.lost)}."

    @cached_property
    def gaps(self) -> dict[str, StaleReason]:
        """The tables that are not what a build would make of them now, in build order, each with its cause."""
        found = ((name, self._gap(name, table)) for name, table in self.judge.tables.items())
        return {name: cause for name, cause in found if cause}

    def _gap(self, name: str, table: Table) -> StaleReason | None:
        if table.has_object:
            now, then = self.states.get(table.relation.table), self.facts.objects.get(table.relation.table)
            if name not in self.facts.published or (now and now != then):
                return "objects"
        if name not in self.facts.published:
            return "unbuilt"
        if name in self.facts.lost:
            return "lost"
        if name in self.facts.other_inputs:
            return "inputs"
        if name in self.facts.more_load_dates:
            return "window"
        return "sql" if name in self.facts.other_code else None

    @cached_property
    def holding(self) -> dict[str, Attempt]:
        """The objects and tables with a gap that would be held again, as they were held the last time."""
        would_be: dict[str, tuple[ObjectState | None, str, str, bool]] = {}
        for name in self.gaps:
            table, state = self.judge.tables[name], None
            if table.has_object:
                state = self.states.get(table.relation.table)
                would_be[table.object_name] = (state, table.object_version, "", False)
            would_be[name] = (state, table.code_version, table.checks_version, False)
        found = {item: self.facts.attempts[item] for item in would_be if item in self.facts.attempts}
        return {item: a for item, a in found.items() if a.hold and a.hold.made_from == would_be[item]}

    @cached_property
    def ready(self) -> dict[str, StaleReason]:
        """The gaps that a run would do something about: those not behind what would be held again."""
        blocked, found = set(self.holding), {}
        for name, table in self.judge.tables.items():
            reads = {*map(str, table.reads), *_object_of(table)}
            if name in blocked or reads & blocked:
                blocked.add(name)
            elif name in self.gaps:
                found[name] = "released" if self._was_held(name) else self.gaps[name]
        return found

    def _was_held(self, name: str) -> bool:
        """Whether its last build was held, and not because of an object that lies there no more."""
        attempt, table = self.facts.attempts.get(name), self.judge.tables[name]
        if attempt is None or attempt.hold is None:
            return False
        return not table.has_object or attempt.hold.object == self.states.get(table.relation.table)

    @property
    def cause(self) -> StaleReason:
        """The most telling cause of those that are ready."""
        return min(self.ready.values(), key=STALE_REASONS.index)

    @property
    def suffices(self) -> tuple[str, ...]:
        """Where only rows that are read have changed, or are gone: these tables and what reads them, else nothing.

        What changes one load_date makes as many others stale as look back on it: not each is to be loaded again.
        """
        if not set(self.ready.values()) <= {"lost", "inputs", "window"}:
            return ()
        found: set[str] = set()
        for name, table in self.judge.tables.items():
            if name in self.ready or any(str(read) in found for read in table.reads):
                found.add(name)
        return tuple(name for name in self.judge.tables if name in found)

    def open(self) -> tuple[State, str]:
        """The state and reason of what a run would do something about."""
        names = [name for name, cause in self.ready.items() if cause == self.cause]
        if failure := self._failure(names):
            return "failed", failure
        if self.cause == "objects":
            return self._of_objects(names)
        if self.cause == "lost":
            return "lost", self._lost
        return "stale", {
            "released": f"Held, and what it reads, its SQL or its checks have changed since: {_some(names)}.",
            "inputs": f"Built from rows that were replaced since: {_some(names)}.",
            "window": f"Built before a load_date of its window was published: {_some(names)}.",
            "sql": f"The SQL has changed since it was published: {_some(names)}.",
            "unbuilt": f"Never built for this load_date: {_some(names)}.",
        }[self.cause]

    def _failure(self, names: Sequence[str]) -> str | None:
        """What is known of a failure of the named tables, their objects, or the last run as a whole."""
        items = [item for name in names for item in (*_object_of(self.judge.tables[name]), name)]
        attempts = [(item, self.facts.attempts.get(item)) for item in items]
        for what, attempt in (*attempts, ("its last run", self.facts.run)):
            if attempt and attempt.status == "failed":
                return f"{what} failed: {attempt.error}"
        return None

    def _of_objects(self, names: Sequence[str]) -> tuple[State, str]:
        """Objects that were never read, or are others than those that were."""
        read = dict(self.facts.objects)
        for name, table in self.judge.sources.items():
            for item in (*_object_of(table), str(table.relation)):
                attempt = self.facts.attempts.get(item)
                if attempt and attempt.hold and attempt.hold.object:
                    read[name] = attempt.hold.object
        replaced = [state.key for name, state in self.states.items() if name in read and read[name] != state]
        if replaced:
            return "stale", f"Replaced since it was read: {_some(replaced)}."
        rest = f"not published: {_some(names)}" if self.facts.published else "nothing of it is published"
        return "new", f"All {_count(self.judge.sources, 'object')} landed; {rest}."


def _object_of(table: Table) -> list[str]:
    """The name of the object that a raw table reads."""
    return [table.object_name] if table.has_object else []


def _count(things: Collection[object], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _minute(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
