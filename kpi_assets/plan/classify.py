"""Decides the status of one load_date from what a build would read now and what the last build read.

A table is *stale* when a build of it now would give other rows than the published ones (see StaleReason in status.py).
It is *still held* when its last build was held and a new build would read the same and be held again.
It is *buildable* when it is stale, and neither it nor any table before it is still held.
Only tables and objects count that are due on the load_date. An optional object counts when it is there. Where no object
must be there and none is, the load_date waits until it is over, as if the objects were on their way. Several objects of
a source are there when they are complete. A reference object is there for every load_date, so that it counts as landed
only in a pipeline without other objects; so does an object that is carried from an earlier day. A load_date is not late
because of an object that comes on other days.

A load_date of a pipeline with streams that grows has a state of its own (growing.py), and no run starts for it besides
the live run. For any other, the first row that applies decides the state:

| state      | objects on S3 | tables                                                                           |
| ---------- | ------------- | -------------------------------------------------------------------------------- |
| running    | any           | a run of the load_date, or a build of a table, is in progress                    |
| published  | any           | none is stale                                                                    |
| missing    | none          | none was ever published                                                          |
| late       | some          | none was ever published, and the first object landed long ago (late_after_hours) |
| incomplete | not all       | any, but see below                                                               |
| held       | all           | none is buildable                                                                |
| failed     | all           | the last build of a buildable table, or the last run, failed                     |
| new        | all           | a buildable table reads an object that was never read                            |
| stale      | all           | a buildable table reads an object that was replaced                              |
| lost       | all           | a buildable table has lost its rows                                              |
| stale      | all           | any other                                                                        |

Three details. `missing`, `late`, `incomplete` and `held` become `lost` if published rows are gone that cannot be built
again now. From `failed` on, only the buildable tables with the first reason of STALE_REASONS count, so that reason
hides the others. A load_date that lacks objects is still stale if published tables of it that lack nothing were built
from other rows than they read now: these alone are built, so that no later load_date goes on from what is not right.

Belongs here: that decision, without I/O, and the sentences about it. Not here: reading S3 and the ledger (collect.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from functools import cached_property
from typing import NamedTuple

from kpi_assets.ledger.recorded import Attempt, ObjectState, RecordedLoadDate
from kpi_assets.model.asking import minute
from kpi_assets.model.decision import NO_DECISIONS
from kpi_assets.model.names import is_object
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.query import digest
from kpi_assets.model.table import Table
from kpi_assets.plan.asking import Asking
from kpi_assets.plan.growing import Growing
from kpi_assets.plan.status import STALE_REASONS, LoadDateStatus, StaleReason, State
from kpi_assets.sources.deliveries import Delivery

NAMED = 3  # objects or tables that one sentence names
_BY_ROWS = ("decisions", "inputs", "window")  # reasons of tables that read other rows now
NOTHING_NEAR: Mapping[str, str] = {}
NOTHING_DECIDED: Mapping[str, str] = {}


class Verdict(NamedTuple):
    """A state and its reason; `summary` is the reason without what only one load_date has, or empty if all have it."""

    state: State
    reason: str
    summary: str = ""


class Classifier:
    """Decides the status of load_dates of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.late_after = timedelta(hours=pipeline.config.automation.late_after_hours)
        self.tables = {str(relation): table for relation, table in pipeline.tables.items()}  # in build order
        self.sources = {table.relation.table: table for table in pipeline.object_tables}
        self.versions = digest(*(table.code_version + table.checks_version for table in self.tables.values()))

    def status(
        self,
        load_date: date,
        landed: Mapping[str, Delivery],
        recorded: RecordedLoadDate,
        now: datetime,
        near: Mapping[str, str] = NOTHING_NEAR,
        decided: Mapping[str, str] = NOTHING_DECIDED,
        growing: Growing | None = None,
    ) -> LoadDateStatus:
        """Return the status of a load_date, given its `landed` objects by raw table, and what is `recorded` of it.

        `near` says, for raw tables whose pattern matches nothing, which keys are like it. `decided` is the hash of the
        decisions that lie on S3, by table. `growing` is how far the load_date has grown, if it still does.
        """
        if growing:
            return self._of_growing(growing, recorded, now)
        there = {name: entry for name, entry in landed.items() if self._is_read(name, entry, load_date, recorded)}
        case = _Case(self, load_date, there, recorded, now, near, decided)
        verdict, is_settled = case.settled(), True
        if verdict is None:
            verdict, is_settled = case.unsettled(), False
        found = LoadDateStatus(
            load_date,
            verdict.state,
            verdict.reason,
            len(case.dated),
            max((entry.last_modified for entry in case.landed.values()), default=None),
            summary=verdict.summary or verdict.reason,
            is_complete=case.is_complete,
            asked_from=case.asking.begins_at(case.lacking),
        )
        if is_settled:
            return found
        return replace(
            found,
            stale_reason=case.stale_reason,
            input_fingerprint=digest(self.versions, *case.made_of),
            tables_to_build=case.tables_to_build,
        )

    def _of_growing(self, growing: Growing, recorded: RecordedLoadDate, now: datetime) -> LoadDateStatus:
        """Return the status of a load_date that grows. A person may build it at any time, from what has landed."""
        state, reason = growing.state(recorded.attempts, now)
        summary = "Live runs build it as events land." if state == "growing" else reason
        return LoadDateStatus(
            growing.load_date, state, reason, growing.objects, summary=summary, is_complete=True, grows=True
        )

    def _is_read(self, name: str, found: Delivery, load_date: date, recorded: RecordedLoadDate) -> bool:
        """Whether a load_date reads what landed: not what is not due, nor an older object than it has read already.

        The newer object is gone then, and the store may have let it expire.
        """
        table, read = self.sources[name], recorded.objects.get(name)
        if not table.source.carried_days or read is None:
            return self.pipeline.is_table_due(table, load_date)
        keys = [table.object_key(day) for day in table.object_days(load_date)]  # the latest first
        return read.key not in keys or keys.index(found.key) <= keys.index(read.key)


