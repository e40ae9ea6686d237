"""The context and the outcomes of builds: BuildContext, ObjectOutcome, BuildOutcome."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from time import perf_counter
from typing import Any

from psycopg import Connection
from pydantic import SecretStr

from kpi_assets.errors import UserError
from kpi_assets.materialize.shared_sessions import SharedSessions
from kpi_assets.model.lookback import Window
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.records import SetAside
from kpi_assets.model.results import ChartRows, CheckResult
from kpi_assets.model.ruling import Ruling
from kpi_assets.model.table import Table
from kpi_assets.scrub import scrub
from kpi_assets.settings import Settings
from kpi_assets.sources.store import Store
from kpi_assets.warehouse.connection import BULK, UNLOGGED, connect
from kpi_assets.warehouse.provision import role_of
from kpi_assets.warehouse.versions import VersionChanges

# Why a load_date is not published, by the status of its build.
UNPUBLISHED_REASONS = {"held": "held by its gates", "missing": "its object has not landed"}
SHOWN = 20  # records or rows that were set aside, on the page of their table
FETCHING = "fetching from its API"  # a phase whose unit is records
MAX_SLICES = 32  # more partitions cost the planner more than they save in sorting

# (phase, done, total): `done` and `total` in the phase's own unit, 0 where it has none.
Progress = Callable[[str, int, int], None]


def shown_progress(phase: str, done: int, total: int) -> str:
    """Return how far a phase is, for people; empty if that is not known."""
    if phase == FETCHING and done:
        return f"{done:,} of {total:,} records" if total else f"{done:,} records"
    return f"{done / total:.0%}" if total and done else ""


class UpstreamError(UserError):
    """A table that must be published first is not published, or was published again during the build."""


def run_log_message(error: BaseException) -> str:
    """Return the message of an error for the run log, without secrets."""
    return scrub(str(error)) or (type(error).__name__ if isinstance(error, Exception) else "It was interrupted.")


@dataclass(frozen=True)
class BuildContext:
    """The things that all builds of one run in one pipeline share: its files, servers, run_id and limits."""

    pipeline: Pipeline
    server: SecretStr
    store: Store
    run_id: str
    on_progress: Progress = lambda _phase, _done, _total: None
    publish_timeout: float = 600.0  # seconds for which a publish waits for readers of the table
    writers: int = 1  # sessions that fill one large table in parallel
    settings: Settings | None = None  # with the addresses and secrets of APIs; None: those of the environment
    slice_bytes: int = 80 << 20  # of the object: sorting the keys of a slice then fits in the processor's cache
    sessions: SharedSessions | None = None  # of a process that builds again and again; None: each task opens its own
    asks_for_rulings: bool = True  # whether builds ask S3 for rulings: those of ticks are of load_dates that have none

    def slice_count(self, size_bytes: int) -> int:
        """Return the number of slices for an object of this size: a multiple of the writers, or 1."""
        rounds = -(-size_bytes // (self.slice_bytes * self.writers))
        return min(rounds * self.writers, MAX_SLICES) if size_bytes >= 2 * self.slice_bytes else 1

    def session(self, table: Table, name: str) -> AbstractContextManager[Connection[Any]]:
        """Open a session in the pipeline's database, as the role of the table's layer. Raises WarehouseError.

        A shared one must be left as it was found, but for locks and temporary tables.
        """
        role, more = self._role_and_settings(table)
        if self.sessions:
            return self.sessions.lend(name, role=role, more=more)
        return connect(self.server, self.pipeline.name, name, role=role, more=more)

    def own_session(self, table: Table, name: str) -> AbstractContextManager[Connection[Any]]:
        """Open a session as `session` does, which no other task will use: its settings may be changed."""
        role, more = self._role_and_settings(table)
        return connect(self.server, self.pipeline.name, name, role=role, more=more)

    def login_session(self, table: Table, name: str) -> AbstractContextManager[Connection[Any]]:
        """Open a session as `own_session` does, but as the login: it may act as the roles of several layers in turn."""
        _, more = self._role_and_settings(table)
        return connect(self.server, self.pipeline.name, name, more=more)

    def ledger_session(self, name: str) -> AbstractContextManager[Connection[Any]]:
        """Open a session in the pipeline's database that builds no table. Raises WarehouseError."""
        if self.sessions:
            return self.sessions.lend(name)
        return connect(self.server, self.pipeline.name, name)

    def _role_and_settings(self, table: Table) -> tuple[str, Mapping[str, str]]:
        helpers = str(self.writers - 1)  # the leader works too, and more processes than cores gain nothing
        unlogged = UNLOGGED if table.pii else {}
        more = {
            **BULK,
            **unlogged,
            "max_parallel_workers_per_gather": helpers,
            "max_parallel_maintenance_workers": helpers,
        }
        return role_of(self.pipeline.layer(table.relation)), more

    @contextmanager
    def sharing_sessions(self) -> "Iterator[BuildContext]":
        """Yield this context for builds that use the same sessions one after another, until the end of the block."""
        sessions = SharedSessions(self.server, self.pipeline.name)
        try:
            yield replace(self, sessions=sessions)
        finally:
            sessions.close()


