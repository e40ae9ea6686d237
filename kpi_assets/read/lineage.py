"""Where the numbers of one publish come from: every table and object on the way, as they were for this very publish.

Belongs here: walking the inputs of publishes in the ledger, and the checks and records on the way. Not here: single
rows (trace.py), and whether a build would read other publishes now (plan/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from psycopg import Connection

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.pipeline_config import Layer
from kpi_assets.model.table import Table


@dataclass(frozen=True)
class SourceFile:
    """One object on S3, as it was when a publish was made from it. `rows` and `sha256` are known once it was read."""

    bucket: str
    key: str
    size_bytes: int
    etag: str
    sha256: str | None
    rows: int | None
    last_modified: datetime
    version_id: str | None = None

    @property
    def url(self) -> str:
        """The address of the object."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Node:
    """A publish on the way. `reads` are the publish_ids of the nodes that it was made from.

    A history is read up to a publish, the mark, and not followed further; it `is_history`. `files` are the objects of a
    raw table, and `set_aside` the rows or records that were not loaded.
    """

    publish_id: int
    asset: str
    load_date: date
    layer: Layer | None  # None of a table that the pipeline has no more, and of decisions
    build_id: int
    run_id: str
    rows: int
    code_version: str
    published_at: datetime
    superseded_at: datetime | None
    reads: Sequence[int]
    files: Sequence[SourceFile] = ()
    records: int | None = None  # in the objects of a raw table; None if it is not recorded
    set_aside: int = 0
    is_history: bool = False


@dataclass(frozen=True)
class CheckOnTheWay:
    """The result of one check of a build on the way, or of an object."""

    asset: str
    load_date: date
    name: str
    status: Literal["pass", "warn", "fail", "error"]
    metric: Decimal | None
    threshold: Decimal | None
    description: str  # what the check demands, as the file says now; empty if it has no such check any more
    checked_at: datetime


@dataclass(frozen=True)
class Lineage:
    """All that one publish was made from: `nodes` with the publish itself last, each after those that it reads."""

    nodes: Sequence[Node]
    checks: Sequence[CheckOnTheWay]

    @property
    def publish(self) -> Node:
        """The publish itself."""
        return self.nodes[-1]

    @property
    def files(self) -> list[SourceFile]:
        """Every object, once."""
        return list(dict.fromkeys(file for node in self.nodes for file in node.files))

    @property
    def records(self) -> int | None:
        """The records in all objects; None if the number of one of them is not recorded."""
        raise NotImplementedError

    @property
    def set_aside(self) -> int:
        """The records of objects that were not loaded, because they were set aside."""
        raise NotImplementedError

    @property
    def is_accounted(self) -> bool:
        """Whether every record of the objects was loaded or set aside."""
        raise NotImplementedError

    @property
    def passed(self) -> int:
        """The number of checks that passed."""
        return sum(check.status == "pass" for check in self.checks)


def read_lineage(connection: Connection[Any], pipeline: Pipeline, publish_id: int) -> Lineage:
    """Return all that a publish was made from, also of one that is superseded.

    Call it inside one snapshot. Raises UserError if there is no such publish.
    """
    raise NotImplementedError


def lineage_of(connection: Connection[Any], pipeline: Pipeline, table: Table, load_date: date) -> Lineage:
    """Return the same of the publish of a load_date that readers are shown. Raises UserError if there is none."""
    raise NotImplementedError