@dataclass(frozen=True)
class _Case:
    """One load_date: the facts about it, and the conclusions from them."""

    classifier: Classifier
    load_date: date
    landed: Mapping[str, Delivery]
    recorded: RecordedLoadDate
    now: datetime
    near: Mapping[str, str]
    decided: Mapping[str, str]

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        return self.classifier.pipeline

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The tables that are due, in build order."""
        due = self.pipeline.is_table_due
        return {name: each for name, each in self.classifier.tables.items() if due(each, self.load_date)}

    @cached_property
    def sources(self) -> dict[str, Table]:
        """The raw tables that are due, by name."""
        return {name: table for name, table in self.classifier.sources.items() if str(table.relation) in self.tables}

    @cached_property
    def published(self) -> list[str]:
        """The tables that are due and were published."""
        return [name for name in self.recorded.published if name in self.tables]

    @property
    def lacking(self) -> list[Table]:
        """The raw tables whose object must be there and is not, or of whose objects some are there and others lack.

        An object that an API is asked for now is not lacking.
        """
        return [
            table
            for name, table in self.sources.items()
            if name not in self.to_ask
            if (self.landed[name].lacks if name in self.landed else not table.source.optional)
        ]

    @cached_property
    def asking(self) -> Asking:
        """What a build would ask APIs for."""
        pipeline, read = self.classifier.pipeline, self.recorded.objects
        return Asking(pipeline, self.load_date, self.now, self.sources, self.landed, read)

    @property
    def to_ask(self) -> Mapping[str, str]:
        """The raw tables for whose objects a build would ask an API, each with the key of the object."""
        return self.asking.keys

    @cached_property
    def dated(self) -> dict[str, Delivery]:
        """What landed for this load_date: no reference objects and carried ones, unless the pipeline has no others."""
        found = {name: each for name, each in self.landed.items() if self._is_own(self.sources[name], each)}
        others = (table for table in self.sources.values() if not table.source.key.is_reference)
        return found if any(not table.source.carried_days for table in others) else dict(self.landed)

    def _is_own(self, table: Table, found: Delivery) -> bool:
        """Whether an object landed for this load_date itself."""
        if table.source.carried_days:
            return table.object_day(self.load_date, found.key) == self.load_date
        return not table.source.key.is_reference

    @property
    def absent(self) -> list[Table]:
        """The raw tables whose optional object is not there."""
        return [table for name, table in self.sources.items() if name not in self.landed and table.source.optional]

    def _is_newer(self, name: str, read: ObjectState) -> bool:
        """Whether an object is carried to this load_date no more, because that of a later day landed."""
        return bool(self.sources[name].source.carried_days) and read.key != self.states[name].key

    @property
    def is_complete(self) -> bool:
        """Whether every object is there that must be; if none must be and none is, once the load_date is over."""
        if self.lacking:
            return False
        end = datetime.combine(self.load_date, time(), timezone.utc) + timedelta(days=1)
        return bool(self.dated or self.published or self.asking.begins) or self.now >= end

    @property
    def made_of(self) -> list[str]:
        """What a build now would be made of, besides the files."""
        undue = [name for name in self.classifier.tables if name not in self.tables]
        without = [f"without {table.relation}" for table in self.absent] + [f"not due {name}" for name in undue]
        decided = [f"decided {name} {self.decided[name]}" for name in sorted(self.decided)]
        return [*(self.asking.made_of(name, self.states[name]) for name in sorted(self.states)), *without, *decided]

    @cached_property
    def states(self) -> dict[str, ObjectState]:
        """The present state of its objects, by the name of the raw table; of those to be asked for, that of none."""
        found = {name: ObjectState.of(e.key, e.size_bytes, e.etag) for name, e in self.landed.items()}
        return found | {name: ObjectState.of(key, 0, "") for name, key in self.to_ask.items()}

    def settled(self) -> Verdict | None:
        """Return the state and reason if no run should start; None if a run could change something."""
        attempts = [*self.recorded.attempts.values(), *([self.recorded.run] if self.recorded.run else [])]
        if running := [attempt.started_at for attempt in attempts if attempt.status == "running"]:
            since = f"A run of it has been in progress since {minute(min(running))}."
            return Verdict("running", since, "A run of each is in progress.")
        if self.pipeline.stream_tables and not (self.sources or self.published or attempts):
            return Verdict("missing", "No event of it has landed.")
        if not self.stale_tables:
            due = "" if len(self.tables) == len(self.classifier.tables) else " that are due"
            without = f", {self._without}" if self.absent else ""
            reason = f"All {_count(self.tables, 'table')}{due} are up to date with S3 and the SQL{without}."
            dropped = [name for name in self.recorded.dropped if name in self.tables]
            return Verdict(
                "published", reason + (f" The rows of {len(dropped)} were dropped by retention." if dropped else "")
            )
        return self._unbuildable()

    @property
    def _without(self) -> str:
        """Say which optional objects are not there."""
        keys = [table.object_key(self.load_date) for table in self.absent]
        return f"without its optional object{'s' * (len(keys) > 1)} {_some(keys)}"

    def _unbuildable(self) -> Verdict | None:
        """Return the state and reason if a run could build none of the stale tables; None if it could build one."""
        if not self.is_complete and not self.buildable:
            found = self._incomplete()
        elif not self.buildable:
            found = self._held
        else:
            return None
        if not self.recorded.lost:
            return found
        again = f"{self._lost} They cannot be built again"
        return Verdict("lost", f"{again}: {found.reason}", f"{again}.")

    @property
    def _held(self) -> Verdict:
        """Return the state and reason of a load_date of which nothing stale may be built."""
        if gone := [reason for name, reason in self.gone.items() if name in self.stale_tables]:
            names = self._objects_of([name for name in self.gone if name in self.stale_tables])
            return Verdict("incomplete", f"{'; '.join(gone)}.", f"Gone in the state that it needs: {_some(names)}.")
        reasons = "; ".join(f"{name}: {attempt.error}" for name, attempt in self.still_held.items())
        # What follows the first semicolon names the object and the candidate; the checks of an object quote its key.
        kinds = [
            f"{name}: held by its checks" if is_object(name) else f"{name}: {attempt.error.partition(';')[0]}"
            for name, attempt in self.still_held.items()
        ]
        return Verdict("held", f"{reasons}. Its inputs, SQL and checks have not changed since.", f"{'; '.join(kinds)}.")

    def _incomplete(self) -> Verdict:
        """Return the state and reason of a load_date that lacks objects."""
        if not self.lacking:
            why = "None of its optional objects lies on S3: it is built without them"
            why = why if self.absent else "No object of it is due: it is built"
            return Verdict("missing", f"{why} once it is over, at 24:00 UTC.")
        landed, count = self._landed_of
        objects = f"{count} object{'' if count == 1 else 's'}"
        if not self.dated and not self.published:
            when = self.asking.when(self.lacking)
            return Verdict("missing", f"None of its {objects} lies on S3{when}.", "None of its objects lies on S3.")
        keys = [self._lacks(table) for table in self.lacking]
        reason = f"{landed} of its {objects} landed; lacking: {_some(keys)}."
        summary = f"Lacking: {_some([table.object_name for table in self.lacking])}."
        first = min((each.last_modified for each in self.dated.values()), default=self.now)
        # If it was published before, a source was added or objects were removed since: nothing is late.
        is_awaited = any(map(self.asking.is_awaited, self.lacking))
        if self.published or not is_awaited or self.now - first <= self.classifier.late_after:
            return Verdict("incomplete", reason, summary)
        return Verdict("late", f"{reason} The first landed at {minute(first)}.", summary)

    @property
    def _landed_of(self) -> tuple[int, int]:
        """How many objects of the load_date landed, of how many."""
        landed = sum(not each.lacks for name, each in self.dated.items() if name not in self.to_ask)
        return landed, landed + len(self.lacking) + len(self.to_ask)

    @cached_property
    def _without_object(self) -> set[str]:
        """The tables that lack an object, and those that read them."""
        found = {str(table.relation) for table in self.lacking}
        for name, table in self.tables.items():
            if any(str(read) in found for read in table.reads):
                found.add(name)
        return found

    def _lacks(self, table: Table) -> str:
        """Say what a raw table lacks: the key of its object, or what is known of its several objects."""
        name, key = table.relation.table, table.object_key(self.load_date)
        if name in self.landed:
            return self.landed[name].lacks
        if table.source.carried_days:
            days = table.object_days(self.load_date)
            keys = [table.object_key(day) for day in days]
            return f"{' or '.join(keys) or 'an object of an earlier day'} of {table.relation}"
        if table.source.api:
            return f"{key} ({self.asking.why_lacking(table)})"
        return f"{key} ({self.near[name]})" if name in self.near else key

    @cached_property
    def gone(self) -> dict[str, str]:
        """The raw tables whose reference object is gone in the state of this load_date, each with the reason."""
        return {str(self.sources[name].relation): each.gone for name, each in self.landed.items() if each.gone}

    @property
    def _lost(self) -> str:
        return f"Published, but their rows are gone from the database: {_some(self.recorded.lost)}."

    @cached_property
    def stale_tables(self) -> dict[str, StaleReason]:
        """The tables that are stale, in build order, each with its reason."""
        found = ((name, self._stale_reason(name, table)) for name, table in self.tables.items())
        return {name: reason for name, reason in found if reason}

    def _stale_reason(self, name: str, table: Table) -> StaleReason | None:
        """Return the first reason of STALE_REASONS that applies; `released` is determined in `buildable`."""
        now = self.states.get(table.relation.table) if table.has_object else None
        then = self.recorded.objects.get(table.relation.table) if table.has_object else None
        if name not in self.recorded.published:
            # Nothing can land that would make a load_date new on which no object is due.
            is_new = self.classifier.sources and not self.sources and not self.published
            return "objects" if table.has_object or is_new else "unbuilt"
        applies: dict[StaleReason, bool] = {
            "objects": now is not None and now != then,
            "lost": name in self.recorded.lost,
            "decisions": self._decided_now(name) != self.recorded.decided.get(name, NO_DECISIONS),
            "inputs": name in self.recorded.other_inputs,
            "window": name in self.recorded.more_load_dates,
            "removed": table.has_object and table.source.optional and now is None and then is not None,
            "sql": name in self.recorded.other_code,
        }
        return next((reason for reason, does in applies.items() if does), None)

    @cached_property
    def still_held(self) -> dict[str, Attempt]:
        """The stale tables, and their objects, whose last build was held and read the same as a build now would."""
        would_read: dict[str, tuple[ObjectState | None, str, str, bool, str]] = {}
        for name in self.stale_tables:
            table, state = self.classifier.tables[name], None
            if table.has_object:
                state = self.states.get(table.relation.table)
                would_read[table.object_name] = (state, table.object_version, "", False, NO_DECISIONS)
            would_read[name] = (state, table.code_version, table.checks_version, False, self._decided_now(name))
        found = {item: self.recorded.attempts[item] for item in would_read if item in self.recorded.attempts}
        return {item: a for item, a in found.items() if a.hold and a.hold.made_from == would_read[item]}

    def _decided_now(self, name: str) -> str:
        return self.decided.get(name, NO_DECISIONS)

    @cached_property
    def buildable(self) -> dict[str, StaleReason]:
        """The stale tables that a run would build: neither they nor any table before them is still held or gone.

        As long as objects lack, only published tables are built that read rows which have changed.
        """
        blocked, found = {*self.still_held, *(name for name in self.gone if name in self.stale_tables)}, {}
        blocked |= self._without_object
        for name, table in self.tables.items():
            reads = {*map(str, table.reads), *_object_of(table)}
            if name in blocked or reads & blocked:
                blocked.add(name)
            elif name in self.stale_tables and (self.is_complete or self.stale_tables[name] in _BY_ROWS):
                found[name] = "released" if self._was_held(name) else self.stale_tables[name]
        return found

    def _was_held(self, name: str) -> bool:
        """Return whether the last build of a table was held, and its object has not been replaced since."""
        attempt, table = self.recorded.attempts.get(name), self.classifier.tables[name]
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
        it, so loading all objects of each of these again would be wasteful. A table whose optional object is gone is
        not one of them, because it would lose its rows. Nor is one whose reference object is gone: if there is such a
        table, the others are named, after their objects.
        """
        reasons = set(self.buildable.values())
        if not self.gone and (
            not reasons <= {"lost", "decisions", "inputs", "window", "removed"} or reasons == {"removed"}
        ):
            return ()
        found: set[str] = set()
        for name, table in self.tables.items():
            wanted = self.buildable.get(name) not in {None, "removed"}
            if wanted or any(str(read) in found for read in table.reads):
                found.add(name)
        found -= self.gone.keys() | self._without_object
        names = [name for name in self.tables if name in found]
        return (*(self._objects_of(names) if self.gone else ()), *names)

    def unsettled(self) -> Verdict:
        """Return the state and reason of a load_date of which a run would change something."""
        names = [name for name, reason in self.buildable.items() if reason == self.stale_reason]
        if failure := self._failure(names):
            return Verdict("failed", failure, f"{failure.partition(' failed: ')[0]} failed.")
        if self.stale_reason == "objects":
            return self._of_objects(names)
        if self.stale_reason == "lost":
            return Verdict("lost", self._lost)
        if self.stale_reason == "removed":
            keys = [self.recorded.objects[self.tables[name].relation.table].key for name in names]
            gone = "Its optional object is gone since it was read:"
            return Verdict("stale", f"{gone} {_some(keys)}.", f"{gone} {_some(self._objects_of(names))}.")
        # A load_date that was taken out of a table: what has read it is stale, and the table itself was never built.
        unbuilt = [name for name, reason in self.buildable.items() if reason == "unbuilt"]
        besides = f" Never built for this load_date: {_some(unbuilt)}." if unbuilt else ""
        return Verdict(
            "stale",
            {
                "released": f"Held, and {self._changed_since_held(names)}: {_some(names)}.",
                "decisions": f"Built before somebody decided on it: {_some(names)}.",
                "inputs": f"Built from rows that were replaced since: {_some(names)}.{besides}",
                "window": f"Built before an earlier load_date was published that it reads: {_some(names)}.",
                "sql": f"The SQL has changed since it was published: {_some(names)}.",
                "unbuilt": f"Never built for this load_date: {_some(names)}.",
            }[self.stale_reason],
        )

    def _changed_since_held(self, names: Sequence[str]) -> str:
        """Say what has changed since the named tables were held."""
        holds = {name: attempt.hold for name in names if (attempt := self.recorded.attempts.get(name))}
        if holds and all(hold and hold.decided != self._decided_now(name) for name, hold in holds.items()):
            who = {self.recorded.waived.get(name, "") for name in holds}
            if len(who) == 1 and "" not in who:
                return who.pop()
            return "somebody decided on it since"
        return "what it reads or is compared with, its SQL or its checks have changed since"

    def _objects_of(self, names: Sequence[str]) -> list[str]:
        """Return the names of the objects that some tables read."""
        return [item for name in names for item in _object_of(self.tables[name])]

    def _failure(self, names: Sequence[str]) -> str | None:
        """Say which of the named tables, of their objects, or the last run failed, and why; None if none failed."""
        items = [item for name in names for item in (*_object_of(self.tables[name]), name)]
        attempts = [(item, self.recorded.attempts.get(item)) for item in items]
        for what, attempt in (*attempts, ("its last run", self.recorded.run)):
            if attempt and attempt.status == "failed":
                return f"{what} failed: {attempt.error}"
        return None

    def _of_objects(self, names: Sequence[str]) -> Verdict:
        """Return the state and reason of a load_date whose objects were never read, or were replaced since."""
        read = dict(self.recorded.objects)
        for name, table in self.sources.items():
            for item in (*_object_of(table), str(table.relation)):
                attempt = self.recorded.attempts.get(item)
                if attempt and attempt.hold and attempt.hold.object:
                    read[name] = attempt.hold.object
        there = {name: state for name, state in self.states.items() if name not in self.to_ask}
        replaced = [name for name, state in there.items() if name in read and read[name] != state]
        came = [name for name in there if name not in read and str(self.sources[name].relation) in self.published]
        if replaced or came:
            newer = [name for name in replaced if self._is_newer(name, read[name])]
            what = "Replaced since it was read:" if replaced else "Landed since it was built without it:"
            if newer:
                what, replaced = "Landed since it was built from an earlier one:", newer
            keys = [self.states[name].key for name in replaced or came]
            objects = [self.sources[name].object_name for name in replaced or came]
            return Verdict("stale", f"{what} {_some(keys)}.", f"{what} {_some(objects)}.")
        rest = f"not published: {_some(names)}" if self.published else "nothing of it is published"
        if self.to_ask:
            return self._to_be_asked(rest)
        if self.absent:
            some = f"{_count(self.landed, 'object')} landed," if self.landed else "Complete"
            objects = [table.object_name for table in self.absent]
            return Verdict("new", f"{some} {self._without}; {rest}.", f"Complete without {_some(objects)}; {rest}.")
        if not self.landed:
            return Verdict("new", f"No object of it is due; {rest}.")
        return Verdict(
            "new", f"All {_count(self.landed, 'object')} landed; {rest}.", f"All of its objects landed; {rest}."
        )

    def _to_be_asked(self, rest: str) -> Verdict:
        """Return the state and reason of a load_date for which APIs are asked; `rest` says what is not published."""
        again = [name for name in self.to_ask if str(self.sources[name].relation) in self.published]
        if again:
            what = "Built from an earlier object, and an API is asked for the one that is due since:"
            keys, objects = [self.to_ask[name] for name in again], [self.sources[name].object_name for name in again]
            return Verdict("stale", f"{what} {_some(keys)}.", f"{what} {_some(objects)}.")
        landed, count = self._landed_of
        asked = "its API is asked for it" if count == 1 else "APIs are asked for the others"
        summary = f"{'Its API is' if count == 1 else 'APIs are'} asked for its objects; {rest}."
        return Verdict("new", f"{landed} of its {_count(range(count), 'object')} landed, {asked}; {rest}.", summary)


def _object_of(table: Table) -> list[str]:
    """Return the name of the object that a table reads, as a list of one or none."""
    return [table.object_name] if table.has_object else []


def _count(things: Collection[object], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    """Join the first few names, and add how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