@dataclass(frozen=True)
class ObjectOutcome:
    """The outcome of verifying an S3 object; the manifest is None if there is no object, which may be optional."""

    manifest: Manifest | None
    results: list[CheckResult]
    asked: Mapping[str, str] = field(default_factory=dict)  # how it was asked for, of an object that an API gave

    @property
    def held(self) -> bool:
        """Whether no table may be built from the object."""
        return any(result.blocks_publish for result in self.results)

    @property
    def is_missing(self) -> bool:
        """Whether an object is not there that must be."""
        return self.manifest is None and self.held

    @property
    def unpublished_reason(self) -> str | None:
        """The reason why no table may be built from the object, in a few words; None if one may."""
        return UNPUBLISHED_REASONS["missing" if self.is_missing else "held"] if self.held else None


@dataclass
class Stopwatch:
    """Measures the seconds spent in each phase, in the order in which the phases were first entered."""

    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=perf_counter)

    def lap(self, phase: str, **within: float) -> None:
        """Add the time since the last lap to `phase`, less the seconds of other phases `within` it."""
        now = perf_counter()
        for name, seconds in {**within, phase: now - self._since - sum(within.values())}.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self._since = now

    def lap_in_parallel(self, others: "Sequence[Stopwatch]") -> None:
        """Divide the time since the last lap among the phases of stopwatches that ran in parallel, in proportion."""
        spent: Counter[str] = Counter()
        for other in others:
            spent.update(other.seconds)
        now, whole = perf_counter(), sum(spent.values()) or 1.0
        for phase, seconds in spent.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + (now - self._since) * seconds / whole
        self._since = now


@dataclass(frozen=True)
class BuildOutcome:
    """The outcome of a build of a table and load_date: published, or held as a candidate that can be inspected."""

    relation: Relation
    load_date: date
    build_id: int
    publish_id: int | None  # None: held
    candidate: Relation
    rows: int
    checksum: str
    size_bytes: int
    manifest_hash: str
    inputs: Mapping[Relation, int]  # of the same load_date
    window: Window | None  # of a table with `lookback`
    results: list[CheckResult]
    warnings: list[str]  # of inputs that were read as published before
    measure_warnings: Sequence[str]  # of measures that could not be computed
    preview: list[dict[str, str | None]]
    chart: ChartRows  # empty unless the table is a KPI
    seconds: dict[str, float]
    set_aside: SetAside | None = None  # rows, of a table with rules
    versions: VersionChanges | None = None  # of a history that was published
    measures: Mapping[str, Decimal | None] = field(default_factory=dict)  # of the measures of a KPI that was published
    quarantined: int = 0  # records or rows that were set aside
    bad_rows: Sequence[Mapping[str, Any]] = ()  # the first records or rows that were set aside, for people
    waiver: Ruling | None = None  # by which it was published although checks failed
    place: str = ""  # the snapshot of the lake that has its rows, or where its held candidate is; empty for Postgres
    statements: int = 0  # that the engine executed for it

    @property
    def held(self) -> bool:
        """Whether the build was not published, so that readers keep what they had."""
        return self.publish_id is None

    @property
    def unpublished_reason(self) -> str | None:
        """The reason why the build was not published, in a few words; None if it was."""
        return UNPUBLISHED_REASONS["held"] if self.held else None
