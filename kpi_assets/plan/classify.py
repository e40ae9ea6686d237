"""Decides the status of one load_date from what a build would read now and what the last build read.

A table is *stale* when a build of it now would give other rows than the published ones (see StaleReason in status.py).
It is *still held* when its last build was held and a new build would read the same and be held again.
It is *buildable* when it is stale, and neither it nor any table before it is still held.

The first row that applies decides the state:

| state      | objects on S3 | tables                                                                           |
| ---------- | ------------- | -------------------------------------------------------------------------------- |
| running    | any           | a run of the load_date, or a build of a table, is in progress                    |
| published  | any           | none is stale                                                                    |
| missing    | none          | none was ever published                                                          |
| late       | some          | none was ever published, and the first object landed long ago (late_after_hours) |
| incomplete | not all       | any                                                                              |
| held       | all           | none is buildable                                                                |
| failed     | all           | the last build of a buildable table, or the last run, failed                     |
| new        | all           | a buildable table reads an object that was never read                            |
| stale      | all           | a buildable table reads an object that was replaced                              |
| lost       | all           | a buildable table has lost its rows                                              |
| stale      | all           | any other                                                                        |

Two details. `missing`, `late`, `incomplete` and `held` become `lost` if published rows are gone that cannot be built
again now. From `failed` on, only the buildable tables with the first reason of STALE_REASONS count, so that reason
hides the others.

Belongs here: that decision, without I/O. Not here: reading S3 and the ledger (collect.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import cached_property

from kpi_assets.ledger.history import Attempt, LoadDateHistory, ObjectState
from kpi_assets.model.pipeline import Pipeline, Table
from kpi_assets.model.query import digest
from kpi_assets.plan.status import STALE_REASONS, LoadDateStatus, StaleReason, State
from kpi_assets.sources.store import Entry

NAMED = 3  # objects or tables that one sentence names


class Classifier:
    """Decides the status of load_dates of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.late_after = timedelta(hours=pipeline.config.automation.late_after_hours)
        self.tables = {str(relation): table for relation, table in pipeline.tables.items()}  # in build order
        self.sources = {table.relation.table: table for table in pipeline.object_tables}
        self.versions = digest(*(table.code_version + table.checks_version for table in self.tables.values()))

    def status(
        self, load_date: date, landed: Mapping[str, Entry], history: LoadDateHistory, now: datetime
    ) -> LoadDateStatus:
        """Return the status of a load_date, given its `landed` objects by raw table, and its history in the ledger."""
        case = _Case(self, load_date, landed, history)
        newest = max((entry.last_modified for entry in landed.values()), default=None)
        if settled := case.settled(now):
            return LoadDateStatus(load_date, *settled, len(landed), newest)
        fingerprint = digest(self.versions, *(str(case.states[name]) for name in sorted(landed)))
        state, reason = case.unsettled()
        return LoadDateStatus(
            *(load_date, state, reason, len(landed), newest), case.stale_reason, fingerprint, case.tables_to_build
        )


