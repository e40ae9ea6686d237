"""What is known of a KPI: the load_dates that are shown, those that are not, and what was restated.

Belongs here: the types, and what follows from them. Not here: reading them (kpis.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from kpi_assets.ledger.causes import Cause
from kpi_assets.model.kpi import Final
from kpi_assets.model.measure import Measure
from kpi_assets.model.names import InputName
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.ruling import NOT_RULED_OUT
from kpi_assets.model.table import Table

# What a reader is told of a KPI's newest load_date; the first that applies:
#   none       nothing was ever published
#   held       a newer load_date, or a correction of this one, is held by a gate
#   failed     a newer load_date, or a correction of this one, failed
#   running    a newer load_date, or a correction of this one, is being built
#   late       the newest load_date is older than its freshness allows
#   waived     its newest load_date, or what it was made from, is published on a person's word: checks failed
#   warned     its newest load_date passed with warnings
#   published  its newest load_date passed
#   waiting    a newer load_date is published, and waits for the other KPIs, which are shown together with it
KpiGate = Literal["none", "held", "failed", "running", "waiting", "late", "waived", "warned", "published"]
Values = Mapping[str, Decimal | None]  # measure -> its value; None if there is none


@dataclass(frozen=True)
class Restatement:
    """A load_date was published again with other rows: what readers saw before, and what they see since.

    `was` has only measures whose expression was the same for both.
    """

    load_date: date
    publish_id: int
    was_publish_id: int
    at: datetime
    why: str  # a clause for readers, such as `the source object of orders was replaced`
    was: Values
    now: Values
    versions: Mapping[str, str] = field(default_factory=dict)  # measure -> the version of the expression that gave both
    cause: Cause = "rebuilt"
    caused_by: Sequence[int] = ()  # the publishes at the root


class Decided(NamedTuple):
    """Who decided that a build is kept out although its checks pass, and why."""

    by: str
    reason: str


@dataclass(frozen=True)
class FailedCheck:
    """A check that held a build, and the table or object (`s3.x`) of the build.

    `metric` is what the check measured; `bad` is the number of bad rows, None of a check that counts no rows. A check
    that could not be made `errored`. Of `not_ruled_out`, `decided` is the ruling, unless it was revoked since.
    """

    asset: str
    name: str
    metric: Decimal | None
    threshold: Decimal | None
    bad: int | None
    errored: bool = False
    decided: Decided | None = None


@dataclass(frozen=True)
class Waived:
    """A ruling by which a load_date of a table was published although `checks` failed.

    What somebody revoked stays published until the table is built again: `revoked_by` and `revoke_reason` say so.
    """

    ruling_id: int
    asset: str
    load_date: date
    checks: Sequence[FailedCheck]
    by: str
    reason: str
    until: datetime
    revoked_by: str | None = None
    revoke_reason: str | None = None


@dataclass(frozen=True)
class Point:
    """One load_date that is shown, by its publish. `values` has only measures that were computed for it."""

    load_date: date
    publish_id: int
    build_id: int
    run_id: str
    published_at: datetime
    rows: int
    code_version: str
    values: Values
    checks: int  # of the KPI's own table
    warnings: int
    restated: Sequence[Restatement] = ()  # the oldest first
    dropped_at: datetime | None = None  # when retention dropped its rows: its values are shown, its rows cannot be
    versions: Mapping[str, str] = field(default_factory=dict)  # measure -> the version of the expression that gave it
    waived: Sequence[Waived] = ()  # the rulings on it and on all that it was made from
    lacks: Sequence[InputName] = ()  # what was due in its window and not there


@dataclass(frozen=True)
class Stop:
    """A load_date whose latest build did not reach readers: the state of that build, since when, and where it stopped.

    `asset` is the table or object (`s3.x`) at which it stopped: the KPI itself or one that it comes from. `kept` is the
    publish that readers are shown of the load_date meanwhile, so that a correction of it is what was stopped; None if
    they are shown nothing of it.

    A load_date is `waiting` if the KPI is published and another one, `asset`, is not: they are shown together.
    """

    load_date: date
    state: Literal["held", "failed", "running", "waiting"]
    since: datetime
    asset: str
    build_id: int
    run_id: str
    checks: Sequence[FailedCheck] = ()  # that held it, of all its tables and objects
    told: Sequence[str] = ()  # the channels through which somebody was told
    kept: int | None = None

    @property
    def is_correction(self) -> bool:
        """Whether readers are shown an earlier publish of the load_date meanwhile."""
        return self.kept is not None

    @property
    def is_kept_out(self) -> bool:
        """Whether all checks passed but the one that a person keeps it out by, as after a rollback."""
        return self.state == "held" and {check.name for check in self.checks} == {NOT_RULED_OUT}


@dataclass(frozen=True)
class KpiState:
    """A KPI as readers see it: `points` and `stops` by load_date, the oldest first."""

    pipeline: Pipeline
    table: Table
    points: Sequence[Point]
    stops: Sequence[Stop]
    due_by: datetime | None  # when the load_date after the latest must be published; None without a freshness
    late: bool
    as_of: datetime | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    now: datetime | None = None  # the instant for which it is true: as_of, or when it was read
    next_due: date | None = None  # the load_date after the latest that is due
    through: datetime | None = None  # the events until then are in its numbers, if its freshness counts from there
    lacking: Sequence[str] = ()  # the objects (`s3.x`) of `next_due` that had not landed when they were looked for last
    breached: Mapping[str, datetime] = field(default_factory=dict)  # measure -> since when it is beyond its threshold
    beyond: Sequence[Point] = ()  # load_dates out of the range that was asked for, with which others are compared

    @property
    def id(self) -> str:
        """`pipeline/table`, as in addresses; see kpi_id."""
        return kpi_id(self.pipeline, self.table)

    @property
    def title(self) -> str:
        """What readers call it."""
        assert self.table.header.kpi
        return self.table.header.kpi.title or self.table.relation.table.replace("_", " ")

    @property
    def latest(self) -> Point | None:
        """The newest load_date that is shown."""
        return self.points[-1] if self.points else None

    def point(self, load_date: date) -> Point | None:
        """Return a load_date that is shown; None if it is not, or was not asked for."""
        return next((each for each in (*self.points, *self.beyond) if each.load_date == load_date), None)

    @property
    def stop(self) -> Stop | None:
        """The newest load_date that did not reach readers, if they are shown no newer one.

        It may be a correction of the newest load_date that is shown: see Stop.is_correction.
        """
        newer = [stop for stop in self.stops if self.latest is None or stop.load_date >= self.latest.load_date]
        return newer[-1] if newer else None

    def final_at(self, load_date: date) -> datetime | None:
        """Return when the numbers of a load_date are final, if they lack nothing; None if its header does not say."""
        final = self._final
        return final.at(load_date) if final and not final.by else None

    def final_through(self, point: Point) -> date | None:
        """Return the last day whose rows in a load_date are final, of a KPI whose rows are of several days.

        None of any other KPI, and if none of its rows is, because they lack a load_date.
        """
        final = self._final
        return final.through(point.load_date) if final and final.by and not point.lacks else None

    def is_final(self, point: Point) -> bool | None:
        """Return whether the numbers of a load_date are final; None if its header does not say when they are.

        Of a KPI whose rows are of several days, it is None unless all of them are provisional.
        """
        final = self._final
        if final is None or (final.by and not point.lacks):
            return None
        return self.now is not None and final.is_final(point.load_date, point.lacks, self.now)

    @property
    def _final(self) -> Final | None:
        assert self.table.header.kpi
        return self.table.header.kpi.final

    def stop_of(self, load_date: date) -> Stop | None:
        """Return the stop of a load_date, shown or not; None if there is none."""
        return next((stop for stop in self.stops if stop.load_date == load_date), None)

    @property
    def gate(self) -> KpiGate:
        """What a reader is told of its newest load_date."""
        if self.stop:
            return self.stop.state
        if self.latest is None:
            return "none"
        if self.late:
            return "late"
        if self.latest.waived:
            return "waived"
        return "warned" if self.latest.warnings else "published"


def kpi_tables(pipeline: Pipeline) -> list[Table]:
    """Return the KPIs of a pipeline, in its order."""
    return [table for table in pipeline.tables.values() if table.header.kpi]


def kpi_id(pipeline: Pipeline, table: Table) -> str:
    """Return `pipeline/table`; with the schema if another KPI of the pipeline has the same name."""
    same = [each for each in kpi_tables(pipeline) if each.relation.table == table.relation.table]
    return f"{pipeline.name}/{table.relation.table if len(same) == 1 else table.relation}"


def find_kpi(pipeline: Pipeline, name: str) -> Table | None:
    """Return the KPI of this name, with or without its schema; None if there is none."""
    found = [each for each in kpi_tables(pipeline) if name in (each.relation.table, str(each.relation))]
    return found[0] if len(found) == 1 else None
