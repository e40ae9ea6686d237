"""What every build is given, and what it gives back."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from time import perf_counter
from typing import Any

from psycopg import Connection
from pydantic import SecretStr

from kpi_assets.errors import UserError
from kpi_assets.model.lookback import Window
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline, Table
from kpi_assets.model.results import ChartRows, CheckResult
from kpi_assets.scrub import scrub
from kpi_assets.sources.store import Store
from kpi_assets.warehouse.connection import BULK, connect
from kpi_assets.warehouse.provision import role_of

# Why a load_date is not published, by what its build came to.
WHY_NOT = {"held": "held by its gates", "missing": "its object has not landed"}
MOST_SLICES = 32  # partitions cost a planner more than ever larger ones cost a sort

# (phase, done, total): `done` and `total` in the phase's own unit, 0 where it has none.
Progress = Callable[[str, int, int], None]


class UpstreamError(UserError):
    """A table that must be published first is not, or was published again meanwhile."""


def reason_of(error: BaseException) -> str:
    """What the run log says of an error."""
    return scrub(str(error)) or (type(error).__name__ if isinstance(error, Exception) else "It was interrupted.")


@dataclass(frozen=True)
class BuildContext:
    """One run's builds in one pipeline: where to, where from, and who."""

    pipeline: Pipeline
    server: SecretStr
    store: Store
    run_id: str
    on_progress: Progress = lambda _phase, _done, _total: None
    publish_patience: float = 600.0  # seconds for which a publish waits for readers to let go
    writers: int = 1  # sessions that fill one large table at once
    slice_bytes: int = 80 << 20  # of an object: below that, sorting a slice's keys stays in the processor's cache

    def slices_of(self, size_bytes: int) -> int:
        """Into how many slices an object of that size is cut: a multiple of the writers, or 1."""
        rounds = -(-size_bytes // (self.slice_bytes * self.writers))
        return min(rounds * self.writers, MOST_SLICES) if size_bytes >= 2 * self.slice_bytes else 1

    def session(self, table: Table, name: str) -> AbstractContextManager[Connection[Any]]:
        """A session in the pipeline's database that acts as the role of the table's layer. Raises WarehouseError."""
        role = role_of(self.pipeline.layer(table.relation))
        helpers = str(self.writers - 1)  # of a statement: it takes part itself, and more than the cores take turns
        more = {**BULK, "max_parallel_workers_per_gather": helpers, "max_parallel_maintenance_workers": helpers}
        return connect(self.server, self.pipeline.name, name, role=role, more=more)


@dataclass(frozen=True)
class ObjectOutcome:
    """What the verification of an S3 object found; no manifest where there is no object."""

    manifest: Manifest | None
    results: list[CheckResult]

    @property
    def held(self) -> bool:
        """Whether nothing may be built from it."""
        return self.manifest is None or any(result.blocks_publish for result in self.results)

    @property
    def why_not(self) -> str | None:
        """Why nothing may be built from it, in a few words."""
        return WHY_NOT["missing" if self.manifest is None else "held"] if self.held else None


@dataclass
class Stopwatch:
    """Seconds by phase, in the order in which they were first entered."""

    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=perf_counter)

    def lap(self, phase: str, **within: float) -> None:
        """Count the time since the last lap as spent on `phase`, but for the seconds of other phases `within` it."""
        now = perf_counter()
        for name, seconds in {**within, phase: now - self._since - sum(within.values())}.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self._since = now

    def lap_of(self, others: "Sequence[Stopwatch]") -> None:
        """Count the time since the last lap as spent on what others did meanwhile, in the proportion of their times."""
        spent: Counter[str] = Counter()
        for other in others:
            spent.update(other.seconds)
        now, whole = perf_counter(), sum(spent.values()) or 1.0
        for phase, seconds in spent.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + (now - self._since) * seconds / whole
        self._since = now


@dataclass(frozen=True)
class BuildOutcome:
    """One build of a table and load_date: published, or held as a candidate that can be inspected."""

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
    warnings: list[str]
    preview: list[dict[str, str | None]]
    chart: ChartRows  # empty where the table is no KPI
    seconds: dict[str, float]

    @property
    def held(self) -> bool:
        """Whether readers still see what they saw before."""
        return self.publish_id is None

    @property
    def why_not(self) -> str | None:
        """Why it was not published, in a few words."""
        return WHY_NOT["held"] if self.held else None
