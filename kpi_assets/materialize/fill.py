"""The steps after filling a candidate that load.py and transform.py share: statistics, indexes, the result.

Not here: filling the candidate itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from kpi_assets.ledger.batches import Batch
from kpi_assets.ledger.runs import Counts
from kpi_assets.ledger.stream_objects import StreamObject
from kpi_assets.materialize.context import BuildContext, Stopwatch
from kpi_assets.model.records import BadRecord, SetAside
from kpi_assets.warehouse import candidates, indexes
from kpi_assets.warehouse.candidates import Candidate


@dataclass(frozen=True)
class Added:
    """What the ledger has to know of the batch in a candidate of a table that grows.

    `before` is the last published batch, to which it is added; None if it is the only one, because nothing is published
    or the load_date is built as a whole.
    """

    up_to: int
    records: int
    before: Batch | None = None
    objects: Sequence[StreamObject] = ()
    input_base_build_id: int | None = None
    through: datetime | None = None


@dataclass(frozen=True)
class FillResult:
    """The result of filling a candidate: its counts, the hash of its manifests, and its bad records."""

    counts: Counts
    manifest_hash: str
    quarantined: list[BadRecord]
    grain_is_proven: bool  # the unique index was built, so no two rows share a key
    unreadable: str = ""  # why no record of the object could be read
    lost: str = ""  # which of several objects lost records, if any were lost
    discarded: int = 0  # bad records that were discarded by decision
    decided: str = ""  # what decisions did to bad records, for people
    set_aside: SetAside | None = None  # the rows that rules took out, of a table with rules
    field_counts: Mapping[str, int] | None = None  # the records that have each field, if they may differ in that
    repeats: int = 0  # rows of the SELECT that were left out because their key came before
    added: Added | None = None  # of a table that grows


def analyze_and_index(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch
) -> bool:
    """Build the indexes and collect planner statistics; return False if rows share a key, so that one is not unique."""
    if candidate.slice is None:  # the progress of slices is reported for all of them (parallel.py)
        context.on_progress("indexing", 0, 0)
    is_unique = candidates.build_index(connection, candidate)  # if False, the audit counts the rows that share a key
    if not candidate.is_added:  # its rows go into a partition that has the others
        indexes.build(connection, candidate)
        if candidate.table.grows:
            candidates.build_batch_index(connection, candidate)
    candidates.analyze(connection, candidate, is_unique=is_unique)
    watch.lap("index")
    return is_unique


def index_slices(connection: Connection[Any], candidate: Candidate, of_slices: Sequence[bool]) -> bool:
    """Combine the indexes of the slices into those of the candidate; return False if a slice has no unique one."""
    indexes.build(connection, candidate)
    return all(of_slices) and candidates.build_index(connection, candidate)