@dataclass(frozen=True)
class _Case:
    """One load_date: the facts about it, and the conclusions from them."""

    classifier: Classifier
    load_date: date
    landed: Mapping[str, Entry]
    history: LoadDateHistory

    @cached_property
    def states(self) -> dict[str, ObjectState]:
        """The present state of its objects, by the name of the raw table."""
        return {name: ObjectState.of(e.key, e.size_bytes, e.etag) for name, e in self.landed.items()}

    def settled(self, now: datetime) -> tuple[State, str] | None:
        """Return the state and reason if no run should start; None if a run could change something."""
        attempts = [*self.history.attempts.values(), *([self.history.run] if self.history.run else [])]
        if running := [attempt.started_at for attempt in attempts if attempt.status == "running"]:
            return "running", f"A run of it has been in progress since {_minute(min(running))}."
        if not self.stale_tables:
            reason = f"All {_count(self.classifier.tables, 'table')} are up to date with S3 and the SQL."
            dropped = self.history.dropped
            return "published", reason + (f" The rows of {len(dropped)} were dropped by retention." if dropped else "")
        return self._unbuildable(now)

    def _unbuildable(self, now: datetime) -> tuple[State, str] | None:
        """Return the state and reason if a run could build none of the stale tables; None if it could build one."""
        if len(self.landed) < len(self.classifier.sources):
            found = self._incomplete(now)
        elif not self.buildable:
            reasons = "; ".join(f"{name}: {attempt.error}" for name, attempt in self.still_held.items())
            found = "held", f"{reasons}. Its inputs, SQL and checks have not changed since."
        else:
            return None
        return ("lost", f"{self._lost} They cannot be built again: {found[1]}") if self.history.lost else found

    def _incomplete(self, now: datetime) -> tuple[State, str]:
        """Return the state and reason of a load_date that lacks objects."""
        landed, objects = len(self.landed), _count(self.classifier.sources, "object")
        if not landed and not self.history.published:
            return "missing", f"None of its {objects} lies on S3."
        reason = f"{landed} of its {objects} landed; lacking: {_some(self._lacking)}."
        first = min((entry.last_modified for entry in self.landed.values()), default=now)
        # If it was published before, a source was added or objects were removed since: nothing is late.
        if self.history.published or now - first <= self.classifier.late_after:
            return "incomplete", reason
        return "late", f"{reason} The first landed at {_minute(first)}."

    @property
    def _lacking(self) -> list[str]:
        """The keys of the objects that have not landed."""
        return [t.object_key(self.load_date) for name, t in self.classifier.sources.items() if name not in self.landed]

    @property
    def _lost(self) -> str:
        return f"Published, but their rows are gone from the database: {_some(self.history.lost)}."

    @cached_property
    def stale_tables(self) -> dict[str, StaleReason]:
        """The tables that are stale, in build order, each with its reason."""
        found = ((name, self._stale_reason(name, table)) for name, table in self.classifier.tables.items())
        return {name: reason for name, reason in found if reason}

    def _stale_reason(self, name: str, table: Table) -> StaleReason | None:
        """Return the first reason of STALE_REASONS that applies; `released` is determined in `buildable`."""
        if table.has_object:
            now, then = self.states.get(table.relation.table), self.history.objects.get(table.relation.table)
            if name not in self.history.published or (now and now != then):
                return "objects"
        if name not in self.history.published:
            return "unbuilt"
        if name in self.history.lost:
            return "lost"
        if name in self.history.other_inputs:
            return "inputs"
        if name in self.history.more_load_dates:
            return "window"
        return "sql" if name in self.history.other_code else None

    @cached_property
    def still_held(self) -> dict[str, Attempt]:
        """The stale tables, and their objects, whose last build was held and read the same as a build now would."""
        would_read: dict[str, tuple[ObjectState | None, str, str, bool]] = {}
        for name in self.stale_tables:
            table, state = self.classifier.tables[name], None
            if table.has_object:
                state = self.states.get(table.relation.table)
                would_read[table.object_name] = (state, table.object_version, "", False)
            would_read[name] = (state, table.code_version, table.checks_version, False)
        found = {item: self.history.attempts[item] for item in would_read if item in self.history.attempts}
        return {item: a for item, a in found.items() if a.hold and a.hold.made_from == would_read[item]}

    @cached_property
    def buildable(self) -> dict[str, StaleReason]:
        """The stale tables that a run would build: neither they nor any table before them is still held."""
        blocked, found = set(self.still_held), {}
        for name, table in self.classifier.tables.items():
            reads = {*map(str, table.reads), *_object_of(table)}
            if name in blocked or reads & blocked:
                blocked.add(name)
            elif name in self.stale_tables:
                found[name] = "released" if self._was_held(name) else self.stale_tables[name]
        return found

    def _was_held(self, name: str) -> bool:
        """Return whether the last build of a table was held, and its object has not been replaced since."""
        attempt, table = self.history.attempts.get(name), self.classifier.tables[name]
        if attempt is None or attempt.hold is None:
            return False
        return not table.has_object or attempt.hold.object == self.states.get(table.relation.table)

    @property
    def stale_reason(self) -> StaleReason:
        """The first reason of STALE_REASONS among the buildable tables."""
        return min(self.buildable.values(), key=STALE_REASONS.index)

    @property
    def tables_to_build(self) -> tuple[str, ...]:
        """The buildable tables and their dependents, if only rows that they read have changed or are gone.

        Otherwise empty, which means all tables. One changed load_date makes every load_date stale whose window includes
        it, so loading all objects of each of these again would be wasteful.
        """
        if not set(self.buildable.values()) <= {"lost", "inputs", "window"}:
            return ()
        found: set[str] = set()
        for name, table in self.classifier.tables.items():
            if name in self.buildable or any(str(read) in found for read in table.reads):
                found.add(name)
        return tuple(name for name in self.classifier.tables if name in found)

    def unsettled(self) -> tuple[State, str]:
        """Return the state and reason of a load_date of which a run would change something."""
        names = [name for name, reason in self.buildable.items() if reason == self.stale_reason]
        if failure := self._failure(names):
            return "failed", failure
        if self.stale_reason == "objects":
            return self._of_objects(names)
        if self.stale_reason == "lost":
            return "lost", self._lost
        return "stale", {
            "released": f"Held, and what it reads, its SQL or its checks have changed since: {_some(names)}.",
            "inputs": f"Built from rows that were replaced since: {_some(names)}.",
            "window": f"Built before a load_date of its window was published: {_some(names)}.",
            "sql": f"The SQL has changed since it was published: {_some(names)}.",
            "unbuilt": f"Never built for this load_date: {_some(names)}.",
        }[self.stale_reason]

    def _failure(self, names: Sequence[str]) -> str | None:
        """Say which of the named tables, of their objects, or the last run failed, and why; None if none failed."""
        items = [item for name in names for item in (*_object_of(self.classifier.tables[name]), name)]
        attempts = [(item, self.history.attempts.get(item)) for item in items]
        for what, attempt in (*attempts, ("its last run", self.history.run)):
            if attempt and attempt.status == "failed":
                return f"{what} failed: {attempt.error}"
        return None

    def _of_objects(self, names: Sequence[str]) -> tuple[State, str]:
        """Return the state and reason of a load_date whose objects were never read, or were replaced since."""
        read = dict(self.history.objects)
        for name, table in self.classifier.sources.items():
            for item in (*_object_of(table), str(table.relation)):
                attempt = self.history.attempts.get(item)
                if attempt and attempt.hold and attempt.hold.object:
                    read[name] = attempt.hold.object
        replaced = [state.key for name, state in self.states.items() if name in read and read[name] != state]
        if replaced:
            return "stale", f"Replaced since it was read: {_some(replaced)}."
        rest = f"not published: {_some(names)}" if self.history.published else "nothing of it is published"
        return "new", f"All {_count(self.classifier.sources, 'object')} landed; {rest}."


def _object_of(table: Table) -> list[str]:
    """Return the name of the object that a table reads, as a list of one or none."""
    return [table.object_name] if table.has_object else []


def _count(things: Collection[object], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    """Join the first few names, and add how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _minute(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
