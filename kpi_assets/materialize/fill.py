"""What load.py and transform.py share: the index of a filled candidate's grain, and the result of filling it.

Not here: where the rows come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.context import BuildContext, Stopwatch
from kpi_assets.model.records import BadRecord
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate


@dataclass(frozen=True)
class FillResult:
    """What is known of a filled candidate beside its rows."""

    counts: Counts
    manifest_hash: str
    quarantined: list[BadRecord]
    grain_is_proven: bool
    unreadable: str = ""


def analyze_and_index(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch
) -> bool:
    """Collect statistics for the planner and build the index of the grain; False if rows share a key."""
    candidates.analyze(connection, candidate)
    if candidate.slice is None:  # the progress of slices is reported for all of them (parallel.py)
        context.on_progress("indexing", 0, 0)
    is_unique = candidates.build_index(connection, candidate)  # the audit counts the rows that share a key
    watch.lap("index")
    return is_unique


def index_slices(connection: Connection[Any], candidate: Candidate, of_slices: Sequence[bool]) -> bool:
    """Whether no two rows of any slice share a key; then one index is made of the slices' indexes, for planners."""
    return all(of_slices) and candidates.build_index(connection, candidate)
